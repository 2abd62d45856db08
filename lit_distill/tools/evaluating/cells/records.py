"""Cells on the disk: one pair of files each, which a killed process leaves whole or not at all.

`cells/<model>/<task>/<seed>.npz` holds predictions, `.json` beside it whose they are: it is written
last, so that a cell is there when it can be read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from lit_distill.files import strict_json
from lit_distill.files.atomic_files import remove, replacing
from lit_distill.tools.evaluating.cells.cell import CellResult
from lit_distill.tools.evaluating.cells.predictions import Kind, Predictions

_BROKEN = (ValueError, KeyError, TypeError, AttributeError, AssertionError)
_ARRAYS = ("examples", "language", "targets", "scores")


@dataclass(frozen=True)
class Place:
    """Where a cell of an evaluation is kept.

    Attributes:
        output: folder of the evaluation.
        model: name.
        task: name.
        seed: number.
    """

    output: Path
    model: str
    task: str
    seed: int

    @property
    def folder(self) -> Path:
        """Of the task's cells."""
        return self.output / "cells" / self.model / self.task

    @property
    def working(self) -> Path:
        """What an unfinished cell keeps to go on."""
        return self.folder / f"{self.seed}.unfinished"

    def write(self, result: CellResult, identity: str, trace: str = "") -> None:
        """Writes a cell, and removes what it kept while it ran.

        Args:
            result: of the cell.
            identity: of all that decides on it.
            trace: where it broke, line by line.

        Raises:
            UserError: it could not be written.
        """
        remove(self._path("json"))  # it vouches for the predictions, which are written first
        said: dict[str, Any] = {"identity": identity, "seconds": round(result.seconds, 2)}
        if result.predictions is None:
            said |= {"error": result.error, "trace": trace.splitlines()}
        else:
            found = result.predictions
            said |= {"kind": found.kind.value, "languages": [*found.languages]}
            said["labels"] = [*found.labels]
            with replacing(self._path("npz")) as beside, beside.open("wb") as file:
                np.savez_compressed(file, **{name: vars(found)[name] for name in _ARRAYS})
        with replacing(self._path("json")) as beside:
            beside.write_text(strict_json.dumps(said, indent=1), "utf-8")
        remove(self.working)

    def read(self, identity: str | None = None) -> CellResult | None:
        """The cell as it was written; None where there is none that can be read.

        Args:
            identity: that it must have; None: any.
        """
        try:
            said = json.loads(self._path("json").read_text("utf-8"))
            if identity not in (None, said["identity"]):
                return None
            found = None if "error" in said else self._predictions(said)
            seconds, error = float(said["seconds"]), str(said.get("error", ""))
        except (OSError, EOFError, BadZipFile, *_BROKEN):
            return None
        return CellResult(self.model, self.task, self.seed, found, seconds, error)

    def _predictions(self, said: dict[str, Any]) -> Predictions:
        with self._path("npz").open("rb") as file:  # numpy leaves a broken one open
            arrays = np.load(file, allow_pickle=False)
            parts = {name: arrays[name] for name in _ARRAYS}
        return Predictions(Kind(said["kind"]), languages=said["languages"],
                           labels=said["labels"], **parts)  # fmt: skip

    def _path(self, suffix: str) -> Path:
        return self.folder / f"{self.seed}.{suffix}"
