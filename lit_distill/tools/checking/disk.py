"""The disk that a run fills: checkpoints and students, and the cache of its corpus."""

from __future__ import annotations

import shutil
from pathlib import Path

from torch import nn

from lit_distill.cli.preflight.findings import Finding, in_bytes
from lit_distill.training.distillation import Distillation

KEPT = 3
"""`last`, `previous` and the best, of which one more is written before an older one goes."""


def checkpoint(module: Distillation, states: int) -> int:
    """Bytes of one checkpoint: students and what trains beside them, and the optimizer's states."""
    parts: list[nn.Module] = [*module.students.values(), module.auxiliary, module.exported]
    tensors = {id(t): t for part in parts for t in (*part.parameters(), *part.buffers())}.values()
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors) + states


def run_folder(module: Distillation, states: int) -> int:
    """Bytes of the run folder at its fullest: checkpoints, the best students and the last ones."""
    students = sum(
        sum(p.numel() for p in student.parameters()) * 4 for student in module.students.values()
    )
    bests = len(module.students)
    return (KEPT + bests) * checkpoint(module, states) + 2 * students


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def existing(folder: Path) -> Path:
    """The nearest folder above that is there."""
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return folder


def too_full(folder: Path, wanted: int) -> list[Finding]:
    """What to say where a run's files do not fit on its disk.

    Args:
        folder: of the run; it need not exist.
        wanted: bytes.
    """
    free = shutil.disk_usage(existing(folder)).free
    if wanted <= 0.9 * free:
        return []
    text = (
        f"Checkpoints and students of this run take up to {in_bytes(wanted)}, and the disk of "
        f"{folder} has {in_bytes(free)} left."
    )
    remedy = "Another --run_dir, or room; frozen weights (--model.student.freeze) have no states."
    return [Finding("error" if wanted > free else "warning", "disk", text, remedy)]
