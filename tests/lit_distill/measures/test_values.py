"""The measure of regressions, and of choices and answers, on models by hand."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from batches import Served
from labelled import collate, pairs
from scipy.stats import pearsonr, spearmanr
from shipped_methods import quiet_trainer
from transformers import BertConfig, BertForMultipleChoice, BertForSequenceClassification

from lit_distill.batch import LabelledBatch
from lit_distill.measures import ChoiceMeasure, ValueMeasure
from lit_distill.measures.values import value_scores
from lit_distill.methods import FineTune
from lit_distill.models import LanguageModel, PretrainedStudent
from lit_distill.task_batches import choice_batch, value_batch

CONFIG: dict[str, Any] = {
    "vocab_size": 100, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 32, "max_position_embeddings": 32,
}  # fmt: skip
READ = ("input_ids", "attention_mask", "token_type_ids")


def models(kind: Any, **config: Any) -> list[LanguageModel]:
    made = []
    for seed in range(2):
        torch.manual_seed(seed)
        model = kind(BertConfig(**CONFIG, **config)).double()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.3)
        made.append(LanguageModel(model.eval()))
    return made


REGRESSIONS = models(BertForSequenceClassification, num_labels=1, problem_type="regression")
CHOOSERS = models(BertForMultipleChoice)


class InMemory(FineTune):
    """Models as they are."""

    pair: list[LanguageModel]

    def configure_model(self) -> None:
        if not self.students:
            self.students["student"], self.teachers["teacher"] = copy.deepcopy(self.pair)


def measured(pair: list[LanguageModel], batches: list[LabelledBatch]) -> tuple[InMemory, Any]:
    method = InMemory(student=PretrainedStudent("none"))
    method.pair = pair
    quiet_trainer(limit_val_batches=None).validate(method, Served([[]], batches), verbose=False)
    return method, method.measurements["student"]


def outputs(model: LanguageModel, batch: LabelledBatch) -> np.ndarray:
    given = {name: batch[name] for name in READ}  # type: ignore[literal-required]
    with torch.no_grad():
        states = model.encode(LabelledBatch(**given)).hidden[:, 0]
        found: np.ndarray = model.logits(states).numpy()
    return found


def test_numbers_are_measured_by_language_as_scipy_does() -> None:
    batches, rows = [], []
    draw = torch.Generator().manual_seed(0)
    for seed in range(3):
        given = collate(pairs(9, seed=seed))
        values = torch.randn(9, generator=draw)
        read = given["input_ids"], given["attention_mask"], values, given["language"].tolist()
        batches.append(value_batch(*read, given["token_type_ids"]))
        own = [outputs(model, given)[:, 0] for model in REGRESSIONS]
        rows.append(np.stack([given["language"].numpy(), values.numpy(), *own], 1))
    method, found = measured(REGRESSIONS, batches)
    assert isinstance(method.measure, ValueMeasure)
    table = np.concatenate(rows)
    for number, name in enumerate(("xx", "yy")):
        _, right, student, teacher = table[table[:, 0] == number].T
        assert found.languages[name] == pytest.approx(
            {
                "rows": len(right),
                "loss": ((student - right) ** 2).mean(),
                "pearson": pearsonr(student, right).statistic,
                "spearman": spearmanr(student, right).statistic,
                "regression_loyalty": pearsonr(student, teacher).statistic,
                "teacher_mae": np.abs(student - teacher).mean(),
                "teacher_ccc": concordance(student, teacher),
                "teacher_loss": ((teacher - right) ** 2).mean(),
            },
            rel=1e-6,
        )
    assert found.mean["rows"] == len(table)
    both = [found.languages[name]["pearson"] for name in ("xx", "yy")]
    assert found.mean["pearson"] == pytest.approx(sum(both) / 2)


def concordance(one: np.ndarray, other: np.ndarray) -> float:
    """Lin's: twice the covariance, over the variances and the squared distance of the means."""
    cov = np.cov(one, other)
    return float(2 * cov[0, 1] / (cov[0, 0] + cov[1, 1] + (one.mean() - other.mean()) ** 2))


def test_a_correlation_that_does_not_exist_is_none() -> None:
    numbers = torch.tensor([0.5, 0.5, 0.5]).double()
    found = value_scores(torch.arange(3).double(), numbers, torch.full((3,), torch.nan))
    assert found["loss"] is not None
    assert all(found[name] is None for name in found if name not in ("loss", "rows"))
    ten = value_scores(torch.arange(3).double(), torch.arange(3).double() * 10, torch.arange(3.0))
    assert ten["regression_loyalty"] == pytest.approx(1)  # blind to scale, which is why ...
    assert ten["teacher_mae"] == pytest.approx(9)
    assert ten["teacher_ccc"] is not None
    assert ten["teacher_ccc"] < 0.3


def test_choices_are_decisions() -> None:
    """Of unequal numbers, of two languages, one of them without a known answer."""
    given, choices = collate(pairs(11)), [2, 3, 2, 4]
    targets, languages = torch.tensor([1, 2, -100, 0]), [0, 1, 1, 0]
    read = given["input_ids"], given["attention_mask"], choices, targets, languages
    batch = choice_batch(*read, given["token_type_ids"])
    method, found = measured(CHOOSERS, [batch])
    assert isinstance(method.measure, ChoiceMeasure)
    ends = np.cumsum(choices)
    student, teacher = (np.split(outputs(model, given)[:, 0], ends[:-1]) for model in CHOOSERS)
    for number, name in enumerate(("xx", "yy")):
        own = [d for d in range(4) if languages[d] == number and targets[d] >= 0]
        scores = found.languages[name]
        assert scores["rows"] == len(own)
        hits = [student[d].argmax() == targets[d] for d in own]
        loyal = [student[d].argmax() == teacher[d].argmax() for d in own]
        losses = [np.log(np.exp(student[d]).sum()) - student[d][targets[d]] for d in own]
        assert scores["accuracy"] == pytest.approx(np.mean(hits))
        assert scores["label_loyalty"] == pytest.approx(np.mean(loyal))
        assert scores["loss"] == pytest.approx(np.mean(losses))
        assert "macro_f1" not in scores


def test_the_teacher_is_measured_on_what_it_reads(tmp_path: Path) -> None:
    given, other = collate(pairs(9)), collate(pairs(9, seed=3))
    values = torch.linspace(0, 1, 9)
    read = given["input_ids"], given["attention_mask"], values, [0] * 9
    batch = value_batch(*read, given["token_type_ids"])
    view = {f"teacher_{name}": value for name, value in other.items()}
    both = LabelledBatch(**{**batch, **view})  # type: ignore[typeddict-item]
    _, found = measured(REGRESSIONS, [both])
    expected = ((outputs(REGRESSIONS[1], other)[:, 0] - values.numpy()) ** 2).mean()
    assert found.languages["xx"]["teacher_loss"] == pytest.approx(expected, rel=1e-9)
