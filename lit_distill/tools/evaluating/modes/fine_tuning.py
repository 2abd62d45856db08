"""Fine-tuning: what a model can do once a head of the task, and its own weights, are trained."""

from __future__ import annotations

import logging
import math
import signal
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import ClassVar, Literal

import torch
from lightning.pytorch import LightningDataModule, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers.utils.logging import disable_progress_bar, enable_progress_bar

from callbacks import AtomicCheckpointIO, RngState
from data_modules import LabelledCorpus
from lit_distill.knobs import Count, NotNegative, Positive, check_knobs
from lit_distill.losses import CrossEntropy, SquaredError
from lit_distill.methods import FineTune
from lit_distill.models import Predicted, PretrainedStudent, TaskHead
from lit_distill.schedules import Linear, WarmUp
from lit_distill.tools.evaluating.cells.mode import Mode, Question
from lit_distill.tools.evaluating.cells.predictions import Predictions
from lit_distill.tools.evaluating.cells.reading import KINDS, labelled
from lit_distill.tools.evaluating.modes.answers import answers
from lit_distill.tools.evaluating.modes.best_weights import BestWeights


@dataclass(frozen=True)
class FineTuning(Mode):
    """Trains the model with a fresh head of the task, by AdamW and a linear schedule.

    The seed decides on the head, the order of the texts and dropout. Training text is that of the
    data, or of some of its languages (zero-shot transfer: the others have `test` files alone). The
    weights of the best validation are asked: validation text is given, or held out of training,
    and never the test split.

    Attributes:
        updates: how long it is trained.
        epochs: in the place of `updates`, passes over the training text, each of as many updates as
            fill batches of `batch_tokens`; None: `updates` count.
        lr: highest learning rate, after the warm-up.
        warmup: share of all updates over which the rate rises.
        weight_decay: of weights; biases and norms do not decay.
        batch_tokens: most positions of a batch, padding included; the data's `max_length` at least.
        freeze: patterns of weights that stay as they are, such as "embeddings": see `Student`.
        validations: how often it is measured, evenly spread.
        metric: what the best validation is best in; None: the loss.
        save_minutes: so often the state is saved, from which an interrupted cell goes on.
        clip: largest norm of the gradient.
        precision: of training, as Lightning names it; answers are always read in float32.
    """

    labels: ClassVar[bool] = True
    updates: Count = 300
    epochs: Positive | None = None
    lr: Positive = 5e-5
    warmup: WarmUp = 0.1
    weight_decay: NotNegative = 0.01
    batch_tokens: Count = 1024
    freeze: list[str] = field(default_factory=list)
    validations: Count = 10
    metric: str | None = None
    save_minutes: Positive = 2.0
    clip: Positive = 1.0
    precision: Literal["32-true", "bf16-mixed"] = "32-true"

    def __post_init__(self) -> None:
        check_knobs(FineTuning, vars(self))

    def check(self, model: str, data: LightningDataModule) -> None:
        """See `Mode`."""
        labelled(model, data, "FineTuning")

    def predict(self, question: Question) -> Predictions:
        """See `Mode`."""
        data = labelled(question.model, question.data, "FineTuning")
        data.seed = question.seed
        data.batch_tokens = max(self.batch_tokens, data.max_length)
        with quiet():
            seed_everything(question.seed, verbose=False)
            module = self._module(question.model, data.task_head)
            last = question.folder / "last.ckpt"
            trainer = self._trainer(question, self._updates(data))
            with attention_of(self.precision):
                trainer.fit(module, datamodule=data, ckpt_path=last if last.exists() else None)
            module.to(trainer.strategy.root_device)  # where Lightning has taken it from
            return answers(module.student, data, KINDS[data.task_head.predicts])

    def _module(self, model: str, head: TaskHead) -> FineTune:
        student = PretrainedStudent(model, fresh_head=True, head=head, freeze=self.freeze)
        optimizer = partial(
            torch.optim.AdamW, lr=self.lr, weight_decay=self.weight_decay, fused=True
        )
        hard = SquaredError() if head.predicts == Predicted.TEXT_VALUE else CrossEntropy()
        schedule = Linear(warmup=self.warmup)
        return FineTune(hard=hard, student=student, optimizer=optimizer, schedule=schedule)

    def _updates(self, data: LabelledCorpus) -> int:
        if self.epochs is None:
            return self.updates
        return math.ceil(self.epochs * int(data.train.lengths.sum()) / data.batch_tokens)

    def _trainer(self, question: Question, updates: int) -> Trainer:
        saved = ModelCheckpoint(
            question.folder,
            "last",
            train_time_interval=timedelta(minutes=self.save_minutes),
            enable_version_counter=False,
        )
        return Trainer(
            default_root_dir=question.folder,
            max_steps=updates,
            val_check_interval=max(1, updates // self.validations),
            check_val_every_n_epoch=None,
            gradient_clip_val=self.clip,
            callbacks=[BestWeights(self.metric), RngState(), saved],
            plugins=[AtomicCheckpointIO()],
            devices=1,
            precision=self.precision,
            num_sanity_val_steps=0,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )


def attention_of(precision: str) -> AbstractContextManager[None]:
    """Attention in plain matrix products where that is faster: in bfloat16 without a GPU.

    Torch's own kernel has a slow backward pass there (2.13, AMX: 1,280 positions through 12 layers
    of width 384 and back take 1.3 s with it, 0.6 s without, and 1.5 s in float32).
    """
    slow = precision == "bf16-mixed" and not torch.cuda.is_available()
    return sdpa_kernel(SDPBackend.MATH) if slow else nullcontext()


@contextmanager
def quiet() -> Iterator[None]:
    """Leaves out what Lightning says of every training, and gives signals on.

    Raises:
        KeyboardInterrupt: at a Ctrl-C, where the Trainer exits with 1 by itself.
        SystemExit: with 143, at a SIGTERM.
    """
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except SIGTERMException as ending:  # which would exit with 0
        raise SystemExit(128 + signal.SIGTERM) from ending
    except SystemExit as ending:
        if isinstance(ending.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from ending
        raise
    finally:
        enable_progress_bar()
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
