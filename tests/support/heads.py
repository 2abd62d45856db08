"""Small heads, losses on them, and a spy on the operations: shared by the tests of `linear`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lit_distill.losses import CrossEntropy, ForwardKL, Head, LogitMSE, linear_losses

IGNORED = -100
ROWS, WIDTH, TEACHER_WIDTH, VOCABULARY = 7, 3, 5, 11
LOSSES = [ForwardKL(2.0), CrossEntropy(), LogitMSE(), ForwardKL(1.0, t_squared=False)]
COEFFICIENTS = [0.7, 0.3, 0.05, 1.9]
PROMISED = pytest.mark.parametrize("promised", [True, False], ids=["coefficients", "none"])


def draw(
    rows: int = ROWS,
    vocabulary: int = VOCABULARY,
    dtype: torch.dtype = torch.float64,
    bias: bool = True,
    caps: tuple[float | None, float | None] = (None, None),
) -> tuple[Head, Head, Tensor]:
    """A student head that wants gradients, a teacher head of another width, and targets."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    student = Head(normal(rows, WIDTH), normal(vocabulary, WIDTH), normal(vocabulary))
    teacher = Head(normal(rows, TEACHER_WIDTH), normal(vocabulary, TEACHER_WIDTH))
    targets = torch.randint(vocabulary, (rows,), generator=generator)
    targets[::3] = IGNORED
    if not bias:
        student = Head(student.rows, student.weight)
    else:
        teacher = Head(teacher.rows, teacher.weight, normal(vocabulary))
    student, teacher = (
        Head(h.rows, h.weight, h.bias, cap) for h, cap in zip((student, teacher), caps, strict=True)
    )
    for tensor in parts(student):
        tensor.requires_grad_()
    return student, teacher, targets


def parts(head: Head) -> list[Tensor]:
    return [tensor for tensor in (head.rows, head.weight, head.bias) if tensor is not None]


def total(sums: Sequence[Tensor]) -> Tensor:
    return torch.stack([c * s for c, s in zip(COEFFICIENTS, sums, strict=True)]).sum()


def run(
    student: Head, teacher: Head, targets: Tensor, promised: bool, **options: Any
) -> tuple[Tensor, list[Tensor]]:
    """Values (K,), and gradients of the weighted total."""
    coefficients = COEFFICIENTS if promised else None
    sums = linear_losses(LOSSES, student, teacher, targets, coefficients, **options)
    gradients = torch.autograd.grad(total(sums), parts(student))
    return torch.stack(sums).detach(), list(gradients)


def dense(student: Head, teacher: Head, targets: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The same with all logits and autograd."""
    logits = [torch.nn.functional.linear(h.rows, h.weight, h.bias) for h in (student, teacher)]
    for number, head in enumerate((student, teacher)):
        if head.cap is not None:
            logits[number] = head.cap * torch.tanh(logits[number] / head.cap)
    sums = [loss(*logits, targets).sum() for loss in LOSSES]
    return torch.stack(sums).detach(), list(torch.autograd.grad(total(sums), parts(student)))


def assert_same(one: list[Tensor], other: list[Tensor], relative: float) -> None:
    """||g - g'|| <= relative ||g|| over all parameters together (some true ones are zero)."""
    first, second = (torch.cat([g.flatten().double() for g in gs]) for gs in (one, other))
    assert first.norm() > 0
    assert (first - second).norm() <= relative * first.norm()


class Spy(TorchDispatchMode):
    """Records every operation's name and the tensors it reads and makes."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, list[Tensor], list[Tensor]]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        made = result if isinstance(result, tuple | list) else [result]
        tensors = [[t for t in group if isinstance(t, Tensor)] for group in (args, made)]
        self.calls.append((func.overloadpacket.__name__, *tensors))
        return result

    @property
    def largest(self) -> int:
        """Bytes of the largest storage that was made."""
        return max(t.untyped_storage().nbytes() for _, _, made in self.calls for t in made)

    @property
    def products(self) -> list[tuple[str, list[Tensor], list[Tensor]]]:
        return [call for call in self.calls if call[0] in ("mm", "addmm", "addmm_")]
