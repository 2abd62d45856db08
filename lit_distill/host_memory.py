"""Memory of the CPU that a step frees and the next one needs again."""

from __future__ import annotations

import ctypes
import os

# Parameters of mallopt, <malloc.h>.
TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3
NEVER, PAD, LARGE = 2**31 - 1, 64 * 2**20, 32 * 2**20

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
