"""The reader of a teacher cache: what one teacher said about every text of a corpus.

Shapes: P kept positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lit_distill.batch import TextBatch
from lit_distill.errors import UserError
from lit_distill.losses import Divergence
from lit_distill.losses.rows.row_loss import RowLoss
from lit_distill.models.teachers.cache_format import (
    MANIFEST,
    NEEDED,
    PER_ITEM,
    Arrays,
    Manifest,
    misfit,
    open_shard,
    ranges,
    shard_path,
    sums_of,
    unpack_ids,
)

Ints = NDArray[np.int64]


class TeacherCache:
    """A finished cache, mapped into memory: of every item, 24 bytes of memory.

    Args:
        folder: where `cache-teacher` wrote it.
        measured: refuse one whose error is not known yet.

    Attributes:
        manifest: what it holds and was made of.

    Raises:
        UserError: there is none, it is not finished, or damaged.
    """

    def __init__(self, folder: Path, measured: bool = True) -> None:
        self.folder, self.manifest = folder, Manifest.read(folder)
        borders = self.manifest.borders
        if measured and self.manifest.error is None:
            raise UserError(
                f"The teacher cache in {folder} is not finished: run `cache-teacher` as before, "
                "which goes on where it was."
            )
        self._check_manifest()
        self._shards = [open_shard(shard_path(folder, n)) for n in range(len(borders) - 1)]
        for number, (shard, items) in enumerate(zip(self._shards, np.diff(borders), strict=True)):
            if found := misfit(shard, self.manifest.provenance, int(items)):
                raise UserError(
                    f"{shard_path(folder, number)} does not hold what {folder / MANIFEST} says: "
                    f"{found}. Where that file was changed, change it back; else delete the shard "
                    "and run `cache-teacher` again, which writes what is missing."
                )
        counts = [shard["counts"].astype(np.int64) for shard in self._shards]
        self._counts = np.concatenate(counts)
        self._starts = np.concatenate([np.cumsum(own) - own for own in counts])
        self._checks = np.concatenate([shard["checks"] for shard in self._shards])
        whole = all("sums" in shard for shard in self._shards)
        self._sums = np.concatenate([x["sums"] for x in self._shards]) if whole else None

    def _check_manifest(self) -> None:
        provenance, borders = self.manifest.provenance, self.manifest.borders
        missing = [name for name in NEEDED if name not in provenance]
        trouble = f"it has no {missing[0]}" if missing else ""
        if not missing:
            items = provenance["windows"] * (provenance.get("mask_variants") or 1)
            trouble = f"borders end at {borders[-1]}, not {items}" if borders[-1] != items else ""
        if trouble:
            raise UserError(
                f"{self.folder / MANIFEST} is damaged ({trouble}): write the cache anew in another "
                "folder."
            )

    def item(self, name: str) -> Any:
        """A value of the provenance."""
        return self.manifest.provenance[name]

    @property
    def view(self) -> str:
        """Prefix of the batch keys that the teacher read; of the data's own text, nothing."""
        view: str = self.manifest.provenance.get("view", "")
        return view

    def kept(self, batch: TextBatch) -> Tensor:
        """Flat positions (P,) of a batch, in the teacher's view, about which something is kept."""
        positions: Tensor = read_by_teacher(batch, self.view)[self.item("positions")]
        return positions

    def check(self, now: dict[str, Any]) -> None:
        """Refuses a run that the cache was not made for.

        Args:
            now: the run's values of items of the provenance.

        Raises:
            UserError: items differ; the message names each with both values.
        """
        found = self.manifest.differences(now)
        if found:
            raise UserError(
                f"The teacher cache in {self.folder} was not made for this run: "
                f"{'; '.join(found)}. Change the run's settings back, or write another cache with "
                "this run's configuration (`cache-teacher`)."
            )

    def check_losses(self, losses: Sequence[RowLoss]) -> None:
        """Refuses losses that need what the cache does not hold.

        Raises:
            UserError: another temperature, logits, or a loss that its tail policy does not allow.
        """
        for loss in losses:
            if not loss.needs_teacher:
                continue
            if not isinstance(loss, Divergence):
                raise UserError(
                    f"{loss} needs the teacher's logits, and the cache in {self.folder} holds its "
                    "likeliest tokens only: leave the loss out (weight 0), or train with the live "
                    "teacher (model.teacher_cache: null)."
                )
            self.check({"temperature": loss.temperature})
            if self.item("tail") == "renormalise" and not loss.allows_bucketing:
                raise UserError(
                    f"{loss} is not defined where the teacher gives nothing, as outside the "
                    f"likeliest tokens of the cache in {self.folder} (tail: renormalise): write "
                    "one with the tail `bucket` or `uniform`."
                )

    def read(self, batch: TextBatch) -> TextBatch:
        """The batch with what the teacher says about it; before it goes to the device.

        Args:
            batch: of the training text.

        Raises:
            UserError: its text or masks are not those that the teacher read.
        """
        if "segments" in batch:
            raise UserError("A teacher cache knows windows, and these rows are packed of several.")
        items = batch["sample_id"].numpy()
        if "variant" in batch:
            items = items + batch["variant"].numpy() * self.item("windows")
        if items.max() >= len(self._counts):
            raise UserError(f"Window {items.max()} is not in the teacher cache {self.folder}.")
        self._check_text(batch, items)
        found = self.gather(items)
        ids = unpack_ids(found, self.item("vocab_size"))
        read: dict[str, Any] = {
            "teacher_ids": torch.from_numpy(ids),
            "teacher_log_probabilities": torch.from_numpy(found["log_probabilities"]),
            "teacher_log_mass": torch.from_numpy(found["log_mass"]),
        }
        if "states" in found:
            read["teacher_states"] = torch.from_numpy(found["states"])
        return TextBatch(**{**batch, **read})  # type: ignore[typeddict-item]

    def gather(self, items: Ints) -> Arrays:
        """The kept positions (P,) of these items, one item after the other, as they are stored."""
        counts, starts = self._counts[items], self._starts[items]
        shards = np.searchsorted(self.manifest.borders, items, side="right") - 1
        targets = np.cumsum(counts) - counts
        total = int(counts.sum())
        found: Arrays = {}
        for number in np.unique(shards).tolist():
            own = shards == number
            source, target = (ranges(where[own], counts[own]) for where in (starts, targets))
            for name, array in self._shards[number].items():
                if name not in PER_ITEM:
                    if name not in found:
                        found[name] = np.empty((total, *array.shape[1:]), array.dtype)
                    found[name][target] = array[source]
        self._check_sums(items, found)
        return found

    def _check_sums(self, items: Ints, found: Arrays) -> None:
        """What was read is what was written, down to the bit, wherever a disk lost something."""
        if self._sums is None:
            return
        wrong = np.flatnonzero(sums_of(found, self._counts[items]) != self._sums[items])
        if len(wrong):
            item = int(items[wrong[0]])
            number = int(np.searchsorted(self.manifest.borders, item, side="right")) - 1
            raise UserError(
                f"{shard_path(self.folder, number)} is damaged (item {item} is not as it was "
                "written): delete it and run `cache-teacher` again, which writes what is missing."
            )

    def _check_text(self, batch: TextBatch, items: Ints) -> None:
        read, kept = read_by_teacher(batch, self.view), self.kept(batch)
        ids = read["input_ids"].numpy()
        lengths = read["attention_mask"].sum(1).tolist()
        checks = [text_check(text[:length]) for text, length in zip(ids, lengths, strict=True)]
        wrong = np.flatnonzero(self._checks[items] != np.array(checks, np.uint32))
        if len(wrong) or self._counts[items].sum() != len(kept):
            window = int(batch["sample_id"][wrong[0] if len(wrong) else 0])
            raise UserError(
                f"Window {window} is not what the teacher of {self.folder} read: its text or masks "
                "are others. Use the corpus, objective, seed and mask_variants of the cache, or "
                "write a new one."
            )


def read_by_teacher(batch: TextBatch, view: str) -> dict[str, Any]:
    """The values of a batch that a teacher reads, by their names without the prefix of its view.

    Raises:
        UserError: the batch has no such view.
    """
    found = {name.removeprefix(view): x for name, x in batch.items() if name.startswith(view)}
    if "input_ids" not in found:
        raise UserError(
            f"The teacher cache holds what was said about the view {view!r} of the data, and a "
            "batch has none: use the data of the cache, or write a new one."
        )
    return found


def text_check(read: NDArray[np.int64]) -> int:
    """CRC-32 of the token ids of one text as a model reads it, without padding."""
    return crc32(np.ascontiguousarray(read, np.int64).tobytes())
