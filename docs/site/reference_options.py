"""Options of what a config can name: what each may be, its default, and what docstrings say."""

from __future__ import annotations

import dataclasses
import importlib
import re
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from inspect import Parameter, cleandoc, signature
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from docstring_parser import DocstringParam, parse
from docstring_parser.common import DocstringMeta

from lit_distill.cli.parsing.types import options_of
from lit_distill.knobs import described, ranges_in
from lit_distill.schedules import Ramp

PLAIN = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
Linked = Callable[[type], str]
"""Markdown that names a class, with a link where there is a page about it."""


@dataclass(frozen=True)
class Option:
    """One option of a class or a command.

    Attributes:
        name: as a config has it.
        annotation: its type, with the range of a knob.
        default: its value where none is given; `Parameter.empty`: it has to be given.
        text: what the docstring says; empty if it says nothing.
        owner: the class (or function) whose constructor declares it.
    """

    name: str
    annotation: Any
    default: Any
    text: str
    owner: Any


@cache
def options(owner: Any) -> tuple[Option, ...]:
    """The options of a class, those of its bases included, or of a function."""
    if not isinstance(owner, type):
        said, hints = _said(owner), get_type_hints(owner, include_extras=True)
        return tuple(
            Option(name, hints[name], given.default, said.get(name, ""), owner)
            for name, given in signature(owner).parameters.items()
        )
    return tuple(_option(owner, name) for name in options_of(owner))


def _option(owner: type, name: str) -> Option:
    """Type and default are of the nearest class that declares it, its text of who has one."""
    texts = [text for kind in owner.__mro__ if (text := _said(kind).get(name))]
    for kind in owner.__mro__:
        if "__init__" in vars(kind) and name in (own := signature(kind).parameters):
            hints = _hints(kind)
            annotation = hints.get(name, own[name].annotation)
            default = _default(kind, own[name])
            return Option(name, annotation, default, next(iter(texts), ""), kind)
    raise LookupError(f"{owner.__name__}.{name} is declared nowhere")


def _default(kind: type, parameter: Parameter) -> Any:
    """The default, of a dataclass also what a factory makes."""
    if dataclasses.is_dataclass(kind):
        for field in dataclasses.fields(kind):
            if field.name == parameter.name and field.default_factory is not dataclasses.MISSING:
                return field.default_factory()
    return parameter.default


def _hints(kind: type) -> Mapping[str, Any]:
    declared = kind if dataclasses.is_dataclass(kind) else vars(kind)["__init__"]
    return get_type_hints(declared, include_extras=True)


@cache
def _said(owner: Any) -> Mapping[str, str]:
    """What a docstring of its own says about arguments; of a dataclass, about its fields.

    What other classes say under `Attributes` is about what they make and not about what they take.
    """
    entries = [meta for meta in parse(_docstring(owner)).meta if isinstance(meta, DocstringParam)]
    fields = isinstance(owner, type) and dataclasses.is_dataclass(owner)
    found = {one.arg_name: one.description for one in entries if fields and _of_fields(one)}
    found |= {one.arg_name: one.description for one in entries if not _of_fields(one)}
    return {name: " ".join((text or "").split()) for name, text in found.items()}


def _of_fields(entry: DocstringMeta) -> bool:
    return entry.args[0] == "attribute"


def _docstring(owner: Any) -> str:
    return cleandoc(vars(owner).get("__doc__") or "" if isinstance(owner, type) else owner.__doc__)


def prose(owner: Any) -> str:
    """What a docstring of its own says beside arguments, attributes, results and errors."""
    kept, left_out = [], False
    for line in _docstring(owner).splitlines():
        if re.match(r"\S", line):
            left_out = bool(re.match(r"(Args|Attributes|Raises|Returns|Yields):$", line))
        if not left_out:
            kept.append(line)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()


def words(annotation: Any, linked: Linked) -> str:
    """A type as a reader of a config understands it, in Markdown.

    Args:
        annotation: the type.
        linked: how a class is named.
    """
    kind, inner = get_origin(annotation), get_args(annotation)
    if kind is Annotated:
        spans = [described(number, span) for number, span in ranges_in(annotation)]
        others = [part for part in get_args(inner[0]) if part not in (int, float)]
        parts = [*spans, *(words(part, linked) for part in others)]
        return " or ".join(dict.fromkeys(parts)) if spans else words(inner[0], linked)
    if kind in (Union, types.UnionType):
        nulls_last = sorted(inner, key=lambda part: part is type(None))
        return " or ".join(dict.fromkeys(words(part, linked) for part in nulls_last))
    if kind is Literal:
        return " or ".join(f"`{value}`" for value in inner)
    if kind in (list, Sequence, tuple, set, frozenset):
        return f"list of {', '.join(_several(part, linked) for part in inner if part is not ...)}"
    if kind in (dict, Mapping):
        return f"mapping of {_several(inner[0], linked)} to {_several(inner[1], linked)}"
    if kind is Callable:  # of a share of the run, as `Ramp`, or what makes an optimizer
        return linked(Ramp) if inner[-1] is float else words(inner[-1], linked)
    if annotation is Any:
        return "anything"
    if annotation in (None, type(None)):
        return "`null`"
    if annotation in PLAIN:
        return PLAIN[annotation]
    if isinstance(annotation, type):
        return linked(annotation) if annotation.__module__ != "builtins" else annotation.__name__
    return f"`{getattr(annotation, '__name__', annotation)}`"


def _several(annotation: Any, linked: Linked) -> str:
    """Several of a type."""
    one = words(annotation, linked)
    one = re.sub(r"^a (whole )?number", r"\1numbers", one)
    one = "texts" if one == "text" else one
    return f"({one})" if " or " in one else one


def shown(default: Any) -> str:
    """A default as Markdown; empty where there is none."""
    if default is Parameter.empty:
        return ""
    if default is None or isinstance(default, bool):
        return f"`{ {None: 'null', True: 'true', False: 'false'}[default] }`"
    if isinstance(default, type):
        return f"`{class_path(default)}`"
    if dataclasses.is_dataclass(default) and not isinstance(default, type):
        given = [
            f"{field.name}={getattr(default, field.name)!r}"
            for field in dataclasses.fields(default)
            if field.init and getattr(default, field.name) != _standing(type(default), field)
        ]
        return f"`{type(default).__name__}({', '.join(given)})`"
    if isinstance(default, tuple | list):
        return f"`{list(default)}`"
    plain = isinstance(default, str) and default.isprintable() and default.strip()
    return f"`{default if plain or not isinstance(default, str) else repr(default)}`"


def _standing(kind: type, field: dataclasses.Field[Any]) -> Any:
    """The default of a field."""
    return _default(kind, signature(kind).parameters[field.name])


def class_path(one: type) -> str:
    """The path by which configs name a class: that of the first package that lists it."""
    parts = one.__module__.split(".")
    for depth in range(1, len(parts) + 1):
        package = ".".join(parts[:depth])
        if vars(importlib.import_module(package)).get(one.__name__) is one:
            return f"{package}.{one.__name__}"
    raise LookupError(f"{one} is in no module")
