"""YAML files as nodes that know their lines, within bounds: small ones can stand for huge ones."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

import yaml

from lit_distill.errors import UserError

CLASS_KEYS = ("class_path", "init_args", "dict_kwargs")
DEEPEST = 50
"""Levels of a config; ours have eight."""
LARGEST = 100_000
"""Values of a config with all that its aliases stand for."""


def read_yaml(path: Path) -> yaml.MappingNode:
    """The mapping in a YAML file, as nodes that know their lines; an empty file is an empty one.

    Raises:
        UserError: a syntax error, a key that stands twice, or no mapping.
    """
    try:
        node = yaml.compose(path.read_text("utf-8"), Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8 text: {error.reason} at byte {error.start}."
        ) from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise UserError(f"{path}{place}: YAML syntax: {error.problem or error.context}.") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path}: YAML syntax: {error}.") from error
    except RecursionError as error:
        raise UserError(f"{path} is nested too deeply to be a config.") from error
    if node is None:
        return yaml.MappingNode("tag:yaml.org,2002:map", [])
    if not isinstance(node, yaml.MappingNode):
        kind = "list" if isinstance(node, yaml.SequenceNode) else "single value"
        raise UserError(f"{path}: expected keys with values, found a {kind}.")
    _measure(path, node, 1, {})
    _check_keys(path, node, [])
    return node


def _measure(path: Path, node: yaml.Node, depth: int, sizes: dict[int, int]) -> int:
    """The number of values that a node stands for, aliases followed; every node is counted once.

    Raises:
        UserError: it stands for itself, for too many, or lies too deep.
    """
    place = f"{path}:{node.start_mark.line + 1}"
    if depth > DEEPEST:
        raise UserError(f"{place}: nested more than {DEEPEST} levels deep: no config is.")
    if id(node) in sizes:
        if not sizes[id(node)]:
            raise UserError(f"{place}: an alias (*name) stands for a value that contains it.")
        return sizes[id(node)]
    sizes[id(node)] = 0  # until all inside is counted
    inner = node.value if isinstance(node, yaml.CollectionNode) else []
    parts = [part for item in inner for part in (item if isinstance(item, tuple) else (item,))]
    size = 1 + sum(_measure(path, part, depth + 1, sizes) for part in parts)
    if size > LARGEST:
        raise UserError(f"{place}: its aliases (*name) stand for more than {LARGEST:,} values.")
    sizes[id(node)] = size
    return size


def _check_keys(path: Path, node: yaml.Node, above: list[str]) -> None:
    """Refuses keys that stand twice, which YAML ignores, and strangers beside `class_path`."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_keys(path, item, above)
    if not isinstance(node, yaml.MappingNode):
        return
    seen: dict[str, int] = {}
    for key, _ in node.value:
        kind = key.tag.rpartition(":")[2]
        if kind not in ("str", "merge"):
            place = f"{path}:{key.start_mark.line + 1}"
            what = (
                f"{key.value} reads as {kind}"
                if isinstance(key, yaml.ScalarNode)
                else f"this is {kind}"
            )
            raise UserError(f"{place}: a key must be a text, and {what}: put it in quotes.")
    names = [str(key.value) for key, _ in node.value]
    for key, value in node.value:
        name, line = str(key.value), key.start_mark.line + 1
        where = f"{path}:{line}: {'.'.join([*above, name])}"
        if name in seen:
            raise UserError(f"{where}: this key stands on line {seen[name]} already.")
        if "class_path" in names and name not in CLASS_KEYS:
            close = get_close_matches(name, CLASS_KEYS, 1)
            hint = f"did you mean {close[0]!r}?" if close else "options of the class go there."
            raise UserError(f"{where}: beside class_path there can only be init_args; {hint}")
        seen[name] = line
        _check_keys(path, value, [*above, name])
