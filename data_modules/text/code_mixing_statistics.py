"""How much languages are mixed, by the field's published definitions.

An utterance is a sequence of words, each with a language tag or None: punctuation, digits, proper
names and words whose language nobody knows have none. Write n for its words, u for those without a
tag, w_i for those of language i, p_i = w_i / (n - u), and P for its switch points: places where a
tagged word has another language than the tagged word before it, whatever stands between them.

A span is a run of tagged words in one language. Neither spans nor switches cross utterances.
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import groupby

Tags = Sequence[str | None]


def switch_points(tags: Tags) -> list[int]:
    """Indices of the words that have another language than the tagged word before them."""
    found: list[int] = []
    before: str | None = None
    for index, tag in enumerate(tags):
        if tag is None:
            continue
        if before is not None and tag != before:
            found.append(index)
        before = tag
    return found


def code_mixing_index(tags: Tags) -> float:
    """CMI of one utterance: 100 (1 - max_i w_i / (n - u)), and 0 where no word has a tag.

    From 0 (one language) to 100 (1 - 1/k) for k languages in equal parts, so 50 for two.

    Source: Das and Gambäck, 2014, "Identifying languages at the word level in code-mixed Indian
    social media text" (ICON).
    """
    counts = Counter(tag for tag in tags if tag is not None)
    return mixing_of_counts(counts.values())


def mixing_of_counts(counts: Iterable[int]) -> float:
    """CMI from the words of each language, as `code_mixing_index`."""
    numbers = list(counts)
    total = sum(numbers)
    return 100.0 * (1.0 - max(numbers) / total) if total else 0.0


def code_mixing_with_switches(tags: Tags) -> float:
    """The CMI that counts switches too: 100 (N - max_i w_i + P) / (2 N) with N = n - u.

    Source: Gambäck and Das, 2016, "Comparing the level of code-switching in corpora" (LREC);
    both parts weigh one half.
    """
    tagged = [tag for tag in tags if tag is not None]
    if not tagged:
        return 0.0
    most = max(Counter(tagged).values())
    return 100.0 * (len(tagged) - most + len(switch_points(tags))) / (2 * len(tagged))


def switch_point_fraction(tags: Tags) -> float:
    """Switch points per word boundary, P / (n - 1), words without a tag included; 0 for one word.

    Source: Pratapa et al., 2018, "Language modeling for code-mixing" (ACL).
    """
    return len(switch_points(tags)) / (len(tags) - 1) if len(tags) > 1 else 0.0


def spans(tags: Tags) -> list[int]:
    """Lengths, in tagged words, of the runs in one language."""
    return [len(list(run)) for _, run in groupby(tag for tag in tags if tag is not None)]


@dataclass
class MixingStatistics:
    """Statistics of a corpus, utterance by utterance; memory does not grow with it.

    Attributes:
        utterances: how many were added.
        tagged_utterances: those with at least one tagged word; CMI is averaged over them.
        words: all of them.
        languages: tagged words by language.
        switches: P, summed.
    """

    utterances: int = 0
    tagged_utterances: int = 0
    words: int = 0
    languages: Counter[str] = field(default_factory=Counter)
    switches: int = 0
    _gaps: int = 0
    _cmi: float = 0.0
    _cmi_with_switches: float = 0.0
    _fractions: float = 0.0
    _spans: Counter[int] = field(default_factory=Counter)

    def add(self, tags: Tags) -> None:
        """Counts one utterance."""
        tagged = [tag for tag in tags if tag is not None]
        self.utterances += 1
        self.words += len(tags)
        if not tagged:
            return
        self.tagged_utterances += 1
        self.languages.update(tagged)
        self.switches += len(switch_points(tags))
        self._gaps += len(tagged) - 1
        self._cmi += code_mixing_index(tags)
        self._cmi_with_switches += code_mixing_with_switches(tags)
        self._fractions += switch_point_fraction(tags)
        self._spans.update(spans(tags))

    @property
    def cmi(self) -> float:
        """Mean of `code_mixing_index` over the utterances that have tagged words."""
        return self._cmi / max(self.tagged_utterances, 1)

    @property
    def cmi_with_switches(self) -> float:
        """Mean of `code_mixing_with_switches`, likewise."""
        return self._cmi_with_switches / max(self.tagged_utterances, 1)

    @property
    def switch_point_fraction(self) -> float:
        """Mean of `switch_point_fraction`, likewise."""
        return self._fractions / max(self.tagged_utterances, 1)

    @property
    def m_index(self) -> float:
        """Multilingual index (1 - sum p_i^2) / ((k - 1) sum p_i^2) over the whole corpus.

        From 0 (one language) to 1 (k languages in equal parts); k are those that occur.

        Source: Barnett et al., 2000, "The LIDES coding manual" (International Journal of
        Bilingualism 4.2), as in Guzmán et al., 2017.
        """
        squares = sum(share**2 for share in self.shares.values())
        count = len(self.languages)
        return (1.0 - squares) / ((count - 1) * squares) if count > 1 else 0.0

    @property
    def i_index(self) -> float:
        """Integration index: the share of neighbouring tagged words that differ, all pooled.

        Source: Guzmán et al., 2017, "Metrics for modeling code-switching across corpora"
        (Interspeech); here no pair reaches over two utterances.
        """
        return self.switches / self._gaps if self._gaps else 0.0

    @property
    def burstiness(self) -> float:
        """(s - m) / (s + m) of the span lengths, m their mean and s their standard deviation.

        -1 where all spans are equally long (regular switching), 0 for a Poisson process (random),
        towards 1 for long spans between bursts of switches.

        Source: Goh and Barabási, 2008, "Burstiness and memory in complex systems", as in
        Guzmán et al., 2017. s is that of the population.
        """
        count = self._spans.total()
        if not count:
            return 0.0
        mean = sum(length * often for length, often in self._spans.items()) / count
        squares = sum(often * (length - mean) ** 2 for length, often in self._spans.items())
        deviation = math.sqrt(squares / count)
        return (deviation - mean) / (deviation + mean)

    @property
    def language_entropy(self) -> float:
        """-sum p_i log2 p_i over the whole corpus, in bits per word.

        Source: Guzmán et al., 2017.
        """
        return -sum(share * math.log2(share) for share in self.shares.values()) or 0.0

    @property
    def shares(self) -> dict[str, float]:
        """p_i: the share of every language in the tagged words, the largest first."""
        total = self.languages.total()
        return {tag: count / total for tag, count in self.languages.most_common()}


SCRIPTS = {"CJK": "Han", "MASCULINE": "Latin", "FEMININE": "Latin"}
"""Where the first word of a name is not the script's; the latter two are the ordinals º and ª."""


@cache  # one entry per distinct character of all texts
def script_of(character: str) -> str | None:
    """The script of a letter or vowel sign ("Latin", "Devanagari", ...); None for all else.

    By the first word of the character's Unicode name; kana, Han and Hangul are told apart.
    """
    if unicodedata.category(character)[0] not in "LM":
        return None
    name = unicodedata.name(character, "").partition(" ")[0]
    if name in ("COMBINING", "MODIFIER", "VARIATION", "ZERO", ""):
        return None
    return SCRIPTS.get(name, name.capitalize())


def script_counts(characters: Mapping[str, int]) -> Counter[str]:
    """Letters of every script, from how often each character occurs."""
    counts: Counter[str] = Counter()
    for character, often in characters.items():
        script = script_of(character)
        if script is not None:
            counts[script] += often
    return counts


def script_shares(text: str) -> dict[str, float]:
    """The share of every script in the letters of a text, the largest first."""
    counts = script_counts(Counter(text))
    return {script: count / counts.total() for script, count in counts.most_common()}
