"""How texts become windows: where they are cut, and which special tokens stand around the parts.

R tokens of a text fit into a window, M tokens and W windows in all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray

from data_modules.text.markers import plain_engine
from lit_distill.errors import UserError

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Frame:
    """Special tokens around windows.

    Attributes:
        before: at the start of every window.
        after: at the end of every window.
        end: at the end of a text, so behind its last window alone.
    """

    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    end: tuple[int, ...] = ()

    @classmethod
    def around(cls, tokenizer: Any) -> Frame:
        """What the tokenizer itself puts around a text, around every window."""
        backend = tokenizer.backend_tokenizer
        if backend.truncation is not None or backend.padding is not None:
            backend = plain_engine(tokenizer)
        probe = backend.encode("a")
        mask, ids = probe.special_tokens_mask, probe.ids
        inner = [index for index, special in enumerate(mask) if not special] or [len(ids)]
        return cls(tuple(ids[: inner[0]]), tuple(ids[inner[-1] + 1 :]))

    @classmethod
    def ending(cls, tokenizer: Any, bos: bool = False) -> Frame:
        """What tells a decoder where a text ends: the tokenizer's ending tokens, behind it alone.

        Args:
            tokenizer: the EOS token is added where it puts none there itself; without one it warns.
            bos: let windows begin with the BOS token, or else with EOS.
        """
        own = cls.around(tokenizer)
        before, end, eos = own.before, own.after, tokenizer.eos_token_id
        if eos is not None and eos not in end:
            end = (*end, int(eos))
        if not end:
            rank_zero_warn(
                "The tokenizer names no EOS token, so a decoder is never shown where a text ends "
                "and learns to write on for ever: set eos_token in its tokenizer_config.json."
            )
        begin = eos if tokenizer.bos_token_id is None else tokenizer.bos_token_id
        if bos and begin is not None and begin not in before:
            before = (int(begin), *before)
        return cls(before, (), end)

    def room(self, max_length: int) -> int:
        """R of windows of so many tokens.

        Raises:
            UserError: there is none.
        """
        around = len(self.before) + len(self.after)
        if max_length - around - len(self.end) < 1:
            raise UserError(
                f"max_length {max_length} leaves no room beside {len(self.before)} + "
                f"{len(self.after) + len(self.end)} special tokens: raise "
                "data.init_args.max_length."
            )
        return max_length - around

    def cut(self, lengths: Ints, max_length: int) -> Windows:
        """The windows of texts of so many tokens (T,): full ones, the last of each text shorter."""
        room, end = self.room(max_length), len(self.end)
        counts = np.where(lengths > 0, -(-(lengths + end) // room), 0)
        last = np.cumsum(counts)[counts > 0] - 1
        inside = np.full(counts.sum(), room)
        left = (lengths - (counts - 1) * room)[counts > 0]
        # A window of nothing but the end has no target: a token of the text moves into it.
        moved = np.maximum(1 - left, 0)
        inside[last] = left + moved
        inside[last[moved > 0] - 1] -= moved[moved > 0]
        return Windows(self, counts, inside, last)


@dataclass(frozen=True)
class Windows:
    """Where texts are cut.

    Attributes:
        frame: around the windows.
        counts: (T,) windows of each text.
        inside: (W,) tokens of text in each window.
        last: (T',) the last window of each text that has any.
    """

    frame: Frame
    counts: Ints
    inside: Ints
    last: Ints

    @property
    def lengths(self) -> Ints:
        """(W,) tokens of every window, special ones included."""
        lengths = self.inside + len(self.frame.before) + len(self.frame.after)
        lengths[self.last] += len(self.frame.end)
        return lengths

    def filled(self, flat: NDArray[Any], special: bool = True) -> NDArray[Any]:
        """All windows, one after the other (M,).

        Args:
            flat: one value for each token of the texts.
            special: put the special tokens around; else zeros stand there.
        """
        lengths = self.lengths
        stops = np.cumsum(lengths)
        starts, ends = stops - lengths, stops.copy()
        ends[self.last] -= len(self.frame.end)
        result = np.zeros(lengths.sum(), dtype=flat.dtype)
        text = np.ones(len(result), dtype=bool)
        for places, tokens in (
            (starts, self.frame.before),
            (ends - len(self.frame.after), self.frame.after),
            (ends[self.last], self.frame.end),
        ):
            for offset, token in enumerate(tokens):
                result[places + offset] = token if special else 0
                text[places + offset] = False
        result[text] = flat
        return result
