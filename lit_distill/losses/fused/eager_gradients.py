"""Sums whose gradients are formed along with them, on the word of the caller.

A pass over rows of hidden states makes sums and, while the logits are there, the gradients of
their weighted total. Autograd asks for these later; here they wait, and the weights that it then
brings are held against those that were announced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor

from lit_distill.losses.fused.head import Head

TILE_BYTES = 96 * 2**20
"""Memory of all tiles together: within 5 % of the fastest at V = 30,522 and V = 119,547, width 256,
on a CPU with 32 MiB of cache; half of it costs 7 % at the larger vocabulary, a sixth 65 %."""

_TOLERANCE = 1e-4
"""Relative difference between announced and incoming coefficients that rounding may explain."""


class Pass(Protocol):
    """One pass over rows, for one or several heads that learn.

    Attributes:
        autocast: the dtype of products under autocast, or None.
    """

    @property
    def autocast(self) -> torch.dtype | None: ...  # noqa: D102

    def precision(self, heads: Sequence[Head]) -> torch.dtype:
        """The dtype of softmaxes, sums and accumulated gradients: at least float32."""
        ...

    def run(
        self, heads: Sequence[Head], scales: Tensor | None, wanted: Sequence[bool]
    ) -> tuple[Tensor, list[Tensor | None]]:
        """Makes the pass.

        Args:
            heads: as the caller gave them.
            scales: (K,) factors of the sums in the gradients; None for values only.
            wanted: of rows, weight and bias of every head in turn, which get a gradient.

        Returns:
            The sums (K,), and the gradients of their scaled sum, as `wanted` lists them.
        """
        ...


def autocast_dtype(device: str) -> torch.dtype | None:
    """The dtype of products under autocast; None where it is off."""
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None


def sums_of(
    made: Pass, heads: Sequence[Head], coefficients: Sequence[float | Tensor] | None
) -> tuple[Tensor, ...]:
    """The sums (K scalars) of a pass, differentiable once with respect to the heads' tensors.

    Args:
        made: the pass.
        heads: what requires a gradient gets one.
        coefficients: see `linear_losses`.
    """
    tensors = [t for head in heads for t in (head.rows, head.weight, head.bias)]
    wanted = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
    with torch.autocast(heads[0].rows.device.type, enabled=False):
        if not wanted:
            return made.run(heads, None, [False] * len(tensors))[0].unbind()
        announced = None if coefficients is None else _stack_coefficients(coefficients, made, heads)
        return EagerGradients.apply(made, announced, heads, *tensors).unbind()  # type: ignore[no-any-return,no-untyped-call]


class EagerGradients(torch.autograd.Function):
    """(rows, weight, bias) of each head -> sums (K,); all else is constant."""

    @staticmethod
    def forward(
        ctx: Any,
        made: Pass,
        announced: Tensor | None,
        heads: Sequence[Head],
        *tensors: Tensor | None,
    ) -> Tensor:
        """Makes the pass; see `sums_of`."""
        wanted = ctx.needs_input_grad[3:]
        ctx.announced = announced
        if announced is None:
            # without their tensors, which autograd keeps
            ctx.made, ctx.heads = made, [(head.cap, head.size) for head in heads]
            ctx.save_for_backward(*tensors)
            return made.run(_with(heads, tensors), None, wanted)[0]
        sums, ctx.gradients = made.run(_with(heads, tensors), announced, wanted)
        return sums

    @staticmethod
    def backward(ctx: Any, incoming: Tensor) -> tuple[Tensor | None, ...]:
        """Hands out what `forward` made, or makes the pass again."""
        if torch.is_grad_enabled():
            raise RuntimeError("linear_losses is differentiable once: create_graph cannot work.")
        if ctx.announced is None:
            tensors = ctx.saved_tensors
            heads = [Head(*tensors[3 * k : 3 * k + 3], *rest) for k, rest in enumerate(ctx.heads)]
            wanted = ctx.needs_input_grad[3:]
            with torch.autocast(incoming.device.type, enabled=False):
                return None, None, None, *ctx.made.run(heads, incoming, wanted)[1]
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


def _with(heads: Sequence[Head], tensors: Sequence[Any]) -> list[Head]:
    """The heads with other tensors: rows, weight and bias of each in turn."""
    parts = zip(heads, tensors[::3], tensors[1::3], tensors[2::3], strict=True)
    return [replace(h, rows=rows, weight=weight, bias=bias) for h, rows, weight, bias in parts]


def _stack_coefficients(
    coefficients: Sequence[float | Tensor], made: Pass, heads: Sequence[Head]
) -> Tensor:
    """The coefficients (K,) as a tensor in the precision of the sums."""
    like = heads[0].rows.new_empty((), dtype=made.precision(heads))
    announced = torch.stack(
        [
            c.detach().to(like).reshape(()) if isinstance(c, Tensor) else torch.full_like(like, c)
            for c in coefficients
        ]
    )
    if torch.float16 in (made.autocast, *(head.weight.dtype for head in heads)):
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
