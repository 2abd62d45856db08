"""A step of deep mutual learning of two masked LMs: floor, and the plain joint formula.

    L_i = CE(q_i, target) + KL(q_j || q_i)      q_j without gradient; mean over the rows

Floor: both students forward and backward on their own cross-entropy; no framework, no optimizer.
"Joint" makes each student's logits once for both losses. Students BERT 12 x 256 and 6 x 256.
"""

from __future__ import annotations

import functools

import torch
import triple_loss_step
from torch import Tensor
from torch.nn import functional
from transformers import BertForMaskedLM
from triple_loss_step import optimise
from workers import Step

from lit_distill.batch import Batch


class Workload(triple_loss_step.Workload):
    """The triple loss' sizes, with the teacher as a second student."""

    def models(self) -> tuple[BertForMaskedLM, BertForMaskedLM]:
        """Two fresh students; the same weights every time."""
        one, other = super().models()
        return one.requires_grad_(True).train(), other

    @functools.cached_property
    def batch(self) -> Batch:
        """Where all rows count, all have a target."""
        batch = super().batch
        if self.all_rows:
            count, ids = batch["counts"]["tokens"], batch["input_ids"]
            counts = {**batch["counts"], "rows": count, "masked": count}
            return {**batch, "rows": batch["tokens"], "targets": ids.flatten(), "counts": counts}
        return batch

    def logits(self, model: BertForMaskedLM) -> Tensor:
        """(N, V) at the rows."""
        return model.cls(self.selected(self.hidden(model)))


def floor(work: Workload) -> Step:
    """The least that a step has to do."""
    students = work.models()

    def step() -> float:
        total = 0.0
        for student in students:
            loss = functional.cross_entropy(work.logits(student), work.targets)
            loss.backward()
            student.zero_grad(set_to_none=True)
            total += loss.item()
        return total

    return step


def joint(work: Workload) -> Step:
    """Both students' logits, two log-softmaxes, two `kl_div`, one backward."""
    students = torch.nn.ModuleList(work.models())
    optimizer = torch.optim.AdamW(students.parameters(), lr=1e-6, fused=True)

    def step() -> float:
        both = [work.logits(student) for student in students]
        hard = [functional.cross_entropy(logits, work.targets) for logits in both]
        one, other = (logits.log_softmax(-1) for logits in both)
        soft = [
            functional.kl_div(mine, its.detach(), log_target=True, reduction="batchmean")
            for mine, its in ((one, other), (other, one))
        ]
        loss = torch.stack([*hard, *soft]).sum()
        optimise(students, loss, optimizer)
        return loss.item()

    return step
