"""Time of one MiniLMv2 step over its floor, and memory of the relation loss, on CPU.

    python benchmarks/relation_step.py --rounds 15

Floor: the teacher's layers below the one that is learnt from and that one's queries, keys and
values (no_grad, sdpa), and the student's whole body forward and backward on the mean square of its
last states; no framework, no optimizer. Ours adds relations, clipping and AdamW, by hand ("ours")
or inside Lightning with the shipped optimizer, callbacks and TensorBoard logger ("lightning"), and
leaves out what the student's last layer does after its projections; "plain" is the formula with
whole relations, autograd and both models whole; "bf16" is "lightning" with a bfloat16 teacher,
where the CPU computes with it.

Ratios as in triple_loss_step.py. Random weights, dropout 0, float32; teacher BERT 12 x 256, student
6 x 256, 8 x 128 tokens, teacher layer 10, 16 relation heads.
"""

from __future__ import annotations

import argparse
import functools
import os
import resource
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # idle threads must not count as CPU time
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from timing.lightning_steps import (
    LightningSteps,
    in_memory,
    shipped_callbacks,
    shipped_optimizer,
    unseen_bar,
)
from timing.rounds import Step, compare
from torch import Tensor
from transformers import BertForMaskedLM
from triple_loss_step import LOG_EVERY, bert, optimise

from lit_distill.batch import Batch
from lit_distill.losses import Relation, Visible, relation_kl
from lit_distill.methods import MiniLMv2
from lit_distill.models import LanguageModel, Projection, TeacherSpec, projections

KINDS: list[Projection] = ["query", "key", "value"]


@dataclass
class Workload:
    """Sizes; the teacher's layer that is learnt from counts from 1."""

    sequences: int = 8
    length: int = 128
    vocabulary: int = 30_522
    width: int = 256
    layers: tuple[int, int] = (12, 6)
    layer: int = 10
    heads: int = 16
    device: str = "cpu"
    dtype: torch.dtype = torch.float32

    @functools.cached_property
    def batch(self) -> Batch:
        """Sequences without padding, made where it is first read."""
        torch.manual_seed(2)
        shape, positions = (self.sequences, self.length), self.sequences * self.length
        nothing = torch.empty(0, dtype=torch.int64, device=self.device)
        counts = {"tokens": positions, "masked": 0, "rows": 0, "sequences": self.sequences}
        return Batch(
            input_ids=torch.randint(self.vocabulary, shape).to(self.device),
            attention_mask=torch.ones(shape, dtype=torch.int64, device=self.device),
            tokens=torch.arange(positions, device=self.device),
            rows=nothing,
            targets=nothing,
            language=torch.zeros(self.sequences, dtype=torch.int64, device=self.device),
            counts=counts,
        )

    def models(self, teacher: torch.dtype | None = None) -> tuple[BertForMaskedLM, BertForMaskedLM]:
        """A fresh teacher, in its own precision if given, and student; always the same weights."""
        taught, trained = (
            bert(self.vocabulary, n, self.width, seed).to(self.device, self.dtype)
            for seed, n in enumerate(self.layers)
        )
        return taught.to(teacher or self.dtype).eval().requires_grad_(False), trained.train()


def projected(model: BertForMaskedLM, batch: Batch, number: int) -> list[Tensor]:
    """q, k and v of a layer (from 1) by hand, and nothing above."""
    inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    whole = model.bert.encoder.layer
    model.bert.encoder.layer = whole[: number - 1]
    hidden = model.bert(**inputs).last_hidden_state
    model.bert.encoder.layer = whole
    own = whole[number - 1].attention.self
    return [own.query(hidden), own.key(hidden), own.value(hidden)]


def whole_relations(mine: Sequence[Tensor], theirs: Sequence[Tensor], heads: int) -> Tensor:
    """The formula: projections (B, T, D) of each kind, split into heads, related as a whole."""

    def scores(x: Tensor) -> Tensor:
        x = x.unflatten(-1, (heads, -1)).transpose(1, 2)
        return x @ x.mT / x.shape[-1] ** 0.5

    loss = mine[0].new_zeros(())
    for x, y in zip(mine, theirs, strict=True):
        log_q, p = scores(x).log_softmax(-1), scores(y).softmax(-1)
        kl = torch.nn.functional.kl_div(log_q, p, reduction="sum")
        loss = loss + kl / (heads * x.shape[:2].numel())
    return loss


def floor(work: Workload) -> Step:
    """The least that a step has to do."""
    teacher, student = work.models()
    batch = work.batch

    def step() -> float:
        with torch.no_grad():
            projected(teacher, batch, work.layer)
        output = student.bert(batch["input_ids"], attention_mask=batch["attention_mask"])
        loss = output.last_hidden_state.square().mean()
        loss.backward()
        student.zero_grad(set_to_none=True)
        return loss.item()

    return step


def ours(work: Workload) -> Step:
    """Our losses in a hand-written loop."""
    taught, trained = work.models()
    batch = work.batch
    teacher, student = LanguageModel(taught), LanguageModel(trained)
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-6, fused=True)
    visible = Visible(batch["attention_mask"])

    def step() -> float:
        with torch.no_grad():
            theirs = projections(teacher, batch, work.layer - 1, KINDS)
        mine = projections(student, batch, work.layers[1] - 1, KINDS)
        pairs = [(Relation(mine[kind]), Relation(theirs[kind])) for kind in KINDS]
        kls = [relation_kl(own, other, work.heads, visible) for own, other in pairs]
        loss = torch.stack(kls).sum() / batch["counts"]["tokens"]
        optimise(trained, loss, optimizer)
        return loss.item()

    return step


def plain(work: Workload) -> Step:
    """The formula as most people write it: both models whole, hooks, whole relations, autograd."""
    teacher, student = work.models()
    batch = work.batch
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-6, fused=True)

    def run(model: BertForMaskedLM, number: int) -> list[Tensor]:
        kept: list[Tensor] = []
        own = model.bert.encoder.layer[number - 1].attention.self
        modules = (own.query, own.key, own.value)
        handles = [m.register_forward_hook(lambda *call: kept.append(call[2])) for m in modules]
        model.bert(batch["input_ids"], attention_mask=batch["attention_mask"])
        for handle in handles:
            handle.remove()
        return kept

    def step() -> float:
        with torch.no_grad():
            theirs = run(teacher, work.layer)
        loss = whole_relations(run(student, work.layers[1]), theirs, work.heads)
        optimise(student, loss, optimizer)
        return loss.item()

    return step


def in_lightning(work: Workload, dtype: torch.dtype | None = None) -> Step:
    """The method inside a Trainer, with the shipped optimizer, callbacks and logger."""
    method = MiniLMv2(
        relation_heads=work.heads,
        teacher_layer=work.layer,
        teacher=TeacherSpec("in memory"),
        optimizer=shipped_optimizer("minilm"),
    )
    callbacks = [*shipped_callbacks(), unseen_bar()]
    return LightningSteps(in_memory(method, *work.models(dtype)), work.batch, callbacks, LOG_EVERY)


CANDIDATES: dict[str, Callable[[Workload], Step]] = {
    "floor": floor,
    "ours": ours,
    "lightning": in_lightning,
    "bf16": lambda work: in_lightning(work, torch.bfloat16),
    "plain": plain,
}


def computes_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 matrices by itself."""
    flags = Path("/proc/cpuinfo").read_text("utf-8") if Path("/proc/cpuinfo").exists() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags


def measure_memory(sequences: int, length: int, width: int, heads: int) -> None:
    """Prints the peak that three relations and their gradients add to their inputs."""
    shape = (sequences, length, width)
    ours = [torch.randn(shape, requires_grad=True) for _ in KINDS]
    theirs = [torch.randn(shape) for _ in KINDS]
    visible = Visible(torch.ones(shape[:2], dtype=torch.int64))
    start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pairs = zip(ours, theirs, strict=True)
    kls = [relation_kl(Relation(x), Relation(y), heads, visible) for x, y in pairs]
    torch.stack(kls).sum().backward()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    whole = 4 * sequences * heads * length**2
    print(
        f"B={sequences}, L={length}, {heads} heads of {width // heads}: peak "
        f"{(peak - start) / 2**20:.2f} GiB above the inputs; one relation of one model, whole: "
        f"{whole / 2**30:.2f} GiB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--candidates", nargs="*", default=None, choices=list(CANDIDATES))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.threads} thread(s), {options.rounds} rounds")
    measure_memory(32, 512, 768, 48)
    names = options.candidates
    if names is None:
        names = ["ours", "lightning", "plain", *(["bf16"] if computes_bfloat16() else [])]
    work = Workload()
    steps = {name: CANDIDATES[name](work) for name in ["floor", *names]}
    compare("V=30522 B=8 L=128", steps, options.rounds)


if __name__ == "__main__":
    main()
