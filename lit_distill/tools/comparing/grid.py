"""Methods under several seeds on the same held-out text, measured seed by seed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

import torch

from data_modules import Corpus
from lit_distill.batch import Batch
from lit_distill.measures.measure import Scores, mean_over_languages
from lit_distill.tools.comparing.fairness import Records
from lit_distill.tools.comparing.held_out.measuring import (
    Losses,
    by_window,
    measured,
    open_models,
    speeds_of,
    validation_batches,
)
from lit_distill.tools.comparing.less_control import SeedDifference, less_control_over_seeds
from lit_distill.tools.comparing.records import Record
from lit_distill.tools.comparing.rows import Method, OverSeeds, TrainingCost
from lit_distill.tools.comparing.text_features import features_of
from lit_distill.tools.evaluating.reporting.cost import disk_of, without_embeddings
from lit_distill.tools.models_by_seed import SEED, named


@dataclass(frozen=True)
class Grid:
    """Which models are compared.

    Attributes:
        models: folders or hub names by name of the method; `{seed}` in one is the seed.
        seeds: under which they were trained.
        reference: name of the teacher, if there is one.
        control: name of the method with which the others are compared, if there is one.
    """

    models: Mapping[str, str]
    seeds: Sequence[int]
    reference: str | None
    control: str | None

    def sources(self, seed: int) -> dict[str, str]:
        """Folders or hub names under a seed."""
        return named(self.models, seed)

    def is_by_seed(self, name: str) -> bool:
        """Whether there is a model for each seed."""
        return SEED in self.models[name]

    def seeds_of(self, name: str) -> Sequence[int]:
        """Those that tell models apart: of a model without `{seed}` the first."""
        return self.seeds if self.is_by_seed(name) else self.seeds[:1]


@dataclass(frozen=True)
class _One:
    """What was measured of one model: scores by language, and losses by window."""

    scores: dict[str, Scores]
    losses: Losses


@dataclass(frozen=True)
class _Size:
    parameters: int
    without_embeddings: int
    speed: float


def measure_grid(
    grid: Grid, data: Corpus, records: Records
) -> tuple[dict[str, Method], dict[str, float]]:
    """Measures all models, those of one seed at a time in memory.

    Args:
        grid: which.
        data: the corpus.
        records: of their runs.

    Returns:
        Rows by method, and features of the text on which they were measured.

    Raises:
        UserError: a model cannot be opened or does not fit.
    """
    batches = validation_batches(data)
    sizes: dict[str, _Size] = {}
    found: dict[tuple[str, str], _One] = {}  # by a model's folder and its reference's
    for seed in grid.seeds:
        sources = grid.sources(seed)
        judge = sources[grid.reference] if grid.reference else ""
        missing = {name: own for name, own in sources.items() if (own, judge) not in found}
        wanted = {**missing, **({grid.reference: judge} if grid.reference else {})}
        found |= {
            (wanted[name], judge): one
            for name, one in _measured(wanted, grid.reference, data, batches, sizes).items()
        }

    def of(name: str, seed: int) -> _One:
        sources = grid.sources(seed)
        return found[sources[name], sources[grid.reference] if grid.reference else ""]

    by_seed = {name: [of(name, seed) for seed in grid.seeds] for name in grid.models}
    rows = {name: _row(grid, name, by_seed, sizes[name], records) for name in grid.models}
    return rows, features_of(batches, data)


@torch.no_grad()
def _measured(
    sources: dict[str, str],
    reference: str | None,
    data: Corpus,
    batches: list[Batch],
    sizes: dict[str, _Size],
) -> dict[str, _One]:
    """Opens models and measures them; of those that come first also sizes and speeds."""
    opened = open_models(sources, data)
    keepers = measured(opened, batches, opened[reference] if reference else None, data)
    fresh = {name: model for name, model in opened.items() if name not in sizes}
    speeds = speeds_of(fresh, batches) if fresh else {}
    for name, model in fresh.items():
        parameters = sum(own.numel() for own in model.model.parameters())
        sizes[name] = _Size(parameters, without_embeddings(model), speeds[name])
    return {
        name: _One(own[0].scores(data.languages), by_window(own[1], batches, data.languages))
        for name, own in keepers.items()
    }


def _row(
    grid: Grid,
    name: str,
    by_seed: Mapping[str, Sequence[_One]],
    size: _Size,
    records: Records,
) -> Method:
    alone = by_seed[name][: len(grid.seeds_of(name))]
    means = [mean_over_languages(one.scores) for one in alone]
    scores = _mean_scores([one.scores for one in alone])
    losses = {language: own["loss"] or 0.0 for language, own in scores.items()}
    worst = max(losses, key=lambda language: losses[language])
    folder = grid.sources(grid.seeds[0])[name]
    runs = [records[seed][name] for seed in grid.seeds_of(name)]
    first = runs[0]
    gap, gaps = _gaps(grid, name, by_seed)
    return Method(
        size.parameters,
        disk_of(Path(folder)) or 0,
        size.speed,
        scores,
        gap,
        gaps,
        without_embeddings=size.without_embeddings,
        loss=_over_seeds([mean["loss"] for mean in means]) or OverSeeds(0.0, (), None),
        agreement=None
        if name == grid.reference
        else _over_seeds([mean.get("agreement") for mean in means]),
        worst=(worst, losses[worst]),
        training=cost_of([run for run in runs if run is not None]),
        pipeline={} if first is None else first.pipeline,
    )


def _gaps(
    grid: Grid, name: str, by_seed: Mapping[str, Sequence[_One]]
) -> tuple[SeedDifference | None, dict[str, SeedDifference] | None]:
    """The difference from the control, and that by language; nothing of the control itself."""
    if grid.control is None or name == grid.control:
        return None, None
    several = grid.is_by_seed(name) or grid.is_by_seed(grid.control)
    count = len(grid.seeds) if several else 1
    own, control = ([one.losses for one in by_seed[n][:count]] for n in (name, grid.control))
    return less_control_over_seeds(own, control)


def _mean_scores(by_seed: Sequence[dict[str, Scores]]) -> dict[str, Scores]:
    """Means over seeds of every score; rows are those of one."""
    found: dict[str, Scores] = {}
    for language, first in by_seed[0].items():
        found[language] = {}
        for metric in first:
            values = [scores[language][metric] for scores in by_seed]
            known = [value for value in values if value is not None]
            whole = metric == "rows" or len(known) < len(values)
            found[language][metric] = values[0] if whole else fmean(known)
    return found


def _over_seeds(values: Iterable[float | None]) -> OverSeeds | None:
    """A number over seeds; None where a seed has none."""
    every = tuple(values)
    known = tuple(value for value in every if value is not None)
    if not known or len(known) < len(every):
        return None
    return OverSeeds(fmean(known), known, stdev(known) if len(known) > 1 else None)


def cost_of(runs: Sequence[Record]) -> TrainingCost | None:
    """What the training behind a method took.

    Args:
        runs: of all seeds; of none there is nothing to say.
    """
    if not runs:
        return None

    def mean(values: Iterable[float | None]) -> float | None:
        own = _over_seeds(values)
        return None if own is None else own.mean

    return TrainingCost(
        mean(run.updates for run in runs),
        mean(run.exported_after for run in runs),
        tuple(fmean(every) for every in _earlier_updates(runs)),
        mean(_sum([run.tokens, *(one.tokens for one in run.earlier)]) for run in runs),
        mean(_sum([run.seconds, *(one.seconds for one in run.earlier)]) for run in runs),
    )


def _earlier_updates(runs: Sequence[Record]) -> Iterator[Sequence[int]]:
    """Of every earlier run those under all seeds, the first run first; as far as all have one."""
    for own in reversed([*zip(*(run.earlier for run in runs), strict=False)]):
        known = [one.updates for one in own if one.updates is not None]
        if len(known) == len(own):
            yield known


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
