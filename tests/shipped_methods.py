"""The methods as their configs are shipped, on tiny models: which there are, and how they run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.distributed.tensor import DTensor

import lit_distill.losses
import lit_distill.methods
from lit_distill.distillation import Distillation
from lit_distill.models import CarvedStudent, Execution, Sampling, Student, Teacher, TextFilter
from lit_distill.schedules import Constant

ROOT = Path(__file__).parent.parent
METHODS = sorted(path.stem for path in (ROOT / "configs/methods").glob("*.yaml"))
WRITING = {name for name in METHODS if "sampling" in yaml.safe_load(
    (ROOT / f"configs/methods/{name}.yaml").read_text())["model"].get("init_args", {})}  # fmt: skip
"""Methods that let a model write, after prompts of the data."""
FAMILIES = {"masked_lm": ["bert"], "causal_lm": ["gpt2"], **{name: ["gpt2"] for name in WRITING}}
CASES = [(name, family) for name in METHODS for family in FAMILIES.get(name, ["bert", "gpt2"])]
TINY = {
    "minilm_v2": {"relation_heads": 4},
    "gkd": {"student_share": 1.0, "sampling": {"max_new_tokens": 6}},
    "distillm": {"threshold": 1.0, "sampling": {"max_new_tokens": 6}},
    "sequence_kd": {
        "keep": {"ended": False},
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
    return {one: CarvedStudent(num_layers=count) for one, count in layers.items()} or None


def build(
    name: str, folder: Path, execution: Execution | None = None, **starts: Any
) -> Distillation:
    """The method of one shipped config on a tiny teacher, with plain SGD of rate 1."""
    node = yaml.safe_load((ROOT / f"configs/methods/{name}.yaml").read_text())["model"]
    own = {**node.get("init_args", {}), **TINY.get(name, {})}
    models = {"teacher": Teacher(str(folder)), "students": cohort(name)}
    found: Distillation = getattr(lit_distill.methods, node["class_path"])(
        **{key: made(value) for key, value in own.items()},
        **{**models, **starts},
        tokenizer=str(folder),
        optimizer=lambda groups: torch.optim.SGD(groups, lr=1.0),
        schedule=Constant(warmup=0.0),
        dropout=0.0,
        execution=execution or Execution(),
    )
    return found


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


class Keep(Callback):
    """Writes the students' parameters at the end: with forked ranks the parent sees no change."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, Distillation)
        whole = [
            p.full_tensor() if isinstance(p, DTensor) else p
            for p in (parameter.detach() for parameter in pl_module.students.parameters())
        ]
        if trainer.is_global_zero:
            torch.save(whole, self.path)


def read(after: Path) -> torch.Tensor:
    parameters = torch.load(after, weights_only=True)
    return torch.cat([parameter.double().flatten() for parameter in parameters])
