"""Stages of a run: what trains on what, and exactly until when."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from batches import Fixed, Served, collate, samples, window
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.strategies import ModelParallelStrategy
from ranks import on_two_ranks
from shipped_methods import Keep, quiet_trainer, read
from torch import Tensor

from callbacks.saving.rng_state import RngState
from lit_distill.batch import Batch
from lit_distill.losses import AccumulationWindow
from lit_distill.measures import Measurement
from lit_distill.methods import HiddenStates, TripleLoss
from lit_distill.models import LayerCopyStudent, TeacherSpec, shard
from lit_distill.schedules import Constant, Linear
from lit_distill.training.distillation import Distillation
from lit_distill.training.stages.stage import Plateau, Stage
from lit_distill.training.stages.staged_method import staged
from lit_distill.training.stages.watching import watched_value
from lit_distill.training.updates import ModelUpdate

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


def descent(groups: Any) -> torch.optim.Optimizer:
    """By which gradients that are zero but for rounding make no steps, as they do by Adam."""
    return torch.optim.SGD(groups, lr=0.1, momentum=0.5, weight_decay=0.1)


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
        self.began: list[dict[str, Tensor]] = []  # at the first update of each stage

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        own = Distillation.of(pl_module).stages.progress
        if own.stages and trainer.global_step == own.began:
            named = pl_module.named_parameters()
            self.began.append({name: value.detach().clone() for name, value in named})

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


def test_one_stage_of_everything_is_a_run_without_stages(tiny_bert: Path) -> None:
    """To the last bit, dropout included."""
    ends = []
    for plan in (None, [Stage("all")]):
        module = method(tiny_bert, plan)
        fitted(module, [PARTS], max_steps=3)
        ends.append(module.state_dict())
    assert not differing(*ends)


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
        module = method(tiny_bert, dropout=0.0, optimizer=descent)
        fitted(module, ranks, callbacks=[Keep(path)], **more)
        changes.append(read(path))
    whole, parts = changes
    assert (whole - parts).norm() / whole.norm() < 1e-10


@pytest.mark.rotated(2)  # two processes
def test_weights_in_pieces_train_as_whole_ones(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FSDP2 has gradients of what a stage freezes, which nobody sees; and its best are put back."""
    monkeypatch.setattr(
        "lit_distill.training.building.shard", lambda model, mesh: shard(model.double(), mesh)
    )
    options: dict[str, Any] = {"val_check_interval": 1, "limit_val_batches": 1.0}
    plan = [replace(WATCHED[0], weights={"*": 0, "cos": 2.0}), *WATCHED[1:]]
    whole, pieces = tmp_path / "whole.pt", tmp_path / "pieces.pt"
    own = {"dropout": 0.0, "optimizer": descent}
    module = method(tiny_bert, plan, **own)
    fitted(module, [WHOLE], callbacks=[Keep(whole)], **options)
    assert module.stages.progress.ends == [2, 5]

    def work() -> None:
        strategy = ModelParallelStrategy(
            data_parallel_size=2, tensor_parallel_size=1, process_group_backend="gloo"
        )
        more = {**options, "strategy": strategy, "devices": 2, "precision": "32-true"}
        ranks = [[part] for part in PARTS]
        fitted(method(tiny_bert, plan, **own), ranks, callbacks=[Keep(pieces)], **more)

    on_two_ranks(work, tmp_path / "log.txt")
    change = read(whole)
    assert (change - read(pieces)).norm() / change.norm() < 1e-10


class Values(Callback):
    """What validations found of the stage's loss, and the last ones of no stage."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.values.append(float(trainer.callback_metrics.get("val/stage_loss", math.nan)))


WATCHED = [
    Stage("body", until=Plateau(patience=1, min_delta=0.5), freeze=["cls"], restore_best=True),
    Stage("head", until=5, train=["cls.predictions.bias"], weights={"cos": 0}, restore_best=True),
    Stage("all", rate=0.1),
]
"""Its first stage ends after the second validation, which is better by less than 0.5."""


def test_the_best_weights_of_a_stage_are_put_back(tiny_bert: Path) -> None:
    """The student climbs, so that the first validation of a stage is its best."""
    watch, seen = Watch(), Values()
    climbs = {"student": ModelUpdate(options={"maximize": True})}
    module = method(tiny_bert, WATCHED, dropout=0.0, per_model=climbs)
    fitted(module, [WHOLE], callbacks=[watch, seen], val_check_interval=1, limit_val_batches=1.0)
    assert module.stages.progress.ends == [2, 5]
    _, *values = seen.values  # the first one is of the trial before training
    assert values[0] < values[1]
    assert values[2] < min(values[3:5])
    for number, best in ((1, 1), (2, 3)):
        assert not differing(watch.weights[best], watch.began[number])
        assert differing(watch.weights[best], watch.weights[best + 1])


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


def test_weights_that_were_put_back_begin_anew(tiny_bert: Path) -> None:
    """Their moments belonged to others: a first step of Adam is the rate, in every direction."""
    watch = Watch()
    fitted(
        method(tiny_bert, WATCHED, dropout=0.0),
        [WHOLE], callbacks=[watch], val_check_interval=1, limit_val_batches=1.0,
    )  # fmt: skip
    bias = next(name for name in watch.weights[0] if name.endswith("predictions.bias"))
    query = next(name for name in watch.weights[0] if "layer.0.attention.self.query.w" in name)
    assert query in watch.moments[2]
    assert query not in watch.moments[3]
    steps = (watch.weights[6][bias] - watch.began[2][bias]).abs()
    assert steps.max() == pytest.approx(0.01 * 0.1, rel=1e-3)  # the last stage's rate


def test_a_rate_is_that_of_its_stage_from_its_first_update_on(tiny_bert: Path) -> None:
    plan = [Stage("a", until=2), Stage("b", until=4, rate=3.0), Stage("c", rate=0.5)]
    rates: list[float] = []

    class Rates(Callback):
        def on_before_optimizer_step(self, trainer: Trainer, *_: Any) -> None:
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    fitted(method(tiny_bert, plan, schedule=Linear(warmup=0.0)), [WHOLE], callbacks=[Rates()])
    factors = [1.0, 1.0, 3.0, 3.0, 0.5, 0.5]
    expected = [0.01 * (1 - n / UPDATES) * factor for n, factor in enumerate(factors)]
    assert rates == pytest.approx(expected, rel=1e-12)


def test_validations_are_measured_by_the_last_stage(tiny_bert: Path) -> None:
    """Of methods that measure their own terms, so that all stages can be compared."""
    seed_everything(0, verbose=False)
    plan = [Stage("a", until=1, weights={"*": 2}), Stage("b", weights={"*": 0, "state_2_4": 3})]
    module = HiddenStates(
        teacher=TeacherSpec(str(tiny_bert)), student=LayerCopyStudent(), stages=plan
    )
    loop = quiet_trainer(max_steps=1, limit_val_batches=1.0)
    loop.fit(module, datamodule=Served([WHOLE], WHOLE))
    found = {name: float(value) for name, value in loop.callback_metrics.items()}
    assert found["val/state_1_2"] > 0
    assert found["val/loss"] == pytest.approx(3 * found["val/state_2_4"], rel=1e-6)


def test_a_stage_may_be_watched_by_a_metric_of_which_more_is_better(tiny_bert: Path) -> None:
    stage = Stage("a", until=Plateau(patience=1), monitor="val/accuracy")
    module = method(tiny_bert, [stage, Stage("b")], dropout=0.0)
    loop = fitted(module, [WHOLE], max_steps=1, val_check_interval=1, limit_val_batches=1.0)
    assert module.stages.progress.best is not None
    module.measurements = {"student": Measurement(mean={"accuracy": 0.25, "kl": 0.5})}
    assert watched_value(stage, staged(module), loop) == -0.25
    assert watched_value(replace(stage, monitor="val/kl"), staged(module), loop) == 0.5
