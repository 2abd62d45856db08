"""When a run is saved, and what happens when it is told to stop."""

from __future__ import annotations

import errno
import json
import os
import signal
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from safetensors.torch import load_file
from torch.multiprocessing import ProcessExitedException

import callbacks.saving.checkpoint_io
from callbacks import AtomicCheckpointIO, ExportStudent, RunCheckpoint
from lit_distill.errors import UserError
from lit_distill.tools.export import export

KINDS = ("student", "student-last")
Fit = Callable[..., tuple[Trainer, Any]]


def saved(folder: Path, name: str) -> dict[str, Any]:
    loaded = torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)
    assert isinstance(loaded, dict)
    return loaded


def updates(folder: Path, name: str) -> int:
    return int(saved(folder, name)["global_step"])


class Saves(RunCheckpoint):
    """Notes the micro-batch and update of every save."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.seen: list[tuple[int, int]] = []

    def _save_checkpoint(self, trainer: Trainer, filepath: str) -> None:
        self.seen.append((trainer.fit_loop.epoch_loop.total_batch_idx + 1, trainer.global_step))
        super()._save_checkpoint(trainer, filepath)


class Scripted(Callback):
    """Logs given values of `val/scripted`, one at each validation."""

    def __init__(self, values: list[float]) -> None:
        self.values = iter(values)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        pl_module.log("val/scripted", next(self.values))


class SendsSignal(Callback):
    """Sends this process a signal at a micro-batch of training, or of validation."""

    def __init__(self, number: int, train: int = -1, validation: int = -1) -> None:
        self.number, self.train, self.validation = number, train, validation

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx == self.train:
            os.kill(os.getpid(), self.number)

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if batch_idx == self.validation:
            os.kill(os.getpid(), self.number)


def test_saves_every_n_updates_and_keeps_the_one_before(fit: Fit, tmp_path: Path) -> None:
    callback = Saves(every_n_updates=3, every_n_minutes=0)
    fit(callback, limit_val_batches=0)
    # every third, and each epoch's end (8); the last update of a run is one
    assert [update for _, update in callback.seen] == [3, 6, 8, 9, 12, 15, 16]
    assert (updates(tmp_path, "last"), updates(tmp_path, "previous")) == (16, 15)
    assert not (tmp_path / "checkpoints" / "best.ckpt").exists()


def test_saves_by_time(fit: Fit) -> None:
    callback = Saves(every_n_minutes=1e-9)
    fit(callback, limit_val_batches=0, max_epochs=1)
    assert [update for _, update in callback.seen] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_save_waits_for_the_edge_of_its_window(fit: Fit, tmp_path: Path) -> None:
    # due at any time; validations after 3 and 6 of each 8 micro-batches, in windows of 2
    callback = Saves(every_n_minutes=1e-9, monitor="val/scripted")
    script = Scripted([4.0, 3.0, 2.0, 1.0])
    fit(callback, script, accumulate=2, val_check_interval=3, max_epochs=1)
    assert callback.seen
    for micro_batches, update in callback.seen:
        assert micro_batches == 2 * update
    # 3: inside a window, saved after 4; 6: an edge
    assert (updates(tmp_path, "best"), callback.best) == (3, {"best": 3.0})


def test_a_best_found_inside_a_window_is_saved_at_its_edge(fit: Fit, tmp_path: Path) -> None:
    callback = Saves(every_n_minutes=0, monitor="val/scripted")
    fit(callback, Scripted([1.0, 2.0]), accumulate=2, val_check_interval=3, max_epochs=1)
    assert updates(tmp_path, "best") == 2


@pytest.mark.parametrize(
    ("mode", "values", "best"),
    [
        ("min", [3.0, 1.0, float("nan"), 2.0], 4),
        ("max", [3.0, 1.0, float("nan"), 4.0], 8),
        ("min", [float("nan")] * 4, None),
    ],
)
def test_best_is_the_best(
    fit: Fit, tmp_path: Path, mode: Any, values: list[float], best: int | None
) -> None:
    callback = RunCheckpoint(monitor="val/scripted", mode=mode)
    fit(callback, Scripted(values), val_check_interval=2, max_epochs=1)
    if best is None:
        assert not (tmp_path / "checkpoints" / "best.ckpt").exists()
    else:
        assert updates(tmp_path, "best") == best
        # so that `trainer.test(ckpt_path="best")` finds it
        assert callback.best_model_path == str(tmp_path / "checkpoints" / "best.ckpt")
    assert updates(tmp_path, "last") == 8


class ScriptedPeers(Callback):
    """Logs given values of `val/<student>/scripted` at each validation."""

    def __init__(self, **values: list[float]) -> None:
        self.values = {name: iter(of) for name, of in values.items()}

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for name, values in self.values.items():
            pl_module.log(f"val/{name}/scripted", next(values))


def test_every_student_has_its_own_best(fit: Fit, tmp_path: Path) -> None:
    script = ScriptedPeers(large=[2.0, 1.0, 3.0, 4.0], small=[4.0, 3.0, 3.0, 1.0])
    checkpoint, exporter = (kind(monitor="val/scripted") for kind in (RunCheckpoint, ExportStudent))
    callbacks: list[Callback] = [script, exporter, checkpoint]
    fit(*callbacks, students=("large", "small"), val_check_interval=2, max_epochs=1)
    assert updates(tmp_path, "best-large") == 4
    assert updates(tmp_path, "best-small") == 8
    assert not (tmp_path / "checkpoints" / "best.ckpt").exists()
    assert exporter.best == {"large": 1.0, "small": 1.0}
    found = json.loads((tmp_path / "report.json").read_text())["best"]["students"]
    assert {name: own["updates"] for name, own in found.items()} == {"large": 4, "small": 8}
    kept, last = (load_file(tmp_path / kind / "large/model.safetensors") for kind in KINDS)
    best = saved(tmp_path, "best-large")["state_dict"]
    weight = "bert.embeddings.word_embeddings.weight"
    assert torch.equal(kept[weight], best[f"students.large.model.{weight}"])
    assert not torch.equal(kept[weight], last[weight])
    folders = export(str(tmp_path), str(tmp_path / "out"))
    assert set(folders) == {"large", "small"}
    assert torch.equal(load_file(folders["large"] / "model.safetensors")[weight], kept[weight])
    assert "after 8 updates" in (folders["small"] / "README.md").read_text()


@pytest.mark.parametrize(("kind", "name"), [(RunCheckpoint, "best"), (ExportStudent, "student")])
def test_the_best_of_older_checkpoints_is_read(
    kind: type[RunCheckpoint | ExportStudent], name: str, tmp_path: Path
) -> None:
    older = {"monitor": "val/loss", "mode": "min", "report": {}, "untrained": None}
    for best, expected in ((1.5, {name: 1.5}), (None, {})):
        callback = kind()
        if isinstance(callback, RunCheckpoint):
            callback.dirpath = str(tmp_path)
        callback.load_state_dict({**older, "best": best})
        assert callback.best == expected


def test_the_best_is_remembered_over_a_resume_with_another_period(fit: Fit, tmp_path: Path) -> None:
    first = RunCheckpoint(monitor="val/scripted")
    fit(first, Scripted([1.0]), max_epochs=1)
    second = RunCheckpoint(monitor="val/scripted", every_n_updates=3)
    last = tmp_path / "checkpoints" / "last.ckpt"
    fit(second, Scripted([2.0]), max_epochs=2, ckpt_path=last)
    assert (updates(tmp_path, "best"), updates(tmp_path, "last")) == (8, 16)
    assert saved(tmp_path, "last")["callbacks"]["RunCheckpoint"]["best"] == {"best": 1.0}


def test_a_best_without_its_name_is_named_after_a_resume(fit: Fit, tmp_path: Path) -> None:
    """As after a kill between `last` and `best`."""
    folder = tmp_path / "checkpoints"
    metric = {"monitor": "val/scripted"}
    fit(RunCheckpoint(**metric), Scripted([2.0, 1.0]), val_check_interval=4, max_epochs=1)
    os.replace(folder / "previous.ckpt", folder / "best.ckpt")
    fit(RunCheckpoint(**metric), Scripted([3.0]), max_epochs=2, ckpt_path=folder / "last.ckpt")
    assert (updates(tmp_path, "best"), updates(tmp_path, "last")) == (8, 16)


@pytest.mark.filterwarnings("ignore:.*your dataloader is not resumable")
def test_what_others_save_is_no_best(fit: Fit, tmp_path: Path) -> None:
    other = tmp_path / "checkpoints" / "other.ckpt"

    class SavesToo(Callback):
        def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
            if trainer.global_step == 6:
                trainer.save_checkpoint(other)

    options = {"val_check_interval": 4, "max_epochs": 1}
    fit(RunCheckpoint(monitor="val/scripted"), SavesToo(), Scripted([1.0, 2.0]), **options)
    fit(RunCheckpoint(monitor="val/scripted"), Scripted([2.0]), ckpt_path=other, **options)
    assert (updates(tmp_path, "best"), updates(tmp_path, "last")) == (4, 8)


def test_nothing_is_saved_while_trying_out(fit: Fit, tmp_path: Path) -> None:
    fit(RunCheckpoint(every_n_updates=1), fast_dev_run=True)
    assert not list((tmp_path / "checkpoints").iterdir())


def test_a_full_disk_does_not_end_training(
    fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Watches(Callback):
        def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
            if trainer.global_step:
                at[trainer.global_step] = updates(tmp_path, "last")

    at: dict[int, int] = {}
    fill_disk(monkeypatch, {4, 5})
    with pytest.warns(UserWarning, match=r"No space left on device.*next save tries again"):
        fit(RunCheckpoint(every_n_updates=1), Watches(), limit_val_batches=0, max_epochs=1)
    assert at == {1: 1, 2: 2, 3: 3, 4: 3, 5: 3, 6: 6, 7: 7}


def test_a_best_that_could_not_be_written_does_not_stand_above_later_ones(
    fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_disk(monkeypatch, {8})
    with pytest.warns(UserWarning, match=r"No space left on device.*next save tries again"):
        fit(
            RunCheckpoint(monitor="val/scripted"),
            Scripted([3.0, 1.0, 2.0, 2.5]),
            val_check_interval=4,
            max_epochs=2,
        )
    assert (updates(tmp_path, "best"), updates(tmp_path, "last")) == (12, 16)


def test_an_end_that_cannot_be_saved_is_an_error(
    fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_disk(monkeypatch, {8})
    with (
        pytest.warns(UserWarning, match="No space left on device"),
        pytest.raises(UserError, match="No space left on device"),
    ):
        fit(RunCheckpoint(every_n_updates=3), limit_val_batches=0, max_epochs=1)
    assert updates(tmp_path, "last") == 6


def fill_disk(monkeypatch: pytest.MonkeyPatch, at_updates: set[int]) -> None:
    """Lets checkpoints after these updates fail half way."""
    real = torch.save

    def save(checkpoint: dict[str, Any], file: Any) -> None:
        if checkpoint["global_step"] in at_updates:
            file.write(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(checkpoint, file)

    monkeypatch.setattr(callbacks.saving.checkpoint_io.torch, "save", save)


def test_a_folder_that_cannot_be_written_is_found_before_training(fit: Fit, tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("a file")
    with pytest.raises(UserError, match=r"cannot be written to .*--run_dir"):
        fit(RunCheckpoint())


def test_an_earlier_run_is_not_overwritten(fit: Fit, tmp_path: Path) -> None:
    fit(RunCheckpoint(), max_epochs=1)
    with pytest.raises(UserError, match=r"earlier run.*--ckpt_path last"):
        fit(RunCheckpoint(), max_epochs=1)
    assert updates(tmp_path, "last") == 8


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"]
)
def test_a_signal_finishes_the_update_saves_and_says_how_to_go_on(
    fit: Fit,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    number: int,
    code: int,
) -> None:
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as caught:
        fit(Saves(every_n_minutes=0), SendsSignal(number, train=2), accumulate=2)
    assert caught.value.code == code
    assert updates(tmp_path, "last") == 2  # micro-batches 2 and 3 are the second update
    command = f"python -m lit_distill fit --config {tmp_path}/config.yaml --ckpt_path last"
    printed = capfd.readouterr()
    assert command in printed.out
    assert "will stop after this update" in printed.err
    assert signal.getsignal(number) == before


def test_a_signal_does_not_wait_for_a_validation(fit: Fit, tmp_path: Path) -> None:
    callback, sender = Saves(every_n_minutes=0), SendsSignal(signal.SIGTERM, validation=0)
    with pytest.raises(SystemExit):
        fit(callback, sender, val_check_interval=4)
    assert callback.seen == [(4, 4)]


def test_the_second_signal_ends_the_process_at_once(fit: Fit) -> None:
    class Twice(SendsSignal):
        def on_train_batch_start(self, *arguments: Any) -> None:
            super().on_train_batch_start(*arguments)
            super().on_train_batch_start(*arguments)

    child = os.fork()
    if child == 0:
        try:
            fit(RunCheckpoint(), Twice(signal.SIGINT, train=1))
        finally:
            os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGINT


def test_signals_are_ours_only_while_training(fit: Fit) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    fit(RunCheckpoint())
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_signal_to_one_rank_stops_all_at_the_same_update(fit: Fit, tmp_path: Path) -> None:
    class ToRankOne(SendsSignal):
        def on_train_batch_start(
            self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
        ) -> None:
            if trainer.global_rank == 1:
                super().on_train_batch_start(trainer, pl_module, batch, batch_idx)

    options = {"strategy": "ddp_fork", "devices": 2, "limit_val_batches": 0, "ranks": 2}
    with pytest.raises(ProcessExitedException, match="exit code 143"):
        fit(RunCheckpoint(), ToRankOne(signal.SIGTERM, train=2), accumulate=2, **options)
    assert updates(tmp_path, "last") == 2


def test_ranks_agree_on_time_and_on_the_best(fit: Fit, tmp_path: Path) -> None:
    class OnRankZero(Scripted):
        def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            pl_module.log("val/scripted", next(self.values), sync_dist=True, rank_zero_only=True)

    options = {"strategy": "ddp_fork", "devices": 2, "ranks": 2, "max_epochs": 1}
    checkpoint = RunCheckpoint(every_n_minutes=1e-9, monitor="val/scripted")
    fit(checkpoint, OnRankZero([2.0, 1.0]), val_check_interval=4, **options)
    assert (updates(tmp_path, "best"), updates(tmp_path, "last")) == (8, 8)


def test_a_failed_save_does_not_leave_the_other_ranks_waiting(fit: Fit, tmp_path: Path) -> None:
    class Full(AtomicCheckpointIO):
        def save_checkpoint(
            self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
        ) -> None:
            if checkpoint.get("global_step", 8) < 8:
                raise UserError("full")
            super().save_checkpoint(checkpoint, path)

    warnings.filterwarnings("ignore", "full")
    options = {"strategy": "ddp_fork", "devices": 2, "ranks": 2, "limit_val_batches": 0}
    fit(RunCheckpoint(every_n_updates=3), max_epochs=1, plugins=[Full()], **options)
    assert updates(tmp_path, "last") == 8
