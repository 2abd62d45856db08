"""What is written down about the stages of a recipe, in its run folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Record:
    """What is written down about a stage.

    Attributes:
        digest: of the stage as it was started.
        identity: of this start; stages that need this one remember it.
        finished: whether it got to its end.
        outputs: what a fit had left in its folder by then, of `progress.OUTPUTS`.
    """

    digest: str
    identity: str
    finished: bool = False
    outputs: Sequence[str] = ()


class Journal:
    """Where the record of a stage is kept.

    Args:
        run_dir: of the recipe.
        name: of the stage.
    """

    def __init__(self, run_dir: Path, name: str) -> None:
        self.path = run_dir / ".stages" / f"{name}.json"

    def read(self) -> Record | None:
        """The record; None if there is none that can be read."""
        try:
            return Record(**json.loads(self.path.read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, record: Record) -> None:
        """Replaces the record, whole or not at all."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_name(f"{self.path.name}.tmp")
        beside.write_text(json.dumps(asdict(record)), "utf-8")
        beside.replace(self.path)
