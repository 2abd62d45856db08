"""Sequence-level distillation: the teacher's answers as targets (Kim and Rush, 2016)."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.utilities import rank_zero_info

from lit_distill.batch import PromptBatch
from lit_distill.errors import UserError
from lit_distill.knobs import Seed, Share, check_knobs
from lit_distill.losses import AccumulationWindow, CrossEntropy, HardTargetLoss, LogitTerm, Term
from lit_distill.methods.generated_text._on_policy import OnPolicy
from lit_distill.models import (
    Sampling,
    TextFilter,
    prompts_without_response,
    with_missing_responses,
    with_written_responses,
)
from lit_distill.training.logit_terms import logit_terms

IN_VAIN = 64
"""After so many texts without one that is kept, training stops."""


class SequenceKD(OnPolicy):
    """The student learns the teacher's own text, token by token, as if it were right.

        L = CE(q, token)        mean over the tokens of what the teacher wrote (and `keep` kept)

    The teacher answers every window's prompts while the student trains. Where prompts come up in
    several epochs, `python -m lit_distill pseudo-label` has him answer once and writes a file that
    `CausalLM` or `SupervisedKD` train on, with filters that need a reference or the whole set.
    Validation is against the data's responses; `GenerationMetrics` shows the teacher's beside them.

    Needs: a teacher with the student's vocabulary.
    Data: prompts (`PromptCorpus`); with gold_share, responses too.
    Relations: `GKD` with teacher_share = 1 - gold_share, student_share = alpha_kd = 0 and
    alpha_hard = 1 (but for `keep`, which it does not have); gold_share = 1 is `CausalLM`.

    Args:
        gold_share: of windows (updates) with the data's own responses where there are some
            (pseudo-labels and gold mixed); 0: none.
        hard: the loss of a token: cross-entropy, smoothed, focal, or symmetric.
        keep: which of the teacher's texts are learnt; a dropped one has no rows.
        sampling: how the teacher writes: at temperature 0 his likeliest tokens (the paper searches
            with beams), above it a sample of what he might say.
        seed: of everything that is drawn.
        base: see `Distillation`.

    Raises:
        UserError: gold_share is no share; in training, `keep` drops all of the first `IN_VAIN`
            texts, or all of a shorter training.

    Source: https://arxiv.org/abs/1606.07947, section 3.2; pseudo-labels and gold: Shleifer and
    Rush, 2020, https://arxiv.org/abs/2010.13002, section 3.
    """

    def __init__(
        self,
        gold_share: Share = 0.0,
        hard: HardTargetLoss = CrossEntropy(),  # noqa: B008 (frozen)
        keep: TextFilter = TextFilter(),  # noqa: B008 (frozen)
        sampling: Sampling = Sampling(temperature=0.0),  # noqa: B008 (frozen)
        seed: Seed = 0,
        **base: Any,
    ) -> None:
        super().__init__(sampling, seed, **base)
        check_knobs(SequenceKD, locals())
        self.gold_share, self.hard, self.keep = gold_share, hard, keep
        self._dropped, self._ended, self._learnt = 0, 0, False

    def prepare(self, batches: list[PromptBatch]) -> list[PromptBatch]:
        """Lets the teacher answer the prompts; in a window of the data, those without response."""
        gold = self.chance(self.global_step) >= 1 - self.gold_share
        if gold and not self.partly_labelled:
            return batches
        asked = [prompts_without_response(batch) for batch in batches] if gold else batches
        made = []
        for batch, prompts, written in zip(
            batches, asked, self.write(asked, self.teacher), strict=True
        ):
            kept = self.keep(prompts["prompt_mask"].sum(1), written)
            put = with_missing_responses if gold else with_written_responses
            made.append(put(batch, written, self.student, kept))
        return made

    def on_window_opened(self, window: AccumulationWindow) -> None:
        """Counts the texts that were dropped until one is learnt.

        Raises:
            UserError: the first `IN_VAIN` of them were.
        """
        if self._learnt:  # to know it, one waits for the device
            return
        self._learnt = float(window.totals["rows"]) > 0
        self._dropped += int(window.totals.get("written", 0))
        self._ended = int(window.totals.get("ended", 0))
        if not self._learnt and self._dropped >= IN_VAIN:
            raise UserError(self._nothing_kept())

    def on_train_end(self) -> None:
        """Says that a student has learnt nothing.

        Raises:
            UserError: no text was kept in a training of several updates.
        """
        super().on_train_end()
        if self._dropped and not self._learnt:
            if self.global_step > 1:  # one update is a trial
                raise UserError(self._nothing_kept())
            rank_zero_info(self._nothing_kept())

    def _nothing_kept(self) -> str:
        remedy = "loosen model.keep"
        if self.keep.ended and not self._ended:
            remedy = (
                f"they are longer than model.sampling.max_new_tokens = "
                f"{self.sampling.max_new_tokens}: raise it, or set model.keep.ended to false"
            )
        return (
            f"model.keep dropped all of the first {self._dropped} texts that the teacher wrote, "
            f"and the student has learnt nothing; {remedy}."
        )

    def losses(self, batch: PromptBatch, window: AccumulationWindow) -> dict[str, Term]:
        """The single term hard."""
        terms = {"hard": LogitTerm(self.hard, "rows")}
        student = self.student.encode(batch)
        return logit_terms(self.student, terms, window, batch["rows"], batch["targets"], student)
