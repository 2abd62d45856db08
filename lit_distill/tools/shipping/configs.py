"""The list of configs that come with the package."""

from __future__ import annotations

import re
from itertools import groupby, takewhile
from pathlib import Path
from textwrap import shorten

from lit_distill.errors import UserError
from lit_distill.files.shipped_configs import folder, shipped

LINE = 100


def configs(containing: str = "") -> None:
    """Lists the configs that come with the package, by the names that `-c`, `run`, `include` take.

    Args:
        containing: only those whose name or first sentence has this text.

    Raises:
        UserError: none has it.
    """
    sentences = {name: _first_sentence(path) for name, path in shipped().items()}
    asked = containing.lower()
    found = [(name, line) for name, line in sentences.items() if asked in f"{name} {line}".lower()]
    if not found:
        raise UserError(
            f"no config has {containing!r} in its name or first sentence; see `configs`."
        )
    width = max(len(name) for name, _ in found)
    for _, members in groupby(found, lambda entry: entry[0].partition("/")[0]):
        print("\n".join(f"{name:{width}}  {line}".rstrip() for name, line in members), end="\n\n")
    print(f"In {folder()}. `copy-config NAME` writes one to the current folder, to be changed.")


def _first_sentence(path: Path) -> str:
    """What a config says of itself, in a line."""
    with path.open(encoding="utf-8") as opened:
        comment = [line[1:].strip() for line in takewhile(lambda line: line[0] == "#", opened)]
    sentence = re.split(r"(?<=[.?:]) ", " ".join(comment), maxsplit=1)[0]
    return shorten(sentence, LINE, placeholder=" ...")
