"""Memory of this process on the CPU: how much it has, and what of it a step may keep."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from pathlib import Path

# Parameters of mallopt, <malloc.h>.
TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3
NEVER, PAD, LARGE = 2**31 - 1, 64 * 2**20, 32 * 2**20

_STATUS = Path("/proc/self/status")

CHOSEN = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")
"""Beginnings of environment variables with which somebody chose an allocator's behaviour."""


def keep_freed() -> bool:
    """Lets glibc's malloc keep what is freed, for the next step, instead of giving it back.

    By itself it returns the end of its heap after every backward pass, and the kernel then fills
    each page of the next step's activations with zeros at its first use. Blocks of 32 MiB and more,
    which would tear holes, are mapped and returned one by one as ever. What is resident at once
    stays near its highest; a step on a CPU takes some percent less (benchmarks/results/peers.md).

    Returns:
        Whether it does now: not with another C library, nor where the environment chose something.
    """
    if any(name.startswith(CHOSEN) for name in os.environ):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is None:
        return False
    settings = ((MMAP_THRESHOLD, LARGE), (TRIM_THRESHOLD, NEVER), (TOP_PAD, PAD))
    return all(mallopt(name, value) for name, value in settings)


def resident() -> int:
    """Bytes that this process has resident now; where only the highest is known, that."""
    return _of_status("VmRSS") or peak_resident()


def peak_resident() -> int:
    """The most bytes that this process ever had resident, or has had since `reset_peak`.

    Linux counts it anew for a new program in /proc only: `getrusage` goes on with the peak of the
    process that started it.
    """
    if found := _of_status("VmHWM"):
        return found
    import resource  # which Windows has not

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def reset_peak() -> None:
    """Begins the count of `peak_resident` anew, where the system can; else it goes on."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _of_status(name: str) -> int:
    """Bytes of a line of /proc/self/status; 0 where there is none."""
    if not _STATUS.is_file():
        return 0
    lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    return int(lines[name].split()[0]) * 1024 if name in lines else 0
