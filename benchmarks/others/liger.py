"""Liger-Kernel's chunked distillation loss, which is plain PyTorch, in a hand-written loop."""

from __future__ import annotations

import torch
from causal_step import Workload
from liger_kernel.chunked_loss import LigerFusedLinearJSDLoss
from published import BETA, HARD, SOFT, Heads, step_of
from timing.workers import Step
from triple_loss_step import optimise


def forward_kl(work: Workload) -> Step:
    """Its Jensen-Shannon loss at beta 0, without a hard loss, on the completion's rows.

    Not compiled on a CPU, where that takes minutes.
    """
    teacher, student = work.models()
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-6, fused=True)
    loss_of = LigerFusedLinearJSDLoss(
        weight_hard_loss=0.0, weight_soft_loss=1.0, beta=0.0, compiled=work.device == "cuda"
    )
    targets = work.batch["targets"]

    def step() -> float:
        with torch.no_grad():
            theirs = work.hidden(teacher)
        mine = work.hidden(student)
        loss = loss_of(mine, student.lm_head.weight, theirs, teacher.lm_head.weight, targets)
        optimise(student, loss, optimizer)
        return float(loss.item())

    return step


def hard_and_soft(work: Heads) -> Step:
    """Its own benchmark: 0.5 CE + 0.5 JSD."""
    loss_of = LigerFusedLinearJSDLoss(
        weight_hard_loss=HARD, weight_soft_loss=SOFT, beta=BETA, compiled=work.device == "cuda"
    )
    return step_of(work, lambda s, t, y: loss_of(s.rows, s.weight, t.rows, t.weight, y))
