"""Which of a teacher's answers are kept: by references, and by how sure the teacher was."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

from annotated_types import Interval

from data_modules.storing.tokenising import Split
from lit_distill.knobs import PositiveShare, check_knobs

ChrF = Annotated[float, Interval(ge=0, le=100)]
"""A score in which equal texts have 100."""
ErrorRate = Annotated[float, Interval(ge=0, le=math.inf)]
"""Wrong words per word of the reference."""


@dataclass(frozen=True)
class Selection:
    """What is kept of all that the teacher wrote, beyond what its tokens show.

    Attributes:
        min_chrf: lowest chrF (0 to 100) against the response, of prompts that have one.
        max_wer: highest word error rate against it (0: the same words; may exceed 1).
        best_share: share of every language's texts that is kept, those of which the teacher was
            surest (mean log-probability of their tokens): 0.9 drops the worst tenth.

    Raises:
        UserError: the share is none, or a limit is no number.
    """

    min_chrf: ChrF = 0.0
    max_wer: ErrorRate = math.inf
    best_share: PositiveShare = 1.0

    def __post_init__(self) -> None:
        check_knobs(Selection, vars(self))


@dataclass
class Label:
    """One prompt with the teacher's answer; `dropped` says why it is not kept.

    Attributes:
        split: of the corpus, "train" or "validation".
        language: its name.
        prompt: as the corpus has it.
        reference: the corpus's own response; None: there is none.
        answer: the teacher's, such that prompt and answer are what it read and wrote.
        sureness: mean log-probability that the teacher gives its tokens.
        scores: against the reference.
        dropped: why; empty: the answer is kept.
        reread: whether the text of both has other tokens than the teacher read and wrote.
    """

    split: Split
    language: str
    prompt: str
    reference: str | None
    answer: str = ""
    sureness: float = 0.0
    scores: dict[str, float] = field(default_factory=dict)
    dropped: str = ""
    reread: bool = False


def choose(labels: Sequence[Label], select: Selection) -> None:
    """Marks what is dropped by reference, then by rank within its language."""
    for label in labels:
        scores = {"chrf": math.inf, "wer": 0.0, **label.scores}
        if not label.dropped and scores["chrf"] < select.min_chrf:
            label.dropped = "chrF"
        elif not label.dropped and scores["wer"] > select.max_wer:
            label.dropped = "WER"
    for language in {label.language for label in labels}:
        own = [one for one in labels if one.language == language and not one.dropped]
        own.sort(key=lambda label: -label.sureness)
        for label in own[math.ceil(len(own) * select.best_share) :]:
            label.dropped = "not sure"


def word_error_rate(words: Sequence[str], wanted: Sequence[str]) -> float:
    """Fewest words to replace, insert and delete, per word that was wanted."""
    row = list(range(len(wanted) + 1))
    for number, word in enumerate(words, 1):
        diagonal, row[0] = row[0], number
        for place, other in enumerate(wanted, 1):
            best = min(row[place] + 1, row[place - 1] + 1, diagonal + (word != other))
            diagonal, row[place] = row[place], best
    return row[-1] / max(len(wanted), 1)
