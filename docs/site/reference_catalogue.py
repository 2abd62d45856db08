"""Everything that a config or a command can name, by family: found from the commands down.

A class is found through the types of options: the methods, data modules and callbacks first, then
whatever stands in the type of one of their options, and all classes under that.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import yaml
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch import Callback, LightningDataModule
from reference_options import options

import callbacks
import data_modules
import lit_distill
from lit_distill.cli.parsing.modules import OURS
from lit_distill.cli.parsing.types import classes_in, is_unfinished, subclasses_of
from lit_distill.schedules import Ramp
from lit_distill.tools.checking.options import CheckOptions
from lit_distill.tools.invocation import PLACES
from lit_distill.training.distillation import Distillation

FAMILIES = Path(__file__).with_name("families.yaml")


@dataclass(frozen=True)
class Family:
    """One page of the reference.

    Attributes:
        page: its file.
        title: its heading.
        about: what its classes are, and where a config names them.
        homes: beginnings of the modules in which its classes lie; the longest of all holds.
        classes: those that a config can name, and the roots that stand for several of them.
    """

    page: str
    title: str
    about: str
    homes: list[str]
    classes: list[type] = field(default_factory=list, compare=False)


def families() -> list[Family]:
    """The pages of the reference, filled."""
    described = yaml.safe_load(FAMILIES.read_text("utf-8"))
    pages = [Family(page, **about) for page, about in described.items()]
    for one in sorted(named(), key=lambda one: one.__name__):
        of(one, pages).classes.append(one)
    return pages


def of(named_class: type, pages: list[Family]) -> Family:
    """The family of a class.

    Raises:
        LookupError: it has none, so that a page would be missing.
    """
    fits = [
        (len(home), page)
        for page in pages
        for home in page.homes
        if named_class.__module__.startswith(home)
    ]
    if not fits:
        raise LookupError(f"{named_class.__module__}.{named_class.__name__} has no family")
    return max(fits, key=lambda fit: fit[0])[1]


def functions() -> dict[str, Callable[..., Any]]:
    """The function of every command that is no training."""
    found: dict[str, Callable[..., Any]] = {}
    for command, place in PLACES.items():
        module = importlib.import_module(f"lit_distill.tools.{place}")
        found[command] = vars(module)[command.replace("-", "_")]
    module = importlib.import_module("lit_distill.tools.caching.cache_teacher")
    check = importlib.import_module("lit_distill.tools.checking.check_cli")
    return {**found, "cache-teacher": module.cache_teacher, "check": check.run}


def named() -> list[type]:
    """Public classes of ours that a config can name, and the roots that stand for them in types."""
    for package in (callbacks, data_modules, lit_distill):  # so that all subclasses are known
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    found: dict[type, None] = {}
    roots = [Distillation, CheckOptions, *functions().values()]
    waiting: list[Any] = [*roots, Ramp]  # a weight is any callable
    for root in (LightningDataModule, Callback, CheckpointIO):
        waiting += [one for one in subclasses_of(root) if is_exported(one)]
    while waiting:
        owner = waiting.pop()
        if owner in found:
            continue
        if isinstance(owner, type):
            if not is_ours(owner):
                continue
            found[owner] = None
            waiting += [one for one in subclasses_of(owner) if is_ours(one)]
            waiting += _declaring(owner)
        waiting += [one for option in options(owner) for one in classes_behind(option.annotation)]
    return [one for one in found if not one.__name__.startswith("_")]


def _declaring(owner: type) -> list[type]:
    """Bases that declare options of a class, which are described there once for all."""
    found = {option.owner for option in options(owner)}
    return [one for one in found if one is not owner]


def is_ours(one: type) -> bool:
    """Whether a class is of this project."""
    return one.__module__.partition(".")[0] in OURS


def is_exported(one: type) -> bool:
    """Whether its package lists a class, as those that stand at the top of a config."""
    package = one.__module__.partition(".")[0]
    return is_ours(one) and getattr(importlib.import_module(package), one.__name__, None) is one


def heirs(root: type, known: list[type]) -> list[type]:
    """Classes under a root that can be named."""
    under = dict.fromkeys(subclasses_of(root))
    return [one for one in known if one in under and not is_unfinished(one)]


def classes_behind(annotation: Any) -> Iterator[type]:
    """Classes of ours in a type, behind `Annotated` too."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) is None:
        yield from (one for one in classes_in(annotation) if is_ours(one))
    for part in get_args(annotation):
        if not isinstance(part, list):
            yield from classes_behind(part)
