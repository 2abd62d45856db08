"""Stages of a run: what trains on what, and exactly until when."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from batches import Served
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from shipped_methods import Keep, quiet_trainer, read
from staged import (
    PARTS,
    UPDATES,
    WHOLE,
    Watch,
    descent,
    differing,
    fitted,
    method,
    moved,
)

from lit_distill.batch import Batch
from lit_distill.losses import AccumulationWindow
from lit_distill.measures import Measurement
from lit_distill.methods import HiddenStates
from lit_distill.models import LayerCopyStudent, TeacherSpec
from lit_distill.schedules import Linear
from lit_distill.training.stages.stage import Plateau, Stage
from lit_distill.training.stages.staged_method import staged
from lit_distill.training.stages.watching import watched_value


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


class Values(Callback):
    """What validations found of the stage's loss, and the last ones of no stage."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.values.append(float(trainer.callback_metrics.get("val/stage_loss", math.nan)))


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
