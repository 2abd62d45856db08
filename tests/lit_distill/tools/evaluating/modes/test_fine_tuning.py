"""Fine-tuning inside a cell: what is asked are the best weights, and a stop changes nothing."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from data_modules import LabelledCorpus
from lit_distill.errors import UserError
from lit_distill.models import TeacherSpec
from lit_distill.tools.evaluating.cells.mode import Question
from lit_distill.tools.evaluating.cells.predictions import Kind, Predictions
from lit_distill.tools.evaluating.cells.reading import labelled, texts_of
from lit_distill.tools.evaluating.modes import FineTuning
from lit_distill.tools.evaluating.modes import fine_tuning as module
from lit_distill.tools.evaluating.modes.answers import answers
from lit_distill.tools.evaluating.modes.best_weights import BestWeights

QUICK = {"lr": 3e-3, "batch_tokens": 128, "validations": 3}


def asked(mode: FineTuning, model: Path, corpus: LabelledCorpus, folder: Path) -> Predictions:
    folder.mkdir(exist_ok=True)
    return mode.predict(Question(str(model), corpus, 3, folder))


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The callbacks that keep the best weights, of all trainings."""
    made: list[Any] = []

    class Watched(BestWeights):
        told: ClassVar[list[float]] = []  # in the place of losses

        def __init__(self, metric: str | None) -> None:
            super().__init__(metric)
            self.values: list[float] = []
            made.append(self)

        def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
            mean = pl_module.measurements["student"].mean
            if self.told:
                mean["loss"] = self.told[len(self.values)]
            super().on_validation_end(trainer, pl_module)
            self.values.append(mean[self.metric or "loss"])
            self.last = {n: p.detach().clone() for n, p in pl_module.students.named_parameters()}

        def on_train_end(self, trainer: Any, pl_module: Any) -> None:
            super().on_train_end(trainer, pl_module)
            self.end = {n: p.detach().clone() for n, p in pl_module.students.named_parameters()}

    monkeypatch.setattr(module, "BestWeights", Watched)
    return made


def test_the_best_weights_answer(
    corpus: LabelledCorpus,
    tiny_bert: Path,
    tmp_path: Path,
    kept: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module.BestWeights, "told", [2.0, 1.0, math.nan, 3.0])
    mode = FineTuning(updates=8, lr=1e-2, batch_tokens=128, validations=4)
    asked(mode, tiny_bert, corpus, tmp_path / "work")
    (watched,) = kept
    assert len(watched.values) == 4
    assert watched.best == -1.0
    assert any(not torch.equal(watched.end[name], watched.last[name]) for name in watched.end)
    for name, best in watched.weights.items():
        assert torch.equal(watched.end[name], best)


def test_the_best_of_another_metric_and_one_that_is_none(
    corpus: LabelledCorpus, tiny_bert: Path, tmp_path: Path, kept: list[Any]
) -> None:
    asked(FineTuning(updates=6, metric="accuracy", **QUICK), tiny_bert, corpus, tmp_path / "a")
    assert kept[0].best == max(kept[0].values)
    with pytest.raises(UserError, match="'f1', and validation measures loss, accuracy"):
        asked(FineTuning(updates=6, metric="f1", **QUICK), tiny_bert, corpus, tmp_path / "b")


def test_seeds_differ_and_repeat(corpus: LabelledCorpus, tiny_bert: Path, tmp_path: Path) -> None:
    mode = FineTuning(updates=3, **QUICK)
    one, same = (asked(mode, tiny_bert, corpus, tmp_path / "w").scores for _ in range(2))
    other = mode.predict(Question(str(tiny_bert), corpus, 4, tmp_path / "w")).scores
    assert (one == same).all()
    assert (one != other).any()


def test_the_head_is_the_seeds(
    corpus: LabelledCorpus, tiny_bert: Path, tmp_path: Path, kept: list[Any]
) -> None:
    for seed in (3, 4):
        mode = FineTuning(updates=1, lr=1e-9, batch_tokens=128)
        (tmp_path / "w").mkdir(exist_ok=True)
        mode.predict(Question(str(tiny_bert), corpus, seed, tmp_path / "w"))
    name = next(name for name in kept[0].end if name.endswith("classifier.weight"))
    assert not torch.allclose(kept[0].end[name], kept[1].end[name], atol=1e-4)


def test_a_stopped_cell_goes_on_as_if_it_had_not_been(
    corpus: LabelledCorpus, tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mode = FineTuning(updates=9, save_minutes=1e-6, **QUICK)
    whole = asked(mode, tiny_bert, corpus, tmp_path / "whole")
    own = module.FineTune.training_step

    def until_the_sixth(method: Any, batch: Any, batch_idx: int) -> Any:
        if method.global_step == 5:
            raise RuntimeError("stopped")
        return own(method, batch, batch_idx)

    monkeypatch.setattr(module.FineTune, "training_step", until_the_sixth)
    with pytest.raises(RuntimeError, match="stopped"):
        asked(mode, tiny_bert, corpus, tmp_path / "work")
    assert (tmp_path / "work/last.ckpt").is_file()
    steps: list[int] = []

    def counted(method: Any, batch: Any, batch_idx: int) -> Any:
        steps.append(method.global_step)
        return own(method, batch, batch_idx)

    monkeypatch.setattr(module.FineTune, "training_step", counted)
    resumed = asked(mode, tiny_bert, corpus, tmp_path / "work")
    assert steps == [5, 6, 7, 8]
    assert (resumed.scores == whole.scores).all()


def test_frozen_weights_stay(
    corpus: LabelledCorpus, tiny_bert: Path, tmp_path: Path, kept: list[Any]
) -> None:
    asked(FineTuning(updates=3, freeze=["embeddings"], **QUICK), tiny_bert, corpus, tmp_path / "w")
    assert not any("embeddings" in name for name in kept[0].weights)
    start = TeacherSpec(str(tiny_bert)).build().model.bert.embeddings.word_embeddings.weight
    name = next(name for name in kept[0].end if "word_embeddings" in name)
    assert torch.equal(kept[0].end[name].cpu(), start)


def test_answers_are_those_of_the_plain_class_text_by_text(
    corpus: LabelledCorpus, tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever stands beside a text in its batch, and in the order of the data."""
    kept_model: list[Any] = []

    def keep(model: Any, data: Any, kind: Kind) -> Predictions:
        model.model.save_pretrained(tmp_path / "tuned")
        kept_model.append(model)
        return answers(model, data, kind)

    monkeypatch.setattr(module, "answers", keep)
    found = asked(FineTuning(updates=3, **QUICK), tiny_bert, corpus, tmp_path / "w")
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "tuned").eval()
    assert [*plain.config.id2label.values()] == list(found.labels) == ["bad", "fair", "good"]
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    test = texts_of(labelled(str(tiny_bert), corpus, "x"))["test"]
    assert len(found) == len(test.rows) == 80
    for number in (0, 7, 41, 79):
        row = test.rows[number]
        inputs = tokenizer(row.text, truncation=True, max_length=16, return_tensors="pt")
        with torch.no_grad():
            theirs = plain(**inputs).logits.double().log_softmax(-1)[0]
        assert np.allclose(found.scores[number], theirs, atol=1e-5)
        assert found.targets[number] == ["bad", "fair", "good"].index(row.label)
        assert found.languages[found.language[number]] == test.languages[test.language[number]]
    assert (found.examples == test.predictions(found.scores).examples).all()


def test_how_long(corpus: LabelledCorpus, tiny_bert: Path) -> None:
    assert FineTuning(updates=7)._updates(labelled(str(tiny_bert), corpus, "x")) == 7
    data = labelled(str(tiny_bert), corpus, "x")
    data.batch_tokens = 100
    tokens = int(data.train.lengths.sum())
    assert FineTuning(epochs=2)._updates(data) == -(-2 * tokens // 100)


def test_training_may_be_in_half_precision_and_answers_are_not(
    corpus: LabelledCorpus, tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, torch.dtype, bool]] = []
    own = torch.nn.functional.scaled_dot_product_attention

    def watched(query: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        autocast = torch.is_autocast_enabled("cpu")
        seen.append((torch.is_grad_enabled(), query.dtype, torch.backends.cuda.flash_sdp_enabled()))
        assert autocast == (query.dtype == torch.bfloat16)
        return own(query, *args, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
    found = {}
    for precision in ("32-true", "bf16-mixed"):
        seen.clear()
        mode = FineTuning(updates=3, precision=precision, **QUICK)  # type: ignore[arg-type]
        found[precision] = asked(mode, tiny_bert, corpus, tmp_path / precision)
        training = {(dtype, flash) for learning, dtype, flash in seen if learning}
        half = precision == "bf16-mixed"
        assert training == {(torch.bfloat16, False) if half else (torch.float32, True)}
        assert seen[-1][1:] == (torch.float32, True)
    one, two = (each.scores for each in found.values())
    assert 0 < np.abs(one - two).max() < 0.1
