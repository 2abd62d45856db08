"""What `--data.sources.help` shows: the options of whatever can stand under an option of a config.

The way to it leads over the types of options. Where a class on the way is not chosen, by a config
or on the command line, all that have the option are looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from inspect import getdoc, isabstract, signature
from itertools import chain
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from jsonargparse import ArgumentParser
from lightning.pytorch import Trainer

from lit_distill.cli.parsing.configs import read_config
from lit_distill.cli.parsing.modules import OURS
from lit_distill.cli.parsing.old_names import new_class
from lit_distill.cli.parsing.types import (
    classes_in,
    is_unfinished,
    options_of,
    subclasses_of,
    type_of,
)
from lit_distill.errors import UserError

_ASKED = re.compile(r"--([\w.]+)\.help(?:=(.*))?")
_TYPED = re.compile(r"--(\w[\w.]*?)(?:\.class_path)?(?:=(.*))?")
_NO_OPTION = re.compile(r"\s+(Path to a configuration file\.|Show the help for )")


def looked_up(args: Sequence[str], sections: Mapping[str, type]) -> str | None:
    """The answer to `--OPTION.help`, or `--OPTION.help=CLASS`; None if nothing was asked.

    Args:
        args: of a command.
        sections: the classes that can stand under top-level keys.

    Raises:
        UserError: there is no such option, or no such class.
    """
    for place, arg in enumerate(args):
        if match := _ASKED.fullmatch(arg):
            following = "".join(args[place + 1 : place + 2])
            name = match[2] or ("" if following.startswith("-") else following)
            path = [part for part in match[1].split(".") if part != "init_args"]
            chosen = _chosen(args)
            if name:
                chosen[".".join(path)] = name
            return _answer(path, chosen, sections)
    return None


def _chosen(args: Sequence[str]) -> dict[str, str]:
    """The classes that configs and the command line name, by dotted path; later ones count."""
    found: dict[str, str] = {}
    for arg, following in zip(args, [*args[1:], ""], strict=True):
        name, equals, value = arg.partition("=")
        value = value if equals else following
        if name in ("-c", "--config"):
            for config in read_config(Path(value)):
                found |= dict(_class_paths(config.node, []))
        elif match := _TYPED.fullmatch(name):
            found[match[1]] = value
    return found


def _class_paths(node: yaml.Node, above: list[str]) -> Iterator[tuple[str, str]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == "class_path":
                yield ".".join(above), str(value.value)
            inner = above if key.value == "init_args" else [*above, key.value]
            yield from _class_paths(value, inner)


def _answer(path: list[str], chosen: Mapping[str, str], sections: Mapping[str, type]) -> str:
    option = f"--{'.'.join(path)}"
    if path[0] not in sections:
        raise UserError(
            f"{option}.help: there is {', '.join(f'--{one}.help' for one in sections)}."
        )
    places: dict[Any, list[Any]] = {sections[path[0]]: []}  # types, and whose option has them
    for depth, key in enumerate(path[1:], 1):
        above = ".".join(path[:depth])
        owners = list(dict.fromkeys(chain(*(_fitting(one, above, chosen) for one in places))))
        places, known = {}, dict[str, None]()
        for owner in owners:
            options = options_of(owner)
            known |= dict.fromkeys(options)
            if key in options:
                places.setdefault(type_of(owner, key), []).append(owner)
        if not places:
            close = get_close_matches(key, known, 1, cutoff=0.5)
            hint = f"did you mean {close[0]!r}?" if close else f"there is {', '.join(known)}."
            hint = hint if known else "it is a single value."
            raise UserError(f"{option}.help: --{above} has no option {key!r}; {hint}")
    parts = [_part(path, one, owners, chosen) for one, owners in places.items()]
    parts = list(dict.fromkeys(parts))
    if len(parts) > 1:
        parts.append(f"--{path[0]}=CLASS before it shows that of one class.")
    return "\n\n".join(parts)


def _fitting(annotation: Any, path: str, chosen: Mapping[str, str]) -> list[type]:
    """The classes that can stand there; where one was chosen, only that.

    Raises:
        UserError: what was chosen is none of them.
    """
    found = [one for root in classes_in(annotation) for one in _concrete(root)]
    name = chosen.get(path, "")
    named = [one for one in found if name in (one.__name__, f"{one.__module__}.{one.__name__}")]
    named = named or [one for one in found if one.__name__ == name.rpartition(".")[2]]
    if name and found and not named and not name.startswith(("{", "[", "-")):
        if new := new_class(name, classes_in(annotation)):
            raise UserError(f"--{path}.help: {name} is now {new}.")
        close = get_close_matches(name, [one.__name__ for one in found], 1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}?" if close else f"--{path}.help lists what there is."
        raise UserError(
            f"--{path}.help: {name!r} is no {classes_in(annotation)[0].__name__}; {hint}"
        )
    return named or found


def _concrete(root: type) -> list[type]:
    """What can be named for a class: ours first, by name; a library's base not, but for itself."""
    heirs = [one for one in subclasses_of(root) if not _unfinished(one)]
    found = heirs if heirs and not _is_ours(root) else [root, *heirs]
    found = [one for one in found if not isabstract(one)]
    return sorted(dict.fromkeys(found), key=lambda one: (not _is_ours(one), one.__name__))


def _is_ours(one: type) -> bool:
    return one.__module__.split(".")[0] in OURS


def _unfinished(one: type) -> bool:
    """Whether a class has methods to be written, or is private."""
    return one.__module__.startswith("lit_distill.cli.training") or is_unfinished(one)


def _part(path: list[str], annotation: Any, owners: list[Any], chosen: Mapping[str, str]) -> str:
    """What can stand in one place, or the one class that does, with its options."""
    option = ".".join(path)
    fitting = _fitting(annotation, option, chosen)
    names = [owner.__name__ for owner in owners]
    names = names if len(names) <= 4 else [*names[:3], f"{len(names) - 3} more"]
    of = f" of {', '.join(names)}" if path[1:] and owners != [Trainer] else ""
    if not fitting:
        return f"--{option}\n\n{_of_each(owners, option.rpartition('.')[0], path[-1])}"
    many = _many(annotation)
    what = f"Every {many} of --{option}{of}" if many else f"--{option}{of}"
    if len(fitting) == 1:
        (only,) = fitting
        entries = _entries(only, option, given=_given(annotation)) or "It has no options."
        if many:
            entries = re.sub(rf"(?m)^  --{re.escape(option)}\.", "  ", entries)
        return f"{what} is a {only.__name__}: {_sentence(only)}\n\n{entries}"
    width = max(len(one.__name__) for one in fitting)
    lines = [f"  {one.__name__:{width}}  {_sentence(one)}" for one in fitting]
    lines = [line if len(line) <= 100 else f"{line[:97]}..." for line in lines]
    how = f"--{option}.help={fitting[0].__name__} shows the options of one."
    return "\n".join([f"{what} is one of these; {how}", "", *lines])


def _of_each(owners: Sequence[type], prefix: str, key: str) -> str:
    """One option of several classes, each form once."""
    found: dict[str, list[str]] = {}
    for owner in owners:
        found.setdefault(_entries(owner, prefix, key), []).append(owner.__name__)
    return "\n\n".join(f"{', '.join(names)}:\n{text}" for text, names in found.items())


def _many(annotation: Any) -> str:
    """What holds several of a type: the word for one of them; empty for a single one."""
    kind = get_origin(annotation)
    if kind in (list, tuple, Sequence):
        return "item"
    if kind in (dict, Mapping):
        return "value"
    return next((word for one in get_args(annotation) if (word := _many(one))), "")


def _given(annotation: Any) -> int:
    """How many arguments of a class the program gives, where it takes a callable."""
    if get_origin(annotation) is Callable:
        return len(get_args(annotation)[0])
    return max((_given(one) for one in get_args(annotation)), default=0)


def _entries(owner: type, prefix: str, only: str | None = None, given: int = 0) -> str:
    """The options of a class with type and default, as a parser prints them; or one of them."""
    parser = ArgumentParser(usage="", add_help=False)
    first = set(list(signature(owner).parameters)[:given])
    parser.add_class_arguments(owner, prefix, skip=first, fail_untyped=False)
    blocks = re.split(r"(?m)^(?=  --)", parser.format_help())[1:]
    kept = []
    for block in blocks:
        name, rest = re.fullmatch(r"(?s)  --(\S+)(.*)", block).groups()  # type: ignore[union-attr]
        key = name.removeprefix(f"{prefix}.").split(".")[0].rstrip("+,")
        if _NO_OPTION.search(f" {rest}") or (only is not None and key != only):
            continue
        rest = re.sub(r"^[^\n]*, --\S+\+ \S+", "", rest)  # how to append, of lists
        kept.append(f"  --{name.rstrip(',')}{rest}".split("\n\n")[0].rstrip())
    return "\n".join(kept)


def _sentence(owner: type) -> str:
    """The first sentence of a docstring, or nothing."""
    first = (getdoc(owner) or "").split("\n\n")[0]
    return re.split(r"(?<=[.:]) (?=[A-Z])", " ".join(first.split()))[0]
