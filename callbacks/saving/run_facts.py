"""What a run is made of, as plain data in its folder: reports are made of it later, elsewhere."""

from __future__ import annotations

import dataclasses
import json
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer

from lit_distill.files import strict_json
from lit_distill.files.atomic_files import replacing
from lit_distill.models import (
    LanguageModel,
    PretrainedStudent,
    Student,
    VocabularyTransferStudent,
)
from lit_distill.training.distillation import Distillation

FACTS = "facts.json"
"""Inside of a run folder."""
FORMAT = 1
PACKAGES = (
    *("lit-distill", "torch", "lightning", "transformers", "tokenizers", "datasets"),
    *("numpy", "safetensors", "torchmetrics", "peft"),
)
"""Whose versions a run notes, of those that are installed."""


def note_facts(trainer: Trainer, module: Distillation) -> None:
    """Writes down models, data, metrics and environment; every rank has to call it, rank 0 writes.

    A run that goes on notes them anew: the environment is that in which it was continued last.

    Args:
        trainer: of the run, whose models are built.
        module: its method.

    Raises:
        UserError: the file could not be written.
    """
    teachers = module.cast.identify_teachers()
    live = module.cast.teacher_models
    facts: dict[str, Any] = {
        "format": FORMAT,
        "students": {
            name: {**_model(own), "start": _start(module.cast.student_specs.get(name))}
            for name, own in module.cast.student_models.items()
        },
        "teachers": {
            name: {**identity, **(_model(live[name]) if name in live else {})}
            for name, identity in teachers.items()
        },
        "hears": module.hears.name.lower() if module.hears else None,
        "data": {
            "kind": module.data_facts.kind,
            "languages": list(module.data_facts.languages),
            "origins": module.data_facts.origins,
        },
        "metrics": [dataclasses.asdict(metric) for metric in module.measure.metrics],
        "caption": module.measure.caption,
        "notes": list(module.notes),
        "environment": _environment(trainer),
    }
    if trainer.is_global_zero:
        with replacing(Path(trainer.default_root_dir) / FACTS) as beside:
            beside.write_text(strict_json.dumps(facts, indent=1) + "\n", "utf-8")


def facts_of(run: Path) -> dict[str, Any]:
    """What is noted in a run folder; nothing where it is not, or cannot be read."""
    try:
        found = json.loads((run / FACTS).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _model(model: LanguageModel) -> dict[str, Any]:
    """Architecture, layers and parameters; tied weights count once."""
    return {
        "architecture": model.anatomy.architecture,
        "layers": len(model.layers),
        "parameters": sum(own.numel() for own in model.parameters()),
    }


def _start(spec: Student | None) -> dict[str, str]:
    """How a student began, and the name of the saved model in which it did.

    Nothing of one that a method makes itself, such as a mean of others.
    """
    if spec is None:
        return {}
    named = {"kind": type(spec).__name__}
    if isinstance(spec, PretrainedStudent | VocabularyTransferStudent):
        named |= {"name": spec.name, **({"revision": spec.revision} if spec.revision else {})}
    return named


def _environment(trainer: Trainer) -> dict[str, str]:
    """Versions and machine; neither host nor user, as reports are given to others."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    gpu = trainer.strategy.root_device.type == "cuda"
    device = torch.cuda.get_device_name(trainer.strategy.root_device) if gpu else "CPU"
    return {
        **found,
        "system": f"{platform.system()} {platform.machine()}",
        "device": device,
        "processes": str(trainer.world_size),
        "threads of each": str(torch.get_num_threads()),
        "precision": str(trainer.precision),
    }
