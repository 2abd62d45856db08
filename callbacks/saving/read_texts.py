"""What the students of a run have read, in its folder, where exports find it."""

from __future__ import annotations

from functools import reduce
from pathlib import Path

import numpy as np
from lightning.pytorch import Trainer

from lit_distill.files.atomic_files import replacing
from lit_distill.files.seen_texts import SeenTexts
from lit_distill.models import PretrainedStudent
from lit_distill.training.cast import Cast
from lit_distill.training.distillation import Distillation

FOLDER = "seen_texts"
"""Inside of a run folder."""


def note_read_texts(trainer: Trainer, module: Distillation) -> None:
    """Notes what the data, the starts of the students and the teachers have read; rank 0 writes.

    What stands there of an earlier part of the run stays. Nothing is known of models from the hub
    and of data modules that do not say it.

    Raises:
        UserError: what a folder says is damaged.
    """
    if not trainer.is_global_zero:
        return
    folder = Path(trainer.default_root_dir) / FOLDER
    before = SeenTexts.of(folder)
    models = [SeenTexts.of(Path(name).expanduser()) for name in _origins(module.cast)]
    known = [one for one in (before, module.data_facts.seen_texts, *models) if one is not None]
    if not known:
        return
    seen = reduce(SeenTexts.joined, known)
    if before is None or not np.array_equal(seen.hashes, before.hashes):
        with replacing(folder) as beside:
            beside.mkdir()
            seen.write(beside)


def read_texts(run: Path) -> SeenTexts | None:
    """What is noted in a run folder; None: nothing is.

    Raises:
        UserError: it is damaged.
    """
    return SeenTexts.of(run / FOLDER)


def _origins(cast: Cast) -> list[str]:
    """Models from which students start or learn: folders, or names on the hub."""
    recorded = cast.source.identity()
    names = [
        *(teacher.name for teacher in cast.teacher_specs.values()),
        *(
            start.name
            for start in cast.student_specs.values()
            if isinstance(start, PretrainedStudent)
        ),
        *(teacher["name"] for teacher in (recorded.teachers.values() if recorded else ())),
    ]
    return list(dict.fromkeys(filter(None, names)))
