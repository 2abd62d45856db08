"""Which of a student's parameters a method trains, and what the others hold.

A parameter that a loss does not reach has to be frozen before any wrapper sees it: distributed
training waits for its gradient.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from lit_distill.batch import Batch
from lit_distill.errors import UserError
from lit_distill.models.body.language_model import LanguageModel


def freeze_without_gradient(model: LanguageModel, tensors: Iterable[Tensor]) -> list[str]:
    """Freezes every parameter that no loss on these tensors can give a gradient.

    Args:
        model: whose parameters.
        tensors: computed from them, with their graph.

    Returns:
        The names of the frozen ones (in `model.model`).
    """
    reached = reached_by(tensors)
    frozen = []
    for name, parameter in model.model.named_parameters():
        if parameter.requires_grad and parameter not in reached:
            parameter.requires_grad_(False)
            frozen.append(name)
    return frozen


def reached_by(tensors: Iterable[Tensor]) -> set[nn.Parameter]:
    """The leaves of the graph behind tensors: what they give a gradient."""
    nodes: list[Any] = [tensor.grad_fn for tensor in tensors]
    seen, leaves = set(nodes), set()
    while nodes:
        node = nodes.pop()
        leaf = getattr(node, "variable", None)  # only nodes that accumulate into a leaf have it
        if leaf is not None:
            leaves.add(leaf)
        for below, _ in getattr(node, "next_functions", ()):  # None above what needs no gradient
            if below is not None and below not in seen:
                seen.add(below)
                nodes.append(below)
    return leaves


def freeze_named(model: LanguageModel, patterns: Sequence[str]) -> None:
    """Freezes the parameters that patterns name; one that is tied is frozen by either name.

    Args:
        model: changed.
        patterns: of `fnmatch`, each for names of parameters or of whole modules, with or without
            the prefix of the model without its head ("bert."): "embeddings", "encoder.layer.[0-3]",
            "*.LayerNorm.*".

    Raises:
        UserError: a pattern names nothing.
    """
    prefix = model.model.base_model_prefix
    named = dict(model.model.named_parameters(remove_duplicate=False))
    names = {name: list(names_of(name, prefix)) for name in named}
    for pattern in patterns:
        found = [n for n, own in names.items() if any(fnmatchcase(one, pattern) for one in own)]
        if not found:
            known = dict.fromkeys(one for own in names.values() for one in own)
            raise UserError(
                f"freeze: {type(model.model).__name__} has no parameters {pattern!r}: "
                f"{name_hint(pattern, known, dict.fromkeys(own[0] for own in names.values()))}"
            )
        for name in found:
            named[name].requires_grad_(False)


def name_hint(pattern: str, known: Iterable[str], tops: Iterable[str]) -> str:
    """What to say of a pattern that names nothing.

    Args:
        pattern: as given.
        known: names of parameters and of the modules that hold them.
        tops: the modules that hold all.
    """
    close = ", ".join(map(repr, get_close_matches(pattern, list(known), 3, cutoff=0.5)))
    return f"did you mean {close}?" if close else f"its parts are {', '.join(tops)}."


def names_of(parameter: str, prefix: str = "") -> Iterator[str]:
    """A parameter's name and those of the modules that hold it.

    Args:
        parameter: its name in a model.
        prefix: of the model without its head; names are also given without it. Empty: there is
            none.
    """
    parts, prefix = parameter.split("."), f"{prefix}."
    for end in range(1, len(parts) + 1):
        name = ".".join(parts[:end])
        yield name
        if name.startswith(prefix):
            yield name.removeprefix(prefix)


def freeze_body(model: LanguageModel, top_layers: int = 0) -> None:
    """Leaves only the language-model head trainable, and the highest layers if asked to.

    A decoder that is tied to the embeddings is body.

    Args:
        model: changed.
        top_layers: how many of the highest layers stay trainable.

    Raises:
        UserError: there are not so many layers, or nothing is left.
    """
    count = len(model.layers)
    if not 0 <= top_layers <= count:
        raise UserError(
            f"top_layers={top_layers}: {type(model.model).__name__} has {count} layers; train the "
            f"highest 0 to {count}."
        )
    numbers = model.anatomy.layer_numbers(model.model)
    top = set(numbers[count - top_layers :])
    if shared := top & set(numbers[: count - top_layers]):
        raise UserError(
            f"top_layers={top_layers}: the layers of {type(model.model).__name__} share weights, "
            f"and those of group {min(shared)} run below as well: use top_layers=0, or {count}."
        )
    layers = (f"{model.anatomy.layers_path}.{n}." for n in sorted(top))
    kept = (*model.anatomy.head_prefixes, *layers)
    for name, parameter in model.model.named_parameters(remove_duplicate=False):
        if not name.startswith(kept):  # so a tied one is frozen by its embedding's name
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in model.model.parameters()):
        raise UserError(
            f"The head of {type(model.model).__name__} is its embedding, which belongs to the "
            "body, or was frozen before: with freeze_body nothing is left to train. Train the "
            "whole model, without `freeze` and LoRA."
        )
    ids = torch.zeros(1, 1, dtype=torch.int64, device=next(model.parameters()).device)
    hidden = model.encode(Batch(input_ids=ids, attention_mask=torch.ones_like(ids))).hidden
    freeze_without_gradient(
        model, [model.logits(hidden[0])]
    )  # an untied BERT has a bias nobody reads


def shortest_module_names(names: Iterable[str], module: nn.Module) -> list[str]:
    """The fewest names that stand for exactly these parameters: of modules where all are meant.

    Args:
        names: of parameters.
        module: where they have these names.
    """
    wanted, every = set(names), [name for name, _ in module.named_parameters()]
    chosen: dict[str, None] = {}
    for name in every:
        if name in wanted:
            parts = name.split(".")
            paths = [".".join(parts[:end]) for end in range(1, len(parts))]
            whole = (
                path
                for path in paths
                if all(other in wanted for other in every if other.startswith(f"{path}."))
            )
            chosen[next(whole, name)] = None
    return list(chosen)


@torch.no_grad()
def copy_matching_weights(
    student: LanguageModel, teacher: LanguageModel, names: Iterable[str], layers: dict[int, int]
) -> list[str]:
    """Copies the teacher's values into parameters of the same name and shape.

    Args:
        student: changed.
        teacher: not changed.
        names: of the student's parameters.
        layers: numbers (from 0) of student layers whose counterparts have other numbers, and these.

    Returns:
        The names of those that were copied.
    """
    ours, theirs = dict(student.model.named_parameters()), teacher.model.state_dict()
    here, there = (each.anatomy.layer_numbers(each.model) for each in (student, teacher))
    copied = []
    for name in names:
        source = name
        for one, other in layers.items():
            prefix = f"{student.anatomy.layers_path}.{here[one]}."
            if name.startswith(prefix):
                rest = name.removeprefix(prefix)
                source = f"{teacher.anatomy.layers_path}.{there[other]}.{rest}"
        if source in theirs and theirs[source].shape == ours[name].shape:
            ours[name].copy_(theirs[source])
            copied.append(name)
    return copied
