"""Configs that come with the package, found by name wherever it is installed.

A wheel has them in the package, a checkout beside it. Names are those of files below `configs`,
without the ending: "methods/triple_loss", "recipes/retention"; the last part alone will do where it
is the only one of that name, and "quickstart" is `quickstart/recipe.yaml`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from lit_distill.errors import UserError

FOLDER = "configs"
WHOLE = "recipe"
"""A folder with a recipe of this name is called by its own."""


def folder() -> Path:
    """Where they are."""
    package = Path(__file__).parents[1]
    inside = package / FOLDER
    return inside if inside.is_dir() else package.parent / FOLDER


def shipped() -> dict[str, Path]:
    """All of them by name, in order."""
    root = folder()
    found = {
        path.relative_to(root).with_suffix("").as_posix(): path for path in root.rglob("*.yaml")
    }
    return dict(sorted(found.items()))


def named(name: str, first: str = "") -> str | None:
    """The full name of the config that is meant; None if there is none.

    Args:
        name: as typed: in full or its last part, with or without "configs/" and ".yaml".
        first: the folder that is meant where the last part stands in several.

    Raises:
        UserError: there are several.
    """
    asked = PurePosixPath(name)
    if asked.is_absolute() or ".." in asked.parts or not asked.name:
        return None
    asked = asked.with_suffix("") if asked.suffix == ".yaml" else asked
    short = asked.as_posix().removeprefix(f"{FOLDER}/")
    names = shipped()
    for exact in (short, f"{short}/{WHOLE}", f"{first}/{short}"):
        if exact in names:
            return exact
    fitting = [each for each in names if each.endswith(f"/{short}")]
    if len(fitting) > 1:
        raise UserError(
            f"{name}: several configs of the package have this name, {', '.join(fitting)}: write "
            "one of them."
        )
    return fitting[0] if fitting else None


def path_of(path: Path, first: str = "") -> Path:
    """A file that is there as it is; else the shipped config that it names; else as it is.

    Args:
        path: as typed.
        first: see `named`.

    Raises:
        UserError: it names several.
    """
    if path.exists():
        return path
    found = named(path.as_posix(), first)
    return path if found is None else shipped()[found]


def beside(path: Path, name: str) -> Path:
    """The file that another one names: relative to that one's folder, else a shipped config.

    Args:
        path: of the file that names it.
        name: as it stands there.
    """
    near = Path(path.parent, name)
    if near.exists() or (found := named(name)) is None:
        return near
    return shipped()[found]


def with_paths(command: str, args: Sequence[str]) -> list[str]:
    """A command line in which shipped configs are named by their paths.

    Args:
        command: of `run`, the first argument is a recipe.
        args: what follows it.

    Raises:
        UserError: a name is that of several.
    """
    made = list(args)
    for place, arg in enumerate(made):
        name, equals, value = arg.partition("=")
        if name in ("-c", "--config") and equals:
            made[place] = f"{name}={path_of(Path(value))}"
        elif place and made[place - 1] in ("-c", "--config"):
            made[place] = str(path_of(Path(arg)))
    if command == "run" and made and not made[0].startswith("-"):
        made[0] = str(path_of(Path(made[0]), "recipes"))
    return made
