"""From window numbers to a padded `TextBatch`, without touching rows one by one.

B windows of M tokens in all are gathered as one flat array, masked there, and scattered once into
the (B, T) matrix. T is the longest row, rounded to nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from data_modules.objectives.masking import Selection, Texts
from data_modules.objectives.objectives import Selector
from data_modules.storing.token_tags import LANGUAGE, SWITCHED, WORD
from lit_distill.batch import Batch, TextBatch

Kind = TypeVar("Kind", bound=Batch, covariant=True)


class Collate(Protocol[Kind]):
    """Makes a batch of a kind; it must do the same in every process."""

    def __call__(self, windows: NDArray[np.int64], passes: NDArray[np.int64]) -> Kind:
        """The batch of these windows (B,), each in its pass (B,) over the corpus."""


class TokenSource(Protocol):
    """What collation reads of a token store.

    Attributes:
        lengths: (W,) tokens of every window.
        language: (W,) language number of every window.
        tag_names: languages of words; where there are none, batches have no keys for them.
        mixing: (W,) code-mixing index of every window.
    """

    lengths: NDArray[Any]
    language: NDArray[Any]
    tag_names: list[str]
    mixing: NDArray[Any]

    def gather_tags(self, windows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The language byte of every token of these windows; see `token_tags`."""

    def gather(self, windows: NDArray[np.int64]) -> NDArray[np.int32]:
        """Token ids (M,) of these windows, one after the other."""


@dataclass(frozen=True)
class Collator:
    """Makes batches.

    Args:
        corpus: where windows come from.
        select: the bound objective.
        pad_id: token at padded positions, on the right.
        variants: how many passes draw masks of their own; later ones repeat them in turn. None: all
            do.
        words: the objective asks where words begin in scripts without spaces.
    """

    corpus: TokenSource
    select: Selector
    pad_id: int
    variants: int | None = None
    words: bool = False

    def __call__(self, windows: NDArray[np.int64], passes: NDArray[np.int64]) -> TextBatch:
        """The batch of these windows (B,), each in its pass (B,) over the corpus."""
        lengths = self.corpus.lengths[windows].astype(np.int64)
        count, width = len(lengths), int(lengths.max())
        if self.variants is not None:
            passes = passes % self.variants
        begins = self.corpus.gather_tags(windows) & WORD > 0 if self.words else None
        texts = Texts.joined(self.corpus.gather(windows), lengths, windows, passes, begins)
        selection = self.select(texts)
        tokens = texts.row * width + texts.column
        padded = np.full(count * width, self.pad_id, dtype=np.int64)
        padded[tokens] = selection.ids
        mask = np.zeros(count * width, dtype=np.int64)
        mask[tokens] = 1
        batch = TextBatch(
            input_ids=torch.from_numpy(padded.reshape(count, width)),
            attention_mask=torch.from_numpy(mask.reshape(count, width)),
            language=torch.from_numpy(self.corpus.language[windows].astype(np.int64)),
            sample_id=torch.from_numpy(windows.astype(np.int64)),
            tokens=torch.from_numpy(tokens),
            rows=torch.from_numpy(tokens[selection.rows]),
            targets=torch.from_numpy(selection.targets),
            counts={
                "tokens": len(tokens),
                "sequences": count,
                "rows": len(selection.rows),
                "masked": selection.masked,
            },
        )
        if self.variants is not None:
            batch["variant"] = torch.from_numpy(passes.astype(np.int64))
        if self.corpus.tag_names:
            self._add_tags(batch, windows, tokens, selection)
        return batch

    def _add_tags(
        self,
        batch: TextBatch,
        windows: NDArray[np.int64],
        tokens: NDArray[Any],
        selection: Selection,
    ) -> None:
        """The languages of words, and which targets begin or belong to a word at a switch point."""
        tags = self.corpus.gather_tags(windows)
        language = np.zeros(batch["input_ids"].numel(), dtype=np.int64)
        language[tokens] = tags & LANGUAGE
        # The token to be predicted: with hidden tokens the row's own, else the next one.
        target = selection.rows + (0 if selection.masked else 1)
        batch["token_language"] = torch.from_numpy(language).view_as(batch["input_ids"])
        own = tags[target].astype(np.int64)
        batch["target_languages"] = torch.from_numpy(own & LANGUAGE)
        switched = np.where(own & LANGUAGE, (own & SWITCHED) // SWITCHED, -1)
        batch["target_switched"] = torch.from_numpy(switched)
        batch["mixing"] = torch.from_numpy(self.corpus.mixing[windows].astype(np.int64))
