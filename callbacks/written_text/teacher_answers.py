"""How near the texts of students come to a teacher's answers, beside the references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from callbacks.written_text.continuations import Continued
from callbacks.written_text.text_scores import same

Nearness = dict[str, dict[str, float]]
"""By language: `chrf_to_<teacher>` (0 to 100) and `exact_match_to_<teacher>`."""


def nearness(student: str, continued: Sequence[Continued]) -> Nearness:
    """Scores of one student's texts against what each teacher answers; empty without teachers."""
    # Half a second, which only runs with prompts need.
    from sacrebleu.metrics.chrf import CHRF

    found: Nearness = {}
    for language in dict.fromkeys(one.language for one in continued):
        own = [one for one in continued if one.language == language]
        for teacher in dict.fromkeys(name for one in own for name in one.answers):
            pairs = [
                (one.students[student].text, one.answers[teacher].strip())
                for one in own
                if teacher in one.answers
            ]
            written, answers = [text for text, _ in pairs], [answer for _, answer in pairs]
            found.setdefault(language, {}).update(
                {
                    f"chrf_to_{teacher}": CHRF().corpus_score(written, [answers]).score,
                    f"exact_match_to_{teacher}": fmean(same(*pair) for pair in pairs),
                }
            )
    return found


def means(scores: Mapping[str, Mapping[str, float]], prefix: str) -> dict[str, float]:
    """Metrics by key: of each language, and their means, every language counting the same."""
    found: dict[str, float] = {}
    for name in dict.fromkeys(name for own in scores.values() for name in own):
        values = {language: own[name] for language, own in scores.items() if name in own}
        found |= {f"{prefix}/{language}/{name}": value for language, value in values.items()}
        found[f"{prefix}/{name}"] = fmean(values.values())
    return found
