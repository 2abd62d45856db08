"""The table of how far what training changes lies apart, for `make gradients`."""

from __future__ import annotations

import platform
from importlib.metadata import version

Equalities = dict[tuple[str, str, str, str], float]
"""||g - g'|| / ||g|| by method, family of models, way of computing, and precision."""

HEAD = """# One gradient, however it is computed

`make gradients` writes this page. Two updates by SGD on eight texts through the shipped config of
each method and through two methods of users, one with modules of its own (`projected_states`) and
one over pairs of texts (`contrastive`), on tiny random models, CPU, gloo: ||g - g'|| / ||g|| over
all that is trained, g what changes with all texts as one batch on one process, g' as the column
says. Two ranks have two micro-batches each; where pairs are compared they have one, and there is no
accumulation. Allowed are 1e-12 in float64 and 1e-5 in float32; the tests fail beyond.
"""


def page(equalities: Equalities) -> str:
    """As Markdown; methods down, ways across, float64 and float32 in each cell."""
    ways = list(dict.fromkeys(way for _, _, way, _ in equalities))
    cases = list(dict.fromkeys((method, family) for method, family, _, _ in equalities))
    lines = ["| method | models | " + " | ".join(ways) + " |", "|---|---|" + "---|" * len(ways)]
    for method, family in sorted(cases):
        cells = [
            " / ".join(
                f"{equalities[key]:.0e}"
                for precision in ("64-true", "32-true")
                if (key := (method, family, way, precision)) in equalities
            )
            for way in ways
        ]
        lines.append(f"| `{method}` | {family} | {' | '.join(cells)} |")
    packages = ", ".join(
        f"{name} {version(name)}" for name in ("torch", "lightning", "transformers")
    )
    where = f"Each cell: float64 / float32. Python {platform.python_version()}, {packages}."
    return "\n".join([HEAD, *lines, "", where]) + "\n"
