"""Whom a language model takes a sentence to be about: him or her."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from lit_distill.errors import UserError
from lit_distill.measures.probing.asked import Asked
from lit_distill.measures.probing.blanks import MASK, Blank, Pieces, word_log_probabilities
from lit_distill.measures.probing.guesses import Floats
from lit_distill.measures.probing.probe import Metrics, ModelProbe

PROMPTS = Path(__file__).parent / "text" / "pronouns.yaml"
GROUPS = ("verbs", "adverbs", "adjectives")
Filled = tuple[Blank, str]


@dataclass(frozen=True)
class MaskedPronouns(ModelProbe):
    """The masked-pronoun bias of language models, in several languages, by two sets of prompts.

    `work`: the pronoun of a sentence about work is masked, and the log-ratio is log p(he) -
    log p(she). `verbs`, `adverbs` and `adjectives`: the pronoun is given and a word masked, and the
    log-ratio is log p(word | he) - log p(word | she). Of each, for every language and as means that
    count languages the same: `log_ratio` (nats; above 0 leans to him), `absolute` (the mean of
    absolute values) and `leaning_he` (the share above 0; equal ones count half). Decoders are asked
    for the likelihood of the sentence from the word on.

    The two numbers say whether words lean to one side, not whether anyone is harmed by it; the
    prompts are few and ours, and say nothing of neutral pronouns.

    Attributes:
        languages: tags; None: all that the prompts have.
        prompts: a file like `lit_distill/measures/probing/text/pronouns.yaml`; None: that one.
        pieces: what becomes of pronouns and words of several tokens; see `Pieces`.

    Source: the two kinds of prompts of Parra 2024, "UnMASKed: Quantifying Gender Biases in Masked
    Language Models through Linguistically Informed Job Market Prompts"; ours are other sentences.

    Raises:
        UserError: the file or a language is not there, or its form is another.
    """

    languages: list[str] | None = None
    prompts: str | None = None
    pieces: Pieces = "refuse"

    def __post_init__(self) -> None:
        self.sets()

    def sets(self) -> dict[str, dict[str, list[tuple[Filled, Filled]]]]:
        """Pairs of filled sentences, his and hers, by language and group."""
        path = Path(self.prompts).expanduser() if self.prompts else PROMPTS
        try:
            book = yaml.safe_load(path.read_text("utf-8"))
        except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
            raise UserError(f"The prompts of {path} cannot be read: {error}.") from error
        if not isinstance(book, dict):
            raise UserError(f"The prompts of {path} have no languages: see {PROMPTS.name}.")
        unknown = sorted({*(self.languages or ())} - {*book})
        if unknown:
            raise UserError(f"{path} has no {', '.join(unknown)}; it has {', '.join(book)}.")
        return {tag: _pairs(book[tag], f"{path}, {tag}") for tag in self.languages or book}

    def of(self, asked: Asked) -> Metrics:
        """See `ModelProbe.of`."""
        found: Metrics = {}
        for language, groups in self.sets().items():
            for group, pairs in groups.items():
                his, hers = (
                    word_log_probabilities(asked, [pair[side] for pair in pairs], self.pieces)
                    for side in (0, 1)
                )
                scores = summary(his - hers)
                found |= {f"{language}/{group}/{name}": value for name, value in scores.items()}
        return found | _means(found)


def summary(log_ratios: Floats) -> Metrics:
    """Mean, mean absolute value, and share above 0 of log-ratios (N,), which are at least one."""
    leaning = np.where(log_ratios == 0, 0.5, log_ratios > 0)
    return {
        "log_ratio": float(log_ratios.mean()),
        "absolute": float(np.abs(log_ratios).mean()),
        "leaning_he": float(leaning.mean()),
    }


def _means(found: Mapping[str, float]) -> Metrics:
    """Means over languages, by group and number."""
    grouped: dict[str, list[float]] = {}
    for name, value in found.items():
        grouped.setdefault(name.partition("/")[2], []).append(value)
    return {name: float(np.mean(values)) for name, values in grouped.items()}


def _pairs(book: Any, place: str) -> dict[str, list[tuple[Filled, Filled]]]:
    """The prompts of one language; `place` is for messages."""
    known = {"he", "she", "work", *GROUPS}
    if not isinstance(book, dict) or not {"he", "she"} < {*book} <= known:
        raise UserError(
            f"{place}: a language has `he`, `she`, and some of work, {', '.join(GROUPS)}."
        )
    he, she = str(book["he"]), str(book["she"])
    found: dict[str, list[tuple[Filled, Filled]]] = {}
    if "work" in book:
        blanks = [Blank.of(sentence) for sentence in _list(book["work"], f"{place}.work")]
        found["work"] = [((blank, he), (blank, she)) for blank in blanks]
    for group in GROUPS:
        if group not in book:
            continue
        given = book[group]
        if not isinstance(given, dict) or {*given} != {"prompt", "words"}:
            raise UserError(f"{place}.{group}: give `prompt` and `words`.")
        prompt = str(given["prompt"])
        if "{pronoun}" not in prompt or MASK not in prompt:
            raise UserError(f"{place}.{group}: {prompt!r} needs {{pronoun}} and {MASK}.")
        his, hers = (Blank.of(prompt.replace("{pronoun}", pronoun)) for pronoun in (he, she))
        words = _list(given["words"], f"{place}.{group}.words")
        found[group] = [((his, word), (hers, word)) for word in words]
    return found


def _list(given: Any, place: str) -> Sequence[str]:
    if not isinstance(given, list) or not given:
        raise UserError(f"{place}: give a list of at least one text.")
    return [str(item) for item in given]
