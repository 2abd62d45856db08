"""What an evaluation found, as the header of a model card lists results for a hub."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lit_distill.tools.publishing.evaluation import Found
from lit_distill.tools.reporting.parts import finite
from lit_distill.tools.reporting.plain_files import inside

MADE_BY = {"made_by": "lit_distill evaluate"}
"""Arguments of the data set in our results, by which the next evaluation finds them."""
KINDS = {
    "entity_f1": "token-classification",
    **dict.fromkeys(("mrr", "map", "p@1", "ndcg"), "text-ranking"),
    **dict.fromkeys(("pearson", "spearman"), "sentence-similarity"),
    **dict.fromkeys(("accuracy", "macro_f1", "auroc"), "text-classification"),
}
"""Task of a hub by metric; the first that a task has decides."""


def is_ours(result: Any) -> bool:
    """Whether an evaluation wrote a result into a header."""
    return inside(result, "dataset", "args") == MADE_BY


def results_of(found: Found, task_of_model: str) -> list[dict[str, Any]]:
    """Results by task, and by task and language.

    Args:
        found: the evaluation.
        task_of_model: what the card says the model is for; of tasks whose metrics do not say it.
    """
    results = []
    for task, metric, level, languages in found.tasks():
        measured = inside(found.content, "tasks", task, "metrics")
        kind = next((KINDS[one] for one in KINDS if one in measured), task_of_model)
        means = [*_scores(found, measured), *_retention(found, level, metric, "mean of languages")]
        data = {"type": task, "name": task, "split": "test", "args": MADE_BY}
        results.append(_result(kind, task, data, means))
        for language, own in languages.items():
            numbers = [*_scores(found, {metric: own}), *_retention(found, own, metric, language)]
            results.append(_result(kind, task, {**data, "config": language}, numbers))
    return [one for one in results if one["metrics"]]


def _result(
    kind: str, task: str, data: Mapping[str, Any], metrics: list[dict[str, Any]]
) -> dict[str, Any]:
    return {"task": {"type": kind, "name": task}, "dataset": {**data}, "metrics": metrics}


def _scores(found: Found, measured: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for metric, level in measured.items():
        yield from _metric(metric, metric, inside(level, "scores", found.model))


def _retention(found: Found, level: Any, metric: str, where: str) -> Iterator[dict[str, Any]]:
    """Nothing where it is not measurable."""
    if not inside(level).get("not_measurable"):
        name = f"share of the teacher's {metric} above chance, {where}"
        yield from _metric("retention", name, inside(level, "retention", found.model))


def _metric(kind: str, name: str, estimate: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """One number with its interval; nothing where it is undefined."""
    value, low, high = (finite(estimate.get(key)) for key in ("value", "low", "high"))
    if value is None:
        return
    number: dict[str, Any] = {"type": kind, "value": round(value, 6), "name": name}
    if low is not None and high is not None:
        number["args"] = {"interval_95": [round(low, 6), round(high, 6)]}
    yield number
