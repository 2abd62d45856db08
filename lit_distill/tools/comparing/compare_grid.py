"""Methods x seeds: runs are asserted to be alike, measured, shown, drawn and written down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from data_modules import Corpus
from lit_distill.files import strict_json
from lit_distill.files.output_folders import write_files
from lit_distill.tools.comparing.fairness import Deviation, Item, Records, check_fair
from lit_distill.tools.comparing.figure import drawn
from lit_distill.tools.comparing.grid import Grid, measure_grid
from lit_distill.tools.comparing.grid_tables import remarks_on, tables_of
from lit_distill.tools.comparing.records import record_of
from lit_distill.tools.comparing.rows import Method

FORMAT = 2
"""Of compare.json; models without seeds have none, and stand there by their names."""
FIGURE, PAGE, NUMBERS = "quality.png", "compare.md", "compare.json"


def compare_grid(
    grid: Grid, data: Corpus, allowed: Sequence[Item], output: str | None, kind: str
) -> dict[str, Method]:
    """Compares methods with their control under every seed.

    Args:
        grid: which models.
        data: the corpus.
        allowed: in which runs may differ.
        output: a folder, or None.
        kind: of the output.

    Raises:
        UserError: runs differ in more than their method, or a model cannot be measured.
    """
    records: Records = {
        seed: {name: record_of(source) for name, source in grid.sources(seed).items()}
        for seed in grid.seeds
    }
    deviations = check_fair(records, grid.control, grid.reference, allowed)
    rows, features = measure_grid(grid, data, records)
    tables, remarks = tables_of(grid, rows), remarks_on(grid, records, deviations)
    console = Console()
    console.print(*(table.rich for table in tables), sep="\n")
    console.print(*remarks, sep="\n", markup=False, highlight=False)
    if output is not None:
        page = "\n\n".join([*(table.markdown for table in tables), *remarks])
        files: dict[str, str | bytes] = {
            NUMBERS: strict_json.dumps(_plain(grid, rows, features, deviations), indent=1),
            PAGE: f"{page}\n\n![loss against cost]({FIGURE})\n",
            FIGURE: drawn(rows, grid.control),
        }
        write_files(Path(output), files, kind)
    return rows


def _plain(
    grid: Grid,
    rows: Mapping[str, Method],
    features: Mapping[str, float],
    deviations: Sequence[Deviation],
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "reference": grid.reference,
        "control": grid.control,
        "seeds": list(grid.seeds),
        "models": dict(grid.models),
        "data": dict(features),
        "differences": [asdict(one) for one in deviations],
        "methods": {name: asdict(row) for name, row in rows.items()},
    }
