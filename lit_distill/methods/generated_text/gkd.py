"""Generalised knowledge distillation on text of the student's own (Agarwal et al., 2024)."""

from __future__ import annotations

from typing import Any, Literal, cast

import torch

from lit_distill.batch import PromptBatch
from lit_distill.errors import UserError
from lit_distill.knobs import Count, Seed, Share, check_knobs, check_one_weighs
from lit_distill.losses import (
    AccumulationWindow,
    CrossEntropy,
    Divergence,
    HardTargetLoss,
    JensenShannon,
    LogitTerm,
    Term,
    Weight,
)
from lit_distill.methods.generated_text._on_policy import OnPolicy
from lit_distill.models import Sampling
from lit_distill.training.logit_terms import logit_terms


class GKD(OnPolicy):
    """The teacher's distributions along text that the student, the teacher or the data gives.

        L = alpha_kd   D(p || q)        mean over the tokens of the continuations
          + alpha_hard CE(q, token)     the same mean; never on text of the student

    Every window (update) is continued by one author: the student with probability student_share,
    the teacher with teacher_share, else it is the data's own responses, and the student answers
    prompts that have none. No gradient flows through the sampling.

    Needs: a teacher with the student's vocabulary; a student that can answer at all (fine-tuned).
    Data: prompts (`PromptCorpus`), with responses where a window may be the data's.
    Relations: student_share = teacher_share = 0 is `SupervisedKD`; teacher_share = 1, alpha_kd = 0,
    alpha_hard = 1 is `SequenceKD`; `DistiLLM` replays old text.

    Args:
        divergence: D, with its own temperature (paper: 1; no T^2).
        student_share: lambda, of windows that the student writes (paper: 0.5 and 1; trl: 0.5).
        teacher_share: of windows that the teacher writes.
        alpha_kd: weight of the divergence.
        alpha_hard: weight of the hard targets on text of data and teacher; 0 leaves them out.
        hard: their loss.
        reuse: updates for which a written window is used, k. From the second on the student is
            another than the one that wrote (off-policy), and the data's next k - 1 windows are
            skipped; generation costs 1/k.
        sampling: how text is written; its temperature is not the divergence's.
        seed: of everything that is drawn.
        base: see `Distillation`.

    Raises:
        UserError: the shares are no shares, or a window would be used less than once.

    Source: https://arxiv.org/abs/2306.13649, algorithm 1 and equation 4. Tokens are averaged over
    the window, not first per text.
    """

    def __init__(
        self,
        divergence: Divergence = JensenShannon(0.5, t_squared=False),  # noqa: B008 (frozen)
        student_share: Share = 0.5,
        teacher_share: Share = 0.0,
        alpha_kd: Weight = 1.0,
        alpha_hard: Weight = 0.0,
        hard: HardTargetLoss = CrossEntropy(),  # noqa: B008 (frozen)
        reuse: Count = 1,
        sampling: Sampling = Sampling(),  # noqa: B008 (frozen)
        seed: Seed = 0,
        **base: Any,
    ) -> None:
        super().__init__(sampling, seed, **base)
        check_knobs(GKD, locals())
        check_one_weighs(GKD, alpha_kd=alpha_kd, alpha_hard=alpha_hard)
        if student_share + teacher_share > 1:
            raise UserError(
                f"student_share is {student_share} and teacher_share {teacher_share}: together "
                "they are at most 1; the rest of the windows is the data's."
            )
        self.divergence, self.hard = divergence, hard
        self.student_share, self.teacher_share = student_share, teacher_share
        self.alpha_kd, self.alpha_hard, self.reuse = alpha_kd, alpha_hard, reuse
        self.author: Literal["student", "teacher", "data"] = "data"
        self.kept: list[PromptBatch] = []

    def author_of(self, update: int) -> Literal["student", "teacher", "data"]:
        """Who writes the window of an update; the same on all ranks, and after a resume."""
        chance = self.chance(update // self.reuse)
        if chance < self.student_share:
            return "student"
        return "teacher" if chance < self.student_share + self.teacher_share else "data"

    def prepare(self, batches: list[PromptBatch]) -> list[PromptBatch]:
        """Lets the window's author answer its prompts."""
        self.author = self.author_of(self.global_step)
        if self.author == "data":
            self.kept = []
            return self.complete(batches)
        if self.global_step % self.reuse == 0 or not self.kept:
            author = self.student if self.author == "student" else self.teacher
            self.kept = self.continue_prompts(batches, author)
        return [_to(batch, self.device) for batch in self.kept]

    def losses(self, batch: PromptBatch, window: AccumulationWindow) -> dict[str, Term]:
        """The terms kd and, where it has a weight and the student did not write, hard."""
        student, teacher = self.student.encode(batch), self.teach(batch)
        terms = {"kd": LogitTerm(self.divergence, "rows", self.alpha_kd)}
        if self.alpha_hard != 0 and self.author != "student":
            terms["hard"] = LogitTerm(self.hard, "rows", self.alpha_hard)
        return logit_terms(
            self.student, terms, window, batch["rows"], batch["targets"], student, teacher
        )

    def method_state(self) -> dict[str, Any]:
        """The written window of every rank, where it is used again."""
        own = [_to(batch, torch.device("cpu")) for batch in self.kept] if self.reuse > 1 else []
        windows = [own]
        if self.trainer.world_size > 1:
            windows = windows * self.trainer.world_size
            torch.distributed.all_gather_object(windows, own)
        return {"windows": windows}

    def load_method_state(self, memory: dict[str, Any]) -> None:
        """Takes this rank's window."""
        self.kept = memory["windows"][self.trainer.global_rank]


def _to(batch: PromptBatch, device: torch.device) -> PromptBatch:
    moved = {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in batch.items()}
    return cast(PromptBatch, moved)
