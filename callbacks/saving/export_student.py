"""Students as plain Hugging Face folders, during and after training."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import nn
from torch.optim import Optimizer

from callbacks.saving.due_validation import validate_now
from callbacks.saving.model_card import Training
from callbacks.saving.monitored import check_mode
from callbacks.saving.read_texts import note_read_texts, read_texts
from callbacks.saving.run_facts import facts_of, note_facts
from callbacks.saving.student_folder import Precision, write_student
from callbacks.watching.training_record import TrainingRecord
from callbacks.written_text.generation_metrics import GenerationMetrics
from lit_distill.files.atomic_files import recover, replacing
from lit_distill.files.output_folders import check_output
from lit_distill.measures import LanguageModelMeasure, Measurement, MetricSpec, metric_of
from lit_distill.models import full_state_dict
from lit_distill.training.distillation import Distillation


class ExportStudent(Callback):
    """Keeps the best student in `student/`, writes the last to `student-last/`, and `report.json`.

    Each is a folder that `from_pretrained` loads: weights, config, tokenizer, a model card with the
    scores by language, and the `config.yaml` of the run; of several students, one folder each
    inside, and each the best by its own metric: they need not be of one update. A folder is whole
    or not there. A run that ends without any validation is validated then; where nothing can be
    validated, both are the last one.

    Args:
        monitor: the metric that the best student is best in; of several, `val/loss` stands for
            `val/<student>/loss`.
        mode: "min" if less is better.
        dtype: of the weights in the folders.
    """

    def __init__(
        self,
        monitor: str = "val/loss",
        mode: Literal["min", "max"] = "min",
        dtype: Precision = "float32",
    ) -> None:
        self.monitor, self.mode, self.dtype = monitor, mode, dtype
        self.best: dict[str, float] = {}
        self._report: dict[str, Any] = {}
        self._metrics: Sequence[MetricSpec] = ()
        self._caption = ""
        self._untrained: dict[str, None] | None = None
        self._watched: dict[str, nn.Parameter] = {}  # those, once they are looked up
        self._noted, self._record = False, TrainingRecord()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Puts back what an earlier run was killed while replacing; refuses foreign folders."""
        if stage == "fit" and trainer.is_global_zero:
            names = Distillation.of(pl_module).student_names
            for kind in ("student", "student-last"):
                for name in names:
                    path = _folder(Path(trainer.default_root_dir) / kind, name, names)
                    recover(path)
                    check_output(path, "--run_dir")

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuses to keep the worst; notes as what the students begin."""
        check_mode(pl_module, self.monitor, self.mode, "ExportStudent")
        self._record.begin(Distillation.of(pl_module))

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Notes at the first batch what the run is made of, and what the students will read."""
        if not self._noted:
            note_read_texts(trainer, Distillation.of(pl_module))
            if _exports(trainer):
                note_facts(trainer, Distillation.of(pl_module))
            self._noted = True
        self._record.read(batch, Distillation.of(pl_module))

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stops the clock of the training."""
        self._record.rest()

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Strikes parameters off the list of those that never received a gradient."""
        if self._untrained is None:
            self._untrained = dict.fromkeys(
                name for name, _ in pl_module.named_parameters() if name.startswith("students.")
            )
        if not self._watched:
            self._watched = {name: pl_module.get_parameter(name) for name in self._untrained}
        for name in [name for name, own in self._watched.items() if own.grad is not None]:
            del self._untrained[name], self._watched[name]

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Exports the students if they are better than ever; writes the report."""
        if not _exports(trainer):
            return
        module = Distillation.of(pl_module)
        self._metrics, self._caption = module.measure.metrics, module.measure.caption
        self._report["last"] = _entry(trainer, module, list(module.students))
        if better := [name for name in module.students if self._is_best(trainer, module, name)]:
            now = _entry(trainer, module, better)
            before = self._report.get("best", {"students": {}})["students"]
            self._report["best"] = {**now, "students": {**before, **now["students"]}}
            self._export(trainer, module, "student", better)
        self._write_report(trainer, module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Exports the last students."""
        self._record.rest()
        if not _exports(trainer):
            return
        module = Distillation.of(pl_module)
        if "last" not in self._report:
            validate_now(trainer)
        self._export(trainer, module, "student-last", list(module.students))
        if never := [name for name in module.students if name not in self.best]:
            self._export(trainer, module, "student", never)
        self._write_report(trainer, module)

    def best_of(self, student: str) -> tuple[float, int] | None:
        """The value of the metric of a student at its best, and the updates before; None: none."""
        if student not in self.best:
            return None
        entry = self._report.get("best", {}).get("students", {}).get(student, {})
        return self.best[student], int(entry.get("updates", 0))

    def _is_best(self, trainer: Trainer, module: Distillation, student: str) -> bool:
        """Whether a student's metric is better than ever before; decided by rank 0."""
        key = metric_of(self.monitor, student, module.students)
        value, best = float(trainer.callback_metrics.get(key, math.nan)), self.best.get(student)
        sign = 1 if self.mode == "min" else -1
        better = best is None or sign * value < sign * best
        better = bool(trainer.strategy.broadcast(better and not math.isnan(value)))
        if better:
            self.best[student] = value
        return better

    def _export(
        self, trainer: Trainer, module: Distillation, kind: str, students: Sequence[str]
    ) -> None:
        description = module.describe()
        exported = full_state_dict(module.exported)
        for name in students:
            weights = full_state_dict(module.students[name])
            languages = list(module.data_facts.languages)
            training = _training(self.state_dict(), name, trainer.global_step, languages)
            if trainer.is_global_zero:
                students = list(module.students)
                run = Path(trainer.default_root_dir)
                training = dataclasses.replace(training, facts=facts_of(run))
                parts = description, weights, training, self.dtype, exported, read_texts(run)
                write_student(_folder(run / kind, name, students), name, *parts)

    def _write_report(self, trainer: Trainer, module: Distillation) -> None:
        if trainer.is_global_zero:
            report = {
                "method": type(module).__name__,
                "updates": trainer.global_step,
                "monitor": self.monitor,
                **self._report,
                **_texts(trainer),
            }
            with replacing(Path(trainer.default_root_dir) / "report.json") as beside:
                text = json.dumps(_finite(report), indent=2, allow_nan=False)
                beside.write_text(f"{text}\n", "utf-8")
            self._record.write(trainer)

    def state_dict(self) -> dict[str, Any]:
        """What the best and the last validation measured."""
        return {
            "monitor": self.monitor,
            "mode": self.mode,
            "best": self.best,
            "report": self._report,
            "metrics": [dataclasses.asdict(metric) for metric in self._metrics],
            "caption": self._caption,
            "untrained": None if self._untrained is None else list(self._untrained),
            "training": self._record.state_dict(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from there; the best counts only if the metric is still the same."""
        self._report = state_dict["report"]
        self._record.load_state_dict(state_dict.get("training"))
        self._metrics, self._caption = _shown(state_dict)  # for cards without another measurement
        if state_dict["untrained"] is not None:
            self._untrained, self._watched = dict.fromkeys(state_dict["untrained"]), {}
        if (state_dict["monitor"], state_dict["mode"]) == (self.monitor, self.mode):
            best = state_dict["best"]  # a number, or None, before there were several students
            alone = {} if best is None else {"student": best}
            self.best = best if isinstance(best, dict) else alone


def training_of(checkpoint: Mapping[str, Any], name: str) -> Training:
    """What is known of a student's training from a checkpoint alone.

    Args:
        checkpoint: its content; scores are those that `ExportStudent` noted last, if it was there.
        name: of the student.
    """
    state = checkpoint.get("callbacks", {}).get(ExportStudent.__qualname__, {})
    last = state.get("report", {}).get("last", {}).get("students", {})
    languages = list(last.get(name, {}).get("languages", {}))
    return _training(state, name, checkpoint["global_step"], languages)


def _training(
    state: Mapping[str, Any], name: str, updates: int, languages: Sequence[str]
) -> Training:
    """What the state of `ExportStudent` tells of a student."""
    last = state.get("report", {}).get("last", {})
    own = last.get("students", {}).get(name, {})
    measured = Measurement(own.get("languages", {}), own.get("mean", {}))
    if not state.get("metrics") and "rows" not in measured.mean:
        measured = Measurement()  # an earlier release did not note what its losses were
    prefix = f"students.{name}."
    untrained = [one for one in state.get("untrained") or () if one.startswith(prefix)]
    return Training(
        updates,
        languages,
        measured,
        last.get("updates"),
        *_shown(state),
        [one.removeprefix(prefix) for one in untrained],
    )


def _shown(state: Mapping[str, Any]) -> tuple[Sequence[MetricSpec], str]:
    """Metrics and caption; the releases that noted none of them measured language models."""
    known = [MetricSpec(**metric) for metric in state.get("metrics", ())]
    if known:
        return known, state["caption"]
    return LanguageModelMeasure.metrics, LanguageModelMeasure.caption


def _entry(trainer: Trainer, module: Distillation, students: Sequence[str]) -> dict[str, Any]:
    """Plain values of the latest measurement of some students."""
    measured = module.measurements
    return {
        "updates": trainer.global_step,
        "students": {
            name: {
                "updates": trainer.global_step,
                "mean": measured[name].mean,
                "languages": dict(measured[name].languages),
            }
            for name in students
            if name in measured and measured[name].mean
        },
    }


def _texts(trainer: Trainer) -> dict[str, Any]:
    """Scores of what students wrote at the latest validation that looked at it; empty without."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    found = [one.texts for one in callbacks if isinstance(one, GenerationMetrics) and one.texts]
    return {"texts": found[0]} if found else {}


def _exports(trainer: Trainer) -> bool:
    rehearsal = trainer.sanity_checking or trainer.fast_dev_run  # type: ignore[attr-defined]
    return trainer.state.fn == TrainerFn.FITTING and not rehearsal


def _folder(place: Path, name: str, students: Collection[str]) -> Path:
    return place if len(students) == 1 else place / name


def _finite(value: Any) -> Any:
    """Plain data as JSON has it; numbers that JSON lacks become null."""
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
