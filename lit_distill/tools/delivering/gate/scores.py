"""What a classifier gets right of labelled texts, before and after its export."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lit_distill.errors import UserError
from lit_distill.files.tables import columns_of
from lit_distill.models import Predicted
from lit_distill.tools.delivering.deliverables.deliverable import Deliverable
from lit_distill.tools.delivering.gate.examples import batches, read
from lit_distill.tools.delivering.gate.parity import TOGETHER
from lit_distill.tools.delivering.gate.running import Runner


@dataclass(frozen=True)
class Labelled:
    """Labelled texts of one language; labels are numbers of the model's outputs."""

    texts: list[str]
    labels: list[int]


@dataclass(frozen=True)
class Score:
    """Accuracies on the labelled texts of one language: the model's, and by file."""

    texts: int
    model: float
    files: dict[str, float]


def labelled_texts(what: Deliverable, tables: Mapping[str, str]) -> dict[str, Labelled]:
    """Reads labelled texts, by language.

    Args:
        what: whose labels they have.
        tables: jsonl, csv or parquet with the columns `text` and `label`, by language.

    Raises:
        UserError: the model labels no texts, a table cannot be read, or a label is none of its.
    """
    if tables and what.anatomy.predicts != Predicted.TEXT_LABELS:
        raise UserError(
            f"--labelled has texts with labels, and {what.called} is a {what.anatomy.architecture},"
            f" which predicts {what.anatomy.predicts.value}: leave it out."
        )
    numbers = {str(name): number for number, name in what.model.config.id2label.items()}
    found = {}
    for language, path in tables.items():
        table = columns_of(path, ("text", "label"))
        unknown = sorted({str(label) for label in table["label"]} - {*numbers})
        if unknown:
            raise UserError(
                f"--labelled.{language} {path} has the label {unknown[0]!r}, and {what.called} "
                f"knows {', '.join(numbers)}: map its labels to these."
            )
        labels = [numbers[str(label)] for label in table["label"]]
        found[language] = Labelled([str(text) for text in table["text"]], labels)
    return found


def scores(
    what: Deliverable, model: Runner, files: Mapping[str, Runner], tables: Mapping[str, Labelled]
) -> dict[str, Score]:
    """Accuracies of the model and of the files made of it, by language."""
    return {
        language: Score(
            len(table.texts),
            _accuracy(what, model, table),
            {name: _accuracy(what, runner, table) for name, runner in files.items()},
        )
        for language, table in tables.items()
    }


def _accuracy(what: Deliverable, runner: Runner, table: Labelled) -> float:
    decisions: list[int] = []
    for some in batches(read(what, table.texts), TOGETHER):
        decisions += [int(rows[0].argmax()) for rows in runner.rows(some)]
    right = sum(one == other for one, other in zip(decisions, table.labels, strict=True))
    return right / len(table.labels)
