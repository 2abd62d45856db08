"""Surrogates for how much of a model's manner, and of its name, another one has taken over.

The published quantification has a large model judge answers, and mutates jailbreaks. Here nothing
judges and nothing attacks: texts are compared with texts, and strings are looked for.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from statistics import fmean

import numpy as np

from lit_distill.errors import UserError
from lit_distill.measures.probing.asked import Asked
from lit_distill.measures.probing.probe import Metrics, ModelProbe, Probe
from lit_distill.measures.probing.sentences import vectors
from lit_distill.measures.probing.written import GREEDILY, Writing, written

GRAM = 3
"""Letters of the sequences by whose frequencies styles are compared."""
LINES = (
    ("code", re.compile(r"\s*(```|~~~)")),
    ("heading", re.compile(r"\s*#{1,6}\s")),
    ("bullet", re.compile(r"\s*[-*+•]\s")),
    ("number", re.compile(r"\s*\d+[.)]\s")),
    ("quote", re.compile(r"\s*>")),
    ("table", re.compile(r"\s*\|")),
    ("blank", re.compile(r"\s*$")),
)
ENDS = re.compile(r"[.!?:…。！？।؟]+")
PUNCTUATION = re.compile(r"[^\w\s]")


@dataclass(frozen=True)
class ResponseSimilarity(Probe):
    """A surrogate for response similarity: how alike models and a reference answer prompts.

    Of every model against the reference: `content`, the mean chrF of its texts, 0 to 1 (and
    `content_embedding`, their mean cosine, where an embedder is named); `structure`, the mean edit
    similarity of what lines and sentences are made of; `style`, one minus the Jensen-Shannon
    distance (base 2) of letter trigrams, of punctuation and of lengths over all texts, a mean of
    three. `..._above_control` is each less that of an unrelated model, without which the numbers
    have no zero. The reference has 1 everywhere.

    Attributes:
        prompts: of a user, at least one.
        reference: the name of the model that is compared with.
        control: the name of a model that learnt nothing from it.
        writing: how texts are drawn.
        embedder: folder or hub name of a sentence encoder; mean pooling.

    Source: the three granularities of Response Similarity Evaluation (Lee et al. 2025,
    "Quantification of Large Language Model Distillation"), whose judge these numbers do not
    replace.

    Raises:
        UserError: there are no prompts.
    """

    prompts: list[str]
    reference: str = "teacher"
    control: str = "control"
    writing: Writing = GREEDILY
    embedder: str | None = None

    def __post_init__(self) -> None:
        if not self.prompts:
            raise UserError("ResponseSimilarity needs prompts, one at least.")

    def measure(self, models: Mapping[str, str]) -> dict[str, Metrics]:
        """See `Probe.measure`."""
        for role, name in (("reference", self.reference), ("control", self.control)):
            if name not in models or self.reference == self.control:
                raise UserError(
                    f"ResponseSimilarity.{role} is {name!r}, and there are {', '.join(models)}: "
                    "name the model that is compared with and, as the zero of the scale, another "
                    "one that learnt nothing from it."
                )
        texts = {
            name: written(Asked.opened(folder), self.prompts, self.writing)
            for name, folder in models.items()
        }
        meaning = self._embedded(texts)
        found: dict[str, Metrics] = {}
        for name, own in texts.items():
            found[name] = similarity(own, texts[self.reference])
            if meaning:
                cosines = (meaning[name] * meaning[self.reference]).sum(-1)
                found[name]["content_embedding"] = float(cosines.mean())
        zero = found[self.control]
        return {
            name: own | {f"{key}_above_control": own[key] - zero[key] for key in zero}
            for name, own in found.items()
        }

    def _embedded(self, texts: Mapping[str, Sequence[str]]) -> dict[str, np.ndarray]:
        if self.embedder is None:
            return {}
        asked = Asked.opened(self.embedder, needs_head=False)
        return {name: vectors(asked, own, "mean", 512) for name, own in texts.items()}


@dataclass(frozen=True)
class Fact:
    """Something that a model may say about itself.

    Attributes:
        right: strings of which a true answer has one.
        wrong: strings that contradict it, such as the names of other makers.
    """

    right: list[str]
    wrong: list[str]


@dataclass(frozen=True)
class IdentityProbe(ModelProbe):
    """A surrogate for identity consistency: how often answers contradict what a model is.

    `contradictions` is the share of answers with a string that contradicts any fact, and
    `stated` that with a string of a true one; `<fact>/contradictions` and `<fact>/stated` are those
    of each. Whole words are looked for, in any case. Strings are no understanding: "I am not
    made by X" counts as X, and a paraphrase as nothing. Questions are asked as they are; nothing is
    tried to trick a model.

    Attributes:
        facts: by name.
        prompts: questions about them.
        writing: how answers are drawn.

    Source: the loose score of Identity Consistency Evaluation (Lee et al. 2025), without its
    jailbreaks and its judge.

    Raises:
        UserError: there is no fact with strings, or no prompt.
    """

    facts: dict[str, Fact]
    prompts: list[str]
    writing: Writing = GREEDILY

    def __post_init__(self) -> None:
        empty = [name for name, fact in self.facts.items() if not all(map(str.strip, fact.wrong))]
        if not self.prompts or not self.facts or empty:
            raise UserError("IdentityProbe needs prompts, and facts whose strings are not empty.")

    def of(self, asked: Asked) -> Metrics:
        """See `ModelProbe.of`."""
        return identity_scores(written(asked, self.prompts, self.writing), self.facts)


def identity_scores(answers: Sequence[str], facts: Mapping[str, Fact]) -> Metrics:
    """The metrics of `IdentityProbe` of at least one answer."""
    wrong = {n: [_says(answer, fact.wrong) for answer in answers] for n, fact in facts.items()}
    right = {n: [_says(answer, fact.right) for answer in answers] for n, fact in facts.items()}
    found = {
        "contradictions": fmean(map(any, zip(*wrong.values(), strict=True))),
        "stated": fmean(map(any, zip(*right.values(), strict=True))),
    }
    for name in facts:
        found[f"{name}/contradictions"] = fmean(wrong[name])
        found[f"{name}/stated"] = fmean(right[name])
    return found


def similarity(texts: Sequence[str], reference: Sequence[str]) -> Metrics:
    """The surrogates of `ResponseSimilarity`, of texts behind the same prompts.

    Args:
        texts: at least one.
        reference: as many.
    """
    # Half a second, which only probes of written text need.
    from sacrebleu.metrics.chrf import CHRF

    pairs, chrf = list(zip(texts, reference, strict=True)), CHRF()
    contents = [1.0 if a == b else chrf.sentence_score(a, [b]).score / 100 for a, b in pairs]
    return {
        "content": fmean(contents),
        "structure": fmean(_alike(skeleton(a), skeleton(b)) for a, b in pairs),
        "style": fmean(_shared(make(texts), make(reference)) for make in STYLES),
    }


def skeleton(text: str) -> list[str]:
    """What a text is made of, in order: kinds of its lines, and in plain lines ends of sentences.

    A block of code is one piece, whatever stands in it.
    """
    found, code = list[str](), False
    for line in text.splitlines():
        kind = next((name for name, form in LINES if form.match(line)), "plain")
        if kind == "code":
            code = not code
        if kind == "code" or code:
            if kind == "code" and code:
                found.append(kind)
        elif kind == "plain":
            found += [f"sentence {end[0]}" for end in ENDS.findall(line)] or ["sentence"]
        else:
            found.append(kind)
    return found


def _alike(one: Sequence[str], other: Sequence[str]) -> float:
    return SequenceMatcher(None, one, other, autojunk=False).ratio()


def _letters(texts: Sequence[str]) -> Counter[str]:
    return Counter(text[n : n + GRAM] for text in texts for n in range(len(text) - GRAM + 1))


def _punctuation(texts: Sequence[str]) -> Counter[str]:
    return Counter(mark for text in texts for mark in PUNCTUATION.findall(text))


def _lengths(texts: Sequence[str]) -> Counter[str]:
    """Texts by their number of words, in steps of doubling."""
    return Counter(str(len(text.split()).bit_length()) for text in texts)


STYLES = (_letters, _punctuation, _lengths)


def _shared(one: Counter[str], other: Counter[str]) -> float:
    """1 - the Jensen-Shannon distance (base 2) of two distributions; of nothing and nothing, 1."""
    # A third of a second, which only probes of written text need.
    from scipy.spatial.distance import jensenshannon

    if not one or not other:
        return float(one == other)
    keys = sorted({*one, *other})
    ours, theirs = ([float(each[key]) for key in keys] for each in (one, other))
    # Rounding makes the divergence of equal distributions a hair negative, whose root is NaN.
    return 1.0 if one == other else 1 - float(jensenshannon(ours, theirs, base=2))


def _says(answer: str, strings: Sequence[str]) -> bool:
    """Whether one of some strings stands in an answer, as whole words and in any case."""
    return any(
        re.search(rf"(?<!\w){re.escape(string)}(?!\w)", answer, re.IGNORECASE) for string in strings
    )
