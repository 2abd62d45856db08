"""The methods as their configs are shipped, and one of a user, on tiny models: how they run."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from torch.distributed.tensor import DTensor

import lit_distill.losses
from lit_distill.models import (
    Execution,
    LayerCopyStudent,
    Sampling,
    Student,
    TeacherSpec,
    TextFilter,
)
from lit_distill.schedules import Constant
from lit_distill.training.distillation import Distillation

ROOT = Path(__file__).parents[2]
CONFIGS = {
    path.stem: path
    for folder in ("configs/methods", "tests/own")
    for path in sorted((ROOT / folder).glob("*.yaml"))
}
"""Of every method: those that are shipped, and two of users."""
METHODS = [name for name, path in CONFIGS.items() if "methods" in path.parts]
"""Names of the shipped ones."""
NODES = {name: yaml.safe_load(path.read_text())["model"] for name, path in CONFIGS.items()}
WRITING = {name for name, node in NODES.items() if "sampling" in node.get("init_args", {})}
"""Methods that let a model write, after prompts of the data."""
FAMILIES = {
    **{name: ["bert"] for name in ("masked_lm", "projected_states", "contrastive")},
    **{name: ["gpt2"] for name in ("causal_lm", *WRITING)},
}
CASES = [(name, family) for name in NODES for family in FAMILIES.get(name, ["bert", "gpt2"])]
TOKEN_TYPES = {"projected_states"}
"""Methods whose batches have `token_type_ids`."""
TINY = {
    "minilm_v2": {"relation_heads": 4},
    "gkd": {"student_share": 1.0, "sampling": {"max_new_tokens": 6}},
    "distillm": {"threshold": 1.0, "sampling": {"max_new_tokens": 6}},
    "sequence_kd": {
        "keep": {"ended": False, "max_repetition": 1.0},
        "sampling": {"max_new_tokens": 6, "temperature": 1.0},
    },
}
"""Knobs whose shipped values do not fit models of width 16; what writes, writes at once."""
PLAIN = {"minilm", "minilm_v2"}
"""Methods that read text as it is."""
COHORTS = {
    "co_distillation": {"large": 3, "small": 2},
    "mutual_learning": {"one": 3, "two": 2, "three": 1},
}
"""Layers of the students of methods that train several."""
PRECISIONS = {"64-true": 1e-12, "32-true": 1e-5}
"""How far apart gradients may be, ||g - g'|| / ||g||, by the trainer's precision."""


def class_of(name: str) -> type[Distillation]:
    """The method of one config."""
    path = NODES[name]["class_path"]
    module, _, class_name = (path if "." in path else f"lit_distill.methods.{path}").rpartition(".")
    found: type[Distillation] = getattr(importlib.import_module(module), class_name)
    return found


def made(value: Any) -> Any:
    """A knob as the command line makes it: losses are given by class."""
    if not isinstance(value, dict):
        return value
    if "class_path" not in value:
        return (TextFilter if "ended" in value else Sampling)(**value)
    return getattr(lit_distill.losses, value["class_path"])(**value.get("init_args", {}))


def cohort(name: str) -> dict[str, Student] | None:
    """Carved students by name, where a method trains several."""
    layers = COHORTS.get(name, {})
    return {one: LayerCopyStudent(num_layers=count) for one, count in layers.items()} or None


def build(
    name: str, folder: Path, execution: Execution | None = None, **starts: Any
) -> Distillation:
    """The method of one shipped config on a tiny teacher, with plain SGD of rate 1."""
    seed_everything(0, verbose=False)  # as the command line does, also on ranks that start later
    node = NODES[name]
    own = {**node.get("init_args", {}), **TINY.get(name, {})}
    models = {"teacher": TeacherSpec(str(folder)), "students": cohort(name)}
    return class_of(name)(
        **{key: made(value) for key, value in own.items()},
        **{**models, **starts},
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
    parameters = [*module.students.parameters(), *module.auxiliary.parameters()]
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
