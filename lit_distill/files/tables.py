"""Tables of texts in .jsonl, .csv and .parquet, small enough to be read whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lit_distill.errors import UserError


def columns_of(path: str, names: Sequence[str]) -> dict[str, list[Any]]:
    """Some columns of a table, by name; cells without a value are None.

    Args:
        path: ends in .jsonl, .csv or .parquet.
        names: columns that must be there.

    Raises:
        UserError: the file cannot be read, has no rows, or lacks a column.
    """
    # A tenth of a second, which only commands that read tables need.
    import pyarrow as pa
    from pyarrow import csv, json, parquet

    kinds = {".jsonl": json.read_json, ".csv": csv.read_csv, ".parquet": parquet.read_table}
    file = Path(path).expanduser()
    if file.suffix not in kinds:
        raise UserError(f"{path} is no table: give a file that ends in {', '.join(kinds)}.")
    try:
        table = kinds[file.suffix](str(file))
    except (OSError, pa.ArrowException) as error:
        first = str(error).partition("\n")[0]
        raise UserError(f"The table {path} cannot be read: {first}.") from error
    missing = [name for name in names if name not in table.column_names]
    if missing:
        raise UserError(
            f"{path} has no column {', '.join(map(repr, missing))}; it has "
            f"{', '.join(table.column_names)}."
        )
    if not len(table):
        raise UserError(f"{path} has no rows.")
    return {name: table.column(name).to_pylist() for name in names}
