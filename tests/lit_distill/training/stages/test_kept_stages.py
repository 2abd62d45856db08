"""What a run of stages keeps: its best weights, and all that a resumed one goes on from."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import ModelParallelStrategy
from ranks import on_two_ranks
from shipped_methods import Keep, read, trained
from staged import (
    PARTS,
    UPDATES,
    WATCHED,
    WHOLE,
    Stop,
    Watch,
    descent,
    differing,
    fitted,
    method,
)

from callbacks.saving.rng_state import RngState
from lit_distill.batch import Batch
from lit_distill.models import shard
from lit_distill.training.updates import ModelUpdate


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
        def run(folders: bool = False, **more: Any) -> Trainer:
            strategy = ModelParallelStrategy(
                data_parallel_size=2,
                tensor_parallel_size=1,
                save_distributed_checkpoint=folders,
                process_group_backend="gloo",
            )
            more = {**options, "strategy": strategy, "devices": 2, "precision": "32-true", **more}
            return fitted(method(tiny_bert, plan, **own), [[part] for part in PARTS], **more)

        run(callbacks=[Keep(pieces)])
        for folders in (False, True):
            save = None
            for until in (1, 3, 4, UPDATES):  # inside of each stage; the second one's best is seen
                more: dict[str, Any] = {"callbacks": [Stop(until), RngState()], "ckpt_path": save}
                loop = run(folders and until < UPDATES, **more)
                save = str(tmp_path / f"{'folders' if folders else 'files'}-{until}.ckpt")
                loop.save_checkpoint(save)

    on_two_ranks(work, tmp_path / "log.txt")
    change = read(whole)
    assert (change - read(pieces)).norm() / change.norm() < 1e-10
    assert (tmp_path / "folders-3.ckpt").is_dir()
    ends = trained(module)
    for kind in ("files", "folders"):
        last = torch.load(tmp_path / f"{kind}-{UPDATES}.ckpt", weights_only=True)
        assert last["callbacks"]["Stages"]["ends"] == [2, 5]
        module.load_state_dict(last["state_dict"])
        assert (trained(module) - ends).norm() / change.norm() < 1e-10, kind


class Values(Callback):
    """What validations found of the stage's loss, and the last ones of no stage."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.values.append(float(trainer.callback_metrics.get("val/stage_loss", math.nan)))


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
