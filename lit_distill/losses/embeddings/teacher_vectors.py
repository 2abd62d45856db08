"""Losses of a student's vectors of texts that learn a teacher's, summed over texts.

Shapes: B texts of this rank, M texts of all ranks, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lit_distill.losses.over_ranks import gathered
from lit_distill.losses.states import comparable


def vector_mse(student: Tensor, teacher: Tensor) -> Tensor:
    """Sum over texts of the mean over the width of the squared difference.

    Divided by B it is the mean over all entries, as sentence-transformers' `MSELoss` is.

    Args:
        student: (B, D), differentiable.
        teacher: (B, D), never given a gradient.

    Raises:
        ValueError: the shapes differ.
    """
    student, teacher = comparable(student, teacher)
    return (student - teacher).square().mean(-1).sum()


def similarity_kl(
    student: Tensor, teacher: Tensor, temperature: float, over_ranks: bool = False
) -> Tensor:
    """Sum over texts of KL(p_T || p_S), where p says which other text of the batch is near.

    p is the softmax over all other texts of their cosine with this one, divided by the temperature;
    a text is not compared with itself. The widths are each model's own. Of a single text there is
    nothing to learn: 0.

    Args:
        student: (B, D_S), differentiable.
        teacher: (B, D_T), never given a gradient.
        temperature: of both.
        over_ranks: whether the others are those of all ranks, (M, D); see `gathered`.

    Raises:
        ValueError: the numbers of texts differ.
    """
    if len(student) != len(teacher):
        raise ValueError(f"{len(student)} texts of the student and {len(teacher)} of the teacher.")
    log_q = _log_near(student, temperature, over_ranks)
    log_p = _log_near(teacher.detach(), temperature, over_ranks)
    return (log_p.exp() * (log_p - log_q)).sum()


def _log_near(vectors: Tensor, temperature: float, over_ranks: bool) -> Tensor:
    """Log probabilities (B, M); a text's own is so small that it counts nothing, yet is finite."""
    vectors = vectors.to(torch.promote_types(vectors.dtype, torch.float32))
    own = torch.nn.functional.normalize(vectors, dim=-1)
    every, first = gathered(own) if over_ranks else (own, 0)
    scores = own @ every.T / temperature
    places = first + torch.arange(len(own), device=own.device)
    itself = places.unsqueeze(1) == torch.arange(len(every), device=own.device)
    return scores.masked_fill(itself, -1e30).log_softmax(-1)
