"""DistiLLM: skewed divergences, with as much of the student's text as helps (Ko et al., 2024)."""

from __future__ import annotations

from typing import Any, Literal

from lightning.pytorch.utilities import rank_zero_info

from lit_distill.batch import PromptBatch
from lit_distill.knobs import Count, NotNegative, Seed, Share, check_knobs, check_one_weighs
from lit_distill.losses import (
    AccumulationWindow,
    CrossEntropy,
    Divergence,
    HardTargetLoss,
    LogitTerm,
    SkewKL,
    Term,
    Weight,
)
from lit_distill.measures import Measurement
from lit_distill.methods.generated_text._on_policy import OnPolicy
from lit_distill.models import ReplayBuffer, Sampling, with_written_responses
from lit_distill.training.logit_terms import logit_terms


class DistiLLM(OnPolicy):
    """A skewed divergence on data, on text of the student's own, and on such text of earlier.

        L = alpha_kd   D(p || q)        mean over the tokens of the continuations
          + alpha_hard CE(q, token)     the same mean; only on text of the data

    phi starts at `threshold` and rises by `increase` (to at most 1) after a validation whose loss
    is `tolerance` above the one it rose at last (at first: the first validation of the run). At
    progress t of the run a window is new text of the student with probability phi (1 - t), old text
    out of the buffer with probability phi t, and else the data's, where the student answers prompts
    that have no response. Until the buffer is full, new text takes the place of old.

    Needs: a teacher with the student's vocabulary; validations.
    Data: prompts with responses (`PromptCorpus`).
    Relations: `GKD` with a constant share and no old text; threshold = increase = 0 is
    `SupervisedKD`.

    Args:
        divergence: D (paper: SkewKL(0.1) or SkewReverseKL(0.1), without T^2).
        alpha_kd: weight of the divergence.
        alpha_hard: weight of the hard targets (authors' scripts: 0).
        hard: their loss.
        threshold: phi at the start (paper: 0).
        increase: of phi (0.1).
        tolerance: in nats per token (0.1).
        capacity: texts in the buffer, of all ranks together (1000).
        sampling: how text is written; its temperature is not the divergence's.
        seed: of everything that is drawn.
        base: see `Distillation`.

    Raises:
        UserError: phi or the capacity is out of range.

    Source: https://arxiv.org/abs/2402.03898, sections 3.1 and 3.2; authors' code:
    jongwooko/distillm@d47e77f, finetune.py (docs/methods/distillm.md lists what differs here).
    """

    def __init__(
        self,
        divergence: Divergence = SkewKL(0.1, t_squared=False),  # noqa: B008 (frozen)
        alpha_kd: Weight = 1.0,
        alpha_hard: Weight = 0.0,
        hard: HardTargetLoss = CrossEntropy(),  # noqa: B008 (frozen)
        threshold: Share = 0.0,
        increase: Share = 0.1,
        tolerance: NotNegative = 0.1,
        capacity: Count = 1000,
        sampling: Sampling = Sampling(),  # noqa: B008 (frozen)
        seed: Seed = 0,
        **base: Any,
    ) -> None:
        super().__init__(sampling, seed, **base)
        check_knobs(DistiLLM, locals())
        check_one_weighs(DistiLLM, alpha_kd=alpha_kd, alpha_hard=alpha_hard)
        self.divergence, self.hard = divergence, hard
        self.alpha_kd, self.alpha_hard = alpha_kd, alpha_hard
        self.start, self.threshold = threshold, threshold
        self.increase, self.tolerance = increase, tolerance
        self.highest: float | None = None  # loss at which phi rose last
        self.buffer = ReplayBuffer(capacity)
        self.source: Literal["new", "old", "data"] = "data"

    def source_of(self, update: int, progress: float) -> Literal["new", "old", "data"]:
        """What the window of an update is made of; the same on all ranks, and after a resume."""
        chance = self.chance(update)
        if chance >= self.threshold:
            return "data"
        fresh = chance < self.threshold * (1 - progress)
        return "new" if fresh or not self.buffer.full else "old"

    def prepare(self, batches: list[PromptBatch]) -> list[PromptBatch]:
        """Lets the student write, or takes the places of the window's texts with older ones."""
        update = self.global_step
        self.source = self.source_of(update, update / self.updates.total_steps)
        if self.source == "data":
            return self.complete(batches)
        if self.source == "new":
            written = self.write(batches, self.student)
            self.buffer.add(batches, written)
            pairs = list(zip(batches, written, strict=True))
        else:
            left = not self.student.reads_pairs
            pairs = [self.buffer.draw(batch, self.seed, update, left) for batch in batches]
        return [with_written_responses(*pair, self.student) for pair in pairs]

    def losses(self, batch: PromptBatch, window: AccumulationWindow) -> dict[str, Term]:
        """The terms kd and, where it has a weight and the data speaks, hard."""
        student, teacher = self.student.encode(batch), self.teach(batch)
        terms = {"kd": LogitTerm(self.divergence, "rows", self.alpha_kd)}
        if self.alpha_hard != 0 and self.source == "data":
            terms["hard"] = LogitTerm(self.hard, "rows", self.alpha_hard)
        return logit_terms(
            self.student, terms, window, batch["rows"], batch["targets"], student, teacher
        )

    def on_validated(self, measurements: dict[str, Measurement]) -> None:
        """Raises phi where the validation loss has gone up."""
        loss = measurements["student"].mean.get("loss")
        if loss is None:
            return
        if self.highest is None:
            self.highest = loss
        elif loss >= self.highest + self.tolerance:
            self.threshold = min(self.threshold + self.increase, 1.0)
            self.highest = loss
        for logger in self.loggers:
            logger.log_metrics({"train/threshold": self.threshold}, self.global_step)

    def method_state(self) -> dict[str, Any]:
        """The buffer, the same on all ranks, and where phi is."""
        own = {"start": self.start, "threshold": self.threshold, "highest": self.highest}
        return {**own, "buffer": self.buffer.state()}

    def load_method_state(self, memory: dict[str, Any]) -> None:
        """Goes on from there."""
        if memory.get("start", self.start) != self.start:
            rank_zero_info(
                f"threshold is where phi began ({memory['start']}, now {self.start}): it goes on "
                f"at {memory['threshold']}."
            )
        self.threshold, self.highest = memory["threshold"], memory["highest"]
        self.buffer.load(memory["buffer"])
