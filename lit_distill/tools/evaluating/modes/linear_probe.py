"""A probe: what a classifier of scikit-learn reads out of a model's frozen states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from data_modules import LabelledCorpus
from data_modules.tasks.rows import LabelledText
from lit_distill.batch import Batch
from lit_distill.errors import UserError
from lit_distill.knobs import Count, CountOrNone, check_knobs
from lit_distill.models import LanguageModel, Predicted, TeacherSpec, load_tokenizer
from lit_distill.tools.evaluating.cells.mode import Mode, Question
from lit_distill.tools.evaluating.cells.predictions import Floats, Predictions
from lit_distill.tools.evaluating.cells.reading import labelled, texts_of
from lit_distill.tools.evaluating.modes.baselines import log_probabilities

Classifier = Literal["logistic_regression", "gaussian_naive_bayes", "random_forest", "svm"]
TEXTS_AT_ONCE = 32


@dataclass(frozen=True)
class LinearProbe(Mode):
    """Pools the states of a frozen model to one vector a text, and fits a classifier to these.

    Vectors are standardised by the training text. Nothing of the model is trained, so that this is
    what it knows by itself; a decoder's texts are best pooled by `last`.

    Attributes:
        classifier: scikit-learn's; all but logistic regression see more than a line would.
        pooling: the first position, the mean over all, or the last.
        layer: number of the layer from 0 whose output is read; "last" is what a head reads.
        prefix: written before every text, as "query: " for e5.
        max_length: most tokens of a text; None: the data's own.

    Source: mBERT embeddings for prompt injection, with these four classifiers.
    """

    random: ClassVar[bool] = False
    labels: ClassVar[bool] = True
    classifier: Classifier = "logistic_regression"
    pooling: Literal["first", "mean", "last"] = "mean"
    layer: Literal["last"] | CountOrNone = "last"
    prefix: str = ""
    max_length: Count | None = None

    def __post_init__(self) -> None:
        check_knobs(LinearProbe, vars(self))

    def check(self, model: str, data: LightningDataModule) -> None:
        """See `Mode`."""
        _classes(model, data)

    def predict(self, question: Question) -> Predictions:
        """See `Mode`."""
        data = _classes(question.model, question.data)
        texts, model = texts_of(data), TeacherSpec(question.model).build(needs_head=False)
        if self.layer != "last" and self.layer >= len(model.layers):
            raise UserError(
                f"LinearProbe.layer is {self.layer}, and {question.model} has layers 0 to "
                f"{len(model.layers) - 1}: choose one of these, or last."
            )
        numbers = texts["train"].targets.astype(np.int64)
        tokenizer = load_tokenizer(question.model)
        tokenizer.padding_side = "right"
        tokenizer.model_max_length = min(self.max_length or data.max_length, model.max_length)
        read, asked = (self._states(model, tokenizer, texts[s].rows) for s in ("train", "test"))
        fitted = self._pipeline(numbers, question.seed).fit(read, numbers)
        scores = log_probabilities(fitted, asked, len(data.task_head.labels))
        return texts["test"].predictions(scores)

    @torch.no_grad()
    def _states(self, model: LanguageModel, tokenizer: Any, rows: list[LabelledText]) -> Floats:
        """(N, D) a vector for every text, in their order; texts of a length are read together."""
        order = np.argsort([len(row) for row in rows], kind="stable")
        found = np.empty((len(rows), model.hidden_size))
        for start in range(0, len(rows), TEXTS_AT_ONCE):
            part = order[start : start + TEXTS_AT_ONCE]
            firsts = [self.prefix + rows[index].text for index in part]
            seconds = [rows[index].second for index in part]
            inputs = firsts if seconds[0] is None else (firsts, seconds)
            read = tokenizer(
                *(inputs if isinstance(inputs, tuple) else (inputs,)),
                padding=True,
                truncation=True,
                return_tensors="pt",
            )
            last = None if self.layer == "last" else self.layer
            encoded = model.encode(cast(Batch, {**read}), last_layer=last)
            found[part] = self._pooled(encoded.hidden, read["attention_mask"]).double().numpy()
        return found

    def _pooled(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """(B, D) of states (B, T, D) and their mask (B, T), padded on the right."""
        if self.pooling == "first":
            return hidden[:, 0]
        if self.pooling == "last":
            return hidden[torch.arange(len(hidden)), mask.sum(1) - 1]
        weights = mask.unsqueeze(-1).to(hidden)
        return (hidden * weights).sum(1) / weights.sum(1)

    def _pipeline(self, numbers: Any, seed: int) -> Any:
        from sklearn.calibration import CalibratedClassifierCV
        from sklearn.ensemble import RandomForestClassifier
        from sklearn.linear_model import LogisticRegression
        from sklearn.naive_bayes import GaussianNB
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVC

        folds = int(min(5, np.unique(numbers, return_counts=True)[1].min()))
        if self.classifier == "svm" and folds < 2:
            raise UserError(
                "LinearProbe: svm learns probabilities by cross-validation, and a label has one "
                "training text only: give more, or choose logistic_regression."
            )
        chosen = {
            "logistic_regression": lambda: LogisticRegression(max_iter=2000),
            "gaussian_naive_bayes": GaussianNB,
            "random_forest": lambda: RandomForestClassifier(300, random_state=seed),
            "svm": lambda: CalibratedClassifierCV(SVC(), cv=folds, ensemble=False),
        }[self.classifier]
        return make_pipeline(StandardScaler(), chosen())


def _classes(model: str, data: LightningDataModule) -> LabelledCorpus:
    own = labelled(model, data, "LinearProbe")
    if own.predicts != Predicted.TEXT_LABELS:
        raise UserError(
            f"LinearProbe pools a text to one vector and classifies it, and the task asks for "
            f"{own.predicts.value}: use FineTuning; its `freeze` leaves the model as it is."
        )
    return own
