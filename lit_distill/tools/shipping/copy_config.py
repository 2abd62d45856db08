"""A shipped config as a file of the user's, which includes the rest of the package's by name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import yaml

from lit_distill.cli.parsing.yaml_nodes import read_yaml
from lit_distill.errors import UserError
from lit_distill.files.shipped_configs import folder, named, shipped


def copy_config(name: str, output: str | None = None) -> None:
    """Writes a config that comes with the package to a file, to be changed.

    What it includes, and the configs of a recipe's stages, are named as the package's own, so that
    the file works wherever it lies.

    Args:
        name: as `configs` lists it.
        output: the file; None: its own name, in the current folder.

    Raises:
        UserError: there is no such config, or the file is there already.
    """
    found = named(name)
    if found is None:
        raise UserError(f"there is no config {name!r} in the package: `configs` lists them.")
    folder_name, _, stem = found.rpartition("/")
    own = folder_name if stem == "recipe" else stem
    target = Path(output or f"{own}.yaml")
    if target.exists():
        raise UserError(f"{target} is there already, and is kept: give another --output.")
    text = with_names(shipped()[found])
    try:
        with target.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except OSError as error:
        raise UserError(f"{target} cannot be written: {error.strerror}.") from error
    how = "run" if "stages" in {key.value for key, _ in read_yaml(target).value} else "fit -c"
    print(f"{target} (python -m lit_distill {how} {target})")


def with_names(path: Path) -> str:
    """The text of a shipped config in which others stand by name, comments kept."""
    text = path.read_text("utf-8")
    places = {node.start_mark.index: node for node in _files(read_yaml(path))}  # aliases once
    for start, node in sorted(places.items(), reverse=True):
        other = Path(os.path.normpath(path.parent / node.value))
        if other.is_relative_to(folder()):  # it may have a variable in its name
            name = other.relative_to(folder()).as_posix()
            quote = node.style or ""  # as it was: a name with a variable needs it in a flow list
            text = text[:start] + quote + name + quote + text[node.end_mark.index :]
    return text


def _files(node: yaml.MappingNode) -> Iterator[yaml.ScalarNode]:
    """What a config includes, and the configs of the stages of a recipe."""
    for key, value in node.value:
        if key.value == "include":
            yield from _scalars(value)
        elif key.value == "stages":
            for _, stage in value.value:
                for option, inner in stage.value:
                    if option.value == "config":
                        yield from _scalars(inner)


def _scalars(node: yaml.Node) -> list[yaml.ScalarNode]:
    items = node.value if isinstance(node, yaml.SequenceNode) else [node]
    return [item for item in items if isinstance(item, yaml.ScalarNode)]
