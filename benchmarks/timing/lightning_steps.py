"""Single training steps out of a Lightning Trainer: transfer, forward, backward, clipping, update,
schedule, callbacks, logging (see loops.py)."""

from __future__ import annotations

import functools
import io
import logging
import tempfile
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
)
from callbacks.watching import run_progress
from lit_distill.batch import Batch
from lit_distill.models import LanguageModel
from lit_distill.training.distillation import Distillation
from timing.loops import STEPS, LoopSteps, Requests


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
    """Hands out batches when steps are asked for."""

    languages = ("xx",)
    tokenizer = None

    def __init__(self, requests: Requests[Batch]) -> None:
        super().__init__()
        self.requests = requests

    def train_dataloader(self) -> Requests[Batch]:
        return self.requests


class LightningSteps(LoopSteps[Batch]):
    """A fit that advances by one step per call, on the batch's device.

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
        self._folder, latest = tempfile.TemporaryDirectory(), Latest()
        trainer = Trainer(
            accelerator=batch["input_ids"].device.type,
            devices=1,
            max_steps=STEPS,
            gradient_clip_val=5.0,
            limit_val_batches=0,
            log_every_n_steps=log_every or STEPS,
            default_root_dir=self._folder.name,
            logger=TensorBoardLogger(self._folder.name, "", "tensorboard") if log_every else False,
            callbacks=[*callbacks, latest],
            enable_checkpointing=any(isinstance(c, RunCheckpoint) for c in callbacks),
            enable_progress_bar=any(isinstance(c, RunProgress) for c in callbacks),
            enable_model_summary=False,
        )
        requests = Requests(batch)
        data = OnRequest(requests)
        super().__init__(
            requests, lambda: trainer.fit(module, datamodule=data), lambda: float(latest.loss)
        )

    def close(self) -> None:
        """Ends the fit."""
        super().close()
        self._folder.cleanup()


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
    path = Path(__file__).parents[2] / f"configs/optimizers/{name}.yaml"
    node = yaml.safe_load(path.read_text("utf-8"))["model"]["init_args"]["optimizer"]
    return functools.partial(torch.optim.AdamW, **node["init_args"])


def unseen_bar() -> Callback:
    """The progress bar, drawn as for a terminal, but not shown."""
    terminal = functools.partial(Console, file=io.StringIO(), force_terminal=True)
    run_progress.Console = terminal  # type: ignore[misc,assignment]
    return RunProgress()
