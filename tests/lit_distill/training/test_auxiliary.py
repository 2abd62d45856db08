"""Modules that a method trains beside its students: split over ranks, restored, left out."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from batches import Served, collate, samples, typed
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.strategies import ModelParallelStrategy
from own_methods import ProjectedStates
from ranks import on_two_ranks
from shipped_methods import quiet_trainer
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor

from callbacks.watching.non_finite import NonFiniteLoss
from lit_distill.batch import Batch
from lit_distill.errors import UserError
from lit_distill.losses import AccumulationWindow, Term
from lit_distill.models import TeacherSpec, full_state_dict, load_tokenizer, shard_auxiliary
from lit_distill.schedules import Constant

BATCH = typed(collate(samples(6, 100)))
MESH = ("data_parallel", "tensor_parallel")


class Centred(ProjectedStates):
    """The method, with a projection that remembers the mean of what it has read."""

    def on_models_built(self) -> None:
        super().on_models_built()
        self.auxiliary["mean"] = nn.BatchNorm1d(self.student.hidden_size)

    def losses(self, batch: Batch, window: AccumulationWindow) -> dict[str, Term]:
        rows = self.student.encode(batch).rows(batch["tokens"])
        spread: Tensor = self.auxiliary["mean"](rows)
        return {**super().losses(batch, window), "spread": Term(spread.sin().sum(), "tokens")}


def method(
    folder: Path, kind: type[ProjectedStates] = ProjectedStates, **options: Any
) -> ProjectedStates:
    seed_everything(0, verbose=False)  # a seed of an earlier run would reach the ranks alone
    return kind(
        teacher=TeacherSpec(str(folder)),
        dropout=0.0,
        optimizer=lambda groups: torch.optim.SGD(groups, lr=0.1, momentum=0.9),
        schedule=Constant(warmup=0.0),
        **options,
    )


def served(folder: Path, count: int = 2) -> Served:
    return Served([[BATCH] * count] * 2, [BATCH], load_tokenizer(str(folder)))


def trainer(folder: Path, **options: Any) -> Trainer:
    defaults = {
        "precision": "32-true",
        "limit_val_batches": 1,
        "max_epochs": -1,
        "gradient_clip_val": 0.5,
        "callbacks": [NonFiniteLoss()],
    }
    return quiet_trainer(**{"default_root_dir": folder, "max_steps": 2, **defaults, **options})


def in_pieces(folder: Path, **options: Any) -> Trainer:
    strategy = ModelParallelStrategy(
        data_parallel_size=2,
        tensor_parallel_size=1,
        save_distributed_checkpoint=False,
        process_group_backend="gloo",
    )
    return trainer(folder, strategy=strategy, devices=2, **options)


def state_of(path: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(path, weights_only=True)["state_dict"]
    return state


def test_weights_in_pieces_are_saved_whole_and_resume(tiny_bert: Path, tmp_path: Path) -> None:
    single = trainer(tmp_path, max_steps=4)
    single.fit(method(tiny_bert), datamodule=served(tiny_bert))
    single.save_checkpoint(tmp_path / "single.ckpt")

    def work() -> None:
        for name, steps, start in (("four", 4, None), ("two", 2, None), ("again", 4, "two")):
            loop, module = in_pieces(tmp_path, max_steps=steps), method(tiny_bert)
            path = None if start is None else tmp_path / f"{start}.ckpt"
            loop.fit(module, datamodule=served(tiny_bert), ckpt_path=path)
            assert all(isinstance(p, DTensor) for p in module.auxiliary.parameters())
            loop.save_checkpoint(tmp_path / f"{name}.ckpt")

    on_two_ranks(work, tmp_path / "log.txt")
    whole, pieces = (state_of(tmp_path / f"{name}.ckpt") for name in ("single", "four"))
    assert sum(key.startswith("auxiliary.") for key in whole) == 4
    assert whole.keys() == pieces.keys()
    again, half = (state_of(tmp_path / f"{name}.ckpt") for name in ("again", "two"))
    for key, value in whole.items():
        torch.testing.assert_close(pieces[key], value, rtol=0, atol=1e-5, msg=key)
        assert torch.equal(again[key], pieces[key]), key
        assert not (key.startswith("auxiliary.") and torch.equal(half[key], value)), key


def test_buffers_are_the_first_ranks_on_every_rank(tiny_bert: Path, tmp_path: Path) -> None:
    """As under DDP, which gives them out before each forward."""
    others = typed(collate(samples(6, 100, seed=1)))

    def work() -> None:
        loop, module = in_pieces(tmp_path), method(tiny_bert, Centred)
        loop.fit(module, datamodule=Served([[BATCH] * 2, [others] * 2]))
        torch.save(full_state_dict(module.auxiliary), tmp_path / f"{loop.global_rank}.pt")

    on_two_ranks(work, tmp_path / "log.txt")
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert first["mean.running_mean"].abs().sum() > 0
    assert first["mean.num_batches_tracked"] == 2
    for key, value in first.items():
        assert torch.equal(second[key], value), key


class Scaled(nn.Module):
    """A factor without dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(()))

    def forward(self, states: Tensor) -> Tensor:
        return states * self.factor


def test_what_cannot_be_split_is_refused(tmp_path: Path) -> None:
    loose = nn.ParameterDict({"bias": nn.Parameter(torch.zeros(3))})

    def work() -> None:
        torch.distributed.init_process_group("gloo")
        mesh = init_device_mesh("cpu", (2, 1), mesh_dim_names=MESH)
        with pytest.raises(UserError, match=r"auxiliary\.scale\.factor is a single number"):
            shard_auxiliary({"scale": Scaled()}, mesh)
        with pytest.raises(UserError, match=r"auxiliary\.all\.0 is a ParameterDict"):
            shard_auxiliary({"all": nn.ModuleList([loose])}, mesh)
        torch.distributed.destroy_process_group()

    on_two_ranks(work, tmp_path / "log.txt")


def test_initial_weights_follow_the_seed_alone(tiny_bert: Path, tmp_path: Path) -> None:
    """Not what was drawn before, nor the precision; a new seed gives new ones."""
    found = []
    for precision, seed in (("32-true", 0), ("64-true", 0), ("32-true", 1)):
        module = method(tiny_bert)
        torch.manual_seed(seed)
        torch.rand(7 * len(found))
        loop = trainer(tmp_path, precision=precision, max_steps=0)
        loop.fit(module, datamodule=served(tiny_bert))
        found.append(module.auxiliary["narrow"].state_dict()["0.weight"].float())
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_validation_needs_no_teacher(tiny_bert: Path, tmp_path: Path) -> None:
    """Though what is trained beside the student is made from it, and in the checkpoint."""
    folder = shutil.copytree(tiny_bert, tmp_path / "teacher")
    given, loop = method(folder), trainer(tmp_path)
    loop.fit(given, datamodule=served(tiny_bert))
    loop.save_checkpoint(tmp_path / "a.ckpt")
    (with_teacher,) = loop.validate(given, datamodule=served(tiny_bert), verbose=False)
    again = method(folder)  # with a teacher, all is restored
    path = tmp_path / "a.ckpt"
    trainer(tmp_path).validate(again, datamodule=served(tiny_bert), ckpt_path=path, verbose=False)
    for key, value in given.auxiliary.state_dict().items():
        assert torch.equal(again.auxiliary.state_dict()[key], value), key
    shutil.rmtree(folder)
    for command in ("validate", "test"):
        alone = method(folder)
        data = served(tiny_bert)
        data.test_dataloader = data.val_dataloader  # type: ignore[method-assign]
        (scores,) = getattr(trainer(tmp_path), command)(
            alone, datamodule=data, ckpt_path=path, verbose=False
        )
        (loss,) = (value for key, value in scores.items() if key.endswith("/loss"))
        assert loss == pytest.approx(with_teacher["val/loss"], rel=1e-6)


def test_a_resumed_fit_misses_none_of_them(tiny_bert: Path, tmp_path: Path) -> None:
    loop = trainer(tmp_path)
    loop.fit(method(tiny_bert), datamodule=served(tiny_bert))
    loop.save_checkpoint(tmp_path / "a.ckpt")
    saved = torch.load(tmp_path / "a.ckpt", weights_only=True)
    for key in [key for key in saved["state_dict"] if key.startswith("auxiliary.narrow")]:
        del saved["state_dict"][key]
    torch.save(saved, tmp_path / "short.ckpt")
    with pytest.raises(RuntimeError, match=r"Missing key.*auxiliary\.narrow"):
        trainer(tmp_path, max_steps=3).fit(
            method(tiny_bert), datamodule=served(tiny_bert), ckpt_path=tmp_path / "short.ckpt"
        )
