"""Gradients of a head's tensors, added up tile by tile from the gradient of its logits.

Shapes: N rows, R rows of a tile, D width, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lit_distill.losses.fused.head import Head, HeadParts
from lit_distill.losses.fused.tiles import restore


class HeadGradients:
    """Gradients of a head's tensors, summed over tiles in at least float32.

    Args:
        head: in autocast's dtype, its rows in the order of the pass.
        wanted: of which tensors.
        dtype: of the sums.
    """

    def __init__(self, head: Head, wanted: HeadParts[bool], dtype: torch.dtype) -> None:
        self.head, self.wanted, self.dtype = head, wanted, dtype
        self.rows = torch.empty_like(head.rows, dtype=dtype) if wanted.rows else None
        self.weight: Tensor | None = None
        self.bias: Tensor | None = None

    def add(self, part: slice, logits: Tensor) -> None:
        """Adds what the gradient (R, V) of the logits of the rows in `part` contributes."""
        if self.rows is not None:
            self.rows[part] = logits @ self.head.weight
        if self.wanted.weight:
            rows = self.head.rows[part]
            if self.weight is None:
                self.weight = (logits.t() @ rows).to(self.dtype)
            elif self.weight.dtype == rows.dtype:
                self.weight.addmm_(logits.t(), rows)
            else:
                self.weight.add_(logits.t() @ rows)
        if self.wanted.bias:
            bias = logits.sum(0, dtype=self.dtype)
            self.bias = bias if self.bias is None else self.bias.add_(bias)

    def like(self, head: Head, order: Tensor | None) -> HeadParts[Tensor | None]:
        """The gradients that are wanted, in the dtypes and shapes of `head`.

        Args:
            head: as the caller of the pass gave it.
            order: (N,) of the pass; the rows are put back into their own.
        """
        rows = None if self.rows is None else restore(self.rows, order)
        return HeadParts(
            _fit(rows, head.rows, self.wanted.rows),
            _fit(self.weight, head.weight, self.wanted.weight),
            _fit(self.bias, head.bias, self.wanted.bias),
        )


def _fit(gradient: Tensor | None, tensor: Tensor | None, wanted: bool) -> Tensor | None:
    """A wanted gradient in its tensor's dtype; zeros where there were no rows or columns."""
    if not wanted or tensor is None:
        return None
    if gradient is None:
        return torch.zeros_like(tensor)
    if len(gradient) == len(tensor):
        return gradient.to(tensor.dtype)
    whole = torch.zeros_like(tensor)
    whole[: len(gradient)] = gradient
    return whole
