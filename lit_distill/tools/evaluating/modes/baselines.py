"""What is known without any model: the commonest answer, and a bag of words.

A task on which a teacher is no better than these says nothing about its student.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from lightning.pytorch import LightningDataModule
from scipy.special import log_softmax

from data_modules.tasks.rows import LabelledText
from lit_distill.knobs import Positive, check_knobs
from lit_distill.models import Predicted
from lit_distill.tools.evaluating.cells.mode import Mode, Question
from lit_distill.tools.evaluating.cells.predictions import Floats, Predictions
from lit_distill.tools.evaluating.cells.reading import Texts, labelled, texts_of

RAREST = 1e-6
"""Least probability of a label; a classifier may say 0."""


class Baseline(Mode):
    """A way to answer that looks at no model; that of the question gives its tokenizer alone."""

    random: ClassVar[bool] = False
    labels: ClassVar[bool] = True

    def check(self, model: str, data: LightningDataModule) -> None:
        """See `Mode`."""
        labelled(model, data, type(self).__name__)

    def predict(self, question: Question) -> Predictions:
        """See `Mode`."""
        texts = texts_of(labelled(question.model, question.data, type(self).__name__))
        scores = self.scores(texts["train"], texts["test"])
        return texts["test"].predictions(scores, [str(n) for n in range(scores.shape[1])])

    @abstractmethod
    def scores(self, train: Texts, test: Texts) -> Floats:
        """(D, K) what it says about test texts, after it has seen training texts."""


@dataclass(frozen=True)
class Majority(Baseline):
    """Says of everything how often each answer is right in training; of numbers, their mean."""

    def scores(self, train: Texts, test: Texts) -> Floats:
        """See `Baseline`."""
        decisions = int(test.decisions.sum())
        if train.head.predicts == Predicted.TEXT_VALUE:
            return np.full((decisions, 1), train.targets.mean())
        width = len(train.head.labels) or max(len(r.choices) for r in (*train.rows, *test.rows))
        counts = np.bincount(train.targets.astype(np.int64), minlength=width)
        shares = np.maximum(counts / counts.sum(), RAREST)
        return np.tile(np.log(shares), (decisions, 1))


@dataclass(frozen=True)
class BagOfWords(Baseline):
    """Linear models on counts of words, pairs of words and character n-grams (to 4).

    Classes by logistic regression, numbers by ridge regression, choices by whether each is right.
    Labels of words by a linear model of the word, its ends and its neighbours. Characters are what
    it has of scripts without spaces. The two texts of a pair are read as one.

    Attributes:
        inverse_penalty: C of scikit-learn's `LogisticRegression`, 1 / alpha of `Ridge`.
    """

    inverse_penalty: Positive = 1.0

    def __post_init__(self) -> None:
        check_knobs(BagOfWords, vars(self))

    def scores(self, train: Texts, test: Texts) -> Floats:
        """See `Baseline`."""
        if train.head.predicts == Predicted.TOKEN_LABELS:
            return self._tags(train, test)
        if train.head.predicts == Predicted.CHOICES:
            return self._choices(train, test)
        if train.head.predicts == Predicted.TEXT_VALUE:
            fitted = self._counting(numbers=True).fit(train.rows, train.targets)
            values: Floats = fitted.predict(test.rows)
            return values[:, None]
        fitted = self._counting().fit(train.rows, train.targets)
        return log_probabilities(fitted, test.rows, len(train.head.labels))

    def _counting(self, numbers: bool = False) -> Any:
        from sklearn.feature_extraction.text import CountVectorizer
        from sklearn.linear_model import LogisticRegression, Ridge
        from sklearn.pipeline import make_pipeline, make_union

        counts = make_union(
            CountVectorizer(ngram_range=(1, 2), token_pattern=r"\w+", binary=True),
            CountVectorizer(analyzer="char_wb", ngram_range=(1, 4), binary=True),
        )
        strength = self.inverse_penalty
        classes = LogisticRegression(C=strength, max_iter=1000)
        return make_pipeline(counts, Ridge(1 / strength) if numbers else classes)

    def _choices(self, train: Texts, test: Texts) -> Floats:
        """How much likelier each choice is than the others to be a right one."""
        pairs = [f"{row.text} {choice}" for row in train.rows for choice in row.choices]
        right = [
            number == target
            for row, target in zip(train.rows, train.targets.tolist(), strict=True)
            for number in range(len(row.choices))
        ]
        fitted = self._counting().fit(pairs, right)
        scores = np.full((len(test.rows), max(len(row.choices) for row in test.rows)), -1e4)
        for number, row in enumerate(test.rows):
            own = fitted.decision_function([f"{row.text} {choice}" for choice in row.choices])
            scores[number, : len(own)] = own
        found: Floats = log_softmax(scores, axis=-1)
        return found

    def _tags(self, train: Texts, test: Texts) -> Floats:
        from sklearn.feature_extraction.text import CountVectorizer
        from sklearn.linear_model import SGDClassifier
        from sklearn.pipeline import make_pipeline

        # Stochastic, as there are as many rows as words; one order, so that it is no draw.
        linear = SGDClassifier(loss="log_loss", alpha=1e-5, random_state=0)
        words, asked = ([*_windows(texts.rows)] for texts in (train, test))
        counts = CountVectorizer(analyzer=list, binary=True)  # of features, as they are
        fitted = make_pipeline(counts, linear).fit(words, train.targets)
        return log_probabilities(fitted, asked, len(train.head.labels))


def log_probabilities(classifier: Any, features: Any, labels: int) -> Floats:
    """What a fitted classifier of scikit-learn says about N rows, (N, `labels`)."""
    given = classifier.predict_proba(features)
    shares = np.zeros((len(given), labels))
    shares[:, classifier.classes_.astype(np.int64)] = given
    scores: Floats = np.log(np.maximum(shares, RAREST))
    return scores


def _windows(rows: list[LabelledText]) -> Iterator[list[str]]:
    """Features of every word: itself, its ends, its neighbours, how it is written."""
    for row in rows:
        words = ["", *(row.text[start:end] for start, end in row.words), ""]
        for before, word, after in zip(words, words[1:], words[2:], strict=False):
            kinds = word.istitle(), word.isupper(), any(letter.isdigit() for letter in word)
            yield [
                f"word {word.lower()}",
                f"before {before.lower()}",
                f"after {after.lower()}",
                f"start {word[:3].lower()}",
                f"end {word[-3:].lower()}",
                f"written {kinds}",
            ]
