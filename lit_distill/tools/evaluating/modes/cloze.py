"""Classification without training: which label's word fits into a sentence about the text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any, ClassVar

import numpy as np
from scipy.special import log_softmax, logsumexp

from data_modules.tasks.rows import LabelledText
from data_modules.text.markers import engine
from lit_distill.errors import UserError
from lit_distill.knobs import Count, check_knobs
from lit_distill.measures.probing import Asked, Blank, Pieces, word_log_probabilities
from lit_distill.measures.probing.guesses import Floats
from lit_distill.tools.evaluating.cells.mode import Mode, Question
from lit_distill.tools.evaluating.cells.predictions import Kind, Predictions
from lit_distill.tools.evaluating.modes.texts import Example, asked_examples, hashes

Words = str | list[str]
Texts = tuple[str, str]
"""A text and the other one of its pair, which is empty where there is none."""
FIELDS = {"text", "second"}
TEXTS_AT_ONCE = 64


@dataclass(frozen=True)
class Cloze(Mode):
    """Asks for labels by the words that stand for them; nothing is trained.

    A masked language model is asked how likely each word is at [MASK]; a decoder, how likely the
    word and all behind it. A label with several words has the mean of their probabilities, and
    scores are normalised over the labels. A text is cut at its end (of a pair, the longer one
    first) so that the rest of the template fits. Template and words decide on the result as much as
    the model does: they compare models, and say little about one.

    Attributes:
        words: for each label a word, or several; or these by language.
        template: with {text}, [MASK] and, of pairs, {second}; or templates by language.
        pieces: what becomes of words of several tokens in masked models; "refuse" ends the cell,
            "multiply" multiplies. A decoder always multiplies.
        max_length: most tokens that are read, special ones included.

    Source: Schick and Schütze 2021, "Exploiting Cloze Questions for Few Shot Text Classification
    and Natural Language Inference", without its training.

    Raises:
        UserError: there are fewer than two labels, or a template has no place for text or word.
    """

    words: dict[str, Words | dict[str, Words]]
    template: str | dict[str, str] = "{text} It is [MASK]."
    pieces: Pieces = "refuse"
    max_length: Count = 128
    random: ClassVar[bool] = False
    labels: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_knobs(Cloze, vars(self))
        if len(self.words) < 2:
            raise UserError("Cloze.words needs the words of two labels or more.")
        given = self.template
        for template in [given] if isinstance(given, str) else given.values():
            _check(template)

    def predict(self, question: Question) -> Predictions:
        """See `Mode.predict`."""
        examples, labels = asked_examples(question.data), list(self.words)
        rows = [_labelled(example) for example in examples]
        languages = list(dict.fromkeys(example.language for example in examples))
        unknown = sorted({row.label for row in rows} - {*labels})
        if unknown:
            raise UserError(
                f"The data has the labels {', '.join(unknown)}, and Cloze.words has words for "
                f"{', '.join(labels)}: give each a word."
            )
        forms = {language: self._form(language) for language in languages}
        for example, row in zip(examples, rows, strict=True):
            forms[example.language].check(row)
        asked = Asked.opened(question.model, engine=engine)
        asked.check_language_model()
        scores = [
            self._scores(asked, [(forms[one.language], _labelled(one)) for one in part])
            for part in (
                examples[n : n + TEXTS_AT_ONCE] for n in range(0, len(rows), TEXTS_AT_ONCE)
            )
        ]
        return Predictions(
            Kind.CLASSES,
            hashes(examples),
            np.array([languages.index(example.language) for example in examples]),
            languages,
            np.array([labels.index(row.label) for row in rows], dtype=np.float64),
            np.concatenate(scores),
            labels,
        )

    def _form(self, language: str) -> _Form:
        template = _of_language(self.template, language, "template")
        words, owners = list[str](), list[int]()
        for number, (label, given) in enumerate(self.words.items()):
            own = _of_language(given, language, f"words.{label}")
            words += [own] if isinstance(own, str) else own
            owners += [number] * (len(words) - len(owners))
            if number not in owners or not all(words):
                raise UserError(f"Cloze.words.{label} has no word, or an empty one: give it one.")
        return _Form(template, words, np.array(owners))

    def _scores(self, asked: Asked, asked_rows: Sequence[tuple[_Form, LabelledText]]) -> Floats:
        """Log-probabilities (N, K) of the labels."""
        room = asked.room(self.max_length)
        filled = [
            (blank, word)
            for form, row in asked_rows
            for blank in [form.blank(form.fitted(asked, row, room))]
            for word in form.words
        ]
        found = word_log_probabilities(asked, filled, self.pieces)
        ends = np.cumsum([len(form.words) for form, _ in asked_rows])
        scores = [
            [logsumexp(own[form.owners == n]) - np.log((form.owners == n).sum()) for n in labels]
            for labels in [range(len(self.words))]
            for (form, _), own in zip(asked_rows, np.split(found, ends[:-1]), strict=True)
        ]
        normalised: Floats = log_softmax(np.array(scores), axis=-1)
        return normalised


@dataclass(frozen=True)
class _Form:
    """What is asked of the texts of one language.

    Attributes:
        template: see `Cloze`.
        words: of all labels.
        owners: (W,) the number of each word's label.
    """

    template: str
    words: Sequence[str]
    owners: np.ndarray

    def blank(self, texts: Texts) -> Blank:
        """The template with texts in it; a [MASK] or brace that they quote stays text."""
        blank, values = Blank.of(self.template), {"text": texts[0], "second": texts[1]}
        return Blank(blank.before.format(**values), blank.after.format(**values))

    def check(self, row: LabelledText) -> None:
        """Refuses pairs whose second text would not be read, and the reverse."""
        reads = "{second}" in self.template
        if reads != (row.second is not None):
            raise UserError(
                f"The template {self.template!r} has {'a' if reads else 'no'} {{second}}, and the "
                f"data has {'single texts' if reads else 'pairs of texts'}: change the template."
            )

    def fitted(self, asked: Asked, row: LabelledText, room: int) -> Texts:
        """The longest beginnings of the texts with which every word fits into the template."""
        texts = row.text, row.second or ""
        while True:
            blank = self.blank(texts)
            lengths = [len(one.ids) for one in asked.encoded([*map(blank.filled, self.words)])]
            over = max(lengths) - room
            if over <= 0:
                return texts
            if not any(texts):
                raise UserError(
                    f"The template {self.template!r} alone has {max(lengths)} tokens, and {room} "
                    "fit: raise max_length, or shorten it."
                )
            longer = int(len(texts[1]) > len(texts[0]))
            shorter = _shortened(asked, texts[longer], over)
            texts = (texts[0], shorter) if longer else (shorter, texts[1])


def _shortened(asked: Asked, text: str, tokens: int) -> str:
    """A text without so many tokens at its end, and at least without its last character."""
    offsets = asked.encoded([text])[0].offsets
    kept = offsets[-tokens][0] if tokens < len(offsets) else 0
    return text[: min(kept, len(text) - 1)].rstrip()


def _check(template: str) -> None:
    Blank.of(template)
    try:
        fields = {name for _, name, _, _ in Formatter().parse(template) if name is not None}
    except ValueError as error:
        raise UserError(f"The template {template!r} cannot be read: {error}.") from error
    if not {"text"} <= fields <= FIELDS:
        raise UserError(
            f"The template {template!r} needs {{text}}, may have {{second}}, and nothing else in "
            "braces."
        )


def _labelled(example: Example) -> LabelledText:
    if not isinstance(example.text, LabelledText):
        raise UserError("Cloze asks for labels of texts: give a LabelledCorpus of classes.")
    return example.text


def _of_language(given: Any, language: str, name: str) -> Any:
    """What is said for a language, or for all."""
    if not isinstance(given, Mapping):
        return given
    if language not in given:
        raise UserError(f"Cloze.{name} has nothing for {language}; it has {', '.join(given)}.")
    return given[language]
