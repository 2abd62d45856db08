"""How far losses from a teacher cache are from those of the live teacher.

The difference depends on the student. It is measured on two: one that knows nothing (the same
probability for every token), where the shape of the lost tail counts most, and the teacher itself,
where the loss should be zero. For every position the larger difference of KL(teacher || student) is
taken, in nats at the cache's temperature; a loss with the factor T^2 is off by T^2 times as much.

For the tails "bucket" and "uniform" the first one is KL(live || cached) itself, the lost tail taken
as uniform.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import Tensor

from lit_distill.batch import TextBatch
from lit_distill.losses import ForwardKL, TopK
from lit_distill.losses.rows.row_loss import BlockLogits
from lit_distill.models import CachedOutputs, TeacherCache
from lit_distill.models.teachers.cache_format import Manifest
from lit_distill.tools.caching.cache_shards import ROWS_PER_TILE, Scribe

ALL = "all"
QUANTILES = {"median": 0.5, "90 %": 0.9, "99 %": 0.99}


def measure(cache: TeacherCache, scribe: Scribe, windows: int) -> dict[str, dict[str, float]]:
    """Runs the live teacher again on some windows and compares with what the cache holds.

    Args:
        cache: all shards of it are there.
        scribe: the live teacher and the corpus.
        windows: of every language, evenly spread over them and over the drawings of masks.

    Returns:
        By language, and under "all": `rows` that were compared, `mean`, quantiles and `maximum` of
        the error, and the mean probability that was `kept`.
    """
    store = scribe.data.train
    table = {}
    with torch.inference_mode():
        for number, name in enumerate(store.languages):
            own = np.flatnonzero(store.language == number)
            if not len(own):  # a language that is measured and not trained on
                continue
            own = own[np.linspace(0, len(own) - 1, min(windows, len(own))).astype(np.int64)]
            drawings = np.arange(len(own)) % (scribe.data.mask_variants or 1)
            items = own + drawings * len(store.lengths)
            table[name] = np.concatenate(
                [_compare(cache, scribe, batch) for _, batch in scribe.batches(items)], axis=1
            )
    table[ALL] = np.concatenate(list(table.values()), axis=1)
    return {name: _summary(*columns) for name, columns in table.items()}


def _compare(cache: TeacherCache, scribe: Scribe, batch: TextBatch) -> NDArray[np.float64]:
    """Error and kept probability (2, P) of every kept position."""
    rows = cache.kept(batch)
    states = scribe.hidden(batch, rows)
    top = CachedOutputs(cache, cache.read(batch)).signal(rows)
    found = []
    for start in range(0, len(rows), ROWS_PER_TILE):
        tile = slice(start, start + ROWS_PER_TILE)
        logits = scribe.model.logits(states[tile]).cpu()
        part = TopK(top.ids[tile], top.log_probabilities[tile], top.temperature, top.tail)
        found.append(torch.stack([error(logits, part), kept(part)]))
    return torch.cat(found, 1).numpy()


def error(logits: Tensor, top: TopK) -> Tensor:
    """The error (N,) of a cached signal, given the live logits (N, V)."""
    loss, live = ForwardKL(top.temperature, t_squared=False), BlockLogits(logits.double())
    whole = slice(0, len(logits))
    differences = []
    for student in (BlockLogits(torch.zeros_like(live.values)), live):
        q = student.at(top.temperature)
        true, _ = live.against(loss, q)
        cached, _ = top.block((), whole).against(loss, q)
        differences.append((true - cached).abs())
    return torch.stack(differences).amax(0)


def kept(top: TopK) -> Tensor:
    """The probability (N,) of the kept tokens."""
    return top.log_probabilities.double().exp().sum(-1).clamp_max(1)


def _summary(errors: NDArray[np.float64], masses: NDArray[np.float64]) -> dict[str, float]:
    if not len(errors):
        return {"rows": 0.0}
    quantiles = {name: float(np.quantile(errors, share)) for name, share in QUANTILES.items()}
    return {
        "rows": float(len(errors)),
        "mean": float(errors.mean()),
        **quantiles,
        "maximum": float(errors.max()),
        "kept": float(masses.mean()),
    }


def show(manifest: Manifest, folder: Path) -> None:
    """Prints the error by language and the size on the disk."""
    assert manifest.error is not None
    size = sum(path.stat().st_size for path in folder.glob("shard-*.safetensors"))
    columns = ["mean", *QUANTILES, "maximum"]
    table = Table(
        title=f"{folder}: {size / 2**20:,.1f} MiB. Error of the loss at temperature "
        f"{manifest.provenance['temperature']:g}, nats; probability kept",
        title_justify="left",
    )
    table.add_column("language", no_wrap=True)
    for heading in ("rows", *columns, "kept"):
        table.add_column(heading, justify="right")
    for name, error in manifest.error.items():
        if error["rows"]:
            shown = [f"{error[column]:.4f}" for column in columns]
            table.add_row(name, f"{error['rows']:.0f}", *shown, f"{error['kept']:.3f}")
    Console().print(table)
