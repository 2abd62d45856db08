"""The header of a model card: read as a hub reads it, changed without touching the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import yaml
from huggingface_hub.repocard import REGEX_YAML_BLOCK

from callbacks.saving.model_card import header_line
from lit_distill.errors import UserError

INDEX = "model-index"


def header_of(card: str, called: str) -> dict[str, Any]:
    """What the header of a card says; nothing where it has none.

    Args:
        card: its text.
        called: its file, for the message.

    Raises:
        UserError: it is no YAML, or no mapping.
    """
    match = REGEX_YAML_BLOCK.match(card)
    try:
        found = yaml.safe_load(match[2]) if match else None
    except yaml.YAMLError as error:
        raise UserError(
            f"The header of {called} cannot be read: {' '.join(str(error).split())}."
        ) from error
    if found is not None and not isinstance(found, dict):
        raise UserError(f"The header of {called} is no mapping of names to values.")
    return found or {}


def with_results(
    card: str,
    name: str,
    results: Sequence[dict[str, Any]],
    earlier: Callable[[Any], bool],
    called: str,
) -> str:
    """A card whose header has some results; everything else in it stays as it is, byte for byte.

    Args:
        card: its text.
        name: of the model, where the header names none.
        results: of the model, as a header lists them.
        earlier: tells a result that these take the place of.
        called: the card's file, for messages.

    Raises:
        UserError: the header cannot be read.
    """
    header = header_of(card, called)
    index = header.get(INDEX)
    known = [*index] if isinstance(index, list) else []
    first = known[0] if known and isinstance(known[0], dict) else {"name": name}
    before = first.get("results")
    kept = [one for one in before if not earlier(one)] if isinstance(before, list) else []
    own = [{**first, "results": [*kept, *results]}, *known[1:]]
    line = header_line(INDEX, own)
    match = REGEX_YAML_BLOCK.match(card)
    if not match:
        return f"---\n{line}\n---\n\n{card}"
    start, text = match.start(2), match[2]
    begin, end = _place(text)
    if begin is None:
        changed = f"{text}\n{line}" if text.strip() else line
    else:
        changed = f"{text[:begin]}{line}{text[end:]}"
    return f"{card[:start]}{changed}{card[start + len(text) :]}"


def _place(header: str) -> tuple[int | None, int]:
    """Where the results stand in a header; None where they do not."""
    node = yaml.compose(header, yaml.SafeLoader)
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        if key.value == INDEX:
            return key.start_mark.index, _end(value)
    return None, 0


def _end(node: yaml.Node) -> int:
    """Where a value ends; a block's own end lies behind comments that follow it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)
