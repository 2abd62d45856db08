"""Batches of tasks and the logits of their decisions: against Transformers, example by example."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from architectures import random_model
from torch import Tensor

from lit_distill.batch import IGNORED, LabelledBatch, decision_languages, row_languages
from lit_distill.models import LanguageModel, anatomy_of, decided, decision_logits, teach
from lit_distill.models.teachers.ensemble import Ensemble
from lit_distill.task_batches import choice_batch, labelled_batch, span_batch, value_batch

TEXTS = [[2, 7, 8, 9, 3], [2, 11, 12, 3], [2, 13, 3], [2, 5, 6, 3], [2, 8, 8, 9, 4, 3]]
CHOICES = [2, 3]
SPANS = [(1, 3), (0, 0), (1, 1), (2, 2), (3, 4)]


def padded(texts: list[list[int]], extra: int = 0) -> tuple[Tensor, Tensor]:
    width = max(map(len, texts)) + extra
    ids = torch.tensor([text + [0] * (width - len(text)) for text in texts])
    return ids, (ids > 0).long()


def choices(texts: list[list[int]], counts: list[int], extra: int = 0) -> LabelledBatch:
    targets = torch.arange(len(counts)) % 2
    return choice_batch(*padded(texts, extra), counts, targets, list(range(len(counts))))


def spans(texts: list[list[int]], extra: int = 0, at: list[Any] | None = None) -> LabelledBatch:
    ids, mask = padded(texts, extra)
    possible = (mask > 0) & (ids != 3)  # not the token that ends them
    given = torch.tensor(SPANS[: len(texts)] if at is None else at)
    return span_batch(ids, mask, possible, given, [number % 2 for number in range(len(texts))])


def model_of(kind: str) -> LanguageModel:
    return LanguageModel(random_model(anatomy_of(f"BertFor{kind}")).double()).eval()


@torch.no_grad()
def say(model: LanguageModel, batch: LabelledBatch) -> Tensor:
    return decision_logits(model, batch, model.encode(batch))


def nowhere(logits: Tensor) -> float:
    return torch.finfo(logits.dtype).min / 64


@torch.no_grad()
@pytest.mark.parametrize("extra", [0, 2])
def test_choices_of_unequal_number_are_transformers_own(extra: int) -> None:
    model, batch = model_of("MultipleChoice"), choices(TEXTS, CHOICES, extra)
    found = say(model, batch)
    for example, (start, end) in enumerate([(0, 2), (2, 5)]):
        ids, mask = padded(TEXTS[start:end])
        own = model.model(ids.unsqueeze(0), attention_mask=mask.unsqueeze(0)).logits[0]
        torch.testing.assert_close(found[example, : end - start], own, rtol=1e-12, atol=1e-13)
    assert found[0, 2] == nowhere(found)
    assert found.softmax(-1)[0, 2] == 0
    assert batch["targets"].tolist() == [0, 1]
    counts = {"tokens": 22, "sequences": 5, "rows": 5, "masked": 0, "decisions": 2}
    assert batch["counts"] == counts
    assert batch["language"].tolist() == [0, 0, 1, 1, 1]
    assert decision_languages(batch).tolist() == [0, 1]


@torch.no_grad()
@pytest.mark.parametrize("extra", [0, 2])
def test_answers_are_transformers_own(extra: int) -> None:
    model, batch = model_of("QuestionAnswering"), spans(TEXTS, extra)
    found = say(model, batch)
    for number, text in enumerate(TEXTS):
        own = model.model(torch.tensor([text]))
        for end, logits in enumerate((own.start_logits[0], own.end_logits[0])):
            decision = found[2 * number + end]
            torch.testing.assert_close(decision[: len(text) - 1], logits[:-1])
            assert bool((decision[len(text) - 1 :] == nowhere(found)).all())
            target = batch["targets"][2 * number + end]
            assert decision[target] == pytest.approx(float(logits[SPANS[number][end]]))
    assert batch["counts"]["decisions"] == len(found) == 10
    assert decision_languages(batch).tolist() == [0, 0, 1, 1, 0, 0, 1, 1, 0, 0]


def test_impossible_positions_between_possible_ones_are_no_options() -> None:
    """Of question and text, the question is left out; an unknown answer has no targets."""
    ids, mask = padded(TEXTS)
    possible = mask.bool() & (torch.arange(ids.shape[1]) != 1) & (ids != 3)
    at = torch.tensor([[2, 3], [0, 0], [0, 0], [IGNORED, IGNORED], [3, 4]])
    batch = span_batch(ids, mask, possible, at, [0] * 5)
    model = model_of("QuestionAnswering")
    with torch.no_grad():
        own = model.model(ids, attention_mask=mask)
    found = say(model, batch)
    for number, (first, last) in enumerate(at.tolist()):
        for end, (column, logits) in enumerate(zip((first, last), (own[0], own[1]), strict=True)):
            target = int(batch["targets"][2 * number + end])
            if column == IGNORED:
                assert target == IGNORED
            else:
                torch.testing.assert_close(found[2 * number + end, target], logits[number, column])
    with pytest.raises(ValueError, match="begin and end at possible positions"):
        span_batch(ids, mask, possible, at.where(at != 2, 1), [0] * 5)


def test_decisions_depend_on_no_other_example() -> None:
    """Nor on padding, order, or the batch that they are in."""
    chooses, answers = model_of("MultipleChoice"), model_of("QuestionAnswering")
    for found, alone in (
        (
            say(chooses, choices(TEXTS, CHOICES)),
            [say(chooses, choices(part, [len(part)])) for part in (TEXTS[:2], TEXTS[2:])],
        ),
        (
            say(answers, spans(TEXTS)),
            [say(answers, spans([text], at=[(0, 0)])) for text in TEXTS],
        ),
    ):
        for one, other in zip(found, [each for part in alone for each in part], strict=True):
            torch.testing.assert_close(one[: len(other)], other, rtol=1e-12, atol=1e-13)
            assert bool((one[len(other) :] == nowhere(found)).all())
    backwards = say(answers, spans(TEXTS[::-1], 1, SPANS[::-1])).view(5, 2, -1)
    torch.testing.assert_close(backwards.flip(0).flatten(0, 1), found, rtol=1e-12, atol=1e-13)


def test_numbers_and_labels_are_the_logits_of_their_rows() -> None:
    ids, mask = padded(TEXTS)
    batch = value_batch(ids, mask, torch.tensor([1, 2, 3, 4, 5]), [0, 1, 0, 1, 0])
    assert batch["values"].dtype == torch.float32
    assert batch["targets"].unique().tolist() == [IGNORED]
    assert batch["counts"]["decisions"] == 5
    labels = labelled_batch(ids, mask, torch.where(ids > 3, 0, IGNORED), [0, 1, 0, 1, 0])
    assert labels["counts"]["decisions"] == labels["counts"]["rows"] == int((ids > 3).sum())
    for each, kind in ((batch, "SequenceClassification"), (labels, "TokenClassification")):
        model = model_of(kind)
        with torch.no_grad():
            own = model.logits(model.encode(each).rows(each["rows"]))
        assert torch.equal(say(model, each), own)
        assert torch.equal(decision_languages(each), row_languages(each))


def test_absent_options_get_no_gradient_and_weigh_nothing() -> None:
    batch = choices(TEXTS, CHOICES)
    logits = torch.randn(5, 1, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(decided(logits, batch), batch["targets"])
    (gradient,) = torch.autograd.grad(loss, logits)
    assert bool(gradient.isfinite().all())
    two = logits[:2, 0].softmax(0) - torch.tensor([1.0, 0.0])
    torch.testing.assert_close(gradient[:2, 0], two / 2)
    half = decided(logits.half(), batch)
    assert bool(half.isfinite().all())
    assert half.softmax(-1)[0, 2] == 0


def test_a_teacher_reads_a_view_of_its_own() -> None:
    """Other texts of other lengths, which answer to the student's row by row."""
    ids, mask = padded(TEXTS)
    batch = labelled_batch(ids, mask, torch.tensor([0, 1, 2, 0, 1]), [0] * 5)
    longer = [[2, 30, *text[1:]] for text in TEXTS]
    batch["teacher_input_ids"], batch["teacher_attention_mask"] = padded(longer, 1)
    batch["teacher_rows"] = torch.arange(5) * batch["teacher_input_ids"].shape[1]
    teacher = model_of("SequenceClassification")
    heard = teach([teacher], Ensemble(), batch, view="teacher_")
    alone = say(teacher, labelled_batch(*padded(longer), torch.zeros(5).long(), [0] * 5))
    found = decided(heard.logits(batch["teacher_rows"]), batch)
    torch.testing.assert_close(found, alone, rtol=1e-12, atol=1e-13)
    with torch.no_grad():
        encoded = teacher.encode(batch, view="teacher_")
        again = decision_logits(teacher, batch, encoded, batch["teacher_rows"])
    assert torch.equal(again, found)


@pytest.mark.parametrize("counts", [[2, 2], [5, 0], [6]])
def test_choices_that_do_not_add_up_are_refused(counts: list[int]) -> None:
    with pytest.raises(ValueError, match="5 texts for examples with"):
        choices(TEXTS, counts)


def test_no_example_is_no_decision() -> None:
    batch = labelled_batch(*padded(TEXTS), torch.zeros(5).long(), [0] * 5)
    batch["options"] = torch.zeros(0, 2, dtype=torch.int64)
    assert decision_languages(batch).shape == (0,)
