"""Losses of hidden states, summed over rows: divide by N outside.

Shapes: N rows, D width. Both states must have the same width; there is no projection here.
"""

from __future__ import annotations

import torch
from torch import Tensor


def cosine(student: Tensor, teacher: Tensor) -> Tensor:
    """Sum over rows of 1 - cos(student, teacher); DistilBERT's third term (Sanh et al., 2019).

    Args:
        student: (N, D), differentiable.
        teacher: (N, D), never given a gradient.

    Returns:
        A scalar in at least float32, in [0, 2 N]. A row of zeros has no direction: it counts as
        orthogonal to every other: 1, with zero gradient.

    Raises:
        ValueError: the shapes differ.
    """
    student, teacher = comparable(student, teacher)
    counted = (student.ne(0).any(-1)) & (teacher.ne(0).any(-1))
    # Half the squared distance of the unit vectors is 1 - cos, and exactly zero where they agree.
    distances = (unit(student) - unit(teacher)).square().sum(-1) / 2
    return torch.where(counted, distances, 1.0).sum()


def mse(student: Tensor, teacher: Tensor) -> Tensor:
    """Sum over rows of the squared Euclidean distance, summed (not averaged) over the width.

    Args:
        student: (N, D), differentiable.
        teacher: (N, D), never given a gradient.

    Returns:
        A scalar in at least float32. Divided by N it is the mean squared distance of a row; divided
        by N D, torch's `mse_loss`.

    Raises:
        ValueError: the shapes differ.
    """
    student, teacher = comparable(student, teacher)
    return (student - teacher).square().sum()


def comparable(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Both states in one precision, at least float32, and the teacher's outside of any graph.

    Raises:
        ValueError: the shapes differ.
    """
    if student.shape != teacher.shape:
        raise ValueError(
            f"States of shape {tuple(student.shape)} (student) and {tuple(teacher.shape)} (teacher)"
            " cannot be compared: choose models of the same width, or project one of them first."
        )
    dtype = torch.promote_types(torch.promote_types(student.dtype, teacher.dtype), torch.float32)
    return student.to(dtype), teacher.detach().to(dtype)


def unit(rows: Tensor) -> Tensor:
    """Rows of length 1; rows of zeros stay so, and get no gradient."""
    squares = rows.square().sum(-1, keepdim=True)
    return rows * torch.where(squares == 0, 1.0, squares).rsqrt()
