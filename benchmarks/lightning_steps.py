"""Single training steps out of a Lightning Trainer, so that they can be timed between others.

A Trainer owns its loop; here it runs in a thread of its own that waits in the loader until a step
is asked for. Never do two threads work at the same time. A step lasts from the moment when the
loader hands out a batch to the moment when the Trainer asks for the next one: transfer, forward,
backward, clipping, update, schedule, callbacks, logging.
"""

from __future__ import annotations

import functools
import io
import logging
import sys
import tempfile
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.loggers import TensorBoardLogger
from rich.console import Console
from torch import Tensor
from transformers import BertForMaskedLM

from callbacks import (
    ExportStudent,
    MaskedSamples,
    NonFiniteLoss,
    PerLanguage,
    RngState,
    RunCheckpoint,
    RunProgress,
    TeacherAgreement,
    Throughput,
    run_progress,
)
from lit_distill.batch import Batch
from lit_distill.distillation import Distillation
from lit_distill.models import LanguageModel

STEPS = 10**6  # the run is stopped long before


class Over(Exception):
    """No more steps are wanted."""


def in_memory(
    method: Distillation, teacher: BertForMaskedLM, student: BertForMaskedLM
) -> Distillation:
    """The method on given models."""
    method.students["student"] = LanguageModel(student)
    method.teachers["teacher"] = LanguageModel(teacher)
    method.on_models_built()
    return method


class Latest(Callback):
    """Keeps the loss of the latest step."""

    loss: Tensor

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any
    ) -> None:
        self.loss = outputs["loss"]


class OnRequest(LightningDataModule):
    """The same batch again and again, each time when `go` is released; `ready` says it waits."""

    languages = ("xx",)
    tokenizer = None

    def __init__(self, batch: Batch) -> None:
        super().__init__()
        self.batch = batch
        self.go, self.ready = threading.Semaphore(0), threading.Semaphore(0)
        self.over = False

    def train_dataloader(self) -> OnRequest:
        return self

    def __len__(self) -> int:
        return STEPS

    def __iter__(self) -> OnRequest:
        return self

    def __next__(self) -> Batch:
        self.ready.release()
        self.go.acquire()
        if self.over:
            raise Over
        return self.batch


class LightningSteps:
    """A fit that advances by one step per call.

    Args:
        module: the method.
        batch: what every step gets.
        callbacks: what watches the run.
        log_every: updates between two logs to TensorBoard; 0: no logger.
    """

    def __init__(
        self, module: Distillation, batch: Batch, callbacks: Sequence[Callback], log_every: int
    ) -> None:
        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", module="lightning")
        self._folder = tempfile.TemporaryDirectory()
        self._requests, self._error, self._latest = OnRequest(batch), None, Latest()
        trainer = Trainer(
            accelerator="cpu",
            devices=1,
            max_steps=STEPS,
            gradient_clip_val=5.0,
            limit_val_batches=0,
            log_every_n_steps=log_every or STEPS,
            default_root_dir=self._folder.name,
            logger=TensorBoardLogger(self._folder.name, "", "tensorboard") if log_every else False,
            callbacks=[*callbacks, self._latest],
            enable_checkpointing=any(isinstance(c, RunCheckpoint) for c in callbacks),
            enable_progress_bar=any(isinstance(c, RunProgress) for c in callbacks),
            enable_model_summary=False,
        )
        self._module = module
        self._thread = threading.Thread(target=self._run, args=(trainer,), daemon=True)
        out, err = sys.stdout, sys.stderr
        self._thread.start()
        self._wait()
        sys.stdout, sys.stderr = out, err  # the bar took them, to print above itself

    def __call__(self) -> float:
        """One step; its loss."""
        self._requests.go.release()
        self._wait()
        return float(self._latest.loss)

    def feed(self, batch: Batch) -> None:
        """Gives every following step another batch."""
        self._requests.batch = batch

    def close(self) -> None:
        """Ends the fit."""
        self._requests.over = True
        self._requests.go.release()
        self._thread.join()
        self._folder.cleanup()

    def _wait(self) -> None:
        self._requests.ready.acquire()
        if self._error is not None:
            raise self._error

    def _run(self, trainer: Trainer) -> None:
        try:
            trainer.fit(self._module, datamodule=self._requests)
        except Over:
            pass
        except BaseException as error:  # to be raised where the step was asked for
            self._error = error
            self._requests.ready.release()


def shipped_callbacks() -> list[Callback]:
    """Those of configs/trainer/cpu.yaml, but for the progress bar."""
    return [
        PerLanguage(),
        TeacherAgreement(),
        MaskedSamples(),
        ExportStudent(),
        RunCheckpoint(),
        RngState(),
        NonFiniteLoss(),
        Throughput(),
        LearningRateMonitor(),
    ]


def shipped_optimizer(name: str) -> OptimizerCallable:
    """AdamW as in configs/optimizers/<name>.yaml."""
    path = Path(__file__).parent.parent / f"configs/optimizers/{name}.yaml"
    node = yaml.safe_load(path.read_text("utf-8"))["model"]["init_args"]["optimizer"]
    return functools.partial(torch.optim.AdamW, **node["init_args"])


def unseen_bar() -> Callback:
    """The progress bar, drawn as for a terminal, but not shown."""
    terminal = functools.partial(Console, file=io.StringIO(), force_terminal=True)
    run_progress.Console = terminal  # type: ignore[misc,assignment]
    return RunProgress()
