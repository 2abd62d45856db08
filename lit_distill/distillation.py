"""What every distillation method shares: models, normalisation, logging, measurement, checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from lit_distill import checkpoints
from lit_distill.batch import Batch, row_languages
from lit_distill.errors import UserError
from lit_distill.losses import RowLoss, Term, Weight, linear_losses, weight_at
from lit_distill.measurement import ScoreKeeper, Scores, mean_over_languages
from lit_distill.models import (
    CarvedStudent,
    Encoded,
    LanguageModel,
    Student,
    Teacher,
    check_models,
    load_tokenizer,
)
from lit_distill.schedules import Linear, Schedule

ROWS_PER_TILE = 256  # validation projects this many rows at a time


@dataclass(frozen=True)
class LogitTerm:
    """A term computed from logits, in one pass with all others on the same rows; see `Term`."""

    loss: RowLoss
    per: str
    weight: Weight = 1.0


class Distillation(LightningModule):
    """Trains students against frozen teachers; a method says only what its `losses` are.

    Override points: `configure_model`, `prepare`, `losses`, `on_validated`.

    Args:
        student: what to train and how it starts.
        teacher: whom to learn from; None where a method needs none.
        tokenizer: name or folder of the tokenizer; the command line fills it in from `--tokenizer`.
        optimizer: called with the parameter groups (biases and norms without weight decay).
        schedule: learning rate over the run, stepped once per update.

    Attributes:
        students: trained, checkpointed, exported; the usual single one is `student`.
        teachers: frozen, in eval mode, in no optimizer and in no checkpoint.
        auxiliary: projections, critics, heads: trained and checkpointed, never exported.
        measurements: scores by student and language, after each validation.
        config_text: the configuration that made this run, as YAML; set by the command line.
    """

    needs_teacher: ClassVar[bool] = False

    def __init__(
        self,
        student: Student | None = None,
        teacher: Teacher | None = None,
        tokenizer: str | None = None,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        schedule: Schedule = Linear(),  # noqa: B008 (frozen)
    ) -> None:
        super().__init__()
        if self.needs_teacher and teacher is None:
            raise UserError(
                f"{type(self).__name__} learns from a teacher and none is given: "
                "set model.init_args.teacher.name to a model name or folder."
            )
        self.student_spec, self.teacher_spec = student or CarvedStudent(), teacher
        self.tokenizer_name = tokenizer
        self.optimizer, self.schedule = optimizer, schedule
        self.students, self.teachers, self.auxiliary = (nn.ModuleDict() for _ in range(3))
        self.measurements: dict[str, dict[str, Scores]] = {}
        self.config_text = ""
        self.restored: dict[str, Any] = {}
        self.tokenizer: PreTrainedTokenizerBase | None = None
        self._window: list[Batch] = []
        self._totals: Mapping[str, float | Tensor] = {}
        self._means: dict[str, Tensor] = {}
        self._keepers: dict[str, ScoreKeeper] = {}
        checkpoints.leave_out_teachers(self)

    # -- what a method overrides ----------------------------------------------------------------

    def losses(self, batch: Batch) -> dict[str, Term]:
        """The method: its named terms on one micro-batch, as sums."""
        raise TypeError(f"{type(self).__name__} defines no losses")

    def prepare(self, window: list[Batch]) -> list[Batch]:
        """Changes the micro-batches of one accumulation window before its first (sampling)."""
        return window

    def on_validated(self, measurements: dict[str, dict[str, Scores]]) -> None:
        """Called after each validation with what was measured."""

    # -- models ---------------------------------------------------------------------------------

    @property
    def student(self) -> LanguageModel:
        """The single student."""
        return cast(LanguageModel, self.students["student"])

    @property
    def teacher(self) -> LanguageModel:
        """The single teacher."""
        return cast(LanguageModel, self.teachers["teacher"])

    def setup(self, stage: str) -> None:
        """Finds the tokenizer: the data module's, else by name."""
        data = getattr(self.trainer, "datamodule", None)
        self.tokenizer = getattr(data, "tokenizer", None)
        if self.tokenizer is None and self.tokenizer_name:
            self.tokenizer = load_tokenizer(self.tokenizer_name)

    def configure_model(self) -> None:
        """Builds teacher and student once, and checks that they fit each other and the data."""
        if self.students:
            return
        try:
            teacher = self.teacher_spec.build() if self.teacher_spec else None
            student = self.student_spec.build(teacher, len(self.tokenizer or ()))
        except UserError as error:
            if self.trainer.training:
                raise
            # `validate` and `test` restore the student from the checkpoint: no teacher is needed.
            rank_zero_info(f"{error} Agreement is left out; the student comes from the checkpoint.")
            return
        data = getattr(self.trainer, "datamodule", None)
        check_models(student, teacher, self.teacher_spec, self.tokenizer, data)
        self.students["student"] = student
        if teacher is not None:
            self.teachers["teacher"] = teacher

    def train(self, mode: bool = True) -> Distillation:
        """Sets training mode; teachers stay in eval mode."""
        super().train(mode)
        self.teachers.eval()
        return self

    def on_fit_start(self) -> None:
        """Turns dropout on: models arrive in eval mode and the Trainer keeps it."""
        self.train()

    def configure_optimizers(self) -> Any:
        """One optimizer over all that trains; no weight decay on biases and norms."""
        total = self.trainer.estimated_stepping_batches
        if total == float("inf"):
            raise UserError("The run has no end: set trainer.max_steps or trainer.max_epochs.")
        self._total_steps = int(total)
        trained = [p for p in self.parameters() if p.requires_grad]
        groups: list[dict[str, Any]] = [
            {"params": [p for p in trained if p.ndim > 1]},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        ]
        optimizer = self.optimizer([group for group in groups if group["params"]])
        scheduler = self.schedule(optimizer, self._total_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    # -- training -------------------------------------------------------------------------------

    def share(self, per: str, weight: Weight) -> float | Tensor:
        """weight / N: what a sum is multiplied with, N over all ranks and the whole window."""
        progress = min(self.global_step / self._total_steps, 1.0)
        total = self._totals[per]
        total = total.clamp(min=1) if isinstance(total, Tensor) else max(total, 1)
        return weight_at(weight, progress) / total

    def logit_terms(
        self,
        terms: Mapping[str, LogitTerm],
        rows: Tensor,
        targets: Tensor | None,
        student: Encoded,
        teacher: Encoded | None = None,
    ) -> dict[str, Term]:
        """Terms on logits at flat `rows` (N,): projected tile by tile, all in one pass.

        Args:
            terms: by name.
            rows: flat positions (N,).
            targets: token ids (N,), `IGNORED` where a row has none; None if no term needs them.
            student: the student's states; gradients flow into them and into the student's head.
            teacher: the teacher's states, if a term needs them.
        """
        shares = None
        if torch.is_grad_enabled():
            shares = [self.share(term.per, term.weight) for term in terms.values()]
        losses = [term.loss for term in terms.values()]
        heads = None
        if teacher is not None:
            with torch.no_grad():
                heads = self.teacher.with_head(lambda head: head, teacher.rows(rows))
        sums = self.student.with_head(
            lambda head: linear_losses(losses, head, heads, targets, shares), student.rows(rows)
        )
        pairs = zip(terms.items(), sums, strict=True)
        return {name: Term(total, term.per, term.weight) for (name, term), total in pairs}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Weighs and normalises the method's terms on one micro-batch."""
        micro = batch_idx % self.trainer.accumulate_grad_batches
        if micro == 0:
            self._open_window(batch)
        terms = self.losses(self._window[micro])
        weighted = {name: t.sum * self.share(t.per, t.weight) for name, t in terms.items()}
        loss = torch.stack(list(weighted.values())).sum()
        self._log_terms(terms, loss, last=micro + 1 == self.trainer.accumulate_grad_batches)
        # N is global: undo the division by the accumulation and the averaging of gradients.
        return loss * (self.trainer.accumulate_grad_batches * self.trainer.world_size)

    def _open_window(self, batch: Batch) -> None:
        window = batch.get("window", [batch])
        expected = self.trainer.accumulate_grad_batches
        if len(window) != expected:
            raise UserError(
                f"trainer.accumulate_grad_batches is {expected} and the loader's window holds "
                f"{len(window)} batches: use a data module of `data_modules`."
            )
        self._window, self._means = self.prepare(window), {}
        names = sorted(self._window[0]["counts"])
        sums = [sum(part["counts"][name] for part in self._window) for name in names]
        if self.trainer.world_size == 1:
            self._totals = dict(zip(names, sums, strict=True))
        else:
            counts = torch.tensor(sums, dtype=torch.float64, device=self.device)
            totals = self.trainer.strategy.reduce(counts, reduce_op="sum")
            self._totals = dict(zip(names, cast(Tensor, totals).unbind(), strict=True))

    def _log_terms(self, terms: dict[str, Term], loss: Tensor, last: bool) -> None:
        """Adds up `train/<term>` (unweighted means) and logs them every n updates."""
        if (self.global_step + 1) % self.trainer.log_every_n_steps:
            return
        parts = {name: t.sum.detach() * self.share(t.per, 1.0) for name, t in terms.items()}
        for name, part in {**parts, "loss": loss.detach()}.items():
            self._means[name] = self._means[name] + part if name in self._means else part
        if last:
            values = torch.stack([value.float() for value in self._means.values()])
            if self.trainer.world_size > 1:
                values = cast(Tensor, self.trainer.strategy.reduce(values, reduce_op="sum"))
            named = zip(self._means, values.unbind(), strict=True)
            self.log_dict({f"train/{name}": value for name, value in named}, prog_bar=True)

    # -- measurement ----------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        """Starts a fresh measurement for every student."""
        count = len(self._languages())
        self._keepers = {
            name: ScoreKeeper(count, bool(self.teachers)).to(self.device) for name in self.students
        }

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Measures every student on the selected rows of one batch."""
        teacher = self.teacher if self.teachers else None
        rows, languages = batch["rows"], row_languages(batch)
        taught = teacher.encode(batch).rows(rows) if teacher else None
        for name, keeper in self._keepers.items():
            student = cast(LanguageModel, self.students[name])
            states = student.encode(batch).rows(rows)
            for start in range(0, len(rows), ROWS_PER_TILE):
                tile = slice(start, start + ROWS_PER_TILE)
                keeper.update(
                    student.project(states[tile]),
                    teacher.project(taught[tile]) if teacher and taught is not None else None,
                    batch["targets"][tile],
                    languages[tile],
                )

    def on_validation_epoch_end(self) -> None:
        """Publishes the scores; logs `val/loss`, the unweighted mean over languages."""
        names = self._languages()
        self.measurements = {key: k.scores(names) for key, k in self._keepers.items()}
        stage = "test" if self.trainer.testing else "val"
        for name, scores in self.measurements.items():
            loss = mean_over_languages(scores, "loss")
            prefix = stage if len(self.measurements) == 1 else f"{stage}/{name}"
            if loss is not None:
                self.log(f"{prefix}/loss", loss, prog_bar=True, rank_zero_only=True)
        self.on_validated(self.measurements)

    on_test_epoch_start = on_validation_epoch_start
    test_step = validation_step
    on_test_epoch_end = on_validation_epoch_end

    def _languages(self) -> list[str]:
        return list(cast(Any, self.trainer).datamodule.languages)

    # -- checkpoints ----------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what restoring needs beyond weights: configs, tokenizer, the teacher's hash."""
        checkpoint[checkpoints.KEY] = checkpoints.describe(self)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Builds missing students from the checkpoint; refuses another teacher or student."""
        checkpoints.restore(self, checkpoint)
