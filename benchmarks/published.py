"""Set-ups that others published numbers for, on one GPU; ours has none there yet.

Liger-Kernel's benchmark of its distillation loss (H 4096, V 128,256, 1,024 and 8,192 tokens, bf16,
forward and backward of heads and loss), and trl's step of two 1B Llamas on 32 x 1,024 tokens.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace

import causal_step
import references
import torch
from timing.side_by_side import Candidate, Suite, peer
from timing.workers import Step
from torch import Tensor
from torch.nn import functional

from lit_distill.losses import CrossEntropy, Head, JensenShannon, linear_losses

HARD, SOFT, BETA = 0.5, 0.5, 0.5
"""Weights and beta of Liger's benchmark."""


@dataclass
class Heads:
    """Rows and heads of a student of half the teacher's width, as in Liger's benchmark."""

    rows: int
    width: int = 4096
    vocabulary: int = 128_256
    device: str = "cuda"
    dtype: torch.dtype = torch.bfloat16

    @functools.cached_property
    def student(self) -> Head:
        """Its rows and weight have gradients."""
        head = self._head(self.width // 2)
        head.rows.requires_grad_()
        head.weight.requires_grad_()
        return head

    @functools.cached_property
    def teacher(self) -> Head:
        """The wider one."""
        return self._head(self.width)

    @functools.cached_property
    def targets(self) -> Tensor:
        """(N,) random tokens."""
        torch.manual_seed(1)
        return torch.randint(self.vocabulary, (self.rows,)).to(self.device)

    def _head(self, width: int) -> Head:
        torch.manual_seed(width)
        rows = torch.randn(self.rows, width)
        weight = torch.randn(self.vocabulary, width) / width**0.5
        return Head(rows.to(self.device, self.dtype), weight.to(self.device, self.dtype))


def step_of(work: Heads, loss_of: Callable[[Head, Head, Tensor], Tensor]) -> Step:
    """Forward and backward."""
    student, teacher, targets = work.student, work.teacher, work.targets

    def step() -> float:
        loss = loss_of(student, teacher, targets)
        loss.backward()
        student.rows.grad = student.weight.grad = None
        return loss.item()

    return step


def products(work: Heads) -> Step:
    """The floor: both heads' products and the student's two backward ones, and nothing else."""

    def loss_of(student: Head, teacher: Head, _: Tensor) -> Tensor:
        teacher.rows @ teacher.weight.T
        return (student.rows @ student.weight.T).mean()

    return step_of(work, loss_of)


def whole(work: Heads) -> Step:
    """Whole logits in float32, as in the benchmark's own baseline."""
    return step_of(work, formula)


def formula(student: Head, teacher: Head, targets: Tensor) -> Tensor:
    """0.5 CE + 0.5 JSD, means over the rows."""
    z = (student.rows @ student.weight.T).to(torch.promote_types(student.rows.dtype, torch.float32))
    log_q, log_p = z.log_softmax(-1), (teacher.rows @ teacher.weight.T).to(z).log_softmax(-1)
    log_m = torch.logaddexp(log_p, log_q) - torch.tensor(2.0).log().item()
    kls = [
        functional.kl_div(log_m, each, log_target=True, reduction="batchmean")
        for each in (log_p, log_q)
    ]
    jsd = BETA * kls[0] + (1 - BETA) * kls[1]
    return HARD * functional.nll_loss(log_q, targets) + SOFT * jsd


def exact(work: Heads) -> float:
    """The formula in float64, 256 rows at a time."""
    student, teacher = work.student, work.teacher
    total = 0.0
    with torch.no_grad():
        for rows in torch.arange(work.rows, device=work.device).split(256):
            one, other = (
                Head(head.rows[rows].double(), head.weight.double()) for head in (student, teacher)
            )
            total += formula(one, other, work.targets[rows]).item() * len(rows)
    return total / work.rows


def ours(work: Heads) -> Step:
    """Both losses in one pass."""
    coefficients = [HARD / work.rows, SOFT / work.rows]

    def loss_of(student: Head, teacher: Head, targets: Tensor) -> Tensor:
        losses = [CrossEntropy(), JensenShannon(BETA)]
        sums = linear_losses(losses, student, teacher, targets, coefficients)
        return sums[0] * coefficients[0] + sums[1] * coefficients[1]

    return step_of(work, loss_of)


def suites(dtype: torch.dtype) -> list[Suite]:
    """Liger's two sizes, and trl's step."""
    liger = [Heads(rows, dtype=dtype) for rows in (1024, 8192)]
    llama = causal_step.Workload(
        vocabulary=128_256,
        sequences=32,
        prompt=512,
        completion=512,
        layers=(16, 16),
        widths=(2048, 2048),
        heads=(32, 32),
        key_value_heads=8,
        device="cuda",
        dtype=dtype,
    )
    steps = {
        "floor": Candidate(causal_step.floor, other_loss=True),
        "ours": Candidate(causal_step.in_lightning),
        "trl Distillation": peer("trl", "others.trl", "distillation"),
        "Liger": peer("liger_kernel", "others.liger", "forward_kl"),
    }
    return [
        *(heads(work) for work in liger),
        Suite(
            name="trl's step, 1B and 1B, 32 x 1024",
            work=llama,
            tiny=replace(
                llama, vocabulary=211, sequences=2, prompt=5, completion=6, widths=(64, 64)
            ),
            candidates=steps,
            reference=references.forward_kl,
            sizes="Llama 16 x 2048 twice, 32 x (512 + 512)",
        ),
    ]


def heads(work: Heads) -> Suite:
    """Liger's benchmark."""
    return Suite(
        name=f"Liger's distill_jsd_loss, {work.rows} tokens",
        work=work,
        tiny=replace(work, rows=8, width=64, vocabulary=211),
        candidates={
            "floor": Candidate(products, "Products only.", other_loss=True),
            "ours": Candidate(ours),
            "plain": Candidate(whole),
            "Liger": peer("liger_kernel", "others.liger", "hard_and_soft"),
        },
        reference=exact,
        sizes=f"H={work.width}, V={work.vocabulary}",
    )
