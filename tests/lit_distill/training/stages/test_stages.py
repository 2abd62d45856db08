"""Stages of a run: what trains on what, and exactly until when."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from batches import Fixed, Served, collate, samples, window
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from shipped_methods import Keep, quiet_trainer, read
from torch import Tensor

from callbacks.saving.rng_state import RngState
from lit_distill.batch import Batch
from lit_distill.losses import AccumulationWindow
from lit_distill.methods import TripleLoss
from lit_distill.models import LayerCopyStudent, TeacherSpec
from lit_distill.schedules import Constant
from lit_distill.training.distillation import Distillation
from lit_distill.training.stages.stage import Plateau, Stage

TEXTS = samples(6, 100)
WHOLE = [collate(TEXTS)]
PARTS = [collate(TEXTS[:1]), collate(TEXTS[1:])]  # uneven
UPDATES = 6
PLAN = [
    Stage("states", until=2, freeze=["cls"], weights={"*": 0, "cos": 2.0}),
    Stage("logits", until=4, train=["cls", "encoder.layer.1"], weights={"cos": 0, "mlm": 0.5}),
    Stage("all"),
]


def method(folder: Path, plan: list[Stage] | None = PLAN, **options: Any) -> TripleLoss:
    seed_everything(0, verbose=False)
    defaults = {
        "teacher": TeacherSpec(str(folder)),
        "student": LayerCopyStudent(num_layers=2),
        "dropout": 0.1,
        "optimizer": lambda groups: torch.optim.AdamW(groups, lr=0.01, weight_decay=0.1),
        "schedule": Constant(warmup=0.0),
        "stages": plan,
    }
    return TripleLoss(**{**defaults, **options})


class Windows(Fixed):
    """A loader that goes on at any window, for all are the same."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


class Repeated(Served):
    """Serves windows that are all the same."""

    def train_dataloader(self) -> Windows:
        return Windows(super().train_dataloader().batches)


def fitted(module: Distillation, ranks: list[list[Batch]], **options: Any) -> Trainer:
    start = options.pop("ckpt_path", None)
    defaults: dict[str, Any] = {"max_epochs": -1, "max_steps": UPDATES, "gradient_clip_val": 1.0}
    loop = quiet_trainer(accumulate_grad_batches=len(ranks[0]), **{**defaults, **options})
    data = Repeated([window(batches) * UPDATES for batches in ranks], WHOLE)
    loop.fit(module, datamodule=data, ckpt_path=start)
    return loop


class Stop(Callback):
    """Ends a run early, as a killed one: its schedule is that of the whole one."""

    def __init__(self, after: int) -> None:
        self.after = after

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        trainer.should_stop = trainer.global_step >= self.after


class Watch(Callback):
    """Copies all parameters, and what has moments, at the start and after every update."""

    def __init__(self) -> None:
        self.weights: list[dict[str, Tensor]] = []
        self.moments: list[dict[str, Tensor]] = []
        self.losses: list[float] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._note(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any
    ) -> None:
        self.losses.append(float(outputs["loss"]))
        self._note(trainer, pl_module)

    def _note(self, trainer: Trainer, module: LightningModule) -> None:
        named = dict(module.named_parameters())
        self.weights.append({n: p.detach().clone() for n, p in named.items() if "teach" not in n})
        states = trainer.optimizers[0].state
        self.moments.append(
            {n: states[p]["exp_avg"].clone() for n, p in named.items() if states.get(p)}
        )


def moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name, value in after.items() if not torch.equal(value, before[name])}


def test_what_a_stage_freezes_stays_as_it_is(tiny_bert: Path) -> None:
    watch = Watch()
    fitted(method(tiny_bert), [WHOLE], callbacks=[watch])
    names = set(watch.weights[0])
    # The table is the head's decoder, too, and so is frozen, and trained, as a part of `cls`.
    head = {n for n in names if ".cls." in n or "word_embeddings" in n}
    top = {n for n in names if ".encoder.layer.1." in n}
    assert head
    assert top
    body = names - head
    for update, expected in enumerate([body, body, head | top, head | top, names, names]):
        changed = moved(watch.weights[update], watch.weights[update + 1])
        assert changed == {n for n in expected if "pooler" not in n}, update
        rest = watch.moments[update].keys() - expected
        for name in rest:  # they wait
            assert torch.equal(watch.moments[update][name], watch.moments[update + 1][name])
    assert head.isdisjoint(watch.moments[2])
    assert head & watch.moments[4].keys()


def test_the_loss_of_a_stage_is_weighed_by_it(tiny_bert: Path) -> None:
    watch = Watch()
    module = method(tiny_bert, dropout=0.0)
    fitted(module, [WHOLE], callbacks=[watch])
    again = method(tiny_bert, None, dropout=0.0)
    fitted(again, [WHOLE], max_steps=0)
    own = {"cos": 1.0, "kd": 5.0, "mlm": 2.0}
    for update, loss in enumerate(watch.losses):
        state = {**again.state_dict(), **watch.weights[update]}
        again.load_state_dict(state)
        with torch.no_grad():
            single = AccumulationWindow.single(WHOLE[0])
            terms = again.losses(WHOLE[0], single)
            means = {name: float(t.sum) / single.totals[t.per] for name, t in terms.items()}
        factors = [
            *[{"cos": 2.0, "kd": 0.0, "mlm": 0.0}] * 2,
            *[{"cos": 0.0, "kd": 1.0, "mlm": 0.5}] * 2,
            *[dict.fromkeys(own, 1.0)] * 2,
        ][update]
        expected = sum(own[name] * factors[name] * means[name] for name in own)
        assert loss == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("split", [[PARTS[:1], PARTS[1:]], [PARTS]], ids=["2 ranks", "2 parts"])
def test_ranks_and_micro_batches_are_as_one(
    tiny_bert: Path, tmp_path: Path, split: list[list[Batch]]
) -> None:
    """DDP waits for the gradients of the present stage alone."""
    changes = []
    for ranks in ([WHOLE], split):
        more = {"strategy": "ddp_fork", "devices": 2} if len(ranks) > 1 else {}
        path = tmp_path / f"{len(changes)}.pt"
        fitted(method(tiny_bert, dropout=0.0), ranks, callbacks=[Keep(path)], **more)
        changes.append(read(path))
    whole, parts = changes
    assert (whole - parts).norm() / whole.norm() < 1e-10


WATCHED = [
    Stage("body", until=Plateau(patience=1, min_delta=0.5), freeze=["cls"], restore_best=True),
    Stage("head", until=5, train=["cls.predictions.bias"], weights={"cos": 0}, restore_best=True),
    Stage("all", rate=0.1),
]
"""Its first stage ends after the second validation, which is better by less than 0.5."""


def test_the_best_weights_of_a_stage_are_put_back(tiny_bert: Path) -> None:
    watch = Watch()
    module = method(tiny_bert, WATCHED)
    fitted(module, [WHOLE], callbacks=[watch], val_check_interval=1, limit_val_batches=1.0)
    assert module.stages.progress.ends == [2, 5]


def differing(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[str]:
    return [name for name, value in one.items() if not torch.equal(value, other[name])]


@pytest.mark.parametrize("batches", [WHOLE, PARTS], ids=["whole", "parts"])
@pytest.mark.parametrize("stop", [1, 2, 3, 4, 5])
def test_a_resumed_run_ends_as_the_whole_one(
    tiny_bert: Path, tmp_path: Path, stop: int, batches: list[Batch]
) -> None:
    """Inside of every stage, and between them: weights, moments, and what was seen of the stage."""
    options: dict[str, Any] = {
        "val_check_interval": len(batches),
        "limit_val_batches": 1.0,
    }
    ends = []
    for stops in ([], [stop]):
        save = None
        for until in [*stops, UPDATES]:
            loop = fitted(
                method(tiny_bert, WATCHED), [batches], ckpt_path=save, **options,
                callbacks=[Stop(until), RngState()],
            )  # fmt: skip
            save = str(tmp_path / f"{len(ends)}.ckpt")
            loop.save_checkpoint(save)
        ends.append(torch.load(save, weights_only=True))
    whole, resumed = ends
    assert not differing(whole["state_dict"], resumed["state_dict"])
    states = [end["optimizer_states"][0]["state"] for end in ends]
    assert states[0].keys() == states[1].keys()
    for number, state in states[0].items():
        assert not differing(state, states[1][number])
    one, other = (end["callbacks"]["Stages"] for end in ends)
    assert {k: v for k, v in one.items() if k != "weights"} == {
        k: v for k, v in other.items() if k != "weights"
    }
