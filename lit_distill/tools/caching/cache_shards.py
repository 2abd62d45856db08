"""The shards of a teacher cache: running the teacher, packing, writing; see `cache_format`.

Shapes: B sequences, T padded length, P kept positions, k likeliest tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors.numpy import save_file
from torch import Tensor

from data_modules import Corpus
from data_modules.feeding.collation import Collate
from data_modules.feeding.plan import EvaluationPlan
from lit_distill.batch import TextBatch
from lit_distill.errors import UserError
from lit_distill.files.atomic_files import replacing
from lit_distill.models import LanguageModel
from lit_distill.models.teachers.cache_format import (
    PER_ITEM,
    Arrays,
    Manifest,
    misfit,
    open_shard,
    pack_ids,
    ranges,
    shard_path,
    sums_of,
)
from lit_distill.models.teachers.teacher_cache import read_by_teacher, text_check

ROWS_PER_TILE = 256  # logits of this many rows are held at a time
LOWEST = float(np.finfo(np.float16).min)


@dataclass(frozen=True)
class Scribe:
    """Runs a teacher over windows and keeps what a cache is to hold.

    Attributes:
        model: the teacher, on its device.
        data: the corpus, set up.
        provenance: of the cache: k, temperature, positions, ...
    """

    model: LanguageModel
    data: Corpus
    provenance: dict[str, Any]

    def tokens(self, items: NDArray[np.int64]) -> NDArray[np.int64]:
        """Lengths of the windows of items."""
        return self.data.train.lengths[items % len(self.data.train.lengths)].astype(np.int64)

    def batches(self, items: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], TextBatch]]:
        """Places among `items`, and the batch of each; longest first, so with little padding."""
        places = np.arange(len(items))
        plan = EvaluationPlan(places, self.tokens(items), self.data.batch_tokens)
        return ((own, self.batch(items[own])) for own in plan.batches)

    def batch(self, items: NDArray[np.int64]) -> TextBatch:
        """The batch of some items, as training reads it."""
        variants, windows = np.divmod(items, len(self.data.train.lengths))
        return self._collate(windows, variants)

    @cached_property
    def _collate(self) -> Collate[TextBatch]:
        return self.data.collator()

    def write_down(self, batch: TextBatch) -> Arrays:
        """The arrays of a batch, its texts one after the other.

        Raises:
            UserError: the teacher says NaN or infinities.
        """
        read: dict[str, Any] = read_by_teacher(batch, self.view)
        rows = read["tokens"] if self.provenance["positions"] == "tokens" else read["rows"]
        states = self.hidden(batch, rows)
        tiles = [self._likeliest(tile) for tile in torch.split(states, ROWS_PER_TILE)]
        ids, log_p, mass = (torch.cat(parts).cpu().numpy() for parts in zip(*tiles, strict=True))
        if np.isnan(log_p).any():
            raise UserError(
                f"What the teacher says about {int(np.isnan(log_p).any(-1).sum())} of the "
                f"{len(rows)} positions of a batch is NaN or infinite: load it in float32 or "
                "bfloat16 (model.teacher.dtype), or take another teacher."
            )
        count, width = read["input_ids"].shape
        lengths = read["attention_mask"].sum(1).tolist()
        texts = zip(read["input_ids"].numpy(), lengths, strict=True)
        arrays = {
            "counts": np.bincount(rows.numpy() // width, minlength=count).astype(np.int32),
            "checks": np.array([text_check(text[:length]) for text, length in texts], np.uint32),
            **pack_ids(ids, self.provenance["vocab_size"]),
            "log_probabilities": log_p,
            "log_mass": mass,
        }
        if self.provenance["hidden_size"] is not None:
            half = states.float().clamp(LOWEST, -LOWEST).to(torch.float16)
            arrays["states"] = half.cpu().numpy()
        return arrays

    def hidden(self, batch: TextBatch, rows: Tensor) -> Tensor:
        """Last hidden states (P, D) at flat `rows`, on the teacher's device."""
        device = next(self.model.parameters()).device
        moved = {k: v.to(device) for k, v in batch.items() if isinstance(v, Tensor)}
        encoded = self.model.encode(TextBatch(**moved), self.view)  # type: ignore[typeddict-item]
        return encoded.rows(rows.to(device))

    @property
    def view(self) -> str:
        """Prefix of the batch keys that the teacher reads."""
        view: str = self.provenance.get("view", "")
        return view

    def _likeliest(self, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Ids (R, k), the likeliest first, their log-probabilities, and that (R,) of all of them.

        The last two are in half precision.
        """
        logits = self.model.logits(states).float() / self.provenance["temperature"]
        top, ids = logits.topk(self.provenance["k"], dim=-1)
        log_p = top - logits.logsumexp(-1, keepdim=True)
        mass = log_p.logsumexp(-1).clamp(LOWEST, 0.0)
        return ids, log_p.clamp(min=LOWEST).to(torch.float16), mass.to(torch.float16)


def write_missing(folder: Path, manifest: Manifest, scribe: Scribe) -> int:
    """Writes the shards that are not there yet, each whole or not at all.

    Returns:
        How many were written.
    """
    borders = manifest.borders
    lengths = scribe.tokens(np.arange(borders[-1]))
    written = 0
    with _bar() as bar, torch.inference_mode():
        task = bar.add_task("Caching the teacher", total=int(lengths.sum()), shards="")
        for number, (first, last) in enumerate(pairwise(borders)):
            bar.update(task, shards=f"shard {number + 1} of {len(borders) - 1}")
            path = shard_path(folder, number)
            if _is_whole(path, last - first, manifest.provenance):
                bar.advance(task, int(lengths[first:last].sum()))
                continue
            arrays = _shard(scribe, np.arange(first, last), lambda n: bar.advance(task, n))
            with replacing(path) as beside:
                save_file(arrays, beside)
            written += 1
    return written


def _shard(scribe: Scribe, items: NDArray[np.int64], advance: Callable[[int], None]) -> Arrays:
    """The arrays of items, in their order."""
    places, parts = [], []
    for own, batch in scribe.batches(items):
        places.append(own)
        parts.append(scribe.write_down(batch))
        advance(batch["counts"]["tokens"])
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(np.concatenate(places))
    counts = joined["counts"].astype(np.int64)
    rows = ranges((np.cumsum(counts) - counts)[order], counts[order])
    arrays = {name: array[order if name in PER_ITEM else rows] for name, array in joined.items()}
    return {**arrays, "sums": sums_of(arrays, counts[order])}


def _is_whole(path: Path, items: int, provenance: dict[str, Any]) -> bool:
    """Whether a shard is there, as it was written."""
    try:
        arrays = open_shard(path)
    except UserError:
        return False
    if misfit(arrays, provenance, items):
        return False
    counts = arrays["counts"].astype(np.int64)
    return "sums" not in arrays or bool((sums_of(arrays, counts) == arrays["sums"]).all())


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:.0f} % of the tokens, {task.fields[shards]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
