"""Projections that are computed from the first texts: what they keep, and when they are made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from batches import Fixed, Sample, Served, collate, samples
from lightning.pytorch import seed_everything
from lightning.pytorch.strategies import ModelParallelStrategy
from ranks import on_two_ranks
from shipped_methods import quiet_trainer
from torch import Tensor

from lit_distill.errors import UserError
from lit_distill.losses import StateMSE
from lit_distill.methods import HiddenStates, PCAProjection
from lit_distill.models import FreshStudent, TeacherSpec
from lit_distill.schedules import Constant
from lit_distill.training.states.computed_projections import _random_tokens
from lit_distill.training.states.projections import Directions

NARROW = 8


def rows(count: int = 40, width: int = 7) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return 3 + torch.randn(count, width, generator=generator, dtype=torch.float64) @ torch.randn(
        width, width, generator=generator, dtype=torch.float64
    )


@pytest.mark.parametrize("center", [True, False])
def test_what_is_lost_are_the_smallest_singular_values(center: bool) -> None:
    given, directions = rows(), Directions(7, 3).double()
    directions.compute(given, center)
    mean = given.mean(0) if center else torch.zeros(7).double()
    again = directions(given) @ directions.matrix.T + mean
    values = torch.linalg.svdvals(given - mean)
    lost = (given - again).square().sum()
    torch.testing.assert_close(lost, values[3:].square().sum(), rtol=1e-12, atol=0)
    product = directions.matrix.T @ directions.matrix
    torch.testing.assert_close(product, torch.eye(3).double(), rtol=0, atol=1e-13)


def test_of_equal_width_it_is_a_rotation() -> None:
    """Of both models' states it leaves the loss as it is."""
    given, others, directions = rows(), rows().flip(0), Directions(7, 7).double()
    directions.compute(given, center=True)
    plain, turned = StateMSE()(others, given), StateMSE()(directions(others), directions(given))
    torch.testing.assert_close(turned, plain, rtol=1e-12, atol=0)


def test_signs_do_not_depend_on_the_order_of_rows() -> None:
    found = []
    for given in (rows(), rows().flip(0)):
        found.append(Directions(7, 3).double())
        found[-1].compute(given, center=True)
    torch.testing.assert_close(found[0].matrix, found[1].matrix, rtol=0, atol=1e-12)


def test_a_token_of_each_text_is_drawn_by_seed_and_ids_alone() -> None:
    texts = samples(60, 100)
    batch = collate(texts)
    width = batch["input_ids"].shape[1]
    places = _random_tokens(batch, 1) % width
    assert torch.equal(_random_tokens(batch, 1) // width, torch.arange(60))
    assert (places < batch["attention_mask"].sum(1)).all()
    others = collate(texts[::-1], extra=3)
    assert torch.equal(_random_tokens(others, 1).flip(0) % (width + 3), places)
    assert not torch.equal(_random_tokens(batch, 2) % width, places)
    long = collate([Sample(i, [5 + i, *range(5, 15)], [], [], 0) for i in range(80)])
    assert len({*(_random_tokens(long, 0) % 11).tolist()}) == 11


def method(folder: Path, **knobs: Any) -> HiddenStates:
    seed_everything(0, verbose=False)
    shape = {"hidden_size": NARROW, "num_hidden_layers": 2, "num_attention_heads": 2}
    return HiddenStates(
        student=FreshStudent(config=shape),
        teacher=TeacherSpec(str(folder)),
        projection=PCAProjection(**{"texts": 24, **knobs}),
        dropout=0.0,
        optimizer=lambda groups: torch.optim.SGD(groups, lr=0.1),
        schedule=Constant(warmup=0.0),
    )


def test_a_start_is_not_measured_through_what_nobody_has_computed(
    tiny_bert: Path, tmp_path: Path
) -> None:
    loop = quiet_trainer(default_root_dir=tmp_path, limit_val_batches=1)
    for measure in (loop.validate, loop.test):
        with pytest.raises(UserError, match="PCAProjection has no directions yet: fit computes"):
            measure(method(tiny_bert), [FIRSTS[0]])


TEXTS = samples(30, 100)
FIRSTS = [collate(TEXTS[i : i + 6]) for i in range(0, 30, 6)]
HALVES = [[collate(TEXTS[i : i + 3]) for i in range(start, 30, 6)] for start in (0, 3)]
ONCE = "directions_of_2"


class Counted(Served):
    """Counts how often its training batches are asked for."""

    asked = 0

    def train_dataloader(self) -> Fixed:
        self.asked += 1
        return super().train_dataloader()


def test_it_is_computed_before_validation_from_the_first_texts_and_saved(
    tiny_bert: Path, tmp_path: Path
) -> None:
    given = method(tiny_bert)
    options: dict[str, Any] = {"precision": "64-true", "default_root_dir": tmp_path}
    sane = {"limit_val_batches": 1, "num_sanity_val_steps": 1}
    loop = quiet_trainer(max_steps=2, **options, **sane)
    loop.fit(given, datamodule=Served([FIRSTS], FIRSTS[:1]))
    assert given.measurements["student"].mean["loss"] > 0
    assert list(given.auxiliary) == [ONCE, "directions_of_4"]
    assert not list(given.auxiliary.parameters())
    batch = collate(TEXTS[:24])
    with torch.no_grad():
        teacher = given.teach(batch, given.states.teacher_sites)
    tokens = _random_tokens(batch, 0)
    for (_, other), name in zip(given.states.pairs, given.auxiliary, strict=True):
        ((_, theirs),) = teacher.states(tokens, given.states.theirs[other])
        wanted = Directions(theirs.shape[1], NARROW).double()
        wanted.compute(theirs, center=True)
        found = given.auxiliary[name]
        torch.testing.assert_close(found.matrix, wanted.matrix, rtol=0, atol=1e-10)
        torch.testing.assert_close(found.mean, wanted.mean, rtol=0, atol=1e-12)

    loop.save_checkpoint(tmp_path / "a.ckpt")
    again, other_texts = method(tiny_bert), Counted([[collate(TEXTS[6:])] * 4])
    quiet_trainer(max_steps=3, **options).fit(
        again, datamodule=other_texts, ckpt_path=tmp_path / "a.ckpt"
    )
    assert torch.equal(again.auxiliary[ONCE].matrix, given.auxiliary[ONCE].matrix)
    fresh, first = method(tiny_bert), Counted([FIRSTS])
    quiet_trainer(max_steps=1, **options).fit(fresh, datamodule=first)
    assert first.asked == other_texts.asked + 1  # to compute them


def test_ranks_have_one_map_that_of_one_rank(tiny_bert: Path, tmp_path: Path) -> None:
    alone = method(tiny_bert)
    quiet_trainer(precision="64-true").fit(alone, datamodule=Served([FIRSTS]))

    def work() -> None:
        for name in ("ddp", "fsdp"):
            module, more = method(tiny_bert), {"strategy": "ddp", "precision": "64-true"}
            if name == "fsdp":
                pieces = ModelParallelStrategy(2, 1, process_group_backend="gloo")
                more = {"strategy": pieces, "precision": "32-true"}  # it has no float64
            loop = quiet_trainer(devices=2, max_steps=2, **more)
            loop.fit(module, datamodule=Served(HALVES))
            path = tmp_path / f"{name}-{loop.global_rank}.pt"
            torch.save(module.auxiliary.state_dict(), path)

    on_two_ranks(work, tmp_path / "log.txt")
    for name, near in (("ddp", 1e-10), ("fsdp", 1e-3)):
        first, second = (
            torch.load(tmp_path / f"{name}-{rank}.pt", weights_only=True) for rank in range(2)
        )
        for key, value in alone.auxiliary.state_dict().items():
            assert torch.equal(first[key], second[key]), key
            torch.testing.assert_close(first[key].double(), value, rtol=0, atol=near)


def test_too_few_texts_and_no_data_module_are_refused_before_the_first_step(
    tiny_bert: Path,
) -> None:
    with pytest.raises(UserError, match=r"read 6 texts, which is all .* and needs 8: use more"):
        quiet_trainer().fit(method(tiny_bert), datamodule=Served([FIRSTS[:1]]))
    with pytest.raises(UserError, match="the run has none: give fit a datamodule"):
        quiet_trainer().fit(method(tiny_bert), FIRSTS, FIRSTS)
    with pytest.raises(UserError, match=r"texts is 7, and 8 directions.*set it to 8"):
        quiet_trainer().fit(method(tiny_bert, texts=7), datamodule=Served([FIRSTS]))
    with pytest.raises(UserError, match=r"16 wide, and the student's are wider \(24\)"):
        PCAProjection().build(24, 16)
