"""Memory of the CPU that a step frees and the next one needs again."""

from __future__ import annotations

import ctypes
import os

# Parameters of mallopt, <malloc.h>.
TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4
NEVER, PAD = 2**31 - 1, 64 * 2**20

CHOSEN = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")
"""Beginnings of environment variables with which somebody chose an allocator's behaviour."""


def keep_freed() -> bool:
    """Lets glibc's malloc keep what is freed, for the next step, instead of giving it back.

    It maps large blocks anew each time they are asked for, and the kernel then fills every page of
    every activation and logit tile of every step with zeros at its first use. What is resident at
    once stays what it was at its highest; a step on a CPU takes some percent less
    (docs/benchmarks.md).

    Returns:
        Whether it does now: not with another C library, nor where the environment chose something.
    """
    if any(name.startswith(CHOSEN) for name in os.environ):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is None:
        return False
    settings = ((MMAP_MAX, 0), (TRIM_THRESHOLD, NEVER), (TOP_PAD, PAD))
    return all(mallopt(name, value) for name, value in settings)
