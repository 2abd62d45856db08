"""Config files: what they include, and where in them a key stands."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ActionConfigFile  # type: ignore[attr-defined]

from lit_distill.cli.parsing.yaml_nodes import read_yaml
from lit_distill.errors import UserError
from lit_distill.files.shipped_configs import beside

INCLUDE = "include"
LOGGER = "trainer.logger"


@dataclass(frozen=True)
class Config:
    """One YAML file as it was read.

    Attributes:
        path: as the user wrote it, or relative to the file that includes it.
        node: its mapping, without `include`; every node knows its line.
    """

    path: Path
    node: yaml.MappingNode

    @property
    def text(self) -> str:
        """The YAML without `include`; numbers and quotes are spelled as in the file."""
        return str(yaml.serialize(self.node, allow_unicode=True))

    def check_sections(self, names: Iterable[str]) -> None:
        """Refuses a section that is a single value; an empty one is as none.

        Args:
            names: top-level keys under which other keys stand.

        Raises:
            UserError: one of them has a value of its own.
        """
        for key, value in list(self.node.value):
            if key.value in names and not isinstance(value, yaml.MappingNode):
                if value.tag != "tag:yaml.org,2002:null":
                    where = f"{self.path}:{key.start_mark.line + 1}: {key.value}"
                    raise UserError(f"{where}: expected keys with values, found {value.value!r}.")
                self.node.value.remove((key, value))

    def lists(self) -> list[str]:
        """The dotted paths of all lists."""
        return list(_lists(self.node, []))

    def classes(self) -> list[str]:
        """The dotted paths of all mappings with a class_path."""
        return list(_classes(self.node, []))

    def find(self, keys: Sequence[str], value: str | None = None) -> int | None:
        """The line (from 1) of a key path.

        `init_args` and list positions may be left out of the path.

        Args:
            keys: the path.
            value: the scalar that must stand there, if that is known.
        """
        return next(_lines(self.node, list(keys), value), None)


def _lists(node: yaml.Node, above: list[str]) -> Iterator[str]:
    if isinstance(node, yaml.SequenceNode):
        yield ".".join(above)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _lists(value, [*above, key.value])


def _classes(node: yaml.Node, above: list[str]) -> Iterator[str]:
    if isinstance(node, yaml.MappingNode):
        if any(key.value == "class_path" for key, _ in node.value):
            yield ".".join(above)
        for key, value in node.value:
            yield from _classes(value, [*above, key.value])


def replacing_options(args: Sequence[str]) -> list[str]:
    """A command line in which every list, and every logger, takes the place of an earlier one.

    jsonargparse would merge a list item by item into one of the same length, and a logger into one
    of another kind: options of the earlier ones would stay. Each is emptied first.

    Args:
        args: the options of a command.
    """
    made: list[str] = []
    for place, arg in enumerate(args):
        name, equals, value = arg.partition("=")
        value = value if equals else "".join(args[place + 1 : place + 2])
        if name.startswith("--") and not name.endswith("+"):
            if value.lstrip().startswith("[") and "." in name:
                made.append(f"{name}=[]")
            elif name == f"--{LOGGER}" and value:
                made.append(f"{name}=null")
        made.append(arg)
    return made


def _lines(node: yaml.Node, keys: list[str], value: str | None) -> Iterator[int]:
    """The lines of a key path below a node: of the key, or of the value that it must have."""
    if not keys:
        yield from _lines_of_value(node, value)
        return
    for key, inner in _entries(node):
        if key.value.rstrip("+") == keys[0]:
            if keys[1:] or value is not None:
                yield from _lines(inner, keys[1:], value)
            else:
                yield key.start_mark.line + 1


def _entries(node: yaml.Node) -> Iterator[tuple[yaml.Node, yaml.Node]]:
    """Keys and values of a mapping, those in its `init_args` too; of a list, those of its items."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _entries(item)
    elif isinstance(node, yaml.MappingNode):
        for key, inner in node.value:
            yield key, inner
            if key.value == "init_args":
                yield from _entries(inner)


def _lines_of_value(node: yaml.Node, value: str | None) -> Iterator[int]:
    """The line of a node; if it must have a value, of what has it: a scalar, item or class_path."""
    if value is None or (isinstance(node, yaml.ScalarNode) and node.value == value):
        yield node.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _lines_of_value(item, value)
    elif isinstance(node, yaml.MappingNode):
        for key, inner in node.value:
            if key.value == "class_path" and inner.value == value:
                yield key.start_mark.line + 1


class ConfigFile(ActionConfigFile):
    """`--config FILE`: applies the file and all that it includes, and notes them in `configs`."""

    @staticmethod
    def apply_config(parser: Any, cfg: Any, dest: str, value: str) -> None:
        """Applies the files one after the other, the included ones first."""
        check_exists(Path(value), "--config")
        options = parser.get_defaults(skip_validation=True).keys()
        for config in read_config(Path(value)):
            config.check_sections({key.split(".")[0] for key in options if "." in key})
            parser.configs.append(config)
            for key in config.lists():
                if isinstance(cfg.get(key), list):
                    cfg[key] = []  # or a list of the same length would be merged item by item
            if LOGGER in config.classes():
                cfg[LOGGER] = None  # or it would take over the name and version of another kind
            ActionConfigFile.apply_config(parser, cfg, dest, config.text)
        cfg[dest][-1] = value  # what was typed, beside None for each text


def read_config(path: Path) -> list[Config]:
    """A file with all that it includes, in the order in which they apply: its own keys last.

    `include` is a file or a list of files, relative to the file in which it stands, or the names of
    shipped configs.

    Raises:
        UserError: a file is missing, broken, or includes itself.
    """
    return list(_read(path, ()))


def _read(path: Path, chain: tuple[Path, ...]) -> Iterator[Config]:
    if path.resolve() in (other.resolve() for other in chain):
        way = " includes ".join(str(step) for step in (*chain, path))
        raise UserError(f"{way}: a config cannot include itself.")
    node = read_yaml(path)
    for key, value in list(node.value):
        if key.value == INCLUDE:
            node.value.remove((key, value))
            for line, name in _included(path, value):
                inner = Path(os.path.normpath(beside(path, name)))
                check_exists(inner, f"{path}:{line}: {INCLUDE}")
                yield from _read(inner, (*chain, path))
    yield Config(path, node)


def _included(path: Path, value: yaml.Node) -> list[tuple[int, str]]:
    items = value.value if isinstance(value, yaml.SequenceNode) else [value]
    for item in items:
        if not isinstance(item, yaml.ScalarNode) or not item.value:
            line = item.start_mark.line + 1
            raise UserError(f"{path}:{line}: {INCLUDE}: expected a file or a list of files.")
    return [(item.start_mark.line + 1, item.value) for item in items]


def check_exists(path: Path, where: str) -> None:
    """Refuses a file that is not there, and names one of that folder which it could be.

    Args:
        path: the file.
        where: who asks for it, for the message.

    Raises:
        UserError: it does not exist.
    """
    if path.is_file():
        return
    if path.is_dir():
        raise UserError(f"{where}: {path} is a folder, not a file.")
    names = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
    close = get_close_matches(path.name, names, 1)
    hint = f"; did you mean {path.parent / close[0]}?" if close else "."
    raise UserError(f"{where}: there is no file {path}{hint}")
