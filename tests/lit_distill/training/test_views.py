"""Batches of two views: the student reads one text and its teacher another."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from batches import Sample, Served, collate, samples
from shipped_methods import quiet_trainer
from tokenizers import BertWordPieceTokenizer
from transformers import BertConfig, BertForMaskedLM, BertTokenizerFast

from lit_distill.batch import PairBatch
from lit_distill.errors import UserError
from lit_distill.losses import AccumulationWindow, ForwardKL, LogitTerm, Term
from lit_distill.models import CachedTeacher, Hears, PretrainedStudent, TeacherSpec
from lit_distill.schedules import Constant
from lit_distill.training.distillation import Distillation
from lit_distill.training.logit_terms import logit_terms

SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
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
    module.cast.source = source = CachedTeacher("somewhere")
    source._cache = SimpleNamespace(view="")
    with pytest.raises(UserError, match=r"asks its teacher about the view 'tgt_'"):
        module.teach(two_views(), view="tgt_")


def foreign_teacher(folder: Path) -> Path:
    """A BERT of the same width with fewer tokens, cut by a tokenizer of its own."""
    trainer = BertWordPieceTokenizer(lowercase=True)
    trainer.train_from_iterator(["some other words " * 3] * 9, vocab_size=40, show_progress=False)
    BertTokenizerFast(tokenizer_object=trainer._tokenizer).save_pretrained(folder)
    config = BertConfig(vocab_size=104, pad_token_id=3, max_position_embeddings=20, **SMALL)
    BertForMaskedLM(config).save_pretrained(folder)
    return folder


class AcrossTokenizers(Distillation):
    """Means of the student's states near those of a teacher that cuts texts in its own way."""

    hears, shares_vocabulary = Hears.STATES, False

    def losses(self, batch: PairBatch, window: AccumulationWindow) -> dict[str, Term]:
        theirs = self.teach(batch, view="tgt_").states(batch["tgt_tokens"])[0][1].mean(0)
        ours = self.student.encode(batch, "src_").rows(batch["src_tokens"]).mean(0)
        return {"near": Term((ours - theirs).square().sum(), "sequences")}


def test_a_teacher_with_another_tokenizer_reads_a_view_of_its_own(
    tiny_bert: Path, tmp_path: Path
) -> None:
    """It has other rows, other specials and fewer positions: nothing of it is compared."""
    folder = str(foreign_teacher(tmp_path / "teacher"))
    batch = two_views()
    options: dict[str, Any] = {"dropout": 0.0, "optimizer": torch.optim.SGD}
    start = PretrainedStudent(str(tiny_bert))
    module = AcrossTokenizers(
        student=start, teacher=TeacherSpec(folder), tokenizer=str(tiny_bert), **options
    )
    loop = quiet_trainer(max_steps=1, limit_val_batches=1, val_check_interval=1)
    loop.fit(module, datamodule=Served([[batch]], [batch]))
    assert module.logged["near"] > 0
    (measured,) = module.measurements.values()
    assert measured.mean["kl"] is None  # its logits mean other tokens
    assert measured.mean["loss"] is not None
    strict = Across(True, student=start, teacher=TeacherSpec(folder), tokenizer=str(tiny_bert))
    with pytest.raises(UserError, match="use the tokenizer that the teacher was trained with"):
        quiet_trainer().fit(strict, datamodule=Served([[batch]]))
