"""A table of embeddings as two factors, with a layer norm between them, as ELECTRA has it.

A BERT reads x = norm(s; g, b) of a sum s of embeddings. An ELECTRA adds them up in e dimensions,
normalises there and projects: x' = W norm(s'; g', b') + c. With V (D, e) of orthonormal columns
whose rows and columns sum to 0 (as in `weights.py`), s' = s V has the mean 0 and, where s less its
mean lies in V's directions, the length of it, so that

    norm(s; g, b) = diag(g) V norm(s V; 1, 0) sqrt(D / e) + b

and nothing is lost but what lies outside of e - 1 directions: the e-th is what a norm in e
dimensions takes off. A norm adds eps to the variance of D numbers, or of e: that is the only other
difference, of the order of eps. A teacher whose table is factorised already has
x = P norm(s; g, b) + p, which P is put in front of: W = P diag(g) V sqrt(D / e), c = P b + p.

The head has no such equivalent, since its GELU acts on single dimensions: it begins with the rows
of its layer in V's directions.

Shapes: V tokens, D width of the teacher's embeddings (its hidden size, unless they are factorised),
e the student's, H hidden size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from lit_distill.models.students.narrowing.weights import stream_directions

Directions = Literal["sums", "words"]
WORDS, POSITIONS, TYPES = (
    f"embeddings.{kind}_embeddings.weight" for kind in ("word", "position", "token_type")
)


def embedding_directions(
    weights: Mapping[str, Tensor], width: int, of: Directions, tokens: int | None = None
) -> Tensor:
    """V (D, e) in float64, to which embeddings are cut.

    Args:
        weights: of the embeddings.
        width: e, at least 2 and less than D.
        of: "words": the principal directions of the word table, each row less its mean, which the
            norm takes off: W V V^T is then the nearest table of rank e - 1. "sums": those of what
            the norm reads, all sums of a word, a position and the type 0, each counted once.
        tokens: how many rows are tokens; others, by which a table was padded, do not count. None:
            all are.
    """
    table_VD = weights[WORDS][:tokens].detach().cpu()
    if of == "sums":
        rest_TD = weights[POSITIONS].detach().cpu() + weights[TYPES].detach().cpu()[0]
        mean_D = rest_TD.mean(0)
        each = (len(table_VD) / len(rest_TD)) ** 0.5  # the Gram matrix of V T sums, over T
        table_VD = torch.cat([table_VD + mean_D, each * (rest_TD - mean_D)])
    return stream_directions(table_VD, width, centred=True)


def factorised_embeddings(weights: Mapping[str, Tensor], map_De: Tensor) -> dict[str, Tensor]:
    """Embeddings in e dimensions and their projection, in float64 on the CPU.

    Args:
        weights: of the embeddings, and of `embeddings_project` where there is one.
        map_De: V, of `embedding_directions`.
    """
    width, narrow = map_De.shape
    tables = {name: narrowed(weights[name], map_De) for name in (WORDS, POSITIONS, TYPES)}
    gain_D, bias_D = (weights[f"embeddings.LayerNorm.{leaf}"].double().cpu() for leaf in _LEAVES)
    project_HD, shift_H = torch.eye(width, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    if "embeddings_project.weight" in weights:
        project_HD = weights["embeddings_project.weight"].double().cpu()
        shift_H = weights["embeddings_project.bias"].double().cpu()
    return {
        **tables,
        "embeddings.LayerNorm.weight": torch.ones(narrow, dtype=torch.float64),
        "embeddings.LayerNorm.bias": torch.zeros(narrow, dtype=torch.float64),
        "embeddings_project.weight": project_HD * gain_D @ map_De * (width / narrow) ** 0.5,
        "embeddings_project.bias": project_HD @ bias_D + shift_H,
    }


def narrow_head(weights: Mapping[str, Tensor], map_De: Tensor) -> dict[str, Tensor]:
    """The layer and the table of a head over tokens in e dimensions, in float64 on the CPU.

    The layer's rows are V^T diag(g) W with each row's factor of length 1, whose length is the
    norm's gain instead. Were there no GELU, and all directions of its output alike, the student's
    would be V^T times the teacher's.

    Args:
        weights: "head.dense", "head.norm" (g, b) and "head.decoder" of the teacher.
        map_De: V.
    """
    gain_D, bias_D = (weights[f"head.norm.{leaf}"].double().cpu() for leaf in _LEAVES)
    scaled_De = gain_D[:, None] * map_De
    lengths_e = scaled_De.norm(dim=0)
    rows_eD = (scaled_De / lengths_e).T
    return {
        "head.dense.weight": rows_eD @ weights["head.dense.weight"].double().cpu(),
        "head.dense.bias": rows_eD @ weights["head.dense.bias"].double().cpu(),
        "head.norm.weight": lengths_e,
        "head.norm.bias": bias_D @ map_De,
        "head.decoder.weight": narrowed(weights["head.decoder.weight"], map_De),
        "head.decoder.bias": weights["head.decoder.bias"],
    }


def narrowed(table_VD: Tensor, map_De: Tensor) -> Tensor:
    """A table (V, e) in V's directions, of its own float type, on the CPU."""
    parts = (rows.double() @ map_De for rows in torch.split(table_VD.detach().cpu(), _ROWS))
    return torch.cat([part.to(table_VD.dtype) for part in parts])


_LEAVES = ("weight", "bias")
_ROWS = 16384  # at once in float64
