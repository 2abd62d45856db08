"""Callables that a config names: classes of the declared kind, and never just any function.

A parser takes whatever can be called where an optimizer or a schedule may stand. Calling it would
run what a file says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args, get_origin

from jsonargparse import Namespace

from lit_distill.cli.parsing.modules import is_permitted
from lit_distill.cli.parsing.types import classes_in, imported, type_of
from lit_distill.errors import UserError


def check_callables(
    value: Any, where: Callable[[tuple[str, ...], str], str], keys: tuple[str, ...] = ()
) -> None:
    """Refuses callables that are no class of the kind that their option declares.

    Args:
        value: a parsed config, or a part of it.
        where: says where a key path with a value stands, for the beginning of a message.
        keys: the path to that part.

    Raises:
        UserError: there is one; it has not been called.
    """
    if isinstance(value, list):
        for item in value:
            check_callables(item, where, keys)
    if isinstance(value, dict):
        for key, item in value.items():
            check_callables(item, where, (*keys, str(key)))
    if not isinstance(value, Namespace):
        return
    owner = imported(str(value.get("class_path", "")))
    for key, inner in vars(value.get("init_args") or value).items():
        annotation = type_of(owner, key)
        if _declares_callable(annotation):
            _check(inner, annotation, where, (*keys, key))
        check_callables(inner, where, (*keys, key))


def _declares_callable(annotation: Any) -> bool:
    return get_origin(annotation) is Callable or any(map(_declares_callable, get_args(annotation)))


def _check(
    value: Any, annotation: Any, where: Callable[[tuple[str, ...], str], str], keys: tuple[str, ...]
) -> None:
    if isinstance(value, Namespace):
        name = str(value.get("class_path", ""))
        found = imported(name)
    elif callable(value):
        name, found = f"{value.__module__}.{value.__qualname__}", value
    else:
        return
    roots = classes_in(annotation)
    if isinstance(found, type) and (
        issubclass(found, tuple(roots)) if roots else is_permitted(found.__module__)
    ):
        return
    wanted = " or ".join(root.__name__ for root in roots) or "class of lit_distill"
    raise UserError(
        f"{where(keys, name)}{name!r} is no {wanted}, and a config may not have it called."
    )
