"""Our `data_modules` and `callbacks`, also where the current folder has folders of these names.

`python -m lit_distill` looks into the current folder first, and many projects have a `callbacks`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

NAMES = ("data_modules", "callbacks")


class _BesideUs:
    """A finder that looks for these packages beside `lit_distill`, and for nothing else."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder`."""
        if path is None and name in NAMES:
            return PathFinder.find_spec(name, [str(Path(__file__).parent.parent)], target)
        return None


def prefer() -> None:
    """Makes these names mean our packages in this process; imports nothing."""
    if not any(finder is _BesideUs for finder in sys.meta_path):
        sys.meta_path.insert(0, _BesideUs)
