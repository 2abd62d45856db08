"""A run that stops because its teacher says no numbers blames the teacher."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from batches import MASK, Sample, Served, collate, samples
from ranks import on_two_ranks
from shipped_methods import quiet_trainer
from torch import Tensor
from transformers import BertForMaskedLM

from callbacks.watching.non_finite import NonFiniteLoss
from lit_distill.batch import Batch
from lit_distill.errors import UserError
from lit_distill.methods import MaskedLM, TripleLoss
from lit_distill.models import CachedTeacher, Ensemble, PretrainedStudent, TeacherSpec

PLAIN = [Sample(n, [5 + n, MASK, 7, 8], [1], [9], 0) for n in range(3)]
LOUD = [Sample(n, [5 + n, MASK, *range(5, 20)], [1], [9], 0) for n in range(3)]
Make = Callable[..., TripleLoss]

pytestmark = pytest.mark.filterwarnings("ignore:Update . was left out")


@pytest.fixture
def make(tiny_bert: Path, tmp_path: Path) -> Make:
    """A method whose teacher's weights are finite, and whose states of long texts are not."""
    folder = shutil.copytree(tiny_bert, tmp_path / "loud")
    model = BertForMaskedLM.from_pretrained(folder)
    with torch.no_grad():
        # whose variance is infinite, and the norm of it no number
        model.bert.embeddings.position_embeddings.weight[10] = torch.tensor([2e38, -2e38] * 8)
    model.save_pretrained(folder)

    def made(first: Path = folder, **options: Any) -> TripleLoss:
        return TripleLoss(
            student=PretrainedStudent(str(tiny_bert)), teacher=TeacherSpec(str(first)), **options
        )

    return made


def fit(module: Any, ranks: list[list[Sample]], folder: Path, **options: Any) -> None:
    data = Served([[collate(texts)] * 4 for texts in ranks])
    quiet_trainer(
        precision="32-true",
        max_steps=4,
        callbacks=[NonFiniteLoss(limit=2)],
        default_root_dir=folder,
        **options,
    ).fit(module, datamodule=data)


def test_the_teacher_is_named(make: Make, tiny_bert: Path, tmp_path: Path) -> None:
    fit(make(), [PLAIN], tmp_path)
    with pytest.raises(UserError, match=r"What teacher says .*model\.teacher\.dtype") as caught:
        fit(make(), [LOUD], tmp_path)
    assert "Try a lower learning rate" not in str(caught.value)
    other = Ensemble({"loud": TeacherSpec(str(tmp_path / "loud"))})
    with pytest.raises(UserError, match="What loud says"):
        fit(make(tiny_bert, ensemble=other), [LOUD], tmp_path)


def test_both_ranks_name_it(make: Make, tmp_path: Path) -> None:
    """Also the one whose batch it says numbers about."""

    def work() -> None:
        with pytest.raises(UserError, match="What teacher says"):
            fit(make(), [PLAIN, LOUD], tmp_path, strategy="ddp", devices=2)

    on_two_ranks(work, tmp_path / "log.txt")


def test_a_teacher_that_is_well_is_not_blamed(tiny_bert: Path, tmp_path: Path) -> None:
    """Nor one whose bias forbids tokens."""
    folder = shutil.copytree(tiny_bert, tmp_path / "strict")
    model = BertForMaskedLM.from_pretrained(folder)
    model.cls.predictions.bias.data[-3:] = -torch.inf
    model.save_pretrained(folder)

    class Spoilt(MaskedLM):
        def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
            return super().training_step(batch, batch_idx) + torch.nan

    method = Spoilt(student=PretrainedStudent(str(tiny_bert)), teacher=TeacherSpec(str(folder)))
    with pytest.raises(UserError, match="Try a lower learning rate"):
        fit(method, [LOUD], tmp_path)


def test_a_cache_is_blamed_by_what_it_says() -> None:
    source = CachedTeacher("somewhere")
    said = torch.tensor([[-1.0, -torch.inf], [-2.0, -3.0]])
    batch = Batch(**{**collate(samples(2, 100)), "teacher_log_probabilities": said})
    assert source.non_finite([batch]) == {"teacher_cache": False}
    said[1, 1] = torch.nan
    assert source.non_finite([batch]) == {"teacher_cache": True}
