"""Scores of written text: against a reference, and by itself."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from lit_distill.scripts import UNSPACED

REPEATED = 4
"""Length of the token sequences whose repetition is counted."""

BleuTokenizer = Literal["13a", "intl", "char", "none"]
ROUGE = ("rouge1", "rouge2", "rougeL")


@dataclass(frozen=True)
class TextScores:
    """Of the texts of one language; those against a reference are None where there is none.

    Attributes:
        texts: how many there are.
        exact_match: share of texts that are the reference, spaces and Unicode forms apart.
        chrf: chrF2 over the corpus, 0 to 100 (sacrebleu).
        bleu: over the corpus, 0 to 100 (sacrebleu).
        rouge_1: mean F of single words, 0 to 1; in scripts without spaces of characters.
        rouge_2: of pairs of words.
        rouge_l: of the longest common subsequence of words.
        length: mean tokens, the ending token included.
        eos_rate: share of texts that ended by themselves.
        distinct_1: different tokens per token, over all texts.
        distinct_2: the same of pairs of tokens.
        repetition: share of a text's sequences of four tokens that it had before; mean over texts.
    """

    texts: int
    exact_match: float | None
    chrf: float | None
    bleu: float | None
    rouge_1: float | None
    rouge_2: float | None
    rouge_l: float | None
    length: float
    eos_rate: float
    distinct_1: float
    distinct_2: float
    repetition: float


@dataclass(frozen=True)
class Scored:
    """One text and what it is scored by.

    Attributes:
        text: as it was written.
        reference: what was wanted; None: nothing is known.
        tokens: ids, without the ending token.
        ended: whether it ended by itself.
    """

    text: str
    reference: str | None
    tokens: list[int]
    ended: bool


def scores(texts: Sequence[Scored], bleu_tokenizer: BleuTokenizer = "13a") -> TextScores:
    """Scores of the texts of one language.

    Args:
        texts: at least one.
        bleu_tokenizer: of sacrebleu; "char" for scripts without spaces.
    """
    # Half a second, which only runs with prompts need.
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    pairs = [(one.text, one.reference) for one in texts if one.reference is not None]
    exact = chrf = bleu = None
    rouge: dict[str, float] = {}
    if pairs:
        written, wanted = [text for text, _ in pairs], [reference for _, reference in pairs]
        exact = fmean(same(text, reference) for text, reference in pairs)
        chrf = CHRF().corpus_score(written, [wanted]).score
        bleu = BLEU(tokenize=bleu_tokenizer).corpus_score(written, [wanted]).score
        each = [rouge_of(text, reference) for text, reference in pairs]
        rouge = {name: fmean(one[name] for one in each) for name in ROUGE}
    return TextScores(
        texts=len(texts),
        exact_match=exact,
        chrf=chrf,
        bleu=bleu,
        rouge_1=rouge.get("rouge1"),
        rouge_2=rouge.get("rouge2"),
        rouge_l=rouge.get("rougeL"),
        length=fmean(len(one.tokens) + one.ended for one in texts),
        eos_rate=fmean(one.ended for one in texts),
        distinct_1=distinct([one.tokens for one in texts], 1),
        distinct_2=distinct([one.tokens for one in texts], 2),
        repetition=fmean(repetition(one.tokens) for one in texts),
    )


def of_one(text: Scored) -> dict[str, float]:
    """The scores that one text has, for paired comparisons: the mean is the language's score.

    chrF is that of the sentence, whose mean is not the corpus's.
    """
    from sacrebleu.metrics.chrf import CHRF

    found = {"repetition": repetition(text.tokens)}
    if text.reference is not None:
        found["exact_match"] = float(same(text.text, text.reference))
        found["chrf"] = CHRF().sentence_score(text.text, [text.reference]).score
        found["rouge_l"] = rouge_of(text.text, text.reference)["rougeL"]
    return found


def same(text: str, reference: str) -> bool:
    """Whether two texts are equal but for spaces and Unicode's ways to write one letter."""
    return _plain(text) == _plain(reference)


def rouge_of(text: str, reference: str) -> dict[str, float]:
    """ROUGE F values (torchmetrics) on words in any script.

    The usual tokenizer drops every letter but a to z, which leaves nothing of Hindi.
    """
    from torchmetrics.functional.text import rouge_score

    found = rouge_score(text, reference, rouge_keys=ROUGE, normalizer=_plain, tokenizer=words)
    return {name: float(found[f"{name}_fmeasure"]) for name in ROUGE}


def words(text: str) -> list[str]:
    """Lower-case words, without punctuation at their ends.

    In scripts without spaces (Chinese, Japanese, Thai, Lao, Khmer, Burmese, Tibetan, ...) each
    character is one, with its marks.
    """
    found = (_bare(part) for word in text.lower().split() for part in _parts(word))
    return [word for word in found if word]


def distinct(texts: Sequence[Sequence[int]], length: int) -> float:
    """Different sequences of `length` tokens per such sequence, over all texts; 0 without any."""
    found = [each for text in texts for each in _sequences(text, length)]
    return len({*found}) / len(found) if found else 0.0


def repetition(tokens: Sequence[int]) -> float:
    """Share of sequences of `REPEATED` tokens that the text had before; 0 of short texts."""
    found = _sequences(tokens, REPEATED)
    return 1 - len({*found}) / len(found) if found else 0.0


def _sequences(tokens: Sequence[int], length: int) -> list[tuple[int, ...]]:
    return list(zip(*(tokens[start:] for start in range(length)), strict=False))


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def _parts(word: str) -> list[str]:
    """A word as it is; where it is no word but a run without spaces, its characters."""
    if not UNSPACED.search(word):
        return [word]
    parts, joins = list[str](), False  # whether the last part takes further letters
    for character in word:
        mark, unspaced = unicodedata.category(character)[0] == "M", UNSPACED.match(character)
        if parts and (mark or (joins and not unspaced)):
            parts[-1] += character
        else:
            parts.append(character)
            joins = not unspaced
    return parts


def _bare(word: str) -> str:
    kept = [place for place, c in enumerate(word) if not unicodedata.category(c).startswith("P")]
    return word[kept[0] : kept[-1] + 1] if kept else ""
