"""EmbeddingKD against Transformers' own states: who reads what, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from batches import Sample, collate, samples
from shipped_methods import quiet_trainer
from torch import Tensor

from lit_distill.batch import Batch, PairBatch
from lit_distill.errors import UserError
from lit_distill.losses import AccumulationWindow
from lit_distill.methods import EmbeddingKD
from lit_distill.models import LayerCopyStudent, TeacherSpec
from lit_distill.models.embedding.embedder import Embedder

LAYERS = 4
TEXTS = samples(5, 100)
SAID = [Sample(t.number, [7, 8, *t.ids, 9], [m + 2 for m in t.masked], t.targets, 0) for t in TEXTS]
"""The same texts with two words before them and one behind."""


def built(folder: Path, layers: int = 1, **knobs: Any) -> EmbeddingKD:
    method = EmbeddingKD(teacher=TeacherSpec(str(folder)), **knobs)
    method.trainer = quiet_trainer()
    teacher = method.cast.teacher_specs["teacher"].build().double()
    method.teachers["teacher"] = teacher
    method.students["student"] = LayerCopyStudent(num_layers=layers).build(teacher, 0).double()
    method.on_models_built()
    method.exported.double()
    return method


def two_views() -> PairBatch:
    views = {"src_": collate(TEXTS), "tgt_": collate(SAID)}
    found: dict[str, Any] = {
        f"{view}{key}": value for view, batch in views.items() for key, value in batch.items()
    }
    return PairBatch(**{**found, **views["tgt_"]})  # type: ignore[typeddict-item]


def mean_states(model: Any, texts: list[Sample]) -> Tensor:
    """Means of the last hidden states by Transformers, one text after the other."""
    means = []
    for text in texts:
        ids = collate([text])["input_ids"]
        states = model.model.base_model(input_ids=ids).last_hidden_state
        means.append(states[0].mean(0))
    return torch.stack(means)


def values(method: EmbeddingKD, batch: Batch) -> dict[str, float]:
    terms = method.losses(batch, AccumulationWindow.single(batch))
    assert {term.per for term in terms.values()} == {"sequences"}
    return {name: term.sum.item() / batch["counts"]["sequences"] for name, term in terms.items()}


def test_the_teacher_reads_the_source_and_the_student_the_target(tiny_bert: Path) -> None:
    method = built(tiny_bert, alpha_cosine=1.0)
    found = values(method, two_views())
    with torch.no_grad():
        student = mean_states(method.student, SAID)
        teacher = mean_states(method.teacher, TEXTS)
    assert found["mse"] == pytest.approx(float((student - teacher).square().mean()), rel=1e-12)
    cosines = torch.nn.functional.cosine_similarity(student, teacher)
    assert found["cosine"] == pytest.approx(float(1 - cosines.mean()), rel=1e-9)


def test_without_views_a_copy_of_the_teacher_has_nothing_to_learn(tiny_bert: Path) -> None:
    weights = {"alpha_cosine": 1.0, "alpha_similarity": 1.0}
    same = built(tiny_bert, LAYERS, **weights)
    assert values(same, collate(TEXTS)) == pytest.approx(
        {"mse": 0, "cosine": 0, "similarity": 0}, abs=1e-12
    )
    assert min(values(built(tiny_bert, **weights), collate(TEXTS)).values()) > 1e-9


def test_a_projection_is_trained_and_exported_and_the_head_is_frozen(tiny_bert: Path) -> None:
    method = built(tiny_bert, embedder=Embedder(width=16, normalised=True))
    batch = collate(TEXTS)
    method.losses(batch, AccumulationWindow.single(batch))["mse"].sum.backward()
    (projection,) = method.cast.exported_modules.values()
    assert all(p.grad is not None and p.grad.norm() > 0 for p in projection.parameters())
    trained = [p for p in method.student.parameters() if p.requires_grad]
    assert all(p.grad is not None for p in trained)
    assert len(trained) < len(list(method.student.parameters()))


def test_other_widths_need_a_projection_where_vectors_are_compared(tiny_bert: Path) -> None:
    narrow = Embedder(width=4)
    with pytest.raises(UserError, match=r"4 numbers and the teacher's 16: set model.embedder"):
        built(tiny_bert, embedder=narrow)
    free = built(tiny_bert, embedder=narrow, alpha_mse=0.0, alpha_similarity=1.0)
    assert values(free, collate(TEXTS))["similarity"] > 0


def test_packed_rows_and_weights_of_nothing_are_refused(tiny_bert: Path) -> None:
    batch = collate(TEXTS)
    batch["segments"] = batch["attention_mask"]
    with pytest.raises(UserError, match="one text a row"):
        values(built(tiny_bert), batch)
    with pytest.raises(UserError, match="alpha_mse"):
        EmbeddingKD(teacher=TeacherSpec("x"), alpha_mse=0.0)
