"""What a run began from, in which order it has read its texts, and what that took: plain data.

`compare` asserts by it that runs differ in nothing but their method.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from torch import Tensor

from lit_distill.files.atomic_files import replacing
from lit_distill.files.seen_texts import SeenTexts
from lit_distill.models import fingerprint_of_weights, full_state_dict
from lit_distill.training.distillation import Distillation

TRAINING = "training.json"
"""Inside of a run folder."""
FORMAT = 1
HASHED = 64
"""Micro-batches at the beginning of a run whose texts are hashed: on a GPU each is waited for."""


class TrainingRecord:
    """Hashes of the start and of the order of texts, counts of what was read, and seconds.

    It goes on with a resumed run. Of a run that an earlier release began, it says nothing.
    """

    def __init__(self) -> None:
        self._starts: dict[str, str] = {}
        self._texts: str | None = None
        self._order: dict[str, str] = {}
        self._chain = ""
        self._counts = {"batches": 0, "tokens": 0, "sequences": 0}
        self._seconds = 0.0
        self._since: float | None = None
        self._known = True

    def begin(self, module: Distillation) -> None:
        """Hashes the students' weights, unless that was done before; every rank has to call it."""
        if self._known and not self._starts:
            self._starts = {
                name: fingerprint_of_weights(full_state_dict(student.model))
                for name, student in module.cast.student_models.items()
            }

    def read(self, batch: Mapping[str, Any], module: Distillation) -> None:
        """Notes that a micro-batch is about to be trained on."""
        if self._texts is None:
            seen = module.data_facts.seen_texts
            self._texts = _digest(seen.hashes.tobytes()) if isinstance(seen, SeenTexts) else ""
        counts = batch.get("counts", {})
        for name in ("tokens", "sequences"):
            self._counts[name] += int(counts.get(name, 0))
        self._counts["batches"] += 1
        if self._counts["batches"] <= HASHED:
            self._chain = _digest(self._chain.encode(), *map(_bytes, _identity(batch)))
            if self._counts["batches"].bit_count() == 1:  # so that shorter runs can be compared
                self._order[str(self._counts["batches"])] = self._chain
        self.rest()
        self._since = time.perf_counter()

    def rest(self) -> None:
        """Stops the clock until the next micro-batch: what comes is no training."""
        if self._since is not None:
            self._seconds += time.perf_counter() - self._since
        self._since = None

    def write(self, trainer: Trainer) -> None:
        """Replaces the file in the run folder; rank 0 calls it.

        Raises:
            UserError: it could not be written.
        """
        if not self._known:
            return
        found = {
            "format": FORMAT,
            "updates": trainer.global_step,
            **self._counts,
            "processes": trainer.world_size,
            "seconds": round(self._now(), 3),
            "starts": self._starts,
            "texts": self._texts or None,
            "order": self._order,
        }
        with replacing(Path(trainer.default_root_dir) / TRAINING) as beside:
            beside.write_text(json.dumps(found, indent=1) + "\n", "utf-8")

    def state_dict(self) -> dict[str, Any] | None:
        """All of it, for a checkpoint; None where the beginning is not known."""
        if not self._known:
            return None
        return {
            "starts": self._starts,
            "texts": self._texts,
            "order": self._order,
            "chain": self._chain,
            "counts": self._counts,
            "seconds": self._now(),
        }

    def load_state_dict(self, state: Mapping[str, Any] | None) -> None:
        """Goes on from there; from None it knows nothing."""
        self._known = state is not None
        if state is not None:
            self._starts, self._texts = dict(state["starts"]), state["texts"]
            self._order, self._chain = dict(state["order"]), state["chain"]
            self._counts, self._seconds = dict(state["counts"]), state["seconds"]

    def _now(self) -> float:
        return self._seconds + (0 if self._since is None else time.perf_counter() - self._since)


def _identity(batch: Mapping[str, Any]) -> list[Tensor]:
    """What tells the texts of a micro-batch: numbers in their corpus; without those, what is read.

    Not what is read alone: masks differ between objectives, whose texts are the same.
    """
    known = [batch[name] for name in ("language", "sample_id") if name in batch]
    return known if "sample_id" in batch else [*known, batch["input_ids"]]


def _bytes(tensor: Tensor) -> bytes:
    return bytes(tensor.detach().cpu().contiguous().numpy().tobytes())


def _digest(*parts: bytes) -> str:
    found = blake2b(digest_size=16)
    for part in parts:
        found.update(part)
    return found.hexdigest()
