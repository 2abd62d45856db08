"""The picture of the house: rooms by floors, drawn from the imports (`make house`)."""

from __future__ import annotations

import sys
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
from matplotlib.axes import Axes
from matplotlib.figure import Figure

ROOT = Path(__file__).parents[2]
PACKAGES = ("lit_distill", "data_modules", "callbacks")
COLOURS = {"lit_distill": "#cfe2f3", "data_modules": "#d9ead3", "callbacks": "#fce5cd"}
Arrows = dict[str, set[str]]


def rooms() -> Arrows:
    """The rooms (folders with modules) that each room imports from.

    An `__init__` that names the classes of its rooms is a room above them.
    """
    graph = grimp.build_graph(*PACKAGES)
    folders = {path.parent for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    names = {".".join(folder.relative_to(ROOT).parts) for folder in folders}

    def room(module: str) -> str:
        return module if module in names else module.rpartition(".")[0]

    arrows: Arrows = {}
    for module in graph.modules - {"lit_distill.__main__"}:
        found = {room(other) for other in graph.find_modules_directly_imported_by(module)}
        arrows.setdefault(room(module), set()).update(found - {room(module)})
    return {name: others for name, others in arrows.items() if others or size(name) > (1, 1)}


def floors(arrows: Arrows) -> dict[str, int]:
    """How many rooms lie below a room at the deepest."""
    found: dict[str, int] = {}
    for room in TopologicalSorter(arrows).static_order():
        found[room] = max((found[other] + 1 for other in arrows.get(room, ())), default=0)
    return found


def needed(arrows: Arrows) -> Arrows:
    """The arrows that no longer way replaces."""
    below: Arrows = {}
    for room in TopologicalSorter(arrows).static_order():
        own = arrows.get(room, set())
        below[room] = own.union(*(below[other] for other in own))
    return {
        room: {o for o in own if not any(o in below[other] for other in own - {o})}
        for room, own in arrows.items()
    }


def size(room: str) -> tuple[int, int]:
    """Files and lines of a room."""
    files = list((ROOT / room.replace(".", "/")).glob("*.py"))
    return len(files), sum(len(path.read_text("utf-8").splitlines()) for path in files)


def draw(axes: Axes, arrows: Arrows) -> None:
    """One box for each room, floors from below."""
    floor = floors(arrows)
    places: dict[str, tuple[float, float]] = {}
    for level in sorted({*floor.values()}):
        line = sorted(
            (room for room in floor if floor[room] == level),
            key=lambda room: (PACKAGES.index(room.partition(".")[0]), room),
        )
        for place, room in enumerate(line):
            places[room] = (place - (len(line) - 1) / 2, level)
    for room, others in needed(arrows).items():
        for other in others:
            axes.annotate(
                "",
                xy=(places[other][0], places[other][1] + 0.24),
                xytext=(places[room][0], places[room][1] - 0.24),
                arrowprops={"arrowstyle": "-|>", "color": "#99999980", "linewidth": 0.8},
            )
    for room, (x, y) in places.items():
        package, _, rest = room.partition(".")
        axes.text(
            x,
            y,
            "{}\n{} files, {} lines".format(rest or package, *size(room)),
            ha="center",
            va="center",
            fontsize=6.5,
            bbox={"boxstyle": "round,pad=0.35", "facecolor": COLOURS[package], "linewidth": 0.4},
        )
    widest = max(abs(x) for x, _ in places.values()) + 0.6
    axes.set(xlim=(-widest, widest), ylim=(-0.6, max(floor.values()) + 0.6))
    axes.axis("off")


def main(path: str) -> None:
    """Writes the picture."""
    figure = Figure(figsize=(11, 12), layout="constrained")
    draw(figure.add_subplot(), rooms())
    figure.savefig(path, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main(sys.argv[1])
