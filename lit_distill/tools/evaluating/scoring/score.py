"""All cells of an evaluation, scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lit_distill.errors import UserError
from lit_distill.tools.evaluating.cells.cell import CellResult
from lit_distill.tools.evaluating.cells.predictions import Predictions
from lit_distill.tools.evaluating.scoring.loyalty import Numbers, loyalty, mean_numbers
from lit_distill.tools.evaluating.scoring.metrics import METRICS, check_metrics, default_metrics
from lit_distill.tools.evaluating.scoring.pairing import paired, problem_of
from lit_distill.tools.evaluating.scoring.resampling import Resamples
from lit_distill.tools.evaluating.scoring.retention import Cells, Level, Roles, level_of, mean_of


@dataclass(frozen=True, eq=False)
class TaskScores:
    """What was found on one task.

    Attributes:
        metrics: the level of the task by metric, the leading one first; its parts are languages.
        loyalty: by student, then by language and "mean".
        left_out: examples that some model was not asked, by language.
    """

    metrics: Mapping[str, Level]
    loyalty: Mapping[str, Mapping[str, Numbers]]
    left_out: Mapping[str, int]

    @property
    def leading(self) -> tuple[str, Level]:
        """The first metric and its level."""
        return next(iter(self.metrics.items()))

    @property
    def of_loss(self) -> bool:
        """Whether it leads with a loss or an error, which is in no mean over tasks."""
        return METRICS[self.leading[0]].smaller_is_better


@dataclass(frozen=True, eq=False)
class Scored:
    """What was found.

    Attributes:
        roles: of the models.
        tasks: by name, those that the reference has finished.
        mean: over tasks by their leading metrics, losses and errors left out; None of no task.
        broken: cells that have no predictions that can be compared; with the reason.
    """

    roles: Roles
    tasks: Mapping[str, TaskScores]
    mean: Level | None
    broken: Sequence[CellResult]


def score(
    cells: Sequence[CellResult],
    roles: Roles,
    metrics: Mapping[str, Sequence[str]],
    resamples: int = 1000,
    seed: int = 0,
) -> Scored:
    """Scores, retention and loyalty of all models.

    Args:
        cells: of any order; what is missing is left out.
        roles: of the models.
        metrics: names by task, the leading one first; of tasks without an entry the usual ones. A
            task whose metrics do not fit it is broken.
        resamples: of the examples.
        seed: of those.
    """
    tasks: dict[str, TaskScores] = {}
    broken: list[CellResult] = []
    for task in dict.fromkeys(cell.task for cell in cells):
        sound, unsound = _sorted_out([cell for cell in cells if cell.task == task], roles)
        broken += unsound
        if sound:
            first = next(own for (model, _), own in sound.items() if model == roles.reference)
            names = tuple(metrics.get(task, ())) or default_metrics(first)
            try:  # what other tasks have shown is not lost to this one
                check_metrics(names, task, first)
            except UserError as error:
                broken.append(CellResult("all models", task, 0, None, 0.0, str(error)))
            else:
                tasks[task] = _task(sound, names, roles, Resamples(0, resamples, seed))
    comparable = {
        task: level
        for task, own in tasks.items()
        if (level := own.leading[1]).scores and not own.of_loss
    }
    overall = mean_of(comparable, roles) if comparable else None
    return Scored(roles, tasks, overall, broken)


def _sorted_out(
    cells: Sequence[CellResult], roles: Roles
) -> tuple[dict[tuple[str, int], Predictions], list[CellResult]]:
    """The cells of a task that can be compared, none without the reference's; and the others."""
    finished = [(cell, own) for cell in cells if (own := cell.predictions) is not None]
    broken = [cell for cell in cells if cell.predictions is None]
    reference = next((own for cell, own in finished if cell.model == roles.reference), None)
    if reference is None:
        return {}, broken
    sound: dict[tuple[str, int], Predictions] = {}
    for cell, own in finished:
        problem = problem_of(own, reference)
        if problem:
            broken.append(replace(cell, predictions=None, error=problem))
        else:
            sound[cell.model, cell.seed] = own
    alive = any(model == roles.reference for model, _ in sound)
    return sound if alive else {}, broken


def _task(cells: Cells, names: Sequence[str], roles: Roles, draws: Resamples) -> TaskScores:
    reference = next(own for (model, _), own in cells.items() if model == roles.reference)
    languages: dict[str, Cells] = {}
    left_out: dict[str, int] = {}
    for language in reference.languages:
        own = {key: predictions.of(language) for key, predictions in cells.items()}
        most = max(len(predictions.starts) for predictions in own.values())
        common = paired(own)
        count = len(next(iter(common.values())).starts)
        left_out[language] = most - count
        if count:
            languages[language] = common
    if not languages:
        nothing = Level(roles, {}, why="no example was asked of all models")
        return TaskScores(dict.fromkeys(names, nothing), {}, left_out)
    levels = {
        name: mean_of(
            {
                language: level_of(
                    own, METRICS[name], roles, replace(draws, examples=_examples(own))
                )
                for language, own in languages.items()
            },
            roles,
        )
        for name in names
    }
    return TaskScores(levels, _loyalties(languages, roles), left_out)


def _examples(cells: Cells) -> int:
    return len(next(iter(cells.values())).starts)


def _loyalties(languages: Mapping[str, Cells], roles: Roles) -> dict[str, dict[str, Numbers]]:
    """Of every student to the teacher of the same seed: means over seeds."""
    models = dict.fromkeys(model for cells in languages.values() for model, _ in cells)
    found: dict[str, dict[str, Numbers]] = {}
    for student in roles.students(models):
        own = {
            language: mean_numbers(
                loyalty(predictions, cells[roles.reference, seed])
                for (model, seed), predictions in cells.items()
                if model == student and (roles.reference, seed) in cells
            )
            for language, cells in languages.items()
        }
        found[student] = {**own, "mean": mean_numbers(own.values())}
    return found
