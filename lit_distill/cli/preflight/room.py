"""The room that models find: memory that there is, and teachers that need more, before loading."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from lit_distill.cli.preflight.findings import Finding, in_bytes
from lit_distill.errors import UserError
from lit_distill.host_memory import resident
from lit_distill.models import TeacherSpec, parameters_of


def available(device: torch.device) -> int:
    """Bytes that a run could have on a device now, this process's own included."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device)
    found = _free() + resident()
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        if Path(limit).exists() and (text := Path(limit).read_text().strip()).isdigit():
            found = min(found, int(text))
    return found


def _free() -> int:
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def weights_of(specs: Mapping[str, TeacherSpec], ask_hub: bool) -> dict[str, int]:
    """Bytes of the weights of teachers by name, as their configs say; what has none is left out.

    Args:
        specs: by name.
        ask_hub: see `parameters_of`.
    """
    found = {}
    for name, spec in specs.items():
        size: int = getattr(torch, spec.dtype).itemsize
        try:
            found[name] = size * parameters_of(spec.name, spec.revision, ask_hub)
        except UserError:  # which the run says itself, where it opens the teacher
            continue
    return found


def too_large(
    specs: Mapping[str, TeacherSpec], room: int, shares: int = 1, ask_hub: bool = True
) -> Iterator[Finding]:
    """What to say of teachers whose weights alone are more than there is.

    Args:
        specs: the live teachers by name.
        room: bytes that a rank has.
        shares: ranks over which weights are split; 1: each has them whole.
        ask_hub: see `parameters_of`.
    """
    weights = weights_of(specs, ask_hub)
    total = sum(weights.values()) // shares
    if total <= room:
        return
    named = ", ".join(
        f"{name} ({specs[name].name}, {specs[name].dtype}) {in_bytes(size)}"
        for name, size in weights.items()
    )
    half = sum(
        size // 2 if specs[name].dtype == "float32" else size for name, size in weights.items()
    )
    halving = "fit" if half // shares <= room else "still be too much"
    smaller = f"--model.teacher.dtype bfloat16 takes half, which would {halving}; "
    yield Finding(
        "error",
        "teacher",
        f"Weights of teachers take {in_bytes(total)} a rank before anything else, by their configs "
        f"({named}), and there are {in_bytes(room)}: they do not fit.",
        f"{smaller * (half < sum(weights.values()))}a smaller teacher; a machine with more memory, "
        "where `cache-teacher` writes down "
        "what it says, for a run that loads none (--model.teacher_cache); or FSDP, where each of "
        "several devices holds a share (configs/trainer/fsdp.yaml).",
    )
