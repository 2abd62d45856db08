"""A teacher's weights in fewer dimensions.

A cut says what is left of a width: numbers of the dimensions that stay, or a matrix whose columns
are the directions that stay, on which a stream is projected.

With a matrix V (D, d) of orthonormal columns the student's stream is y = V^T x. What writes into
the stream is multiplied by V^T, what reads from it by V, so that a norm's gain, which belongs to
single dimensions, has to move first: W norm(x; g, b) = (W diag(g)) norm(x; 1, 0) + W b. That is
SliceGPT's argument (Ashkboos et al., 2024, https://arxiv.org/abs/2401.15024), and holds where norms
stand before blocks. Two steps are ours, so that the plain class of Transformers can hold the
result. A norm over fewer dimensions gets the gain sqrt(D / d), with which rows are as long as
before. A LayerNorm, which takes off the mean, reads a stream whose V has columns and rows that sum
to 0: the stream's mean is then 0 and nothing is taken off; in the one dimension that this costs,
the norm's bias is 1 everywhere, and its readers hold W b there.

Shapes: D the teacher's hidden size, d the student's, H width of all heads, F feed-forward width.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lit_distill.models.architectures.anatomy import Anatomy
from lit_distill.models.architectures.widths import Widths
from lit_distill.models.students.narrowing.directions import principal_directions
from lit_distill.models.students.narrowing.shape import Shape


@dataclass(frozen=True)
class Narrowing:
    """How weights become narrower.

    Attributes:
        anatomy: of the model.
        widths: of its weights.
        old: its shape.
        new: the shape wanted.
        how: what stays of the stream: its first dimensions ("slice"), or the principal directions
            of the embeddings ("svd").
        feed_forward: which of a block's neurons stay: evenly spaced ones ("even"), or those that
            write most ("norm").
    """

    anatomy: Anatomy
    widths: Widths
    old: Shape
    new: Shape
    how: Literal["slice", "svd"]
    feed_forward: Literal["even", "norm"]

    def apply(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights (not copies, where nothing changes) of the narrower model.

        Args:
            weights: a state dict of the old shape, by the names of the model's class.
        """
        stream = torch.arange(self.new.hidden)
        if self.how == "svd":
            centred = any(name.endswith(f"{self.widths.final}.bias") for name in weights)
            table = weights[f"{self.anatomy.embeddings_path}.weight"]
            stream = stream_directions(table, self.new.hidden, centred)
        cuts = {"S": stream, **self._heads()}
        return {name: self._narrowed(name, weights, cuts) for name in weights}

    def _heads(self) -> dict[str, Tensor]:
        """Evenly spaced groups, each with the heads that share it."""
        kept = _even(self.new.groups, self.old.groups)
        heads = _blocks(kept, self.old.shared)
        return {"G": _blocks(kept, self.old.head), "H": _blocks(heads, self.old.head)}

    def _narrowed(
        self, name: str, weights: Mapping[str, Tensor], cuts: Mapping[str, Tensor]
    ) -> Tensor:
        value, axes = weights[name], self.widths.axes(name)
        cuts = {**cuts, "F": self._neurons(name, weights)}
        if self.how == "svd":
            if axes == ("S",) and self._is_norm(name):
                return self._plain_norm(name, value)
            if (norm := self._norm_read_by(name)) is not None:
                cuts["S"] = _with_norm(cuts["S"], weights, norm)
        for dim, axis in enumerate(axes):
            if axis != ".":
                parts = value.chunk(len(axis), dim)
                value = torch.cat([_cut(part, dim, cuts[axis[0]]) for part in parts], dim)
        return value

    def _neurons(self, name: str, weights: Mapping[str, Tensor]) -> Tensor:
        """Which neurons stay of the feed-forward block that a weight belongs to."""
        layer = self._layer_of(name)
        if self.feed_forward == "even" or layer is None:
            return _even(self.new.feed_forward, self.old.feed_forward)
        writer = f"{layer}{self.widths.writes}.weight"
        neurons = self.widths.axes(writer).index("F")
        norms = torch.linalg.vector_norm(weights[writer].double(), dim=1 - neurons)
        strongest: Tensor = norms.topk(self.new.feed_forward).indices.sort().values
        return strongest

    def _layer_of(self, name: str) -> str | None:
        """The beginning of the names of a layer's weights, up to its number and a dot."""
        found = re.match(rf"{re.escape(self.anatomy.layers_path)}\.\d+\.", name)
        return found[0] if found else None

    def _is_norm(self, name: str) -> bool:
        """Whether a weight is a norm's of the stream, and not the bias of what writes into it."""
        module = name.rpartition(".")[0].rpartition(".")[2]
        return module in self.widths.reads or module == self.widths.final

    def _plain_norm(self, name: str, value: Tensor) -> Tensor:
        """A gain that keeps rows as long as they were, or the bias through which readers hear b."""
        gain = (self.old.hidden / self.new.hidden) ** 0.5 if name.endswith("weight") else 1.0
        return value.new_full((self.new.hidden,), gain, dtype=torch.float64)

    def _norm_read_by(self, name: str) -> str | None:
        """The norm whose output a weight multiplies, if any."""
        layer, module = self._layer_of(name), name.removesuffix(".weight")
        if module == self.anatomy.lm_head_path:
            body = self.anatomy.layers_path.rpartition(".")[0]
            return f"{body}.{self.widths.final}"
        if layer is None or module == name:
            return None
        inside = module.removeprefix(layer)
        found = (norm for norm, readers in self.widths.reads.items() if inside in readers)
        return next((layer + norm for norm in found), None)


def stream_directions(table_VD: Tensor, width: int, centred: bool) -> Tensor:
    """V (D, d): the principal directions of the embeddings, onto which a stream is projected.

    Args:
        table_VD: the embeddings of the vocabulary.
        width: d.
        centred: for a LayerNorm: V's rows and columns sum to 0, and its rank is d - 1.
    """
    if not centred:
        return principal_directions(table_VD, width)
    ones = torch.full((table_VD.shape[1],), table_VD.shape[1] ** -0.5, dtype=torch.float64)
    kept_De = principal_directions(table_VD, width - 1, without_D=ones)
    directions_Dd: Tensor = kept_De @ _orthogonal_to_ones(width).T
    return directions_Dd


def _orthogonal_to_ones(width: int) -> Tensor:
    """An orthonormal basis (d, d - 1) of what sums to 0, by a reflection of the first axis."""
    mirror = torch.full((width,), width**-0.5, dtype=torch.float64)
    mirror[0] -= 1
    mirror /= mirror.norm()
    whole = torch.eye(width, dtype=torch.float64) - 2 * torch.outer(mirror, mirror)
    return whole[:, 1:]


def _with_norm(stream_Dd: Tensor, weights: Mapping[str, Tensor], norm: str) -> Tensor:
    """diag(g) V + b 1^T / d: what a reader of a norm is multiplied by."""
    read = weights[f"{norm}.weight"].double()[:, None] * stream_Dd.to(
        weights[f"{norm}.weight"].device
    )
    bias = weights.get(f"{norm}.bias")
    return read if bias is None else read + bias.double()[:, None] / stream_Dd.shape[1]


def _cut(value: Tensor, dim: int, cut: Tensor) -> Tensor:
    """A weight with fewer dimensions along one axis."""
    cut = cut.to(value.device)
    if not cut.is_floating_point():
        return value.index_select(dim, cut)
    projected: Tensor = torch.tensordot(value.double(), cut, dims=([dim], [0]))
    return projected.movedim(-1, dim)


def _even(keep: int, count: int) -> Tensor:
    """Evenly spaced numbers from 0."""
    return torch.arange(keep) * count // keep


def _blocks(numbers: Tensor, width: int) -> Tensor:
    """The numbers of all dimensions of blocks of one width."""
    return (numbers[:, None] * width + torch.arange(width)).flatten()
