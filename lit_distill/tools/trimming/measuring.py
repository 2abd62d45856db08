"""What a shorter vocabulary costs each language's texts, and what it saves of the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from data_modules.text.code_mixing_statistics import script_counts
from data_modules.text.markers import engine
from lit_distill.models import anatomy_of, tokenizer_files
from lit_distill.models.vocabularies.model_trimming import token_tables
from lit_distill.tools.corpora.language_report import LanguageReport


@dataclass(frozen=True)
class Cut:
    """How a tokenizer cuts held-out texts of one language.

    Attributes:
        report: texts, words, characters, tokens and unknown ones.
        pieces: how often each id occurs.
    """

    report: LanguageReport
    pieces: Counter[int]

    @property
    def numbers(self) -> dict[str, float | None]:
        """What is told of it; no tokens per word where words are not spaced."""
        report = self.report
        return {
            "tokens": report.tokens,
            "unknown_rate": report.unknown_rate,
            "tokens_per_word": report.fertility,
            "characters_per_token": report.characters_per_token,
        }


def cut(language: str, texts: Sequence[str], tokenizer: Any) -> Cut:
    """How a tokenizer cuts texts, without special tokens."""
    found = engine(tokenizer).encode_batch_fast(list(texts), add_special_tokens=False)
    pieces = Counter(number for one in found for number in one.ids)
    characters = Counter("".join(texts))
    report = LanguageReport(
        language,
        documents=len(texts),
        characters=characters.total(),
        words=sum(len(text.split()) for text in texts),
        tokens=pieces.total(),
        unknown=pieces[tokenizer.unk_token_id],
        scripts=script_counts(characters),
    )
    return Cut(report, pieces)


@dataclass(frozen=True)
class Change:
    """One language before and after.

    Attributes:
        before: cut by the whole vocabulary.
        after: by the trimmed one.
        lost_pieces: how many of the pieces before are gone.
        lost_share: which part of the tokens before they were.
    """

    before: Cut
    after: Cut
    lost_pieces: int
    lost_share: float

    @property
    def as_json(self) -> dict[str, Any]:
        """Its numbers."""
        return {
            "texts": self.before.report.documents,
            "before": self.before.numbers,
            "after": self.after.numbers,
            "lost_pieces": self.lost_pieces,
            "lost_share": self.lost_share,
        }


def change(
    language: str, texts: Sequence[str], old: Any, new: Any, kept: Collection[int]
) -> Change:
    """What becomes of the held-out texts of a language.

    Args:
        language: its tag.
        texts: of it.
        old: tokenizer before.
        new: after.
        kept: ids of the old one that the new one has.
    """
    before, after, here = cut(language, texts, old), cut(language, texts, new), {*kept}
    lost = {number: count for number, count in before.pieces.items() if number not in here}
    return Change(before, after, len(lost), sum(lost.values()) / max(before.pieces.total(), 1))


@dataclass(frozen=True)
class Size:
    """How large a model is with its tokenizer.

    Attributes:
        rows: of its vocabulary.
        parameters: all; those that are tied count once.
        without_embeddings: without what there is for each token: rows of embeddings and of a head.
        bytes: of its weights as saved, and of the tokenizer's files.
    """

    rows: int
    parameters: int
    without_embeddings: int
    bytes: int


def size_of(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    dtype: torch.dtype,
    rows: int | None = None,
) -> Size:
    """The size of an open model.

    Args:
        model: of any dtype.
        tokenizer: its own.
        dtype: in which it is saved.
        rows: how large it would be with so many; None: with those that it has.
    """
    own = len(model.get_input_embeddings().weight)
    rows = own if rows is None else rows
    tables = count_of(tables_of(model))
    rest = count_of(dict(model.named_parameters())) - tables
    total = rest + tables // own * rows
    return Size(rows, total, rest, total * dtype.itemsize + bytes_of(tokenizer))


def tables_of(model: PreTrainedModel) -> dict[str, Tensor]:
    """The parameters that have a row per token, by name."""
    anatomy = anatomy_of(type(model).__name__, model.config.to_dict())
    parameters = dict(model.named_parameters(remove_duplicate=False))
    return {name: parameters[name] for name in token_tables(model, anatomy) if name in parameters}


def count_of(parts: Mapping[str, Tensor]) -> int:
    """Numbers in tensors; one of several names counts once."""
    return sum(part.numel() for part in {id(part): part for part in parts.values()}.values())


def bytes_of(tokenizer: PreTrainedTokenizerFast) -> int:
    """The length of a tokenizer's files."""
    return sum(len(text.encode("utf-8")) for text in tokenizer_files(tokenizer).values())
