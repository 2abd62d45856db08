"""Autograd around a pass: gradients formed in the forward pass, or by a second pass in `backward`.

A pass makes values and, while the logits are there, the gradients of their weighted total. Autograd
brings the weights only later. A caller who knows them beforehand announces them: the gradients are
made along with the values and wait, and `backward` holds what autograd brings against what was
announced. Without an announcement `backward` makes the pass again.

Shapes: N rows, S losses of all models together. Values are (S,), summed, or (S, N), per row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lit_distill.losses.fused.checks import check
from lit_distill.losses.fused.head import Head, by_head, flatten
from lit_distill.losses.fused.row_pass import RowPass

_TOLERANCE = 1e-4
"""Relative difference between announced and incoming coefficients that rounding may explain."""


def autocast_dtype(device: str) -> torch.dtype | None:
    """The dtype of products under autocast; None where it is off."""
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None


def differentiable(
    row_pass: RowPass, heads: Sequence[Head], coefficients: Sequence[float | Tensor] | None
) -> tuple[Tensor, ...]:
    """S values of a pass, each () or (N,), differentiable once in the heads' tensors.

    Args:
        row_pass: the pass.
        heads: what requires a gradient gets one.
        coefficients: see `linear_losses` and `row_losses`.

    Raises:
        ValueError: see `check`.
    """
    check(row_pass, heads, coefficients)
    tensors = flatten(head.parts for head in heads)
    wanted = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
    with torch.autocast(heads[0].rows.device.type, enabled=False):
        if not wanted:
            return row_pass.run(heads)[0].unbind()
        announced = None
        if coefficients is not None:
            announced = _stack_coefficients(coefficients, row_pass, heads)
        call = _Call(row_pass, heads, announced)
        return EagerGradients.apply(call, *tensors).unbind()  # type: ignore[no-any-return,no-untyped-call]


@dataclass(frozen=True)
class _Call:
    """What `EagerGradients` reads beside the tensors that autograd knows.

    Attributes:
        heads: the same tensors in their places, and caps and sizes.
        announced: what the values are going to be multiplied with, if the caller has said so.
    """

    row_pass: RowPass
    heads: Sequence[Head]
    announced: Tensor | None


class EagerGradients(torch.autograd.Function):
    """A `_Call` and (rows, weight, bias) of each head -> values; only the tensors get gradients."""

    @staticmethod
    def forward(ctx: Any, call: _Call, *tensors: Tensor | None) -> Tensor:
        """Makes the pass; see `differentiable`."""
        ctx.announced = call.announced
        if call.announced is None:
            ctx.save_for_backward(*tensors)
            # The heads without their tensors, which autograd keeps.
            ctx.row_pass, ctx.caps_and_sizes = call.row_pass, [(h.cap, h.size) for h in call.heads]
            return call.row_pass.run(call.heads)[0]
        wanted = by_head(ctx.needs_input_grad[1:])
        values, gradients = call.row_pass.run(call.heads, call.announced, wanted)
        ctx.gradients = flatten(gradients)
        return values

    @staticmethod
    def backward(ctx: Any, incoming: Tensor) -> tuple[Tensor | None, ...]:
        """Hands out what `forward` made, or makes the pass again."""
        if torch.is_grad_enabled():
            raise RuntimeError("Losses of logits are differentiable once: no create_graph.")
        if ctx.announced is None:
            return None, *_second_pass(ctx, incoming)
        if ctx.gradients is None:
            raise RuntimeError(
                "Losses of logits with coefficients hand out their gradients once, and backward "
                "ran already: leave the coefficients out to run it again."
            )
        gradients, ctx.gradients = ctx.gradients, None
        factor = _common_factor(incoming, ctx.announced)
        if factor.device.type != "cpu" or factor.item() != 1:
            for gradient in gradients:
                if gradient is not None:
                    gradient.mul_(factor)  # in place: the weight's gradient may be a large one
        return None, *gradients


def _second_pass(ctx: Any, incoming: Tensor) -> tuple[Tensor | None, ...]:
    """The gradients, made by another pass over the same heads now that the weights are known."""
    parts = zip(by_head(ctx.saved_tensors), ctx.caps_and_sizes, strict=True)
    heads = [Head(*tensors, cap, size) for tensors, (cap, size) in parts]
    with torch.autocast(incoming.device.type, enabled=False):
        _, gradients = ctx.row_pass.run(heads, incoming, by_head(ctx.needs_input_grad[1:]))
    return flatten(gradients)


def _stack_coefficients(
    coefficients: Sequence[float | Tensor], row_pass: RowPass, heads: Sequence[Head]
) -> Tensor:
    """The coefficients in the shape of the values, (S,) or (S, N), and in their precision."""
    like = heads[0].rows.new_empty((), dtype=row_pass.precision(heads))
    if row_pass.per_row:
        like = like.expand(len(heads[0].rows))
    announced = torch.stack([_coefficient(each, like) for each in coefficients])
    if torch.float16 in (row_pass.autocast, *(head.weight.dtype for head in heads)):
        # Products read the gradient of the logits in float16: 5 / N of it would underflow.
        return announced / announced.abs().amax().clamp(min=torch.finfo(like.dtype).tiny)
    return announced


def _coefficient(given: float | Tensor, like: Tensor) -> Tensor:
    """A coefficient as a tensor like another, () or (N,)."""
    if not isinstance(given, Tensor):
        return torch.full_like(like, given)
    given = given.detach().to(like)
    return given.expand_as(like) if like.dim() else given.reshape(())


def _common_factor(incoming: Tensor, announced: Tensor) -> Tensor:
    """The factor f with incoming = f * announced, both of one shape.

    Raises:
        RuntimeError: there is none.
    """
    incoming, announced = incoming.flatten(), announced.flatten()
    if not len(announced):  # values of no rows
        return announced.new_ones(())
    largest = announced.abs().argmax(keepdim=True)
    scale = announced.gather(0, largest)
    factor = torch.where(scale == 0, 0.0, incoming.gather(0, largest) / scale).squeeze(0)
    expected = factor * announced
    agree = (incoming - expected).abs() <= _TOLERANCE * expected.abs()
    message = (
        "Losses of logits were told coefficients that their values were not multiplied with: give "
        "the factors of the values in the total loss (up to a common one), or none"
    )
    if incoming.device.type != "cpu":
        torch._assert_async(agree.all(), message)
    elif not agree.all():
        told, found = (each[~agree][:4].tolist() for each in (announced, incoming))
        raise RuntimeError(f"{message}. Told: {told}; found: {found}.")
    return factor
