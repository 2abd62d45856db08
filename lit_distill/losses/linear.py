"""Losses of logits that are never held: hidden rows and head weights in, sums and gradients out.

Logits are made tile by tile in two reused buffers (one per model), all losses read them there, and
the gradient with respect to the student's logits takes their place; two more products turn it into
gradients of hidden rows and head weights. Nothing of size (N, V) exists; nothing is recomputed
where the caller says beforehand what the sums will be multiplied with.

Shapes: N rows, D student width, D' teacher width, V vocabulary, K losses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lit_distill.losses.head import Head as Head
from lit_distill.losses.row_loss import RowLoss
from lit_distill.losses.signals import TeacherSignal, TopK
from lit_distill.losses.tiles import RowPass

TILE_BYTES = 96 * 2**20
"""Memory of the two tiles together: within 5 % of the fastest at V = 30,522 and V = 119,547, width
256, on a CPU with 32 MiB of cache; half of it costs 7 % at the larger vocabulary, a sixth 65 %."""

_TOLERANCE = 1e-4
"""Relative difference between announced and incoming coefficients that rounding may explain."""


def linear_losses(
    losses: Sequence[RowLoss],
    student: Head,
    teacher: TeacherSignal | None = None,
    targets: Tensor | None = None,
    coefficients: Sequence[float | Tensor] | None = None,
    weights: Tensor | None = None,
    tile_bytes: int = TILE_BYTES,
) -> tuple[Tensor, ...]:
    """Sums of several losses over the same rows, in one pass over their logits.

    Args:
        losses: K losses; those of the same temperature share its softmax.
        student: rows (N, D), weight (V, D), bias (V,); what requires a gradient gets one.
        teacher: rows (N, D'), weight (V, D'), bias (V,), or another signal about the same rows,
            none of which gets a gradient; None if no loss needs it.
        targets: (N,) token ids, `IGNORED` where a row has none; None if no loss needs them.
        coefficients: what sum k is going to be multiplied with, up to one factor common to all K
            (such as a gradient scale). Gradients are then formed in the forward pass, once, and
            `backward` checks the promise. None: `backward` makes the pass again with whatever
            gradients arrive, which is always right, and slower.
        weights: (N,) factors of the rows, for all losses; None counts each once.
        tile_bytes: memory for the tiles of logits of all models.

    Returns:
        K scalars in at least float32, differentiable once. Without rows they are zeros whose
        gradients are zeros.

    Raises:
        ValueError: shapes that do not fit, or a loss that lacks what it needs.
        RuntimeError: in `backward`, if the incoming gradients are no multiple of `coefficients` (on
            a GPU: a device assertion, so that the host need not wait).
    """
    _check(losses, student, teacher, targets, coefficients, weights)
    device = student.rows.device.type
    row_pass = RowPass(
        losses=tuple(losses),
        teacher=None if teacher is None else teacher.detach(),
        targets=targets,
        weights=weights,
        autocast=torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None,
        tile_bytes=tile_bytes,
    )
    tensors = student.rows, student.weight, student.bias
    wanted = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
    with torch.autocast(device, enabled=False):
        if not wanted:
            return row_pass.run(student, None, (False, False, False))[0].unbind()
        announced = None if coefficients is None else _announce(coefficients, row_pass, student)
        return _LinearLosses.apply(row_pass, announced, student, *tensors).unbind()  # type: ignore[no-any-return,no-untyped-call]


class _LinearLosses(torch.autograd.Function):
    """(rows, weight, bias) -> sums (K,); the rest of the head and of the pass are constants."""

    @staticmethod
    def forward(
        ctx: Any,
        row_pass: RowPass,
        announced: Tensor | None,
        head: Head,
        rows: Tensor,
        weight: Tensor,
        bias: Tensor | None,
    ) -> Tensor:
        wanted = ctx.needs_input_grad[3:]
        student = replace(head, rows=rows, weight=weight, bias=bias)
        ctx.announced, ctx.cap, ctx.size = announced, head.cap, head.size
        if announced is None:
            ctx.row_pass = row_pass
            ctx.save_for_backward(rows, weight, bias)
            return row_pass.run(student, None, wanted)[0]
        sums, ctx.gradients = row_pass.run(student, announced, wanted)
        return sums

    @staticmethod
    def backward(ctx: Any, incoming: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError("linear_losses is differentiable once: create_graph cannot work.")
        if ctx.announced is None:
            rows, weight, bias = ctx.saved_tensors
            student = Head(rows, weight, bias, ctx.cap, ctx.size)
            wanted = ctx.needs_input_grad[3:]
            with torch.autocast(incoming.device.type, enabled=False):
                return None, None, None, *ctx.row_pass.run(student, incoming, wanted)[1]
        if ctx.gradients is None:
            raise RuntimeError(
                "linear_losses with coefficients hands out its gradients once, and backward ran "
                "already: leave the coefficients out to run it again."
            )
        gradients, ctx.gradients = ctx.gradients, None
        factor = _common_factor(incoming, ctx.announced)
        if factor.device.type != "cpu" or factor.item() != 1:
            for gradient in gradients:
                if gradient is not None:
                    gradient.mul_(factor)  # in place: the weight's gradient may be a large one
        return None, None, None, *gradients


def _announce(coefficients: Sequence[float | Tensor], row_pass: RowPass, student: Head) -> Tensor:
    """The coefficients (K,) as a tensor in the precision of the sums."""
    like = student.rows.new_empty((), dtype=row_pass.precision(student))
    announced = torch.stack(
        [
            c.detach().to(like).reshape(()) if isinstance(c, Tensor) else torch.full_like(like, c)
            for c in coefficients
        ]
    )
    if torch.float16 in (row_pass.autocast, student.weight.dtype):
        # Products read the gradient of the logits in float16: 5 / N of it would underflow.
        return announced / announced.abs().amax().clamp(min=torch.finfo(like.dtype).tiny)
    return announced


def _common_factor(incoming: Tensor, announced: Tensor) -> Tensor:
    """The factor f with incoming = f * announced, both (K,).

    Raises:
        RuntimeError: there is none.
    """
    largest = announced.abs().argmax(keepdim=True)
    scale = announced.gather(0, largest)
    factor = torch.where(scale == 0, 0.0, incoming.gather(0, largest) / scale).squeeze(0)
    expected = factor * announced
    agree = ((incoming - expected).abs() <= _TOLERANCE * expected.abs()).all()
    message = (
        "linear_losses was told coefficients that its sums were not multiplied with: pass the "
        "factors of the sums in the total loss (up to a common one), or none"
    )
    if incoming.device.type != "cpu":
        torch._assert_async(agree, message)
    elif not agree:
        raise RuntimeError(f"{message}. Told: {announced.tolist()}; found: {incoming.tolist()}.")
    return factor


def _check(
    losses: Sequence[RowLoss],
    student: Head,
    teacher: TeacherSignal | None,
    targets: Tensor | None,
    coefficients: Sequence[float | Tensor] | None,
    weights: Tensor | None,
) -> None:
    """Raises ValueError for what cannot be computed."""
    if not losses:
        raise ValueError("linear_losses was given no loss.")
    for loss in losses:
        if loss.needs_teacher and teacher is None:
            raise ValueError(f"{loss} compares with a teacher, and no teacher head was given.")
        if loss.needs_targets and targets is None:
            raise ValueError(f"{loss} reads targets, and none were given.")
    count, vocabulary = len(student.rows), student.vocabulary
    for head in () if teacher is None else teacher.heads:
        if (len(head.rows), head.vocabulary) != (count, vocabulary):
            raise ValueError(
                f"Teacher logits would be {len(head.rows)} x {head.vocabulary} (rows x "
                f"vocabulary), the student's {count} x {vocabulary}: they are compared entry by "
                "entry."
            )
    if isinstance(teacher, TopK) and not (
        teacher.ids.shape == teacher.log_probabilities.shape and len(teacher.ids) == count
    ):
        raise ValueError(
            f"Likeliest tokens of shape {tuple(teacher.ids.shape)} and their log-probabilities of "
            f"shape {tuple(teacher.log_probabilities.shape)} for {count} rows."
        )
    for name, tensor in (("Targets", targets), ("Weights", weights)):
        if tensor is not None and tensor.shape != (count,):
            raise ValueError(f"{name} of shape {tuple(tensor.shape)} for {count} rows.")
    if coefficients is not None and len(coefficients) != len(losses):
        raise ValueError(f"{len(coefficients)} coefficients for {len(losses)} losses.")
