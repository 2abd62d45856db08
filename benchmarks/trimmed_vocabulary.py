"""Time and memory of a step whose student has a part of its teacher's vocabulary, on CPU.

    python benchmarks/trimmed_vocabulary.py --rounds 7

The shape of multilingual-e5-small with a head over its 250,037 pieces, half of it the student, by
TripleLoss at the masked rows of 8 x 64 tokens: "floor" has all pieces; "kept 109179" and "kept
33219" (what 27 languages, and Bangla, English and Hindi, use of them) have a teacher that was cut
as it was opened; "... unknown" adds what is lost to the unknown token, for which the teacher makes
all logits again. Each step is the whole update with clipping and AdamW over all weights.

Ratios as in triple_loss_step.py; peak memory (RSS, of a process of its own, models and optimizer
included) with --memory. Random weights, dropout 0, float32.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # idle threads must not count as CPU time
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from timing.lightning_steps import shipped_optimizer
from timing.rounds import Step, compare
from triple_loss_step import bert, optimise, random_batch

from lit_distill.losses import AccumulationWindow, DroppedRows
from lit_distill.methods import TripleLoss
from lit_distill.models import LanguageModel, TeacherSpec, TrimmedModel, trim_model

WHOLE, WIDTH, LAYERS = 250_037, 384, (12, 6)
KEPT = (109_179, 33_219)
NAMES = ["floor", *(f"kept {kept}{end}" for kept in KEPT for end in ("", " unknown"))]


def teacher_of(kept: int | None, unknown: bool) -> LanguageModel:
    """A teacher of all pieces, or one that was cut to the first `kept`."""
    model = LanguageModel(bert(WHOLE, LAYERS[0], WIDTH, 0))
    if kept is None:
        return model
    decoder = model.model.cls.predictions.decoder
    rows, bias = decoder.weight.detach()[kept:].clone(), decoder.bias.detach()[kept:].clone()
    trim_model(model.model, tuple(range(kept)))
    return TrimmedModel(model, DroppedRows(rows, bias, None, 3 if unknown else None))


def step_of(name: str) -> Step:
    """One update, made of shipped parts."""
    words = name.split()
    kept = None if name == "floor" else int(words[1])
    method = TripleLoss(
        teacher=TeacherSpec("in memory"),
        optimizer=shipped_optimizer("distilbert"),
        restrict_kd_to_mask=True,
    )
    student = bert(kept or WHOLE, LAYERS[1], WIDTH, 1)
    method.students["student"] = LanguageModel(student.train())
    teacher = teacher_of(kept, "unknown" in words)
    method.teachers["teacher"] = teacher.requires_grad_(False).eval()
    method.on_models_built()
    batch = random_batch(min(KEPT), 8)
    window = AccumulationWindow.single(batch)
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-6, fused=True)

    def step() -> float:
        loss = window.total_loss(method.losses(batch, window))
        optimise(student, loss, optimizer)
        return loss.item()

    return step


def memory(names: list[str]) -> None:
    """Peak memory of each, in a process of its own."""
    for name in names:
        child = [sys.executable, __file__, "--alone", name]
        found = subprocess.run(child, check=True, capture_output=True, text=True).stdout
        print(f"{name:22} peak {int(found) / 2**20:.2f} GiB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--candidates", nargs="*", default=NAMES, choices=NAMES)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--alone", help="One of them, three steps: prints the peak in KiB.")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.alone:
        step = step_of(options.alone)
        for _ in range(3):
            step()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        return
    print(f"torch {torch.__version__}, 1 thread, {options.rounds} rounds")
    if options.memory:
        memory(options.candidates)
        return
    names = dict.fromkeys(["floor", *options.candidates])
    compare("8 x 64", {name: step_of(name) for name in names}, options.rounds)


if __name__ == "__main__":
    main()
