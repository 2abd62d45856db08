"""The disk that a run fills: checkpoints and students, and caches of text and of teachers."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from torch import nn
from torch.optim import Optimizer

from data_modules import Corpus, PromptCorpus
from lit_distill.cli.preflight.findings import Finding, in_bytes
from lit_distill.models import LanguageModel
from lit_distill.training.distillation import Distillation

KEPT = 3
"""`last`, `previous` and the best, of which one more is written before an older one goes."""

KEPT_TOKENS, SAMPLED = 64, 500
"""Tokens of a position that `cache-teacher` keeps by default; windows that are looked at."""


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


def expected_states(optimizer: Optimizer) -> int:
    """Bytes of an optimizer's states, before it has any: two numbers a weight, as Adam has."""
    numbers = 2 if "adam" in type(optimizer).__name__.lower() else 1
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    return sum(numbers * weight.numel() * weight.element_size() for weight in weights)


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def teacher_cache(data: Corpus, teacher: LanguageModel) -> int:
    """Bytes that `cache-teacher` writes by its defaults, of one drawing of masks where there are.

    Positions are reckoned from some windows; 0 where such a corpus is not cached.

    Args:
        data: that has been set up.
        teacher: whose answers are kept.
    """
    if isinstance(data, PromptCorpus):
        return 0
    store, outputs = data.train, teacher.outputs
    count = len(store.lengths)
    some = np.unique(np.linspace(0, count - 1, min(count, SAMPLED)).astype(np.int64))
    rows = len(data.collator()(some, np.zeros_like(some))["rows"])
    share = rows / max(int(store.lengths[some].sum()), 1)
    kept = outputs if teacher.labels else min(KEPT_TOKENS, outputs)
    high = max(outputs - 1, 1).bit_length() - 16  # bits that do not fit into 16
    position = 4 * kept + 2 + max(high, 0) * -(-kept // 8)
    return round(share * int(store.lengths.sum())) * position + 12 * count


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
