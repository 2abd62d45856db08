"""Everything that a config or a command line can name, found from its roots down."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from lightning.pytorch import Callback, LightningDataModule

import callbacks
import data_modules
import lit_distill
from lit_distill.cli.parsing.types import classes_in, subclasses_of
from lit_distill.measures.probing import Probe
from lit_distill.schedules import Ramp
from lit_distill.tools.caching.cache_teacher import cache_teacher
from lit_distill.tools.evaluating.cells.mode import Mode
from lit_distill.tools.invocation import PLACES
from lit_distill.training.distillation import Distillation

for package in (callbacks, data_modules, lit_distill):  # so that all subclasses are known
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)

OURS = ("lit_distill", "data_modules", "callbacks")


def is_ours(found: Any) -> bool:
    return inspect.isclass(found) and found.__module__.partition(".")[0] in OURS


def hints_of(owner: Any) -> dict[str, Any]:
    """The annotations of a class's own constructor or of a function, with their ranges."""
    if isinstance(owner, type) and "__dataclass_fields__" in vars(owner):
        own = get_type_hints(owner, include_extras=True)
        return {name: own[name] for name in inspect.signature(owner).parameters if name in own}
    if isinstance(owner, type) and "__init__" not in vars(owner):
        return {}
    declared = vars(owner)["__init__"] if isinstance(owner, type) else owner
    hints = get_type_hints(declared, include_extras=True)
    return {name: hint for name, hint in hints.items() if name != "return"}


def without_ranges(annotation: Any) -> Any:
    """A type in which `classes_in` finds what stands behind `Annotated`."""
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def roots() -> Iterator[Any]:
    yield from filter(is_ours, subclasses_of(Distillation))  # tests have others
    for package, root in ((data_modules, LightningDataModule), (callbacks, Callback)):
        exported = [found for found in vars(package).values() if is_ours(found)]
        yield from (found for found in exported if issubclass(found, root))
    for root in (Mode, Probe):
        yield from filter(is_ours, subclasses_of(root))
    yield Ramp
    for command, place in PLACES.items():
        yield vars(importlib.import_module(f"lit_distill.tools.{place}"))[command.replace("-", "_")]
    yield cache_teacher


def configurable() -> list[Any]:
    """Everything that a config or a command line can name, from the roots down."""
    found: dict[Any, None] = {}
    waiting = list(roots())
    while waiting:
        owner = waiting.pop()
        if owner in found:
            continue
        found[owner] = None
        if isinstance(owner, type):
            waiting += [child for child in subclasses_of(owner) if is_ours(child)]
            waiting += [base for base in owner.__mro__[1:] if is_ours(base)]
        for hint in hints_of(owner).values():
            parts = [without_ranges(part) for part in (hint, *get_args(hint))]
            waiting += [one for part in parts for one in classes_in(part) if is_ours(one)]
    return sorted(found, key=lambda owner: f"{owner.__module__}.{owner.__name__}")


CONFIGURABLE = configurable()
