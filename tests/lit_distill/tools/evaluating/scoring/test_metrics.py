"""Metrics against a second library or the definition, on 1,000 random cases each."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from math import log2

import numpy as np
import pytest
from evaluated import TAGS, certain, predictions, some
from pytrec_eval import RelevanceEvaluator
from scipy.stats import rankdata

from lit_distill.errors import UserError
from lit_distill.tools.evaluating.cells.predictions import Kind, Predictions
from lit_distill.tools.evaluating.scoring.metrics import (
    METRICS,
    check_metrics,
    check_names,
    default_metrics,
)

CASES = 1000


def f1_by_hand(own: Predictions) -> float:
    chosen, right = own.scores.argmax(-1).tolist(), own.targets.astype(int).tolist()
    each = []
    for label in set(chosen) | set(right):
        hits = sum(a == b == label for a, b in zip(chosen, right, strict=True))
        each.append(2 * hits / (chosen.count(label) + right.count(label)))
    return sum(each) / len(each)


def share_right(own: Predictions) -> float:
    firsts = [row.index(max(row)) for row in own.scores.tolist()]  # of equal scores the first
    return sum(a == b for a, b in zip(firsts, own.targets.tolist(), strict=True)) / len(own)


def pairs_in_order(own: Predictions) -> float | None:
    """The share of pairs of a right and a wrong row that are in order, ties counting half."""
    labels = own.scores.shape[1]
    if len(set(own.targets)) < labels:
        return None
    areas = []
    for label in range(1, 2) if labels == 2 else range(labels):
        inside = own.scores[own.targets == label, label]
        outside = own.scores[own.targets != label, label]
        halves = [(a > b) + 0.5 * (a == b) for a, b in product(inside, outside)]
        areas.append(np.mean(halves))
    return float(np.mean(areas))


def bins_by_hand(own: Predictions) -> float:
    chances = np.exp(own.scores)
    sure, right = chances.max(-1), own.scores.argmax(-1) == own.targets
    edges = np.linspace(0, 1, 16).tolist()
    places = [bisect_right(edges, p) for p in sure]
    gaps = 0.0
    for place in set(places):
        inside = [index for index, other in enumerate(places) if other == place]
        gaps += len(inside) / len(own) * abs(right[inside].mean() - sure[inside].mean())
    return gaps


def chunks(tags: list[str]) -> set[tuple[str, int, int]]:
    """Entities as CoNLL's script has them."""
    found, start = set(), None
    for place, tag in enumerate([*tags, "O"]):
        goes_on = start is not None and tag == f"I-{start[0]}"
        if start is not None and not goes_on:
            found.add((start[0], start[1], place))
            start = None
        if tag != "O" and not goes_on:
            start = (tag[2:], place)
    return found


def entities_by_hand(own: Predictions) -> float | None:
    hits = given = true = 0
    for example in np.unique(own.examples):
        rows = own.examples == example
        wanted = chunks([TAGS[int(n)] for n in own.targets[rows]])
        found = chunks([TAGS[n] for n in own.scores[rows].argmax(-1)])
        hits, given, true = hits + len(wanted & found), given + len(found), true + len(wanted)
    return 2 * hits / (given + true) if given + true else None


def correlation_by_hand(x: np.ndarray, y: np.ndarray) -> float | None:
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    return float(np.corrcoef(x, y)[0, 1])


def query_by_query(measure: Callable[[list[int]], float]) -> object:
    """A mean over queries of a measure of the targets in order, the best ranked first."""

    def number(own: Predictions) -> float | None:
        if not own.targets.any():
            return None
        values = []
        for example in np.unique(own.examples):
            rows = own.examples == example
            ranked = sorted(zip(-own.scores[rows, 0], own.targets[rows], strict=True))
            values.append(measure([int(target) for _, target in ranked]))
        return float(np.mean(values))

    return number


def reciprocal(ranked: list[int]) -> float:
    return next((1 / place for place, one in enumerate(ranked, 1) if one), 0.0)


def average_precision(ranked: list[int]) -> float:
    places = [place for place, one in enumerate(ranked, 1) if one]
    shares = [count / place for count, place in enumerate(places, 1)]
    return sum(shares) / len(places) if places else 0.0


def gain(ranked: list[int]) -> float:
    def discounted(values: list[int]) -> float:
        return sum(value / log2(place + 1) for place, value in enumerate(values, 1))

    best = discounted(sorted(ranked, reverse=True))
    return discounted(ranked) / best if best else 0.0


ORACLES = [
    ("accuracy", Kind.CLASSES, share_right),
    ("macro_f1", Kind.CLASSES, f1_by_hand),
    ("auroc", Kind.CLASSES, pairs_in_order),
    ("ece", Kind.CLASSES, bins_by_hand),
    ("accuracy", Kind.TAGS, share_right),
    ("entity_f1", Kind.TAGS, entities_by_hand),
    ("pearson", Kind.VALUES, lambda own: correlation_by_hand(own.scores[:, 0], own.targets)),
    (
        "spearman",
        Kind.VALUES,
        lambda own: correlation_by_hand(rankdata(own.scores[:, 0]), rankdata(own.targets)),
    ),
    ("mrr", Kind.RANKING, query_by_query(reciprocal)),
    ("map", Kind.RANKING, query_by_query(average_precision)),
    ("p@1", Kind.RANKING, query_by_query(lambda ranked: float(ranked[0] > 0))),
    ("ndcg", Kind.RANKING, query_by_query(gain)),
    ("loss", Kind.LOSSES, lambda own: sum(own.scores[:, 0]) / sum(own.targets)),
]
IDS = [f"{name} of {kind.value}" for name, kind, _ in ORACLES]


@pytest.mark.parametrize(("name", "kind", "oracle"), ORACLES, ids=IDS)
def test_a_metric_is_what_others_compute(name: str, kind: Kind, oracle: object) -> None:
    random, undefined = np.random.default_rng(1), 0
    for _ in range(CASES):
        own = some(random, kind)
        wanted, found = oracle(own), METRICS[name].of(own)  # type: ignore[operator]
        if wanted is None:
            undefined += 1
            assert found is None
        else:
            assert found == pytest.approx(wanted, abs=1e-9)
    assert undefined < 0.8 * CASES


@pytest.mark.parametrize(("name", "kind", "_"), ORACLES, ids=IDS)
def test_on_resamples_a_metric_is_the_library_on_the_drawn_rows(
    name: str, kind: Kind, _: object
) -> None:
    random, metric = np.random.default_rng(2), METRICS[name]
    for _ in range(20):
        own = some(random, kind)
        examples = len(own.starts)
        counts = random.multinomial(examples, [1 / examples] * examples, size=5).astype(float)
        found = metric.prepared(own)(counts)
        parts = np.split(np.arange(len(own)), own.starts[1:])
        for row, value in zip(counts.astype(int), found, strict=True):
            drawn = [part for part, times in zip(parts, row, strict=True) for _ in range(times)]
            sizes = [len(part) for part in drawn]
            renamed = np.repeat(np.arange(len(drawn), dtype=np.uint64), sizes)
            wanted = metric.of(replace(own.take(np.concatenate(drawn)), examples=renamed))
            if wanted is None or not own.targets.any():  # of rankings, 0 on every draw
                assert np.isnan(value) or not own.targets.any() or kind is Kind.RANKING
            else:
                assert value == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("name", ["mrr", "map", "p@1", "ndcg"])
def test_rankings_without_ties_are_those_of_trec_eval(name: str) -> None:
    random = np.random.default_rng(3)
    measure = {"mrr": "recip_rank", "map": "map", "p@1": "P_1", "ndcg": "ndcg"}[name]
    for _ in range(50):
        own = replace(some(random, Kind.RANKING))
        own = replace(own, scores=random.permutation(len(own))[:, None] * 1.0)
        relevant: dict[str, dict[str, int]] = {}
        run: dict[str, dict[str, float]] = {}
        for row, example in enumerate(own.examples):
            relevant.setdefault(str(example), {})[str(row)] = int(own.targets[row])
            run.setdefault(str(example), {})[str(row)] = float(own.scores[row, 0])
        by_query = RelevanceEvaluator(relevant, {measure}).evaluate(run)
        wanted = np.mean([values[measure] for values in by_query.values()])
        found = METRICS[name].of(own)
        assert found == pytest.approx(wanted) if own.targets.any() else found is None


def test_ties_do_not_depend_on_the_order_of_the_data() -> None:
    random = np.random.default_rng(4)
    for name in ("mrr", "map", "p@1", "ndcg"):
        own = predictions(Kind.RANKING, [1, 0, 0, 2, 0, 1], np.zeros(6), [0] * 6)
        found = {METRICS[name].of(own.take(random.permutation(6))) for _ in range(20)}
        assert len(found) == 1
    assert METRICS["p@1"].of(own) == 0  # who says the same of all finds nothing


def test_what_is_undefined_is_none() -> None:
    constant = predictions(Kind.VALUES, [1, 2, 3], np.ones(3))
    assert METRICS["pearson"].of(constant) is METRICS["spearman"].of(constant) is None
    near = predictions(Kind.VALUES, [1, 2, 3], 1e9 + np.array([0, 1e-7, 0]))
    assert METRICS["pearson"].of(near) is None
    one_class = predictions(Kind.CLASSES, [1, 1], certain([0, 1], 2))
    assert METRICS["auroc"].of(one_class) is None
    assert METRICS["accuracy"].of(one_class) == 0.5
    outside = predictions(Kind.TAGS, [0, 0], certain([0, 0], len(TAGS)), labels=TAGS)
    assert METRICS["entity_f1"].of(outside) is None
    for metric in METRICS.values():
        for kind in metric.kinds:
            nothing = some(np.random.default_rng(0), kind).take(np.zeros(0, dtype=np.int64))
            assert metric.of(nothing) is None


def test_an_entity_may_begin_with_an_inner_tag() -> None:
    """As CoNLL counts; seqeval's strict mode would not."""
    right, given = [1, 2, 0, 3], [2, 2, 0, 3]  # I-PER I-PER for B-PER I-PER
    own = predictions(Kind.TAGS, right, certain(given, 5), [7] * 4, labels=TAGS)
    assert METRICS["entity_f1"].of(own) == 1


def test_what_knowing_nothing_gives() -> None:
    own = predictions(Kind.CLASSES, [2, 2, 2, 0], certain([0, 1, 2, 0], 3))
    assert METRICS["accuracy"].chance_of(own) == 0.75
    assert METRICS["macro_f1"].chance_of(own) == pytest.approx((6 / 7 + 0) / 2)
    assert METRICS["auroc"].chance_of(own) == 0.5
    assert METRICS["pearson"].chance_of(own) == 0
    queries = np.repeat(np.arange(200), 4).tolist()
    ranking = predictions(Kind.RANKING, [1, 0, 0, 0] * 200, np.zeros(800), queries)
    assert METRICS["p@1"].chance_of(ranking) == pytest.approx(1 / 4, abs=0.04)
    assert METRICS["mrr"].chance_of(ranking) == pytest.approx(25 / 48, abs=0.03)


def test_names_that_say_nothing() -> None:
    with pytest.raises(UserError, match=r"task nli names the metric 'acc'.* accuracy, macro_f1"):
        check_names(["acc"], "nli")
    values = predictions(Kind.VALUES, [1.0], np.ones(1))
    with pytest.raises(UserError, match="predicts values, of which accuracy says nothing"):
        check_metrics(["pearson", "accuracy"], "sts", values)
    words = predictions(Kind.TAGS, [0, 1], certain([0, 1], 2), labels=("NOUN", "VERB"))
    with pytest.raises(UserError, match="tags that are no entities in IOB2"):
        check_metrics(["entity_f1"], "pos", words)
    assert default_metrics(words) == ("accuracy", "macro_f1")
    check_metrics(default_metrics(values), "sts", values)
