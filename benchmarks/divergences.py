"""A divergence and its gradients at a head of 120,000 entries: ours beside the plain formula.

`python benchmarks/divergences.py [--rounds 9] [--rows 2048] [--vocabulary 120000] [--only NAME]`

Plain: both logits, two log-softmaxes, `F.kl_div(log_target=True)` and autograd (for Jensen-Shannon
the same with its mixture). Times are process CPU time of interleaved rounds, memory is the peak of
the process above what it held before, weight gradient included, each in a process of its own.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional

from lit_distill.losses import (
    AlphaBeta,
    Divergence,
    ForwardKL,
    Head,
    JensenShannon,
    ReverseKL,
    SkewKL,
    SkewReverseKL,
    TotalVariation,
    linear_losses,
)

WIDTHS = 384, 768


def kl(log_q: Tensor, log_p: Tensor) -> Tensor:
    return functional.kl_div(log_q, log_p, log_target=True, reduction="sum")


def mixture(log_p: Tensor, log_q: Tensor, share: float) -> Tensor:
    return torch.logaddexp(log_p + math.log(share), log_q + math.log(1 - share))


def jensen_shannon(log_q: Tensor, log_p: Tensor) -> Tensor:
    log_m = mixture(log_p, log_q, 0.5)
    return 0.5 * kl(log_m, log_p) + 0.5 * kl(log_m, log_q)


PLAIN: dict[str, tuple[Divergence, Callable[[Tensor, Tensor], Tensor]]] = {
    "forward KL": (ForwardKL(), kl),
    "reverse KL": (ReverseKL(), lambda log_q, log_p: kl(log_p, log_q)),
    "Jensen-Shannon": (JensenShannon(), jensen_shannon),
    "skew KL": (SkewKL(), lambda log_q, log_p: kl(mixture(log_p, log_q, 0.1), log_p)),
    "skew reverse KL": (
        SkewReverseKL(),
        lambda log_q, log_p: kl(mixture(log_p, log_q, 0.9), log_q),
    ),
    "total variation": (
        TotalVariation(),
        lambda log_q, log_p: (log_p.exp() - log_q.exp()).abs().sum() / 2,
    ),
    "alpha-beta": (
        AlphaBeta(),
        lambda log_q, log_p: 4 * (1 - ((log_p + log_q) / 2).exp().sum(-1)).sum(),
    ),
}


def heads(rows: int, vocabulary: int) -> tuple[Head, Head]:
    """Student and teacher; logits of standard deviation 2."""
    torch.manual_seed(0)

    def head(width: int) -> Head:
        return Head(torch.randn(rows, width), torch.randn(vocabulary, width).mul_(2 / width**0.5))

    student, teacher = (head(width) for width in WIDTHS)
    student.rows.requires_grad_()
    student.weight.requires_grad_()
    return student, teacher


def step(name: str, ours: bool, student: Head, teacher: Head) -> float:
    """One divergence with the gradients of rows and weight; its value."""
    divergence, plain = PLAIN[name]
    if ours:
        (value,) = linear_losses([divergence], student, teacher, coefficients=[1.0])
    else:
        logits = [functional.linear(head.rows, head.weight) for head in (student, teacher)]
        value = plain(*(torch.log_softmax(each, -1) for each in logits))
    value.backward()
    student.rows.grad = student.weight.grad = None
    return value.item()


def peak(name: str, ours: bool, rows: int, vocabulary: int) -> float:
    """MiB above what was held before, in a process of its own."""
    code = "import divergences as d; d.print_peak({!r}, {!r}, {!r}, {!r})"
    command = [sys.executable, "-c", code.format(name, ours, rows, vocabulary)]
    done = subprocess.run(
        command, cwd=Path(__file__).parent, check=True, capture_output=True, text=True
    )
    return float(done.stdout)


def print_peak(name: str, ours: bool, rows: int, vocabulary: int) -> None:
    """What `peak` reads."""
    student, teacher = heads(rows, vocabulary)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew (Linux)
    before = _mebibytes("VmRSS")
    step(name, ours, student, teacher)
    print(_mebibytes("VmHWM") - before)


def _mebibytes(field: str) -> float:
    (line,) = (x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(field))
    return int(line.split()[1]) / 1024


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--vocabulary", type=int, default=120_000)
    parser.add_argument("--only", nargs="+", choices=PLAIN, default=list(PLAIN))
    options = parser.parse_args()
    torch.set_num_threads(1)
    student, teacher = heads(options.rows, options.vocabulary)
    times: dict[tuple[str, bool], list[float]] = {
        (n, o): [] for n in options.only for o in (True, False)
    }
    values: dict[tuple[str, bool], float] = {}
    for _ in range(options.rounds):
        for case in random.sample(list(times), len(times)):
            began = time.process_time()
            values[case] = step(*case, student, teacher)
            times[case].append(time.process_time() - began)
    table = Table("divergence", "value", "plain's", "CPU s", "plain's", "ratio", "peak MiB",
                  "plain's", "ratio")  # fmt: skip
    for name in options.only:
        ratios = [o / p for o, p in zip(times[name, True], times[name, False], strict=True)]
        seconds = [statistics.median(times[name, ours]) for ours in (True, False)]
        memory = [peak(name, ours, options.rows, options.vocabulary) for ours in (True, False)]
        table.add_row(
            name,
            *(f"{values[name, ours]:.6g}" for ours in (True, False)),
            *(f"{each:.2f}" for each in seconds),
            f"{statistics.median(ratios):.2f}",
            *(f"{each:.0f}" for each in memory),
            f"{memory[0] / memory[1]:.3f}",
        )
    Console(width=120).print(table)
    print(f"{options.rows} rows, V={options.vocabulary}, widths {WIDTHS}, fp32, one thread, "
          f"{options.rounds} rounds, torch {torch.__version__}")  # fmt: skip


if __name__ == "__main__":
    main()
