"""What decides on the training texts and their masks, so that a teacher cache fits them or not."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import numpy as np

from data_modules.feeding.collation import Collate
from data_modules.objectives.objectives import Objective
from data_modules.storing.token_store import TokenStore
from lit_distill.batch import Batch

SAMPLED_WINDOWS = 64


def provenance_of(
    store: TokenStore,
    collate: Collate[Batch],
    objective: Objective,
    seed: int,
    variants: int | None,
) -> dict[str, Any]:
    """Names everything that decides what a model reads for a window and a drawing of its masks.

    Args:
        store: the training windows.
        collate: makes training batches of them.
        objective: what is predicted.
        seed: of the masks.
        variants: how many drawings of masks there are; None: as many as passes.

    Returns:
        Plain values by name. Where two corpora agree on all, models read the same on both. `corpus`
        is the store's hash, and `masks` one of a sample of windows as they are read, in every
        drawing: they also tell other samplers or versions apart.
    """
    some = np.unique(np.linspace(0, len(store.lengths) - 1, SAMPLED_WINDOWS).astype(np.int64))
    read = blake2b(digest_size=16)
    for variant in range(variants or 1):
        batch = collate(some, np.full_like(some, variant))
        read.update(batch["input_ids"].numpy().tobytes())
        read.update(batch["rows"].numpy().tobytes())
    return {
        "corpus": store.content,
        "windows": len(store.lengths),
        "objective": repr(objective),
        "seed": seed,
        "mask_variants": variants,
        "masks": read.hexdigest(),
        "template": None,  # nothing is put around the windows
    }


def order_identity(objective: Objective, content: str, variants: int | None) -> dict[str, Any]:
    """What a run must find again beside the order of its windows, to go on where it stopped.

    Args:
        objective: what is predicted.
        content: hash of all that is trained on.
        variants: as of `provenance_of`.
    """
    more: dict[str, Any] = {"mask_variants": variants} if variants else {}
    if breaks := objective.breaks():
        more["words"] = breaks.stamp
    return {"objective": repr(objective), "texts": content, **more}
