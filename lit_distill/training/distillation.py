"""What every method shares: models, normalisation, optimisation, logging, checkpoints."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from lit_distill.batch import Batch
from lit_distill.data_facts import DataFacts
from lit_distill.errors import UserError
from lit_distill.knobs import Share, check_knobs
from lit_distill.losses import AccumulationWindow
from lit_distill.measures import Measurement, measure_of
from lit_distill.measures.validation import EndOfValidation
from lit_distill.models import (
    Ensemble,
    Execution,
    LanguageModel,
    LiveTeachers,
    RandomStream,
    Site,
    Student,
    TeacherOutputs,
    TeacherSource,
    TeacherSpec,
    broadcast_buffers,
)
from lit_distill.schedules import Linear, Schedule
from lit_distill.training import accumulation, building, checkpoints, data_contract
from lit_distill.training.cast import Cast
from lit_distill.training.method import Method
from lit_distill.training.stages.stage import Stage
from lit_distill.training.stages.stages import Stages
from lit_distill.training.strategies import check_strategy
from lit_distill.training.updates import ModelUpdate, Updates


class Distillation(LightningModule, Method):
    """Trains students against frozen teachers; a `Method` says only what its `losses` are.

    Args:
        student: what to train and how it starts; None carves every other layer of the teacher.
        students: instead, one or several by name; each draws at random from a stream of its own.
        teacher: whom to learn from; None where a method needs none.
        ensemble: more teachers.
        teacher_source: what training hears in place of the live teachers, which are then only
            carved and compared with in validation; None: they are run.
        teacher_cache: folder of `cache-teacher`; short for the source `CachedTeacher`.
        tokenizer: its name or folder; the command line fills it in from `--tokenizer`.
        dropout: probability for the students while they train; None keeps each model's own.
        execution: gradient checkpointing and compilation.
        optimizer: called with the groups of `parameter_groups` of every model.
        schedule: learning rate over the run, stepped once per update.
        per_model: learning rate, clipping and optimizer's options of single models, by name.
        stages: what trains on which terms, one after the other; None: all, on all of them.

    Attributes:
        students: trained, checkpointed, exported; the usual single one is `student`.
        teachers: frozen, in eval mode, in no optimizer and in no checkpoint.
        auxiliary: projections, critics, heads, made in `on_models_built` and used by calling them
            (`self.auxiliary["name"](...)`): trained and checkpointed, never exported.
        exported: likewise, `Exported` modules that its export holds beside the student.
        updates: the one optimizer of all that trains, and who moves.
        config_text: the configuration that made this run, as YAML; set by the command line.
        notes: sentences for the model card of what is exported.
        cast: all models, what they start from, and where teachers are heard.
        measure: what validation and test measure of the students, once these are built.
        measurements: what it computed last, by student.
        logged: unweighted means of the terms, and the loss, at the update that was logged last.
    """

    measure = cached_property(measure_of)

    def __init__(
        self,
        student: Student | None = None,
        students: dict[str, Student] | None = None,
        teacher: TeacherSpec | None = None,
        ensemble: Ensemble = Ensemble(),  # noqa: B008 (frozen)
        teacher_source: TeacherSource | None = None,
        teacher_cache: str | None = None,
        tokenizer: str | None = None,
        dropout: Share | None = None,
        execution: Execution = Execution(),  # noqa: B008 (frozen)
        optimizer: OptimizerCallable = torch.optim.AdamW,
        schedule: Schedule = Linear(),  # noqa: B008 (frozen)
        per_model: dict[str, ModelUpdate] | None = None,
        stages: list[Stage] | None = None,
    ) -> None:
        super().__init__()
        check_knobs(Distillation, locals())
        self.students, self.teachers = nn.ModuleDict(), nn.ModuleDict()
        self.auxiliary, self.exported = nn.ModuleDict(), nn.ModuleDict()
        self.updates, self.stages = Updates(optimizer, schedule, per_model or {}), Stages(stages)
        needs = building.Needs(type(self).__name__, self.hears, self.takes_several)
        live = LiveTeachers(self.teachers, ensemble)
        self.cast = Cast(
            building.named_students(needs, student, students),
            ensemble.beside(teacher),
            building.chosen_source(needs, live, teacher, teacher_source, teacher_cache),
            {name: RandomStream(0, name) for name in students or ()},
            *(self.students, self.teachers, self.auxiliary, self.exported),
            *(self.needs_head, self.shares_vocabulary, self.takes_view, self.by_task),
            self.hears,
        )
        self.ensemble, self.tokenizer_name = ensemble, tokenizer
        self.dropout, self.execution = dropout, execution
        self.config_text, self.notes = "", list[str]()
        self.logged, self.measurements = dict[str, float](), dict[str, Measurement]()
        self._first_batches = data_contract.FirstBatches()
        self._window: AccumulationWindow
        checkpoints.leave_out_teachers(self, self.teachers)

    @staticmethod
    def of(module: LightningModule) -> Distillation:
        """The module that a callback is given; a UserError of any other one."""
        if not isinstance(module, Distillation):
            kind = type(module).__name__
            raise UserError(f"This run has callbacks of distillation, and trains a {kind}.")
        return module

    # -- models ---------------------------------------------------------------------------------

    @property
    def student_names(self) -> list[str]:
        """Names of all `students`, before they are built; of a method that adds some, these too."""
        return list(self.cast.student_specs)

    @property
    def data(self) -> Any:
        """The data module, which names the languages; None if loaders were given bare."""
        return getattr(self.trainer, "datamodule", None)

    @property
    def data_facts(self) -> DataFacts:
        """What the data module says, with types."""
        return DataFacts(self.data)

    @property
    def student(self) -> LanguageModel:
        """The student called "student", or else the only one."""
        return self.cast.student

    @property
    def teacher(self) -> LanguageModel:
        """The single live teacher."""
        return self.cast.teacher_models["teacher"]

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase | None:
        """Of the run, if known."""
        return self.cast.tokenizer

    def check_reading(self, data: Any) -> None:
        """Refuses a data module whose objective contradicts `reads`."""
        data_contract.check_reading(type(self).__name__, self.reads, data)
        data_contract.check_tasks(type(self).__name__, self.by_task, self.student_names, data)

    def setup(self, stage: str) -> None:
        """Finds the tokenizer: the data module's, else by name; refuses what would train wrong."""
        check_strategy(self.trainer.strategy)
        self.check_reading(self.data)
        self.cast.tokenizer = building.tokenizer_of(self.data, self.tokenizer_name)
        self.cast.folder = Path(self.trainer.default_root_dir)
        self.cast.eos_ids = self.data_facts.eos_ids
        if stage == "fit":
            accumulate = self.trainer.accumulate_grad_batches
            accumulation.check_coupling(type(self).__name__, self.couples, accumulate)
            self.cast.source.open(self.tokenizer, self.data)
            self.stages.attach(self.trainer)
        EndOfValidation.attach(self.trainer)

    def configure_model(self) -> None:
        """Builds teachers and students once; checks that they fit each other and the data."""
        needed = self.trainer.training  # else students come from the checkpoint
        if self.students or not building.build_models(self.cast, self.data, needed):
            return
        building.check_kinds(self.cast, type(self).__name__, self.predicts)
        with building.auxiliary_draws():
            self.on_models_built()
        if needed:  # while teachers are whole, and in their own precision
            self.cast.identify_teachers()
        if self.device_mesh is not None:
            # Strict loading of weights in pieces would ask for teachers. What Lightning then no
            # longer checks is checked by `checkpoints.restore`: the student's shape.
            self.strict_loading = False
        building.place_models(self.cast, self.execution, self.dropout, self.device_mesh)

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
        self.cast.check_source()
        self.measure.check()
        self.train()
        if not all(module.training for module in self.modules()):  # which is meant
            warnings.filterwarnings("ignore", r"Found \d+ module\(s\) in eval mode")

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Checks the first batch of a loader; reads what the source keeps of training batches."""
        training, students = self.trainer.training, self.cast.readers(batch)
        self._first_batches.check(batch, self.data, students, training, dataloader_idx)
        size = self.trainer.accumulate_grad_batches
        return accumulation.read_ahead(batch, self.cast.source, size) if training else batch

    # -- training and validation ----------------------------------------------------------------

    def teach(self, batch: Batch, capture: Sequence[Site] = (), view: str = "") -> TeacherOutputs:
        """What the teachers say about a training batch; see `TeacherSource.outputs`."""
        return self.cast.source.outputs(batch, capture, view)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The weighted and normalised loss of one micro-batch, as the Trainer is to be given it."""
        accumulate = self.trainer.accumulate_grad_batches
        micro = batch_idx % accumulate
        if micro == 0:
            self._window = self.stages.take_window() or self.open_window(batch)
        window = self._window
        self.cast.move_streams(self.global_step, micro, self.global_rank)
        terms = window.weighed(self.losses(window.batches[micro], window))
        loss = window.total_loss(terms)
        if accumulation.is_logged(self.global_step, self.trainer):
            window.note(terms, loss)
            if micro + 1 == accumulate:
                more = self.window_figures(window)
                self.logged = accumulation.log_means(window, self.loggers, self.global_step, more)
        return loss * accumulation.undone_means(self.trainer)

    def open_window(self, first: Batch) -> AccumulationWindow:
        """Prepares and counts the micro-batches of the update that begins with one."""
        batches = accumulation.micro_batches(first, self.trainer.accumulate_grad_batches)
        progress = min(self.global_step / self.updates.total_steps, 1.0)
        reduce = accumulation.add_over_ranks if self.trainer.world_size > 1 else None
        window = AccumulationWindow.of(self.prepare(batches), progress, reduce, self.device)
        window.factor = self.stages.factor
        self.on_window_opened(window)
        return window

    def configure_optimizers(self) -> Any:
        """One optimizer over all that trains, and its schedule."""
        beside = {"auxiliary": self.auxiliary, "exported": self.exported}
        return self.updates.configure({**self.students, **beside}, self.trainer)

    def on_train_start(self) -> None:
        """Mends what was restored of the optimizer; checks who moves first."""
        self.updates.start(self.trainer, self.players)

    def optimizer_step(self, *step: Any) -> None:
        """Moves those whose update it is."""
        *_, optimizer, closure = step
        self.updates.step(optimizer, closure, self.players(self.global_step))
        if self.device_mesh is not None:  # DDP has done it before the forward
            broadcast_buffers(self.auxiliary)
            broadcast_buffers(self.exported)

    def configure_gradient_clipping(self, *_: Any, **limits: Any) -> None:
        """Clips the gradient of every model by itself."""
        self.updates.clip(**limits)

    def on_validation_epoch_start(self) -> None:
        """Starts a measurement of the students."""
        self.measure.start()

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Measures the students on one batch."""
        self.measure.update(batch)

    on_test_epoch_start = on_validation_epoch_start
    test_step = validation_step

    # -- checkpoints ----------------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """What restoring and exporting need beyond weights; see `checkpoints.describe`."""
        return checkpoints.describe(self.cast, type(self).__name__, self.config_text, self.notes)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what restoring needs beyond weights."""
        checkpoint[checkpoints.KEY] = self.describe()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Builds missing students from the checkpoint; refuses another teacher or student."""
        self.updates.note_saved(checkpoint)
        checkpoints.restore(self.cast, checkpoint, type(self).__name__, self.trainer.training)
