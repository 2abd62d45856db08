"""Files of runs, read as what anybody may have written: nothing in them is trusted or needed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

LARGEST = 64 * 2**20
"""Bytes of a file that is read."""
MOST_VALUES = 4000
"""Of a configuration: aliases of YAML make much of little."""


def json_of(path: Path, problems: list[str]) -> dict[str, Any]:
    """An object of a JSON file; empty where there is none.

    Args:
        path: of the file.
        problems: gets a sentence, if it is there and cannot be read.
    """
    return _mapping(path, problems, json.loads, "JSON object")


def yaml_of(path: Path, problems: list[str]) -> dict[str, Any]:
    """A mapping of a YAML file, of plain values only; empty where there is none.

    Args:
        path: of the file.
        problems: gets a sentence, if it is there and cannot be read.
    """
    return _mapping(path, problems, yaml.safe_load, "YAML mapping")


def _mapping(
    path: Path, problems: list[str], read: Callable[[str], Any], what: str
) -> dict[str, Any]:
    text = text_of(path, problems)
    if text is None:
        return {}
    try:
        found = read(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        problems.append(f"{path.name} is damaged: it holds no {what}.")
        return {}
    return found


def text_of(path: Path, problems: list[str]) -> str | None:
    """The text of a file; None where there is none.

    Args:
        path: of the file.
        problems: gets a sentence, if it is there and cannot be read.
    """
    try:
        if not path.is_file():
            return None
        if path.stat().st_size > LARGEST:
            problems.append(f"{path.name} is left out: it is larger than {LARGEST >> 20} MiB.")
            return None
        return path.read_text("utf-8")
    except (OSError, ValueError) as error:
        problems.append(f"{path.name} could not be read: {error}")
        return None


def inside(content: Any, *path: str) -> dict[str, Any]:
    """The mapping at a path of mappings; an empty one where it is missing or something else."""
    for name in path:
        content = content.get(name) if isinstance(content, dict) else None
    return content if isinstance(content, dict) else {}


def named(content: Any, *path: str) -> str:
    """The text at a path of mappings, or the number; "" where it is missing or something else."""
    *above, last = path
    value = inside(content, *above).get(last)
    return str(value) if isinstance(value, str | int | float) else ""


def class_name(content: Any) -> str:
    """The bare name of the class that a part of a configuration names."""
    return named(content, "class_path").rpartition(".")[2]


def leaves(content: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """The values of a configuration by dotted path, `init_args` left out; some thousands at most.

    Args:
        content: of `yaml_of`.
        above: the path so far.
    """
    yield from (pair for _, pair in zip(range(MOST_VALUES), _leaves(content, above), strict=False))


def _leaves(content: Any, above: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    if len(above) > 40:
        return
    if isinstance(content, dict):
        for name, value in content.items():
            path = above if name == "init_args" else (*above, str(name))
            yield from _leaves(value, path)
    elif isinstance(content, list):
        for number, value in enumerate(content):
            yield from _leaves(value, (*above, str(number)))
    elif content is not None:
        yield ".".join(above), str(content)
