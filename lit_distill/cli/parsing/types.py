"""What a config can name: options of classes, their types, and the classes that fit."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from inspect import isabstract
from typing import Any, get_args, get_origin, get_type_hints

from jsonargparse import ArgumentParser


def imported(path: str) -> Any:
    """The class of an import path that has been imported already; None if it has not."""
    module, _, name = path.rpartition(".")
    return vars(sys.modules[module]).get(name) if module in sys.modules else None


def options_of(owner: Any) -> list[str]:
    """The arguments of a class, those that it forwards to its bases included."""
    if owner is None:
        return []
    parser = ArgumentParser()
    parser.add_class_arguments(owner, fail_untyped=False)
    defaults = parser.get_defaults(skip_validation=True)
    return list(dict.fromkeys(key.split(".")[0] for key in defaults.keys()))  # noqa: SIM118


def type_of(owner: Any, option: str) -> Any:
    """The annotation of an argument of a class or of its bases; None if there is none."""
    kinds: tuple[Any, ...] = owner.__mro__ if isinstance(owner, type) else ()
    for kind in kinds:
        try:
            hints = get_type_hints(kind.__init__)
        except NameError:  # an import for type checkers only
            continue
        if option in hints:
            return hints[option]
    return None


def takes_null(annotation: Any) -> bool:
    """Whether None is a value of a type; True where that is not known."""
    return annotation in (None, Any, type(None)) or type(None) in get_args(annotation)


def classes_in(annotation: Any) -> list[type]:
    """Classes of ours or of a library in a type; of a callable, what it returns."""
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return [annotation] if annotation.__module__ != "builtins" else []
    inner = get_args(annotation)
    if get_origin(annotation) is Callable:
        inner = inner[1:]
    return list(dict.fromkeys(found for part in inner for found in classes_in(part)))


def is_unfinished(one: type) -> bool:
    """Whether a class has methods to be written, also where no metaclass says so."""
    return any(
        getattr(getattr(one, name, None), "__isabstractmethod__", False) for name in dir(one)
    )


def subclasses_of(root: type) -> Iterator[type]:
    """Classes under a root that a config can name: neither abstract nor private."""
    child: type
    for child in type.__subclasses__(root):
        if not (child.__name__.startswith("_") or isabstract(child)):
            yield child
        yield from subclasses_of(child)
