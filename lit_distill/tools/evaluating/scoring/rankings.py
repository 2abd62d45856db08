"""Scores of rankings by ir-measures, query by query.

Candidates of equal score are ranked with the least relevant first: so ties never depend on the
order of the data, and a model that gives every candidate the same score gets the worst of it.
"""

from __future__ import annotations

import numpy as np
from ir_measures import AP, RR, P, iter_calc, nDCG
from numpy.typing import NDArray

from lit_distill.tools.evaluating.cells.predictions import Predictions

Floats = NDArray[np.float64]

MEASURES = {"mrr": RR, "map": AP, "p@1": P @ 1, "ndcg": nDCG}
"""By the names that a config uses; what is relevant has a target of 1 or more, the gain of nDCG."""


def by_query(predictions: Predictions, name: str) -> Floats:
    """A measure of every query (E,), in the order of the examples.

    A query without a relevant candidate counts 0, as in trec_eval.

    Args:
        predictions: a ranking.
        name: one of `MEASURES`.
    """
    relevant: dict[str, dict[str, int]] = {}
    run: dict[str, dict[str, float]] = {}
    ends = [*predictions.starts[1:], len(predictions)]
    for query, (start, end) in enumerate(zip(predictions.starts, ends, strict=True)):
        targets = predictions.targets[start:end].astype(np.int64)
        order = np.lexsort((targets, -predictions.scores[start:end, 0]))
        relevant[str(query)] = {str(place): int(targets[place]) for place in order}
        run[str(query)] = {str(place): -float(rank) for rank, place in enumerate(order)}
    values = np.zeros(len(predictions.starts))
    for found in iter_calc([MEASURES[name]], relevant, run):
        values[int(found.query_id)] = found.value
    return values
