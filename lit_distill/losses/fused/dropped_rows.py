"""The rows of a head whose tokens a trimmed vocabulary has no ids for.

Shapes: N rows, D width, W dropped tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_COLUMNS = 4096  # logits of so many dropped tokens are held at a time


class DroppedRows(nn.Module):
    """What a model would say about tokens that it no longer has, in one number a row.

    Args:
        weight: (W, D).
        bias: (W,) or None.
        cap: the limit of the logits, or None.
        bucket: the id whose probability they are added to in losses; None: what is left without
            them counts as everything.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(
        self, weight: Tensor, bias: Tensor | None, cap: float | None, bucket: int | None = None
    ) -> None:
        super().__init__()
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("bias", bias, persistent=False)
        self.cap, self.bucket = cap, bucket

    @torch.no_grad()
    def log_mass(self, rows: Tensor) -> Tensor:
        """The logarithm (N,) of the sum of their exponentiated logits, in at least float32.

        Args:
            rows: (N, D) that the head reads, after any transform.
        """
        found = list[Tensor]()
        wide = torch.promote_types(rows.dtype, torch.float32)
        for start in range(0, len(self.weight), _COLUMNS):
            part = slice(start, start + _COLUMNS)
            bias = None if self.bias is None else self.bias[part]
            logits = nn.functional.linear(rows, self.weight[part], bias).to(wide)
            if self.cap is not None:
                logits = torch.tanh(logits / self.cap) * self.cap
            found.append(logits.logsumexp(-1))
        if not found:
            return rows.new_full((len(rows),), -torch.inf, dtype=wide)
        return torch.stack(found).logsumexp(0)
