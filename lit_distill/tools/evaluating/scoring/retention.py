"""What a student keeps of its teacher's scores, by language, by task and over tasks.

`kept` is student / teacher, `retention` the same above chance, (s - c) / (t - c): a student that
knows nothing keeps 50 % of a teacher with two labels, and retains 0. Chance is the score of the
majority baseline where that ran, else what the metric says. Retention is told only where the
teacher beats majority and a bag of words by more than chance can: where the 95 % interval of the
difference over the same examples lies above 0. Elsewhere it divides by noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lit_distill.tools.evaluating.cells.predictions import Predictions
from lit_distill.tools.evaluating.scoring.metrics import Metric
from lit_distill.tools.evaluating.scoring.resampling import Resamples, Sampled, combined, mean

Floats = NDArray[np.float64]
Cells = Mapping[tuple[str, int], Predictions]
"""Predictions about the same examples, by model and seed."""


@dataclass(frozen=True)
class Roles:
    """Which of the models is which.

    Attributes:
        reference: the teacher.
        control: the model that had no teacher; None: there is none.
        majority: the baseline that gives everything the commonest label.
        bag_of_words: the baseline that counts words.
    """

    reference: str
    control: str | None = None
    majority: str = "majority"
    bag_of_words: str = "bag of words"

    @property
    def baselines(self) -> tuple[str, str]:
        """What a teacher has to beat before anything is said about its students."""
        return self.majority, self.bag_of_words

    def students(self, models: Iterable[str]) -> list[str]:
        """All but the teacher and the baselines, the control among them."""
        return [name for name in models if name not in (self.reference, *self.baselines)]


@dataclass(frozen=True, eq=False)
class Level:
    """Scores of all models at one level: in a language, on a task, over tasks.

    Attributes:
        roles: of the models.
        scores: by model.
        retention: by model other than teacher and baselines; empty where not measurable.
        why: retention is not measurable; else empty.
        parts: levels that this one is a mean of, by name.
        examples: how many were compared; 0 above languages.
        chance: what knowing nothing gives; None above languages.
    """

    roles: Roles
    scores: Mapping[str, Sampled]
    retention: Mapping[str, Sampled] = field(default_factory=dict)
    why: str = ""
    parts: Mapping[str, Level] = field(default_factory=dict)
    examples: int = 0
    chance: Sampled | None = None

    @property
    def kept(self) -> dict[str, Sampled]:
        """Student / teacher, by model."""
        return self._against(self.roles.reference, lambda ours, theirs: ours / theirs)

    @property
    def over_control(self) -> dict[str, Sampled]:
        """Student - control, by model."""
        found = self._against(self.roles.control, lambda ours, theirs: ours - theirs)
        return {name: value for name, value in found.items() if name != self.roles.control}

    @property
    def measurable_parts(self) -> dict[str, Level]:
        """The parts whose retention this level's is a mean of."""
        return {name: part for name, part in self.parts.items() if not part.why}

    def worst(self, model: str) -> str | None:
        """The part, of those that are measurable, of which a model retains least."""
        values = self._retained(model)
        return min(values, key=lambda name: values[name], default=None)

    def gap(self, model: str) -> float | None:
        """How far the retention of the best and the worst part are apart."""
        values = self._retained(model).values()
        return max(values) - min(values) if values else None

    def _retained(self, model: str) -> dict[str, float]:
        found = {name: part.retention.get(model) for name, part in self.measurable_parts.items()}
        return {name: own.value for name, own in found.items() if own is not None and own.defined}

    def _against(self, other: str | None, formula: Callable[..., Floats]) -> dict[str, Sampled]:
        if other is None or other not in self.scores:
            return {}
        names = self.roles.students(self.scores)
        return {name: combined(formula, self.scores[name], self.scores[other]) for name in names}


def level_of(cells: Cells, metric: Metric, roles: Roles, draws: Resamples) -> Level:
    """One language of one task.

    Args:
        cells: at least the reference's.
        metric: of the task.
        roles: of the models.
        draws: of the examples.
    """
    scores = sampled_scores(cells, metric, draws)
    first = next(own for (model, _), own in cells.items() if model == roles.reference)
    majority = scores.get(roles.majority)
    chance = Sampled.constant(metric.chance_of(first), draws.number)
    if majority is not None and majority.defined:
        chance = majority
    why = _why_not(metric, scores, chance, roles)
    retention = {}
    if not why:
        teacher = scores[roles.reference]
        for name in roles.students(scores):
            retention[name] = combined(_above_chance, scores[name], teacher, chance)
    return Level(roles, scores, retention, why, examples=draws.examples, chance=chance)


def sampled_scores(cells: Cells, metric: Metric, draws: Resamples) -> dict[str, Sampled]:
    """The scores of every model; all are drawn alike."""
    prepared = {key: metric.prepared(own) for key, own in cells.items()}
    found: dict[tuple[str, int], list[Floats]] = {key: [] for key in cells}
    for counts in draws:
        for key, on_draws in prepared.items():
            found[key].append(on_draws(counts))
    scores: dict[str, Sampled] = {}
    for model in dict.fromkeys(model for model, _ in cells):
        seeds = [seed for name, seed in cells if name == model]
        values = {seed: metric.of(cells[model, seed]) for seed in seeds}
        scores[model] = Sampled.over_seeds(
            {seed: np.nan if value is None else value for seed, value in values.items()},
            {seed: np.concatenate(found[model, seed]) for seed in seeds},
        )
    return scores


def mean_of(parts: Mapping[str, Level], roles: Roles) -> Level:
    """The mean of languages or of tasks, each counting the same.

    Scores are means over all parts, retention over those where it is measurable; a model that has
    nothing to say in one of them has no mean.

    Args:
        parts: by name, at least one.
        roles: of the models.
    """
    scores = _means([part.scores for part in parts.values()])
    measurable = [part.retention for part in parts.values() if not part.why]
    reasons = list(dict.fromkeys(part.why for part in parts.values()))
    why = "" if measurable else "; ".join(reasons)
    return Level(roles, scores, _means(measurable), why, parts)


def _means(parts: Sequence[Mapping[str, Sampled]]) -> dict[str, Sampled]:
    names = parts[0] if parts else ()
    everywhere = [name for name in names if all(name in part for part in parts)]
    return {name: combined(mean, *(part[name] for part in parts)) for name in everywhere}


def _above_chance(ours: Floats, theirs: Floats, chance: Floats) -> Floats:
    return (ours - chance) / (theirs - chance)


def _why_not(metric: Metric, scores: Mapping[str, Sampled], chance: Sampled, roles: Roles) -> str:
    """Why retention is not measurable; "" if it is."""
    teacher = scores[roles.reference]
    if metric.smaller_is_better:
        return f"{metric.name} has no chance level"
    if not teacher.defined:
        return f"the {metric.name} of {roles.reference} is undefined"
    beaten = {name: scores[name] for name in roles.baselines if name in scores}
    beaten = {name: own for name, own in beaten.items() if own.defined} or {"chance": chance}
    for name, baseline in beaten.items():
        interval = combined(lambda ours, theirs: ours - theirs, teacher, baseline).interval
        if interval is None or interval[0] <= 0:
            return f"{roles.reference} does not beat {name} beyond the interval"
    return ""
