"""Principal directions of a table of embeddings, by an eigendecomposition of its Gram matrix.

The left singular vectors (V x V in full: 57 GB of a vocabulary of 120 thousand) are never made: a
table of 250 thousand rows of 384 numbers takes seconds.

Shapes: V rows of the table, D its width, d of the directions kept.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

_ROWS = 16384  # at once in float64


def principal_directions(
    table_VD: Tensor, width: int, mean_D: Tensor | None = None, without_D: Tensor | None = None
) -> Tensor:
    """The right singular vectors (D, d) of a table's d largest singular values, in float64.

    Largest first; each is signed so that its largest number is positive, so that machines agree.

    Args:
        table_VD: the table.
        width: d, at most D.
        mean_D: taken off every row before: then they are the principal components.
        without_D: a unit vector to which all of them are orthogonal (d then at most D - 1); what
            rows have in its direction counts as nothing.
    """
    gram_DD = torch.zeros(2 * table_VD.shape[1:], dtype=torch.float64)
    for rows in torch.split(table_VD.detach().cpu(), _ROWS):
        rows_ND = rows.double() if mean_D is None else rows.double() - mean_D
        if without_D is not None:
            rows_ND = rows_ND - (rows_ND @ without_D)[:, None] * without_D
        gram_DD += rows_ND.T @ rows_ND
    if without_D is not None:  # the only direction with less than nothing: sorted last
        gram_DD -= (gram_DD.trace() + 1) * torch.outer(without_D, without_D)
    vectors_Dd = torch.linalg.eigh(gram_DD).eigenvectors.flip(1)[:, :width]
    largest = vectors_Dd.abs().argmax(0, keepdim=True)
    signed_Dd: Tensor = vectors_Dd * vectors_Dd.gather(0, largest).sign()
    return signed_Dd


def compressed(table_VD: Tensor, width: int, how: Literal["svd", "pca"]) -> Tensor:
    """A table (V, d) of fewer dimensions, on the CPU, of the float type of the other.

    Args:
        table_VD: the table E.
        width: d.
        how: "svd": U_d S_d = E V_d, the nearest table of rank d: E is off by the root of the sum of
            the squares of the other singular values. "pca": the same of E less its mean row, which
            is lost: (E - mean) V_d.
    """
    table_VD = table_VD.detach().cpu()
    mean_D = table_VD.mean(0, dtype=torch.float64) if how == "pca" else None
    map_Dd = principal_directions(table_VD, width, mean_D)
    shift_d = None if mean_D is None else mean_D @ map_Dd
    parts = []
    for rows in torch.split(table_VD, _ROWS):
        narrow_Nd = rows.double() @ map_Dd
        parts.append((narrow_Nd if shift_d is None else narrow_Nd - shift_d).to(table_VD.dtype))
    return torch.cat(parts)
