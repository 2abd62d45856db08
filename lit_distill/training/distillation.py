"""What every method shares: models, normalisation, optimisation, logging, checkpoints."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar, cast

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor

from lit_distill.batch import Batch
from lit_distill.knobs import Share, check_knobs
from lit_distill.losses import LogitTerm, Term, linear_losses
from lit_distill.measures import LanguageModelMeasure, Measure, Measurement, measure_of
from lit_distill.measures.validation import EndOfValidation
from lit_distill.models import (
    Encoded,
    Ensemble,
    Execution,
    LanguageModel,
    RandomStream,
    Student,
    TeacherOutputs,
    TeacherSpec,
    with_teacher,
)
from lit_distill.schedules import Linear, Schedule
from lit_distill.training import building, checkpoints
from lit_distill.training.accumulation import AccumulationWindow, add_over_ranks, check_window
from lit_distill.training.strategies import check_strategy
from lit_distill.training.updates import ModelUpdate, Updated


class Distillation(Updated, ABC):
    """Trains students against frozen teachers; a method says only what its `losses` are.

    Override points: `configure_model`, `on_models_built`, `prepare`, `losses`, `on_validated`.

    Args:
        student: what to train and how it starts; None carves every other layer of the teacher.
        students: instead, one or several by name; each draws at random from a stream of its own.
        teacher: whom to learn from; None where a method needs none.
        ensemble: more teachers.
        teacher_cache: folder of `cache-teacher`; training then reads it and runs no teacher. A live
            one, if given, is carved and compared with in validation.
        tokenizer: its name or folder; the command line fills it in from `--tokenizer`.
        dropout: probability for the students while they train; None keeps each model's own.
        execution: gradient checkpointing and compilation.
        optimizer: called with the groups of `parameter_groups` of every model.
        schedule: learning rate over the run, stepped once per update.
        per_model: factor of the learning rate and clipping of single students, by name.

    Attributes:
        students: trained, checkpointed, exported; the usual single one is `student`.
        teachers: frozen, in eval mode, in no optimizer and in no checkpoint.
        auxiliary: projections, critics, heads, made in `on_models_built` and used by calling them
            (`self.auxiliary["name"](...)`): trained and checkpointed, never exported.
        config_text: the configuration that made this run, as YAML; set by the command line.
        notes: sentences for the model card of what is exported.
        logged: unweighted means of the terms, and the loss, at the update that was logged last.
        measure: what validation and test measure of the students, once these are built.
        measurements: what it computed last, by student.
    """

    measured_by: ClassVar[type[Measure]] = LanguageModelMeasure
    needs_teacher: ClassVar[bool] = False
    takes_several: ClassVar[bool] = False
    measure = cached_property(measure_of)

    def __init__(
        self,
        student: Student | None = None,
        students: dict[str, Student] | None = None,
        teacher: TeacherSpec | None = None,
        ensemble: Ensemble = Ensemble(),  # noqa: B008 (frozen)
        teacher_cache: str | None = None,
        tokenizer: str | None = None,
        dropout: Share | None = None,
        execution: Execution = Execution(),  # noqa: B008 (frozen)
        optimizer: OptimizerCallable = torch.optim.AdamW,
        schedule: Schedule = Linear(),  # noqa: B008 (frozen)
        per_model: dict[str, ModelUpdate] | None = None,
    ) -> None:
        super().__init__(optimizer, schedule, per_model or {}, teacher_cache)
        check_knobs(Distillation, locals())
        building.check_teacher(type(self), self.needs_teacher, bool(teacher or teacher_cache))
        self.student_specs = building.named_students(type(self), student, students)
        self.streams = {name: RandomStream(0, name) for name in students or ()}
        self.ensemble = ensemble
        self.teacher_specs = ensemble.beside(teacher)
        self.tokenizer_name, self.dropout, self.execution = tokenizer, dropout, execution
        self.config_text, self.notes = "", list[str]()
        self.logged: dict[str, float] = {}
        self.restored: dict[str, Any] = {}
        self.measurements: dict[str, Measurement] = {}
        self._window: AccumulationWindow
        checkpoints.leave_out_teachers(self)

    # -- what a method overrides ----------------------------------------------------------------

    @abstractmethod
    def losses(self, batch: Batch) -> dict[str, Term]:
        """The method: its named terms on one micro-batch, as sums."""

    def prepare(self, window: list[Batch]) -> list[Batch]:
        """Changes the micro-batches of one accumulation window before its first (sampling)."""
        return window

    @property
    def student_names(self) -> list[str]:
        """Names of all `students`, before they are built; of a method that adds some, these too."""
        return list(self.student_specs)

    def on_models_built(self) -> None:
        """Called with whole models, before anything wraps or shards them: to refuse or freeze."""

    def on_validated(self, measurements: dict[str, Measurement]) -> None:
        """Called after each validation of a fit, its trial excepted: for methods that adapt."""

    # -- models ---------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Finds the tokenizer: the data module's, else by name; refuses what would train wrong."""
        check_strategy(self.trainer.strategy)
        self.check_reading(self.data)
        self.find_tokenizer(self.tokenizer_name)
        self.open_cache(stage)
        EndOfValidation.attach(self.trainer)

    def configure_model(self) -> None:
        """Builds teachers and students once; checks that they fit each other and the data."""
        if not self.students:
            building.build(self)

    def train(self, mode: bool = True) -> Distillation:
        """Sets training mode; teachers, and students that are not trained, stay in eval mode."""
        super().train(mode)
        for teacher in self.teachers.values():  # an empty dictionary in eval mode raises a warning
            teacher.eval()
        for student in self.students.values():
            student.train(mode and any(p.requires_grad for p in student.parameters()))
        return self

    def on_fit_start(self) -> None:
        """Turns dropout on: models arrive in eval mode and the Trainer keeps it."""
        self.check_cache(checkpoints.teachers_of(self) if self.cache else {})
        self.measure.check()
        self.train()
        if not all(module.training for module in self.modules()):  # which is meant
            warnings.filterwarnings("ignore", r"Found \d+ module\(s\) in eval mode")

    # -- training and validation ----------------------------------------------------------------

    def logit_terms(
        self,
        terms: Mapping[str, LogitTerm],
        rows: Tensor,
        targets: Tensor | None,
        student: Encoded,
        teacher: TeacherOutputs | None = None,
        model: LanguageModel | None = None,
        teacher_rows: Tensor | None = None,
    ) -> dict[str, Term]:
        """Terms on logits at flat `rows` (N,): projected tile by tile, all in one pass.

        Args:
            terms: by name.
            rows: flat positions (N,).
            targets: token ids (N,), `IGNORED` where a row has none; None if no term needs them.
            student: its states; gradients flow into them and into its head.
            teacher: what `teach` gave, if a term needs it.
            model: whose states they are; None: the single student's.
            teacher_rows: flat positions (N,) in the view that the teacher read, one for each of
                `rows`; None: the same ones, and a UserError where it read another view.
        """
        losses = [term.loss for term in terms.values()]
        shares = self._window.shares(terms) if torch.is_grad_enabled() else None
        if self.cache is not None:
            self.cache.check_losses(losses)
        learner, states = model or self.student, student.rows(rows)
        sums = with_teacher(
            lambda signal: learner.with_lm_head(
                lambda whole: linear_losses(losses, whole, signal, targets, shares), states
            ),
            *(teacher, student, rows, teacher_rows),
        )
        pairs = zip(terms.items(), sums, strict=True)
        return {name: Term(total, term.per, term.weight) for (name, term), total in pairs}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Weighs and normalises the method's terms on one micro-batch."""
        accumulate = self.trainer.accumulate_grad_batches
        micro = batch_idx % accumulate
        if micro == 0:
            self._open_window(batch.get("window", [batch]))
        for stream in self.streams.values():
            stream.move_to(self.global_step, micro, self.global_rank)
        terms = self.losses(self._window.batches[micro])
        loss = self._window.total_loss(terms)
        if (self.global_step + 1) % cast(Any, self.trainer).log_every_n_steps == 0:
            self._window.note(terms, loss)
            if micro + 1 == accumulate:
                self._log_means()
        # N is global: undo the divisions by the accumulation and the averaging of gradients.
        if self.trainer.strategy.handles_gradient_accumulation:  # DeepSpeed divides once more
            loss = loss * accumulate
        return loss * (accumulate * self.trainer.world_size)

    def _open_window(self, batches: list[Batch]) -> None:
        check_window(batches, self.trainer.accumulate_grad_batches)
        progress = min(self.global_step / self._total_steps, 1.0)
        reduce = add_over_ranks if self.trainer.world_size > 1 else None
        self._window = AccumulationWindow.of(self.prepare(batches), progress, reduce, self.device)

    def _log_means(self) -> None:
        """Logs `train/<term>` and `train/loss`.

        Not by `self.log`, whose bookkeeping costs 0.1 ms in every step, logged or not.
        """
        self.logged = self._window.averages()
        named = {f"train/{name}": value for name, value in self.logged.items()}
        for logger in self.loggers:
            logger.log_metrics(named, self.global_step)  # the updates before, as Lightning counts

    def on_validation_epoch_start(self) -> None:
        """Starts a measurement of the students."""
        self.measure.start()

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Measures the students on one batch."""
        self.measure.update(batch)

    on_test_epoch_start = on_validation_epoch_start
    test_step = validation_step

    # -- checkpoints ----------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what restoring needs beyond weights: configs, tokenizer, the teacher's hash."""
        checkpoint[checkpoints.KEY] = checkpoints.describe(self)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Builds missing students from the checkpoint; refuses another teacher or student."""
        super().on_load_checkpoint(checkpoint)
        checkpoints.restore(self, checkpoint)
