"""Ours beside the floor and beside the published packages: one table.

    python benchmarks/peers.py --rounds 9
    python benchmarks/peers.py --merge one.json two.json three.json   # a table of several runs

The packages are those of the extra `bench`; one that is not there or does not run is in the table
with the reason. Each candidate has a process of its own. Times are of the process' CPU time (of all
threads; one by default, for machines with other work) over the floor's of the same round, medians
and quartiles of interleaved rounds in random order; the wall clock's beside it. Memory is the
highest of the first steps above what was resident before them, models included there.

Floor: teacher forward (no gradients, sdpa, heads on the rows that count) and student forward and
backward on its own loss on the same rows; no framework, no optimizer. Ours: the method inside
Lightning with the shipped optimizer, callbacks and TensorBoard logger. Everybody else: AdamW
(fused) and clipping too. Random weights, dropout 0, the same models and batches for all.

With `--device cuda`: larger sizes, bfloat16, synchronised times of the device, its allocated
memory, and the set-ups that others published numbers for.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # idle threads must not count as CPU time
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
from others.torchvision_names import complete_torchvision

complete_torchvision()  # before whoever imports it: lightning and transformers, too

from suites import suites  # noqa: E402
from timing.side_by_side import Limits, Measured, measure  # noqa: E402
from timing.tables import table  # noqa: E402
from timing.workers import elsewhere  # noqa: E402

PACKAGES = (
    "torch",
    "lightning",
    "transformers",
    "trl",
    "textbrewer",
    "torchdistill",
    "liger-kernel",
    "accelerate",
)


def versions() -> str:
    """Of everything that is compared, as far as it is installed."""
    found = []
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{name} {importlib.metadata.version(name)}")
    return ", ".join(found)


def machine(device: str) -> str:
    """Processor or GPU."""
    if device == "cuda":
        return elsewhere(torch.cuda.get_device_name)
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    names = {line.split(": ")[1] for line in lines if line.startswith("model name")}
    return f"{', '.join(sorted(names)) or platform.processor()}, {os.cpu_count()} cores"


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table."""
    options = parser().parse_args(arguments)
    if options.merge:
        files = [json.loads(path.read_text("utf-8")) for path in options.merge]
        runs = [[Measured.of_json(node) for node in file["suites"]] for file in files]
        about = files[0]["about"]
        print(f"{about['heading']}; {len(runs)} invocations\n\n{table(runs, about['dtype'])}")
        return
    dtype = options.dtype or ("bfloat16" if options.device == "cuda" else "float32")
    chosen = [
        suite
        for suite in suites(options.device, getattr(torch, dtype))
        if not options.only or any(part in suite.name for part in options.only)
    ]
    heading = (
        f"{machine(options.device)}; {versions()}; {dtype}, "
        f"{os.environ['OMP_NUM_THREADS']} thread(s), {options.rounds} rounds"
    )
    measured = []
    for number, suite in enumerate(chosen):
        if options.tiny:
            suite = replace(suite, work=suite.tiny, limits=Limits())
        measured.append(measure(suite, options.rounds, options.device, options.candidates, number))
        print(f"measured: {suite.name} ({suite.sizes})", flush=True)
        if options.json:  # each time: a run that is stopped has not been for nothing
            nodes = [each.as_json() for each in measured]
            about = {"heading": heading, "dtype": dtype}
            options.json.write_text(json.dumps({"about": about, "suites": nodes}), "utf-8")
    print(f"\n{heading}\n\n{table([measured], dtype)}")


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    made = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    made.add_argument("--rounds", type=int, default=9)
    made.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    made.add_argument("--dtype", choices=["float32", "bfloat16"], help="of the models")
    made.add_argument("--only", nargs="+", help="workloads whose names contain one of these")
    made.add_argument("--candidates", nargs="+", help="these and the floor")
    made.add_argument("--tiny", action="store_true", help="sizes that only show what runs")
    made.add_argument("--json", type=Path, help="where to write all times")
    made.add_argument("--merge", type=Path, nargs="+", help="files of --json: sum them up")
    return made


if __name__ == "__main__":
    main()
