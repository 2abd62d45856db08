"""Models of which there is one for each seed: `{seed}` in the name of a folder."""

from __future__ import annotations

from collections.abc import Mapping

SEED = "{seed}"
"""In the folder of a model: the seed under which it is asked, whose own model it is."""


def named(models: Mapping[str, str], seed: int) -> dict[str, str]:
    """Folders or hub names by name, with a seed filled in."""
    return {name: source.replace(SEED, str(seed)) for name, source in models.items()}
