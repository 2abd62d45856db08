"""Time of one on-policy step (GKD) over its floor, on CPU.

    python benchmarks/generation_step.py --rounds 7
    python benchmarks/generation_step.py --candidates lightning-jsd trl-gkd-jsd  # with trl

Floor: transformers' `generate` with a cache, a bare teacher forward (no_grad, sdpa, head on the
rows of what was written) and a bare student forward and backward on the cross-entropy of those
rows; no framework, no optimizer. Ours is the whole method inside Lightning with the shipped
optimizer, callbacks and TensorBoard logger: generation, losses, clipping, AdamW. trl: the trainer's
own `training_step` on prompts of one length with dropout off, clipping and AdamW by hand.

Ratios as in triple_loss_step.py. Random weights, float32; teacher Llama 8 x 512, student 4 x 256;
8 prompts of 64 tokens and 64 new ones at a vocabulary of 32,000, 4 of 32 and 32 at 128,000. No
text ends before: with random weights hardly any would.
"""

from __future__ import annotations

import argparse
import functools
import os
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # idle threads must not count as CPU time
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from generation_workload import SIZES, Workload
from timing.lightning_steps import (
    LightningSteps,
    in_memory,
    shipped_callbacks,
    shipped_optimizer,
    unseen_bar,
)
from timing.rounds import Step, compare
from torch.nn import functional

from lit_distill.losses import Divergence, ForwardKL, JensenShannon, ReverseKL
from lit_distill.methods import GKD
from lit_distill.models import Sampling, TeacherSpec

LOG_EVERY = 50
DIVERGENCES: dict[str, Divergence] = {
    "fkl": ForwardKL(t_squared=False),
    "rkl": ReverseKL(t_squared=False),
    "jsd": JensenShannon(0.5, t_squared=False),
}


def floor(work: Workload) -> Step:
    """The least that a step has to do."""
    teacher, student = work.models()

    def step() -> float:
        whole = work.write(student)
        with torch.no_grad():
            work.rows(teacher, whole)
        targets = whole[:, work.tokens :].flatten()
        loss = functional.cross_entropy(work.rows(student, whole), targets)
        loss.backward()
        student.zero_grad(set_to_none=True)
        return loss.item()

    return step


def in_lightning(divergence: Divergence, work: Workload) -> Step:
    """The method inside a Trainer, with the shipped optimizer, callbacks and logger."""
    method = GKD(
        divergence,
        student_share=1.0,
        sampling=Sampling(work.tokens),
        teacher=TeacherSpec("in memory"),
        optimizer=shipped_optimizer("fine_tuning"),
    )
    in_memory(method, *work.models())  # type: ignore[arg-type]
    return LightningSteps(method, work.batch(), [*shipped_callbacks(), unseen_bar()], LOG_EVERY)


def trl(trainer: str, beta: float, work: Workload) -> Step:
    """One of trl's trainers, where trl is installed."""
    from others import trl_on_policy

    step: Step = getattr(trl_on_policy, trainer)(beta, work)
    return step


CANDIDATES: dict[str, Callable[[Workload], Step]] = {
    "floor": floor,
    **{
        f"lightning-{name}": functools.partial(in_lightning, divergence)
        for name, divergence in DIVERGENCES.items()
    },
    "trl-gkd-jsd": functools.partial(trl, "gkd", 0.5),
    "trl-distillation-rkl": functools.partial(trl, "distillation", 1.0),
    "trl-distillation-jsd": functools.partial(trl, "distillation", 0.5),
}


def peak(work: Workload, name: str) -> float:
    """MiB above the start that three steps of a candidate reach, in a forked child (Linux)."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        step = CANDIDATES[name](work)
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak that building it had
        start = _resident("VmRSS")
        for _ in range(3):
            step()
        os.write(writing, str(_resident("VmHWM") - start).encode())
        os._exit(0)
    os.wait()
    return float(os.read(reading, 99))


def _resident(name: str) -> float:
    """MiB, of this process: resident now (VmRSS) or at the most (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--memory", action="store_true", help="peaks in the place of times")
    parser.add_argument("--vocabulary", type=int, nargs="*", default=list(SIZES))
    ours = [name for name in CANDIDATES if name.startswith("lightning")]
    parser.add_argument("--candidates", nargs="*", default=ours, choices=list(CANDIDATES))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.threads} thread(s), {options.rounds} rounds")
    for vocabulary in options.vocabulary:
        work = Workload(vocabulary)
        names = ["floor", *(name for name in options.candidates if name != "floor")]
        if options.memory:
            for name in names:
                print(f"{work.name:22} {name:14} {peak(work, name):6.0f} MiB above the start")
        else:
            compare(work.name, {name: CANDIDATES[name](work) for name in names}, options.rounds)


if __name__ == "__main__":
    main()
