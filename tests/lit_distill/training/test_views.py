"""Batches of two views: the student reads one text and its teacher another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from batches import Sample, Served, collate, samples
from shipped_methods import quiet_trainer

from lit_distill.batch import PairBatch
from lit_distill.errors import UserError
from lit_distill.losses import AccumulationWindow, ForwardKL, LogitTerm, Term
from lit_distill.models import CachedTeacher, Hears, TeacherSpec
from lit_distill.schedules import Constant
from lit_distill.training.distillation import Distillation
from lit_distill.training.logit_terms import logit_terms

TEXTS = samples(5, 100)
SAID = [Sample(t.number, [7, 8, *t.ids, 9], [m + 2 for m in t.masked], t.targets, 0) for t in TEXTS]
"""The same texts with two words before them and one behind."""


def two_views() -> PairBatch:
    views = {"src_": collate(TEXTS), "tgt_": collate(SAID)}
    found: dict[str, Any] = {
        f"{view}{key}": value for view, batch in views.items() for key, value in batch.items()
    }
    return PairBatch(**{**found, **views["tgt_"]})  # type: ignore[typeddict-item]


class Across(Distillation):
    """KL of the student's rows in one view from the teacher's in the other."""

    hears = Hears.TOP_K

    def __init__(self, told: bool, **base: Any) -> None:
        super().__init__(**base)
        self.told = told

    def losses(self, batch: PairBatch, window: AccumulationWindow) -> dict[str, Term]:
        return logit_terms(
            self.student,
            {"kl": LogitTerm(ForwardKL(), "rows")},
            window,
            batch["src_rows"],
            None,
            self.student.encode(batch, "src_"),
            self.teach(batch, view="tgt_"),
            teacher_rows=batch["tgt_rows"] if self.told else None,
        )


def method(folder: Path, told: bool) -> Across:
    return Across(
        told,
        teacher=TeacherSpec(str(folder)),
        dropout=0.0,
        schedule=Constant(),
        optimizer=torch.optim.SGD,
    )


def test_the_teacher_is_asked_about_its_own_rows(tiny_bert: Path) -> None:
    batch, module = two_views(), method(tiny_bert, told=True)
    quiet_trainer(max_steps=1).fit(module, datamodule=Served([[batch]]))
    fresh = method(tiny_bert, told=True)
    teacher = fresh.cast.teacher_specs["teacher"].build().double()
    student = fresh.cast.student_specs["student"].build(teacher, 0).double()
    values: dict[str, Any] = dict(batch)
    log_p, log_q = (
        torch.log_softmax(model.logits(model.encode(batch, view).rows(values[f"{view}rows"])), -1)
        for model, view in ((teacher, "tgt_"), (student, "src_"))
    )
    expected = (log_p.exp() * (log_p - log_q)).sum(-1).mean()
    assert module.logged["kl"] == pytest.approx(expected.item(), rel=1e-6)  # logged in float32


def test_rows_of_another_view_are_not_taken_for_the_students(tiny_bert: Path) -> None:
    with pytest.raises(UserError, match=r"view 'src_' of a batch and the teacher 'tgt_'"):
        quiet_trainer().fit(method(tiny_bert, told=False), datamodule=Served([[two_views()]]))


def test_a_cache_knows_one_text_only(tiny_bert: Path) -> None:
    module = method(tiny_bert, told=True)
    module.cast.source = CachedTeacher("somewhere")
    with pytest.raises(UserError, match=r"asks its teacher about the view 'tgt_'"):
        module.teach(two_views(), view="tgt_")
