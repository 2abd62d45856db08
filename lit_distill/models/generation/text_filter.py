"""Which written texts are fit to be learnt from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lit_distill.errors import UserError
from lit_distill.knobs import NotNegative, Positive, Share, check_knobs
from lit_distill.models.generation.generation import Generated

_SEQUENCE = 4  # tokens of a sequence whose repetition is counted


@dataclass(frozen=True)
class TextFilter:
    """Drops texts of which the tokens alone show that something went wrong.

    Attributes:
        ended: drop what `max_new_tokens` cut off.
        min_ratio: fewest tokens per token of the prompt, EOS included.
        max_ratio: most; None: any number.
        max_repetition: largest share of sequences of four tokens that the text had before; 1: any.

    Raises:
        UserError: the ratios leave nothing.
    """

    ended: bool = True
    min_ratio: NotNegative = 0.0
    max_ratio: Positive | None = None
    max_repetition: Share = 0.5

    def __post_init__(self) -> None:
        check_knobs(TextFilter, vars(self))
        if self.max_ratio is not None and self.max_ratio <= self.min_ratio:
            raise UserError(
                f"keep.min_ratio is {self.min_ratio} and keep.max_ratio {self.max_ratio}: no text "
                "has more than the one and fewer than the other."
            )

    def __call__(self, prompt_lengths: Tensor, written: Generated) -> Tensor:
        """Whether each text is kept: (B,) bool.

        Args:
            prompt_lengths: (B,) tokens.
            written: after these prompts.
        """
        ratio = written.lengths / prompt_lengths
        kept = ratio >= self.min_ratio
        if self.max_ratio is not None:
            kept &= ratio <= self.max_ratio
        if self.ended:
            kept &= written.ended
        if self.max_repetition < 1:
            pairs = zip(written.tokens.tolist(), written.lengths.tolist(), strict=True)
            shares = [repetition(row[:n]) for row, n in pairs]
            kept &= torch.tensor(shares, device=kept.device) <= self.max_repetition
        return kept


def repetition(tokens: Sequence[int]) -> float:
    """Share of sequences of four tokens that the text had before; 0 of shorter texts."""
    found = list(zip(*(tokens[start:] for start in range(_SEQUENCE)), strict=False))
    return 1 - len(set(found)) / len(found) if found else 0.0
