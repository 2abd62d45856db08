"""Loyalty of language models to their teacher, token by token on held-out text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_modules import Corpus
from lit_distill.batch import Batch, row_languages
from lit_distill.errors import UserError
from lit_distill.measures import fidelity
from lit_distill.measures.probing import Metrics, Probe
from lit_distill.models import Ensemble, LanguageModel, LiveOutputs, teach
from lit_distill.tools.comparing.held_out.measuring import open_models, validation_batches
from lit_distill.tools.evaluating.scoring.loyalty import Numbers, mean_numbers

_AT_ONCE = 2**22  # probabilities that are held at a time


@dataclass(frozen=True)
class MaskedTokens(Probe):
    """What students and their teacher say about the hidden tokens of a corpus's validation split.

    Of decoders, about every next token. Label loyalty is the share of tokens on which both put the
    same one first; probability loyalty, ECE of both and errors are those of every task.

    Attributes:
        data: a corpus; its tokenizer is that of all models.
        reference: name of the teacher.
    """

    data: Corpus
    reference: str = "teacher"

    def measure(self, models: Mapping[str, str]) -> dict[str, Metrics]:
        """Numbers by student: means over languages, and each language's as `name/language`.

        Args:
            models: folders by name.

        Raises:
            UserError: the reference is none of them, or one does not fit the corpus.
        """
        if self.reference not in models:
            raise UserError(
                f"MaskedTokens.reference is {self.reference!r}, and the models are "
                f"{', '.join(models)}: name the teacher."
            )
        opened = open_models(dict(models), self.data)
        batches = validation_batches(self.data)
        teacher = opened.pop(self.reference)
        found = {
            name: self._of_student(student, teacher, batches) for name, student in opened.items()
        }
        return {
            name: {key: value for key, value in numbers.items() if value is not None}
            for name, numbers in found.items()
        }

    def _of_student(
        self, student: LanguageModel, teacher: LanguageModel, batches: list[Batch]
    ) -> Numbers:
        tables = []
        with torch.no_grad():
            for batch in batches:
                taught = teach([teacher], Ensemble(), batch)
                tables.append(np.concatenate(list(_tables(student, taught, batch))))
        table = np.concatenate(tables)
        languages = {
            name: _numbers(table[table[:, 0] == number])
            for number, name in enumerate(self.data.languages)
            if (table[:, 0] == number).any()
        }
        each = {
            f"{metric}/{language}": value
            for language, numbers in languages.items()
            for metric, value in numbers.items()
        }
        return {**mean_numbers(languages.values()), **each}


def _tables(
    student: LanguageModel, taught: LiveOutputs, batch: Batch
) -> Iterator[NDArray[np.float64]]:
    """Of every row: language, right, chosen by both, log-probability of that, distance: (N, 7)."""
    rows, languages = batch["rows"], row_languages(batch)
    states = student.encode(batch).rows(rows)
    step = max(1, _AT_ONCE // student.outputs)
    for start in range(0, len(rows), step):
        places = slice(start, start + step)
        ours = _log_probabilities(student.logits(states[places]))
        theirs = _log_probabilities(taught.logits(rows[places]))
        columns = [
            languages[places].numpy(),
            batch["targets"][places].numpy(),
            ours.argmax(-1),
            theirs.argmax(-1),
            ours.max(-1),
            theirs.max(-1),
            fidelity.jensen_shannon_distances(ours, theirs),
        ]
        yield np.stack(columns, axis=1)


def _log_probabilities(logits: Tensor) -> NDArray[np.float64]:
    found: NDArray[np.float64] = torch.log_softmax(logits, -1, dtype=torch.float64).numpy()
    return found


def _numbers(table: NDArray[np.float64]) -> Numbers:
    _, right, ours, theirs, sure, taught_sure, distances = table.T
    return {
        "label_loyalty": fidelity.label_loyalty(ours, theirs),
        "probability_loyalty": float(1 - distances.mean()),
        "ece": fidelity.calibration_error(np.exp(sure), ours == right),
        "teacher_ece": fidelity.calibration_error(np.exp(taught_sure), theirs == right),
        **asdict(fidelity.errors(ours, theirs, right)),
    }
