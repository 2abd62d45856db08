"""What the first batch of a task is told; of other batches, `training/test_own_data_module.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from lit_distill.batch import IGNORED
from lit_distill.errors import UserError
from lit_distill.models import Reach, check_batch
from lit_distill.task_batches import choice_batch, span_batch, value_batch

IDS = torch.tensor([[2, 7, 8, 3], [2, 9, 3, 0], [2, 5, 6, 3]])
MASK = (IDS > 0).long()
VALUES = value_batch(IDS, MASK, torch.tensor([0.5, 1.0, 2.0]), [0, 1, 0])
CHOICES = choice_batch(IDS, MASK, [1, 2], torch.tensor([0, 1]), [0, 1])
SPANS = span_batch(IDS, MASK, MASK, torch.tensor([[0, 0], [1, 1], [1, 2]]), [0, 1, 0])
VIEW = {
    **VALUES, "teacher_input_ids": IDS, "teacher_attention_mask": MASK,
    "teacher_rows": torch.tensor([0, 4, 8]),
}  # fmt: skip
Change = Callable[[dict[str, Any]], dict[str, Any]]


def having(**values: Any) -> Change:
    return lambda batch: {**batch, **values}


def counting(**counts: Any) -> Change:
    return lambda batch: {**batch, "counts": {**batch["counts"], **counts}}


def at(key: str, place: Any, value: int) -> Change:
    def change(batch: dict[str, Any]) -> dict[str, Any]:
        changed = batch[key].clone()
        changed[place] = value
        return {**batch, key: changed}

    return change


@pytest.mark.parametrize(("batch", "outputs"), [(VALUES, 1), (CHOICES, 1), (SPANS, 2), (VIEW, 1)])
def test_batches_of_tasks_fit(batch: Any, outputs: int) -> None:
    check_batch(batch, Reach(2, 40, outputs, 20), "It")
    check_batch(batch, Reach(), "It")
    unknown = torch.full_like(batch["targets"], IGNORED)
    check_batch({**batch, "targets": unknown}, Reach(2, 40, outputs, 20), "It")


WRONG: list[tuple[Any, int, Change, str]] = [
    (VALUES, 1, having(values=torch.tensor([1, 2, 3])), r"values is \(3,\) of int64 and needs to"),
    (VALUES, 1, having(values=[0.5]), r"values is a list and needs to be a tensor \(N,\) of float"),
    (VALUES, 1, having(values=torch.ones(2)), "a finite number for each of the 3 rows"),
    (VALUES, 1, having(values=torch.tensor([1, torch.nan, 3])), "a finite number for each"),
    (VALUES, 1, having(targets=torch.tensor([0, 0, 0])), "targets that are all -100"),
    (VALUES, 3, having(), "it has values, and the student 3 outputs"),
    (VALUES, 1, counting(decisions=2), "in counts, decisions is 2"),
    (CHOICES, 1, counting(decisions=None), "in counts, decisions is None"),
    (CHOICES, 1, having(options=torch.zeros(3)), r"options is \(3,\) of float32"),
    (CHOICES, 1, having(targets=torch.tensor([0, 1, 0])), "options are 2 and targets 3"),
    (CHOICES, 1, at("targets", 1, 2), "targets are not columns of options"),
    (CHOICES, 1, at("targets", 0, 1), "targets are not columns of options"),
    (CHOICES, 1, at("targets", 0, -1), "targets are not columns of options"),
    (CHOICES, 1, at("options", (0, 0), -1), "-1 from the second column on"),
    (CHOICES, 1, at("options", (0, 1), -2), "-1 from the second column on"),
    (CHOICES, 1, at("options", (1, 1), 3), "options reach to 3"),
    (CHOICES, 2, having(), "options reach to 2, .* the student has 2 each"),
    (SPANS, 1, having(), "options reach to 21, .* the student has 1 each"),
    (VIEW, 1, lambda b: {k: v for k, v in b.items() if k != "teacher_rows"}, "so it needs"),
    (VIEW, 1, having(teacher_rows=torch.tensor([0, 4])), "teacher_rows are not a real position"),
    (VIEW, 1, at("teacher_rows", 1, 7), "teacher_rows are not a real position"),
    (VIEW, 1, having(teacher_attention_mask=MASK[:, :3]), r"teacher_attention_mask is \(3, 3\)"),
]


@pytest.mark.parametrize(("batch", "outputs", "change", "said"), WRONG)
def test_what_does_not_fit_is_told(batch: Any, outputs: int, change: Change, said: str) -> None:
    with pytest.raises(UserError, match=rf"^It .*{said}"):
        check_batch(change(dict(batch)), Reach(2, 40, outputs, 20), "It")
