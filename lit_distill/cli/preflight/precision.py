"""Precision in which a model cannot work, or does not learn."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.optim import Optimizer

from lit_distill.cli.preflight.findings import Finding
from lit_distill.models import LanguageModel
from lit_distill.training.distillation import Distillation

FRAGILE = ("t5", "mt5")
"""Types whose activations leave float16, which ends at 65,504; they were trained in bfloat16."""


def doubtful(module: Distillation, optimizer: Optimizer, precision: str) -> Iterator[Finding]:
    """What to say of the trainer's precision, and of weights as they are.

    Args:
        module: with its models.
        optimizer: of the run.
        precision: of the trainer, such as "16-mixed".
    """
    yield from _overflowing(module, precision)
    yield from _rounded_away(module, optimizer)


def _overflowing(module: Distillation, precision: str) -> Iterator[Finding]:
    """Models that give NaN in float16."""
    models: dict[str, LanguageModel] = {**module.cast.student_models, **module.cast.teacher_models}
    half = precision in ("16", "16-mixed", "16-true")
    specs = module.cast.teacher_specs
    fragile = [
        name
        for name, model in models.items()
        if model.config.model_type in FRAGILE
        and (half or (name in specs and specs[name].dtype == "float16"))
    ]
    if fragile:
        kinds = ", ".join(f"{name} ({models[name].config.model_type})" for name in fragile)
        yield Finding(
            "warning",
            "precision",
            f"Activations of T5 models leave float16, which ends at 65,504, and their losses "
            f"become NaN: {kinds}.",
            "--trainer.precision bf16-mixed, or 32-true where the device has no bfloat16; for a "
            "teacher also --model.teacher.dtype bfloat16.",
        )


def _rounded_away(module: Distillation, optimizer: Optimizer) -> Iterator[Finding]:
    """Weights in half precision that steps of the learning rate's size do not move."""
    rates = {
        id(parameter): float(group.get("initial_lr", group["lr"]))
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    kinds: dict[torch.dtype, float] = {}
    for student in module.cast.student_models.values():
        for parameter in student.parameters():
            if parameter.dtype in (torch.bfloat16, torch.float16) and id(parameter) in rates:
                rate = rates[id(parameter)]
                kinds[parameter.dtype] = max(kinds.get(parameter.dtype, 0.0), rate)
    for dtype, rate in kinds.items():
        lost = torch.finfo(dtype).eps / 4  # half the distance of numbers just below 1
        if rate < lost:
            name = str(dtype).removeprefix("torch.")
            yield Finding(
                "warning",
                "precision",
                f"The students' weights are in {name}, where numbers near 1, as norms begin, are "
                f"{2 * lost:.1g} apart: steps of {rate:g} are rounded away, and such weights never "
                "move.",
                "--trainer.precision bf16-mixed computes in bfloat16 and keeps weights in float32.",
            )
