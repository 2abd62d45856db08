"""Ways to ask that cost nothing, in a module that other processes can import."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

import numpy as np

from lit_distill.tools.evaluating.cells.mode import Mode, Question
from lit_distill.tools.evaluating.cells.predictions import Predictions
from lit_distill.tools.evaluating.cells.reading import labelled, texts_of


@dataclass(frozen=True)
class Guessing(Mode):
    """Draws labels by the seed; breaks, or kills its process, for models of some name."""

    breaks: str = "?"
    kills: str = "?"

    def predict(self, question: Question) -> Predictions:
        if self.breaks in question.model:
            raise ValueError(f"no such\nluck with {self.breaks}")
        if self.kills in question.model:
            os.kill(os.getpid(), signal.SIGKILL)
        test = texts_of(labelled(question.model, question.data, "Guessing"))["test"]
        shape = len(test.rows), len(test.head.labels)
        return test.predictions(np.log(np.random.default_rng(question.seed).random(shape)))
