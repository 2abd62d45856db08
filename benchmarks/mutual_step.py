"""Time of one CTCD step over its floor, on CPU.

    python benchmarks/mutual_step.py --rounds 9

Floor: both models bare, each forward and backward on its own cross-entropy at the same rows; no
framework, no optimizer. Ours adds both divergences, clipping by model and AdamW, by hand ("ours")
or inside Lightning with the shipped optimizer, callbacks and TensorBoard logger ("lightning");
"joint" is the formula with whole logits, `kl_div`, autograd and one backward for both.

Ratios as in triple_loss_step.py. Random weights, dropout 0, float32; BERTs 12 x 256 and 6 x 256, 64
tokens a sequence; 15 % of the rows have a target ("masked rows"), or all of them, as in next-token
prediction; 8 sequences at a vocabulary of 30,522 and 4 at 119,547.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # idle threads must not count as CPU time
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from timing.lightning_steps import LightningSteps, shipped_callbacks, shipped_optimizer, unseen_bar
from timing.rounds import Step, compare
from torch import Tensor
from torch.nn import functional
from transformers import BertForMaskedLM
from triple_loss_step import LOG_EVERY, SEQUENCES, Workload

from lit_distill.batch import Batch
from lit_distill.losses import CrossEntropy, ForwardKL, Head, PeerLosses, mutual_losses
from lit_distill.methods import CoDistillation
from lit_distill.models import FreshStudent, LanguageModel

TEMPERATURE, CLIP = 2.0, 5.0


def pair(work: Workload) -> dict[str, BertForMaskedLM]:
    """Fresh models, large first; both are trained."""
    large, small = work.models()
    return {"large": large.requires_grad_(True).train(), "small": small}


def labels(work: Workload) -> Tensor:
    """A target for every row."""
    return work.batch["input_ids"].flatten() if work.all_rows else work.targets


def floor(work: Workload) -> Step:
    """The least that a step has to do."""
    models, targets = pair(work), labels(work)

    def step() -> float:
        total = 0.0
        for model in models.values():
            logits = model.cls(work.selected(work.hidden(model)))
            loss = functional.cross_entropy(logits, targets)
            loss.backward()
            model.zero_grad(set_to_none=True)
            total += loss.item()
        return total

    return step


def update(models: dict[str, BertForMaskedLM], loss: Tensor, optimizer: torch.optim.AdamW) -> None:
    """One backward, clipping by model, update."""
    loss.backward()
    for model in models.values():
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def ours(work: Workload) -> Step:
    """Our losses in a hand-written loop."""
    models, targets = pair(work), labels(work)
    parameters = [p for model in models.values() for p in model.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-6, fused=True)
    learning = [PeerLosses((CrossEntropy(), ForwardKL(TEMPERATURE)))] * 2
    shares = [1 / len(targets)] * 4

    def head(model: BertForMaskedLM) -> Head:
        predictions = model.cls.predictions
        rows = predictions.transform(work.selected(work.hidden(model)))
        return Head(rows, *predictions.decoder.parameters())

    def step() -> float:
        heads = [head(model) for model in models.values()]
        loss = torch.stack(mutual_losses(learning, heads, targets, shares)).sum() / len(targets)
        update(models, loss, optimizer)
        return loss.item()

    return step


def joint(work: Workload) -> Step:
    """The formula as most people write it: all logits, `kl_div`, autograd."""
    models, targets = pair(work), labels(work)
    parameters = [p for model in models.values() for p in model.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-6, fused=True)

    def step() -> float:
        logits = [model.cls(work.selected(work.hidden(model))) for model in models.values()]
        loss = torch.zeros(())
        for own, other in (logits, logits[::-1]):
            log_q = functional.log_softmax(own / TEMPERATURE, -1)
            p = functional.softmax(other.detach() / TEMPERATURE, -1)
            kl = functional.kl_div(log_q, p, reduction="batchmean") * TEMPERATURE**2
            loss = loss + functional.cross_entropy(own, targets) + kl
        update(models, loss, optimizer)
        return loss.item()

    return step


def in_lightning(work: Workload) -> Step:
    """The method inside a Trainer, with the shipped optimizer, callbacks and logger."""
    models, batch = pair(work), work.batch
    if work.all_rows:
        count = batch["counts"]["tokens"]
        counts = {**batch["counts"], "rows": count}
        batch = Batch(
            **{**batch, "rows": batch["tokens"], "targets": labels(work), "counts": counts}
        )
    method = CoDistillation(
        temperature_large=TEMPERATURE,
        temperature_small=TEMPERATURE,
        students={name: FreshStudent("bert") for name in models},
        optimizer=shipped_optimizer("distilbert"),
    )
    for name, model in models.items():
        method.students[name] = LanguageModel(model)
    return LightningSteps(method, batch, [*shipped_callbacks(), unseen_bar()], LOG_EVERY)


CANDIDATES: dict[str, Callable[[Workload], Step]] = {
    "floor": floor,
    "ours": ours,
    "lightning": in_lightning,
    "joint": joint,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--vocabulary", type=int, nargs="*", default=list(SEQUENCES))
    parser.add_argument(
        "--candidates", nargs="*", default=["ours", "lightning", "joint"], choices=list(CANDIDATES)
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.threads} thread(s), {options.rounds} rounds")
    for vocabulary in options.vocabulary:
        for all_rows in (False, True):
            work = Workload(vocabulary, all_rows)
            names = ["floor", *(name for name in options.candidates if name != "floor")]
            compare(work.name, {name: CANDIDATES[name](work) for name in names}, options.rounds)


if __name__ == "__main__":
    main()
