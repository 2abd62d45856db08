"""Several students with one body: the same modules, and so one set of parameters."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from lit_distill.errors import UserError
from lit_distill.models.body.language_model import LanguageModel


def share_body(models: Mapping[str, LanguageModel]) -> None:
    """Gives all students the body of the first one, in place; heads stay their own.

    A pooler, and whatever else of the base model the anatomy calls a head's, is the head's. Bodies
    have to be equal before, to the last bit: which one is kept then makes no difference.

    Args:
        models: by name, for the message; of one architecture, their heads may differ.

    Raises:
        UserError: two bodies are not the same.
    """
    (first, kept), *others = models.items()
    organs = _organs(kept)
    for name, model in others:
        own = _organs(model)
        differing = organs.keys() ^ own.keys() or {n for n in own if _differ(organs[n], own[n])}
        if differing:
            raise UserError(
                f"The students {first} and {name} are to have one body, and start from two, which "
                f"differ in {', '.join(sorted(differing))}: start both from one checkpoint "
                "(PretrainedStudent of one name), and freeze the same of both."
            )
        for organ, module in organs.items():
            setattr(model.model.base_model, organ, module)


def _organs(model: LanguageModel) -> dict[str, nn.Module]:
    """The parts of a body by name, but those that belong to the head."""
    base, prefix = model.model.base_model, f"{model.model.base_model_prefix}."
    heads = model.anatomy.head_prefixes
    return {
        name: module
        for name, module in base.named_children()
        if not f"{prefix}{name}.".startswith(heads)
    }


def _differ(one: nn.Module, other: nn.Module) -> bool:
    """Whether weights, or which of them train, are not the same."""
    ours, theirs = one.state_dict(keep_vars=True), other.state_dict(keep_vars=True)
    return ours.keys() != theirs.keys() or any(
        own.requires_grad != theirs[name].requires_grad or not torch.equal(own, theirs[name])
        for name, own in ours.items()
    )
