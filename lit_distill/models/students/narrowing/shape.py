"""Sizes of a narrower copy, and what of them cannot be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from transformers import PretrainedConfig

from lit_distill.errors import UserError
from lit_distill.models.architectures.anatomy import Anatomy
from lit_distill.models.architectures.widths import Widths


@dataclass(frozen=True)
class Shape:
    """The widths of a model.

    Attributes:
        hidden: of the residual stream.
        heads: how many queries have.
        groups: how many keys and values have; as many, where queries do not share them.
        head: the width of one head.
        feed_forward: of the feed-forward blocks.
    """

    hidden: int
    heads: int
    groups: int
    head: int
    feed_forward: int

    @property
    def shared(self) -> int:
        """How many heads of queries share keys and values."""
        return self.heads // self.groups


def shape_of(config: PretrainedConfig, anatomy: Anatomy) -> Shape:
    """The widths that a config has."""
    heads = int(config.num_attention_heads)
    hidden = int(config.hidden_size)
    groups = getattr(config, "num_key_value_heads", None)  # only configs that know of groups
    head = getattr(config, "head_dim", None)
    feed_forward = getattr(config, anatomy.intermediate_sizes[0])
    return Shape(
        hidden=hidden,
        heads=heads,
        groups=int(groups or heads),
        head=int(head or hidden // heads),
        feed_forward=int(feed_forward or 4 * hidden),  # GPT-2's own
    )


def narrower(
    old: Shape, widths: Widths, hidden: int, heads: int | None, feed_forward: int | None
) -> Shape:
    """The widths of a copy: heads keep their width, groups their number of heads.

    Args:
        old: of the teacher.
        widths: of its family.
        hidden: wanted.
        heads: wanted; None: as the hidden size.
        feed_forward: wanted; None: as the hidden size.

    Raises:
        UserError: something would grow, or would not be whole.
    """
    if hidden > old.hidden:
        raise UserError(
            f"hidden_size={hidden}: the teacher has {old.hidden}, and a narrower copy has at most "
            "that. FreshStudent is as wide as you like."
        )
    heads = _heads(old, widths, hidden, heads)
    if heads % old.shared:
        raise UserError(
            f"num_heads={heads}: {old.shared} of the teacher's {old.heads} heads of queries share "
            f"each of its {old.groups} of keys and values, and stay together: use a multiple of "
            f"{old.shared}."
        )
    if feed_forward is None:
        feed_forward, rest = divmod(old.feed_forward * hidden, old.hidden)
        if rest:
            raise UserError(
                f"intermediate_size {old.feed_forward} does not scale with hidden_size "
                f"{old.hidden} -> {hidden} to a whole number: give intermediate_size as well."
            )
    if feed_forward > old.feed_forward:
        raise UserError(
            f"intermediate_size={feed_forward}: the teacher has {old.feed_forward}, and a narrower "
            "copy has at most that."
        )
    return Shape(hidden, heads, heads // old.shared, old.head, feed_forward)


def _heads(old: Shape, widths: Widths, hidden: int, heads: int | None) -> int:
    if heads is None:
        heads, rest = divmod(old.heads * hidden, old.hidden)
        if rest:
            step = old.hidden // old.heads
            free = " or give num_heads as well" if widths.free_heads else ""
            raise UserError(
                f"hidden_size={hidden} is not divisible by {step}, the teacher's hidden size for "
                f"each of its {old.heads} heads, which keep their width: use a multiple of {step}"
                f"{free}."
            )
    if heads > old.heads:
        raise UserError(
            f"num_heads={heads}: the teacher has {old.heads}, and a narrower copy has at most that."
        )
    if not widths.free_heads and heads * old.head != hidden:
        raise UserError(
            f"num_heads={heads} of width {old.head} are {heads * old.head} wide and hidden_size "
            f"is {hidden}: in this architecture both are one, so leave num_heads out."
        )
    return heads


def narrow_config(config: PretrainedConfig, anatomy: Anatomy, new: Shape) -> PretrainedConfig:
    """A config of other widths and otherwise the same.

    Raises:
        UserError: its class refuses them.
    """
    values, aliases = config.to_dict(), type(config).attribute_map
    changes: dict[str, Any] = {
        "hidden_size": new.hidden,
        "num_attention_heads": new.heads,
        anatomy.intermediate_sizes[0]: new.feed_forward,
    }
    if values.get("num_key_value_heads"):
        changes["num_key_value_heads"] = new.groups
    if values.get("head_dim") or new.heads * new.head != new.hidden:
        changes["head_dim"] = new.head
    if values.get("n_inner", 0) is None and new.feed_forward == 4 * new.hidden:
        del changes["n_inner"]  # it follows by itself
    values |= {aliases.get(key, key): value for key, value in changes.items()}
    try:
        return type(config).from_dict(values)
    except Exception as error:  # Hugging Face validates some sizes
        reason = str(error).splitlines()[-1].strip()
        raise UserError(f"The narrower {config.model_type} cannot be used: {reason}") from error
