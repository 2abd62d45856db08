"""That freed memory stays, where it may."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from lit_distill import host_memory
if sys.argv[1] == "kept":
    print(host_memory.keep_freed())
import torch
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [torch.ones(4_000_000) for _ in range(20)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


def printed(way: str, **environment: str) -> list[str]:
    free = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC", "LD_", "GLIBC"))}
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM, way],
        capture_output=True, text=True, check=True, env=free | environment,
    )  # fmt: skip
    return finished.stdout.split()


@pytest.mark.rotated(3)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc")
def test_freed_blocks_are_taken_again_without_new_pages() -> None:
    """320 MB, which are 78,125 pages, or 152 huge ones, in blocks as large as activations."""
    worked, kept = printed("kept")
    (given_back,) = printed("given back")
    if worked == "False":
        pytest.skip("another C library")
    assert int(kept) < 0.7 * int(given_back)  # small blocks take bites of some


def test_what_the_environment_chose_stays() -> None:
    assert printed("kept", MALLOC_TRIM_THRESHOLD_="1000000")[0] == "False"


def test_peaks_are_of_what_was_touched_since() -> None:
    """64 MiB that are filled and given back are in the peak, and no more after a reset."""
    code = (
        "from lit_distill.host_memory import peak_resident, reset_peak, resident\n"
        "import mmap\n"
        "before = resident()\n"
        "with mmap.mmap(-1, 64 << 20) as block: block.write(b'x' * (64 << 20))\n"
        "reset_possible = __import__('os').path.exists('/proc/self/clear_refs')\n"
        "high = peak_resident(); reset_peak(); low = peak_resident()\n"
        "print((high - before) >> 20, (low - before) >> 20, reset_possible)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    high, low, possible = done.stdout.split()
    assert int(high) >= 64
    assert possible != "True" or int(low) < int(high)
