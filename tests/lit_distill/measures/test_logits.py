"""The sums over rows against a plain formula, per language and over tiles."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from batches import collate, samples

from lit_distill.batch import row_languages
from lit_distill.measures import logits as measurement
from lit_distill.measures.logits import ScoreKeeper, Tile, row_scores, score_batch
from lit_distill.models import Ensemble, LayerCopyStudent, TeacherSpec, teach


def test_scores_equal_the_formula(tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurement, "ROWS_PER_TILE", 3)
    teacher = TeacherSpec(str(tiny_bert)).build()
    student = LayerCopyStudent().build(teacher, 0)
    batch = collate(samples(7, 100), extra=2)
    keeper = ScoreKeeper(3, with_teacher=True)
    with torch.no_grad():
        for _ in range(2):
            taught = teach([teacher], Ensemble(), batch)
            score_batch({"student": [keeper]}, {"student": student}, taught, batch)
        ids, mask = batch["input_ids"], batch["attention_mask"]
        z_s = student.model(input_ids=ids, attention_mask=mask).logits.flatten(0, 1)[batch["rows"]]
        z_t = teacher.model(input_ids=ids, attention_mask=mask).logits.flatten(0, 1)[batch["rows"]]
    found = keeper.scores(["xx", "yy", "no text"])
    assert list(found) == ["xx", "yy"]
    for number, name in enumerate(found):
        chosen = row_languages(batch) == number
        log_q, log_p = z_s[chosen].log_softmax(-1), z_t[chosen].log_softmax(-1)
        targets = batch["targets"][chosen]
        scores = found[name]
        assert scores["rows"] == 2 * len(targets)
        picked = -log_q[range(len(targets)), targets].mean()
        assert scores["loss"] == pytest.approx(float(picked), rel=1e-5)
        taught = -log_p[range(len(targets)), targets].mean()
        assert scores["teacher_loss"] == pytest.approx(float(taught), rel=1e-5)
        kl = (log_p.exp() * (log_p - log_q)).sum(-1).mean()
        assert scores["kl"] == pytest.approx(float(kl), rel=1e-4)
        same = (log_q.argmax(-1) == log_p.argmax(-1)).float().mean()
        assert scores["agreement"] == pytest.approx(float(same))
        right = (log_q.argmax(-1) == targets).float().mean()
        assert scores["accuracy"] == pytest.approx(float(right))


def test_tokens_that_the_teacher_forbids_add_nothing_to_the_kl() -> None:
    """0 log 0 is 0; what is NaN stays so."""
    student = torch.tensor([[0.5, -1.0, 0.3, 2.0]])
    teacher = torch.tensor([[1.0, 0.0, -torch.inf, -torch.inf]])
    table = row_scores(student, teacher, torch.tensor([0]))
    p = torch.tensor([1.0, 0.0]).double().softmax(-1)
    log_q = student[0].double().log_softmax(-1)[:2]
    assert table[0, 4].item() == pytest.approx((p * (p.log() - log_q)).sum().item(), rel=1e-6)
    both = row_scores(teacher, teacher, torch.tensor([0]))
    assert both[0, 4] == 0
    broken = row_scores(student, torch.full_like(teacher, torch.nan), torch.tensor([0]))
    assert broken[0, 4].isnan()


def test_without_a_teacher_its_scores_are_none() -> None:
    keeper = ScoreKeeper(1, with_teacher=False)
    keeper.update(Tile(torch.zeros(2, 5), None, torch.tensor([1, 0])), torch.tensor([0, 0]))
    (scores,) = keeper.scores(["xx"]).values()
    unknown = dict.fromkeys(("teacher_loss", "kl", "agreement"))
    assert scores == {"rows": 2, "loss": pytest.approx(math.log(5)), "accuracy": 0.5, **unknown}


def test_rows_are_grouped_in_further_ways_in_the_same_pass(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measurement, "ROWS_PER_TILE", 3)
    model = TeacherSpec(str(tiny_bert)).build()
    batch = collate(samples(7, 100))
    odd = batch["targets"] % 3 - 1  # -1: in no group
    keepers = [
        ScoreKeeper(2, with_teacher=False),
        ScoreKeeper(2, with_teacher=False, grouping=lambda _: odd),
    ]
    with torch.no_grad():
        score_batch({"student": keepers}, {"student": model}, None, batch)
        ids, mask = batch["input_ids"], batch["attention_mask"]
        logits = model.model(input_ids=ids, attention_mask=mask).logits.flatten(0, 1)
    rows = logits[batch["rows"]].log_softmax(-1)
    losses = -rows[range(len(rows)), batch["targets"]]
    scores = keepers[1].scores(["even", "odd"])
    for number, name in enumerate(("even", "odd")):
        assert scores[name]["rows"] == int((odd == number).sum())
        assert scores[name]["loss"] == pytest.approx(float(losses[odd == number].mean()), rel=1e-5)
    assert sum(s["rows"] for s in keepers[0].scores(["xx", "yy"]).values()) == len(rows)
