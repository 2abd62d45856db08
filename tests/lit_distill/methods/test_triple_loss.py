"""TripleLoss against the scalar-loop oracle, and the properties of its paper and code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from batches import Sample, collate
from oracles.triple_loss import IGNORED, Sums, gradient, triple_loss
from transformers import BertConfig, BertForMaskedLM

from lit_distill.batch import Batch, row_targets
from lit_distill.losses import AccumulationWindow, Term
from lit_distill.methods import TripleLoss
from lit_distill.models import LanguageModel, LayerCopyStudent, TeacherSpec
from lit_distill.schedules import Ramp

V = 11
TEXTS = [
    Sample(0, [5, 4, 7, 8], [1, 3], [6, 8], 0),
    Sample(1, [9, 10], [0], [9], 1),
    Sample(2, [6, 5, 4], [2], [10], 0),
]
KNOBS = {"temperature": 3.0, "alpha_kd": 4.0, "alpha_mlm": 0.5, "alpha_cos": 2.0, "alpha_mse": 0.3}


@pytest.fixture
def teacher_folder(tmp_path: Path) -> Path:
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=V, hidden_size=6, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=8, max_position_embeddings=16,
    )  # fmt: skip
    model = BertForMaskedLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    model.save_pretrained(tmp_path)
    return tmp_path


def built(folder: Path, batch: Batch, **knobs: Any) -> TripleLoss:
    """The method with its models in float64, ready for one batch; dropout is off (eval mode)."""
    method = TripleLoss(teacher=TeacherSpec(str(folder)), **knobs)
    teacher = TeacherSpec(str(folder)).build().double()
    method.teachers["teacher"] = teacher
    method.students["student"] = LayerCopyStudent().build(teacher, 0).double()
    return method


def terms_of(method: TripleLoss, batch: Batch) -> dict[str, Term]:
    return method.losses(batch, AccumulationWindow.single(batch))


def loss_of(batch: Batch, terms: dict[str, Term]) -> torch.Tensor:
    """Their weighted sum, half-way through a run."""
    return AccumulationWindow.single(batch, progress=0.5).total_loss(terms)


def outputs(model: LanguageModel, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (B, T, V) and last hidden states (B, T, D) by Hugging Face's own forward."""
    whole = model.model(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        output_hidden_states=True,
    )
    return whole.logits, whole.hidden_states[-1]


def by_oracle(
    logits: Any, states: Any, teacher: tuple[torch.Tensor, torch.Tensor], batch: Batch, **knobs: Any
) -> Sums:
    positions = torch.arange(batch["input_ids"].numel())
    labels = row_targets(batch, positions).view_as(batch["input_ids"])
    weights = tuple(knobs[name] for name in ("alpha_kd", "alpha_mlm", "alpha_cos", "alpha_mse"))
    return triple_loss(
        logits, teacher[0].tolist(), states, teacher[1].tolist(),
        batch["attention_mask"].tolist(), labels.tolist(),
        temperature=knobs["temperature"], weights=weights,
        restrict_kd_to_mask=knobs.get("restrict_kd_to_mask", False),
    )  # fmt: skip


@pytest.mark.parametrize("restrict", [False, True])
def test_values_equal_the_oracle(teacher_folder: Path, restrict: bool) -> None:
    batch, knobs = collate(TEXTS, extra=1), {**KNOBS, "restrict_kd_to_mask": restrict}
    method = built(teacher_folder, batch, **knobs)
    terms = terms_of(method, batch)
    with torch.no_grad():
        logits, states = outputs(method.student, batch)
        expected = by_oracle(
            logits.tolist(), states.tolist(), outputs(method.teacher, batch), batch, **knobs
        )
    for name, term in terms.items():
        assert term.sum.item() == pytest.approx(getattr(expected, name).real, rel=1e-12), name
    loss = loss_of(batch, terms)
    assert loss.item() == pytest.approx(expected.total.real, rel=1e-12)


@pytest.mark.parametrize("restrict", [False, True])
def test_gradients_equal_the_oracle(teacher_folder: Path, restrict: bool) -> None:
    """The oracle differentiates down to logits and states; both then go through the same model."""
    batch, knobs = collate(TEXTS), {**KNOBS, "restrict_kd_to_mask": restrict}
    method = built(teacher_folder, batch, **knobs)
    parameters = list(method.student.parameters())
    ours = torch.autograd.grad(
        loss_of(batch, terms_of(method, batch)), parameters, allow_unused=True
    )
    logits, states = outputs(method.student, batch)
    teacher = outputs(method.teacher, batch)
    sizes = (logits.numel(), states.numel())

    def total(point: list[Any]) -> complex:
        split = nested(point[: sizes[0]], logits.shape), nested(point[sizes[0] :], states.shape)
        return by_oracle(*split, teacher, batch, **knobs).total

    point = torch.cat([logits.detach().flatten(), states.detach().flatten()]).tolist()
    slopes = torch.tensor(gradient(total, point), dtype=torch.float64)
    expected = torch.autograd.grad(
        (logits, states),
        parameters,
        (slopes[: sizes[0]].view_as(logits), slopes[sizes[0] :].view_as(states)),
        allow_unused=True,
    )
    one = torch.cat([g.flatten() for g in ours if g is not None])
    other = torch.cat([g.flatten() for g in expected if g is not None])
    assert one.shape == other.shape
    assert ((one - other).norm() / other.norm()).item() < 1e-12


def nested(values: list[Any], shape: torch.Size) -> list[Any]:
    """A flat list as nested lists (complex numbers do not go through a tensor of floats)."""
    _, T, D = shape
    rows = [values[i : i + D] for i in range(0, len(values), D)]
    return [rows[i : i + T] for i in range(0, len(rows), T)]


def test_a_student_equal_to_the_teacher_has_nothing_to_learn(teacher_folder: Path) -> None:
    batch = collate(TEXTS)
    method = built(teacher_folder, batch, alpha_mlm=0.0, alpha_mse=1.0)
    method.students["student"] = LayerCopyStudent([0, 1]).build(method.teacher, 0).double()
    terms = terms_of(method, batch)
    for name in ("kd", "cos", "mse"):
        assert abs(terms[name].sum.item()) <= 1e-12
    slopes = torch.autograd.grad(
        loss_of(batch, terms), list(method.student.parameters()), allow_unused=True
    )
    assert max(float(g.abs().max()) for g in slopes if g is not None) <= 1e-10


def test_counts_and_weights_are_those_of_the_paper(teacher_folder: Path) -> None:
    batch = collate(TEXTS)
    terms = terms_of(built(teacher_folder, batch), batch)
    found = {name: (term.per, term.weight) for name, term in terms.items()}
    assert found == {"kd": ("tokens", 5.0), "mlm": ("rows", 2.0), "cos": ("tokens", 1.0)}


def test_other_than_masked_positions_predict_nothing() -> None:
    batch = collate(TEXTS)
    targets = row_targets(batch, torch.arange(batch["input_ids"].numel()))
    assert int((targets != IGNORED).sum()) == batch["counts"]["masked"]
    assert torch.equal(targets[batch["rows"]], batch["targets"])


def test_a_weight_may_follow_the_run(teacher_folder: Path) -> None:
    batch = collate(TEXTS)
    fixed = built(teacher_folder, batch, alpha_cos=3.0)
    ramped = built(teacher_folder, batch, alpha_cos=Ramp(start=2.0, end=4.0))
    for method in (fixed, ramped):
        method.eval()
    losses = [loss_of(batch, terms_of(m, batch)) for m in (fixed, ramped)]
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-12)
