"""Embedders: how one vector is made of a text, for any method that trains vectors.

Shapes: B texts, D hidden size, W width of the vectors.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lit_distill.knobs import Count, check_knobs
from lit_distill.models.body.encoded import Encoded
from lit_distill.models.embedding.pooling import Pooling, pooled
from lit_distill.models.students.exported import Exported


@dataclass(frozen=True)
class Embedder:
    """How a student makes one vector of a text.

    Attributes:
        pooling: which of the last hidden states stand for a text: their mean, the first, the last,
            or a mean in which later ones weigh more.
        width: of a trained linear projection behind the pooling, which the export holds in
            `projections/embedding.safetensors`; None: there is none.
        normalised: whether vectors have length 1.
    """

    pooling: Pooling = "mean"
    width: Count | None = None
    normalised: bool = False

    def __post_init__(self) -> None:
        check_knobs(Embedder, vars(self))

    def projection(self, hidden_size: int) -> Exported | None:
        """A fresh projection (B, D) -> (B, W), with a bias; None where none is asked for.

        Args:
            hidden_size: D.
        """
        if self.width is None:
            return None
        reads = f"{self.pooling} pooling of a text's last hidden states (B, {hidden_size})"
        return Exported(nn.Linear(hidden_size, self.width), reads=reads)

    def vectors(self, encoded: Encoded, projection: nn.Module | None = None) -> Tensor:
        """Vectors (B, W) of texts, in at least float32; padding has no part.

        Args:
            encoded: of texts with one real position at least.
            projection: the module that `projection` made.
        """
        found = pooled(encoded, self.pooling)
        if projection is not None:
            weight = next(projection.parameters())
            found = projection(found.to(weight.dtype))
            found = found.to(torch.promote_types(found.dtype, torch.float32))
        return torch.nn.functional.normalize(found, dim=-1) if self.normalised else found
