"""The methods as their configs are shipped, and two of users, on tiny models: how they run."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from batches import Sample, collate, typed
from labelled import labels_of
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from prompts import halved, prompt_batch
from torch.distributed.tensor import DTensor

import lit_distill.losses
import lit_distill.methods
import lit_distill.models
from lit_distill.batch import Batch, Reading
from lit_distill.losses import SoftTarget
from lit_distill.methods import AttentionTerms
from lit_distill.models import (
    Execution,
    LayerCopyStudent,
    Sampling,
    Student,
    TeacherSpec,
    TextFilter,
)
from lit_distill.models.embedding.embedder import Embedder
from lit_distill.schedules import Constant
from lit_distill.task_batches import of_task
from lit_distill.training.distillation import Distillation
from lit_distill.training.stages.stage import Stage
from lit_distill.training.states.state_terms import StateTerms

ROOT = Path(__file__).parents[2]
CONFIGS = {
    path.stem: path
    for folder in ("configs/methods", "tests/own")
    for path in sorted((ROOT / folder).glob("*.yaml"))
}
"""Of every method: those that are shipped, and two of users."""


@dataclass(frozen=True)
class Shipped:
    """A method as its config is shipped, and what a tiny model needs otherwise.

    The latter is `tests/tiny/<method>.yaml`, where there is anything to say.

    Attributes:
        families: of models that it is tried with.
        knobs: in the place of those whose shipped values do not fit models of width 16.
        students: of a method that trains several, how many layers each has.
        inputs: what its batches have beside ids and masks.
        has_soft_targets: whether any term has another target than one token.
        compares_texts: whether its options make it compare the texts of a batch.
    """

    name: str
    families: tuple[str, ...] = ("bert", "gpt2")
    knobs: dict[str, Any] = field(default_factory=dict)
    students: dict[str, int] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    has_soft_targets: bool = True
    compares_texts: bool = False

    @property
    def node(self) -> dict[str, Any]:
        """What its config says of the model."""
        node: dict[str, Any] = yaml.safe_load(CONFIGS[self.name].read_text("utf-8"))["model"]
        return node

    @property
    def own_start(self) -> Student | None:
        """How its config says that its student starts: factorised, as an ELECTRA."""
        return _student(self.node.get("init_args", {}).get("student"))

    @property
    def method(self) -> type[Distillation]:
        """Its class."""
        module, _, name = f"lit_distill.methods.{self.node['class_path']}".rpartition(".")
        if "." in self.node["class_path"]:
            module = self.node["class_path"].rpartition(".")[0]
        found: type[Distillation] = getattr(importlib.import_module(module), name)
        return found

    @property
    def is_ours(self) -> bool:
        """Whether the project ships it."""
        return CONFIGS[self.name].is_relative_to(ROOT / "configs")

    @property
    def reads_prompts(self) -> bool:
        """Whether its batches are of prompts with responses."""
        return self.method.reads == (Reading.RESPONSES,)

    @property
    def reads_plain(self) -> bool:
        """Whether its batches are of texts as they are, without targets."""
        return self.method.reads[:1] == (Reading.PLAIN,)

    @property
    def reads_labels(self) -> bool:
        """Whether its batches are of labels alone, and its models classifiers."""
        return self.method.reads == (Reading.LABELS,)

    @property
    def by_task(self) -> bool:
        """Whether each of its students has a task and a teacher of its own."""
        return self.method.by_task

    @property
    def couples(self) -> bool:
        """Whether terms compare the texts of a batch, so that one cannot be split."""
        return self.compares_texts or bool(self.method.couples)

    def batch(self, texts: list[Sample], family: str, **options: Any) -> Batch:
        """A batch of texts as the models of a family read them for this method."""
        if self.reads_prompts:
            return prompt_batch([halved(text) for text in texts], **options)
        if self.reads_labels:
            made = labels_of(texts, **options)
            return of_task(made, next(iter(self.students)), self.students) if self.by_task else made
        made = collate(texts, causal=family == "gpt2", **options)
        return typed(made) if "token_type_ids" in self.inputs else made


def _shipped(name: str) -> Shipped:
    path = ROOT / f"tests/tiny/{name}.yaml"
    tiny = yaml.safe_load(path.read_text("utf-8")) if path.is_file() else {}
    return Shipped(name, **{key: tuple(v) if isinstance(v, list) else v for key, v in tiny.items()})


METHODS = {name: _shipped(name) for name in CONFIGS}
OURS = {name: one for name, one in METHODS.items() if one.is_ours}
CASES = [(one, family) for one in METHODS.values() for family in one.families]
PRECISIONS = {"64-true": 1e-12, "32-true": 1e-5}
"""How far apart gradients may be, ||g - g'|| / ||g||, by the trainer's precision."""


def made(value: Any) -> Any:
    """A knob as the command line makes it: losses and layer maps are given by class."""
    if not isinstance(value, dict):
        return value
    if "class_path" not in value:
        if all(isinstance(one, dict) and "loss" in one for one in value.values()):
            return {
                key: SoftTarget(**{k: made(v) for k, v in one.items()})
                for key, one in value.items()
            }
        if "compare" in value:
            return AttentionTerms(**{key: made(one) for key, one in value.items()})
        return (TextFilter if "ended" in value else Sampling)(**value)
    name = value["class_path"]
    kind = getattr(lit_distill.losses, name, None) or getattr(lit_distill.methods, name)
    return kind(**{knob: made(one) for knob, one in value.get("init_args", {}).items()})


def _stages(value: list[dict[str, Any]]) -> list[Stage]:
    return [Stage(**one) for one in value]


def _student(value: dict[str, Any] | None) -> Student | None:
    """A start by class, as a config gives it."""
    if value is None:
        return None
    found: type[Student] = getattr(lit_distill.models, value["class_path"])
    return found(**value["init_args"])


def _states(value: dict[str, Any] | None) -> StateTerms | None:
    return None if value is None else StateTerms(**{key: made(one) for key, one in value.items()})


def _embedder(value: dict[str, Any]) -> Embedder:
    return Embedder(**value)


def build(
    shipped: Shipped, folder: Path, execution: Execution | None = None, **starts: Any
) -> Distillation:
    """The method of one shipped config on a tiny teacher, with plain SGD of rate 1."""
    seed_everything(0, verbose=False)  # as the command line does, also on ranks that start later
    node = {**shipped.node.get("init_args", {}), **shipped.knobs}
    several = {name: LayerCopyStudent(num_layers=n) for name, n in shipped.students.items()}
    models = {"teacher": TeacherSpec(str(folder)), "students": several or None, **starts}
    parts = {"stages": _stages, "states": _states, "student": _student, "embedder": _embedder}
    own = {key: parts.get(key, made)(value) for key, value in node.items()}
    if shipped.by_task:
        own["teachers"] = dict.fromkeys(several, models.pop("teacher"))
    return shipped.method(
        **{**own, **models},
        tokenizer=str(folder),
        optimizer=lambda groups: torch.optim.SGD(groups, lr=1.0),
        schedule=Constant(warmup=0.0),
        dropout=0.0,
        execution=execution or Execution(),
    )


def quiet_trainer(**options: Any) -> Trainer:
    defaults = {
        "accelerator": "cpu",
        "precision": "64-true",
        "max_steps": 1,
        "max_epochs": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "log_every_n_steps": 1,
        "limit_val_batches": 0,
    }
    return Trainer(**{**defaults, **options})


def trained(module: LightningModule) -> torch.Tensor:
    """The parameters of students and of what is trained beside them, whole and flat."""
    assert isinstance(module, Distillation)
    models = module.students, module.auxiliary, module.exported
    parameters = [parameter for each in models for parameter in each.parameters()]
    whole = [p.full_tensor() if isinstance(p, DTensor) else p for p in parameters]
    return torch.cat([parameter.detach().double().flatten() for parameter in whole])


class Keep(Callback):
    """Writes what training changed: with forked ranks the parent sees no change.

    Ranks must end with the same parameters.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.before = trained(pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        after = trained(pl_module)
        if trainer.world_size > 1:
            first = after.clone()
            torch.distributed.broadcast(first, 0)
            assert torch.equal(first, after), "ranks differ"
        if trainer.is_global_zero:  # what was switched off by -inf, and stays so, has not changed
            torch.save(torch.where(after == self.before, 0.0, after - self.before), self.path)


def read(path: Path) -> torch.Tensor:
    """What `Keep` wrote."""
    change: torch.Tensor = torch.load(path, weights_only=True)
    return change
