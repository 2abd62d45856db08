"""What is measured of a language model, the same for every method that trains one's head."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from lit_distill.measures.logits import LogitMeasure, ScoreKeeper
from lit_distill.measures.measure import Measurement, MetricSpec, Scores


class LanguageModelMeasure(LogitMeasure):
    """Cross-entropy, perplexity and accuracy on the selected rows of the validation batches.

    Where there is a teacher, its cross-entropy, KL(teacher || student) at temperature 1 and the
    share of rows on which both put the same token first, too; of one that reads a trimmed
    vocabulary the mean probability of the tokens that it lacks. Means count every language the
    same; perplexity is that of the mean loss.
    """

    metrics = (
        MetricSpec("loss", "loss", monitored=True, figure="held-out loss, nats"),
        MetricSpec("perplexity", "perplexity", log_mean=False, digits=2),
        MetricSpec("accuracy", "accuracy", smaller_is_better=False),
        MetricSpec(
            "agreement",
            "agreement",
            smaller_is_better=False,
            compares=True,
            figure="top-1 agreement with the teacher",
        ),
        MetricSpec("kl", "KL", compares=True, figure="KL(teacher || student), nats"),
        MetricSpec("teacher_loss", "teacher loss", compares=True, in_card=False),
        MetricSpec(
            "lost_share",
            "lost",
            compares=True,
            figure="teacher's probability of dropped tokens",
            in_card=False,
        ),
    )
    caption = (
        "loss in nats and accuracy on the selected tokens; share of them on which student and "
        "teacher put the same token first, and KL(teacher || student) in nats."
    )
    predicts_tokens = True

    def _measurement(self, kept: Sequence[ScoreKeeper], names: Sequence[str]) -> Measurement:
        found = super()._measurement(kept, names)
        languages = {name: _with_perplexity(scores) for name, scores in found.languages.items()}
        return replace(found, languages=languages, mean=_with_perplexity(found.mean))


def perplexity(loss: float) -> float:
    """Exponential of a loss in nats; infinite where that overflows."""
    return math.exp(loss) if loss < 700 else math.inf


def _with_perplexity(scores: Scores) -> Scores:
    loss = scores.get("loss")
    return scores if loss is None else {**scores, "perplexity": perplexity(loss)}
