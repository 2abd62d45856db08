"""Whether a model has read what it is to be measured on."""

from __future__ import annotations

from pathlib import Path

from lightning.pytorch import LightningDataModule

from lit_distill.data_facts import DataFacts
from lit_distill.files.seen_texts import SeenTexts


def seen_in(model: str, data: LightningDataModule, split: str = "test") -> int:
    """How many different texts of a split a model was trained or selected on, or its teachers were.

    Of a model that keeps a share of its hashes (`SeenTexts.one_in`), so many of that share. 0 where
    nobody knows: a model from elsewhere, or a data module that does not name its texts.

    Args:
        model: folder of an export, or a hub name.
        data: of the task; not set up where the split is `test`.
        split: train, validation or test.

    Raises:
        UserError: what the folder says is damaged, or a file of the data cannot be read.
    """
    seen, hashes = SeenTexts.of(Path(model).expanduser()), DataFacts(data).text_hashes
    return 0 if seen is None or hashes is None else seen.overlap(hashes(split))
