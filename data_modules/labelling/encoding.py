"""From rows of labelled data to what a model reads of them, here and now.

B examples, P texts that are read (of multiple choice, several for each example), M tokens, N rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_modules.tasks.rows import LabelledText, Texts
from data_modules.tasks.task import Ints, Task
from data_modules.text.markers import engine


@dataclass
class Encoded:
    """One example as a model reads it.

    Attributes:
        ids: tokens of its texts, one after the other, with the special ones.
        lengths: tokens of each text.
        firsts: tokens of each before its second text; all of a single text.
        counts: rows of each.
        rows: positions, each in its own text.
        words: what each stands for, see `Task`.
        encoding: of the last text, as the tokenizer gave it.
        cut: whether any text is longer than what is read of it.
    """

    ids: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    firsts: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    words: list[int] = field(default_factory=list)
    encoding: Any = None
    cut: bool = False


class Encoder:
    """Tokenises labelled rows with the special tokens that the tokenizer itself puts around.

    Args:
        tokenizer: a fast one.
        max_length: most tokens of a read text; a longer one is cut at its end.
        task: what is asked about it.
    """

    def __init__(self, tokenizer: Any, max_length: int, task: Task) -> None:
        self._task = task
        self._backend = engine(tokenizer)
        self._backend.enable_truncation(max_length, strategy=task.cuts)

    def __call__(self, texts: Sequence[LabelledText]) -> list[Encoded]:
        """What is read of each; nothing of one without tokens or without room for its second text.

        Such a one has no `ids`.
        """
        reads = [text.reads for text in texts]
        encodings = self._encodings([pair for own in reads for pair in own])
        return [
            self._joined(text, [next(encodings) for _ in own])
            for text, own in zip(texts, reads, strict=True)
        ]

    def _encodings(self, pairs: Sequence[Texts]) -> Iterator[Any]:
        inputs = [text if second is None else (text, second) for text, second in pairs]
        try:
            yield from self._backend.encode_batch(inputs)
        except Exception:  # the tokenizer's own, of any one of them: its first text is too long
            for one in inputs:
                try:
                    yield self._backend.encode_batch([one])[0]
                except Exception:
                    yield None

    def _joined(self, text: LabelledText, encodings: Sequence[Any]) -> Encoded:
        found = Encoded()
        if any(one is None or all(one.special_tokens_mask) for one in encodings):
            return found
        for number, one in enumerate(encodings):
            rows = list(self._task.rows(text, one))
            found.ids += one.ids
            found.lengths.append(len(one.ids))
            found.firsts.append(len(one.ids) - sum(one.type_ids))
            found.counts.append(len(rows))
            found.rows += [place for place, _ in rows]
            found.words += [word + number for _, word in rows]
            found.cut |= bool(one.overflowing)
        found.encoding = encodings[-1]
        return found


@dataclass(frozen=True)
class Reads:
    """Examples as a model reads them, flat.

    Attributes:
        ids: (M,) tokens.
        lengths: (P,) tokens of each text.
        firsts: (P,) tokens of each before its second text.
        counts: (P,) rows of each.
        rows: (N,) positions, each in its own text.
        words: (N,) what each stands for.
        examples: (P,) which example, from 0 on, each text belongs to.
    """

    ids: NDArray[np.int32]
    lengths: Ints
    firsts: Ints
    counts: Ints
    rows: Ints
    words: Ints
    examples: Ints

    @classmethod
    def of(cls, encoded: Sequence[Encoded]) -> Reads:
        """What was read just now."""

        def flat(name: str) -> Ints:
            return np.array([*chain(*(getattr(one, name) for one in encoded))], dtype=np.int64)

        parts = [len(one.lengths) for one in encoded]
        examples = np.repeat(np.arange(len(encoded)), parts)
        ids, rows = flat("ids").astype(np.int32), flat("rows")
        places = flat("lengths"), flat("firsts"), flat("counts")
        return cls(ids, *places, rows, flat("words"), examples)

    @property
    def keys(self) -> Ints:
        """(N,) what each row stands for, told apart from those of other examples."""
        return (np.repeat(self.examples, self.counts) << 32) + self.words

    def with_rows(self, kept: NDArray[np.bool_]) -> Reads:
        """The same texts with some of their rows (N,)."""
        texts = np.repeat(np.arange(len(self.counts)), self.counts)
        counts = np.bincount(texts[kept], minlength=len(self.counts)).astype(np.int64)
        own = self.ids, self.lengths, self.firsts, counts, self.rows[kept], self.words[kept]
        return Reads(*own, self.examples)

    def padded(self, pad_id: int, pairs: bool) -> tuple[dict[str, Tensor], Ints]:
        """What a batch says about its texts, and where its rows (N,) are in it, flat.

        Args:
            pad_id: token at padded positions, on the right.
            pairs: whether to tell the texts of a pair apart.
        """
        column = np.arange(int(self.lengths.max()))
        mask = column < self.lengths[:, None]
        ids = np.full(mask.shape, pad_id, dtype=np.int64)
        ids[mask] = self.ids
        keys = {"input_ids": ids, "attention_mask": mask.astype(np.int64)}
        if pairs:
            types = mask & (column >= self.firsts[:, None])
            keys["token_type_ids"] = types.astype(np.int64)
        keys["tokens"] = np.flatnonzero(mask)
        rows = np.repeat(np.arange(len(mask)) * mask.shape[1], self.counts) + self.rows
        return {name: torch.from_numpy(value) for name, value in keys.items()}, rows
