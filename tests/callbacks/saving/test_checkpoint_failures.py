"""What a run says when it breaks off, and what does not break it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer

import callbacks.saving.run_checkpoint
from callbacks import RunCheckpoint

Fit = Callable[..., tuple[Trainer, Any]]


def test_an_error_says_how_to_go_on(
    fit: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Fails(Callback):
        def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
            if trainer.global_step == 5:
                raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        fit(RunCheckpoint(every_n_updates=2), Fails())
    told = capsys.readouterr().out.splitlines()
    assert "Stopped after 5 updates. To go on from the last save:" in told
    assert f"  python -m lit_distill fit --config {tmp_path}/config.yaml --ckpt_path last" in told


def test_an_error_before_the_first_save_promises_nothing(
    fit: Fit, capsys: pytest.CaptureFixture[str]
) -> None:
    class Fails(Callback):
        def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
            raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        fit(RunCheckpoint(), Fails())
    assert "To go on" not in capsys.readouterr().out


def test_a_fallback_that_cannot_be_kept_does_not_end_training(
    fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(callbacks.saving.run_checkpoint, "keep_as", refuse)
    with pytest.warns(UserWarning, match=r"No space left on device.*Training goes on"):
        fit(RunCheckpoint(every_n_updates=3), limit_val_batches=0, max_epochs=1)
    last = torch.load(tmp_path / "checkpoints/last.ckpt", weights_only=True)
    assert last["global_step"] == 8
