"""Which modules a config may name: ours, torch, Lightning and Transformers, and what is permitted.

A config is data. What it names is imported only from modules that need no permission or that the
command line permits by `--allow-module NAME`; a file cannot permit anything.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence

from jsonargparse import set_parsing_settings

from lit_distill.cli.parsing.options import OPTION
from lit_distill.errors import UserError

OURS = ("lit_distill", "data_modules", "callbacks")
TRUSTED = (*OURS, "lightning", "torch", "transformers")
"""Modules that need no permission."""

permitted: list[str] = []
"""Modules that this process's command line permits."""


def permit(args: Sequence[str]) -> list[str]:
    """Takes `--allow-module NAME` out of a command line, and imports and permits these modules.

    Args:
        args: the options of a command.

    Returns:
        The other options.

    Raises:
        UserError: a name is missing or no module's, or importing it failed; with the reason.
    """
    rest, names, left = [], list[str](), iter(args)
    for arg in left:
        name, equals, value = arg.partition("=")
        if name not in (OPTION, "--allow_module"):
            rest.append(arg)
            continue
        names.append(value if equals else next(left, ""))
    for name in names:
        if not all(part.isidentifier() for part in name.split(".")):
            raise UserError(f"{OPTION} needs the name of a module, as my_methods; found {name!r}.")
        _import(name)
        permitted.append(name)
    set_parsing_settings(import_path_denylist=["*"], import_path_allowlist=[*TRUSTED, *permitted])
    return rest


def is_permitted(module: str) -> bool:
    """Whether classes of a module may stand where any callable may: ours and permitted ones."""
    return any(f"{module}.".startswith(f"{name}.") for name in (*OURS, *permitted))


def _import(name: str) -> None:
    """Imports a module, also of the folder in which the command runs."""
    if os.getcwd() not in sys.path and "" not in sys.path:  # `lit-distill`, unlike `python -m`
        sys.path.append(os.getcwd())
    try:
        importlib.import_module(name)
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f" ({last.filename}:{last.lineno})" if "importlib" not in last.filename else ""
        raise UserError(
            f"{OPTION} {name}: importing it failed{where}: {type(error).__name__}: {error}."
        ) from error
