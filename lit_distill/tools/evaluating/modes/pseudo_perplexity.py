"""How badly a language model predicts held-out text, in units that vocabularies share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from data_modules.text.markers import engine
from lit_distill.knobs import Count, check_knobs
from lit_distill.measures.probing import Asked, text_losses
from lit_distill.tools.evaluating.cells.mode import Mode, Question
from lit_distill.tools.evaluating.cells.predictions import Kind, Predictions
from lit_distill.tools.evaluating.modes.texts import asked_examples, hashes, spread


@dataclass(frozen=True)
class PseudoPerplexity(Mode):
    """Asks for the losses of texts: pseudo-log-likelihoods of masked models, likelihoods of others.

    Of masked models every token is hidden in turn, so a text of T tokens is read T times. The loss
    of a text is the sum over its tokens; its units are what that is divided by: characters, by
    which models of different vocabularies can be compared, or tokens of the model's own, by
    which only those of one vocabulary can. Masked models and decoders cannot be compared at all:
    a masked model sees both sides, also of a word whose other pieces are not hidden.

    Attributes:
        unit: what a loss is divided by.
        at_most: texts of each language, evenly spread.
        max_length: most tokens that are read together, special ones included; longer texts are read
            in parts.

    Source: Salazar et al. 2020, "Masked Language Model Scoring", eqs. 1 and 3.
    """

    unit: Literal["characters", "tokens"] = "characters"
    at_most: Count = 200
    max_length: Count = 128
    random: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_knobs(PseudoPerplexity, vars(self))

    def predict(self, question: Question) -> Predictions:
        """See `Mode.predict`; a row is a text, and a pair is one."""
        examples = spread(asked_examples(question.data), self.at_most)
        asked = Asked.opened(question.model, engine=engine)
        texts = [str(example.text) for example in examples]
        losses, tokens = text_losses(asked, texts, self.max_length)
        characters = np.array([len(text) for text in texts], dtype=np.float64)
        languages = list(dict.fromkeys(example.language for example in examples))
        return Predictions(
            Kind.LOSSES,
            hashes(examples),
            np.array([languages.index(example.language) for example in examples]),
            languages,
            characters if self.unit == "characters" else tokens,
            losses[:, None],
        )
