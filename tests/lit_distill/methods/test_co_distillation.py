"""CTCD against loops over the models' own logits, two independent runs, and what it must not do."""

from __future__ import annotations

import copy
import json
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from batches import collate, samples
from cohorts import (
    BATCH,
    SHAPE,
    WINDOW,
    built,
    carved,
    fit,
    fresh,
    logits_of,
    loss_and_gradients,
    same,
    weights,
)
from oracles import mutual as oracle

from lit_distill.errors import UserError
from lit_distill.measures import Measurement
from lit_distill.methods import CausalLM, CoDistillation, MaskedLM
from lit_distill.models import (
    FreshStudent,
    PretrainedStudent,
    RandomStream,
    TeacherSpec,
    load_tokenizer,
)
from lit_distill.schedules import Constant, Ramp
from lit_distill.training.building import build_models

ADAM: dict[str, Any] = {
    "optimizer": lambda groups: torch.optim.AdamW(groups, lr=1e-2),
    "schedule": Constant(warmup=0.0),
}
FAST: dict[str, Any] = {"optimizer": lambda groups: torch.optim.AdamW(groups, lr=5e-2)}


def test_it_is_the_formula(tiny_bert: Path) -> None:
    method = CoDistillation(2.0, 3.0, 0.7, Ramp(0.0, 0.8), students=carved(3, 2))
    loss, _ = loss_and_gradients(built(method, tiny_bert))
    logits = {name: logits_of(model, BATCH) for name, model in method.students.items()}
    targets = BATCH["targets"].tolist()
    expected = 0.0
    for name, other, temperature, alpha in (
        ("large", "small", 2.0, 0.7),
        ("small", "large", 3.0, 0.4),  # half of the run is over
    ):
        hard, soft = oracle.one_model(logits[name], [logits[other]], targets, temperature)
        expected += (hard + alpha * soft).real / len(targets)
    assert loss.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["large", "small"])
def test_what_one_learns_moves_the_other_by_nothing(tiny_bert: Path, name: str) -> None:
    """With or without the divergence from the other model, a model's gradient is the same."""
    (other,) = {"large", "small"} - {name}
    found = []
    for alpha in (1.0, 0.0):
        method = CoDistillation(students=carved(3, 2), **{f"alpha_{other}": alpha})
        terms = built(method, tiny_bert).losses(BATCH, WINDOW)
        assert (f"{other}/kl" in terms) is (alpha != 0)
        _, gradients = loss_and_gradients(method)
        found.append(gradients)
    torch.testing.assert_close(found[0][name], found[1][name], rtol=0, atol=1e-14)
    assert (found[0][other] - found[1][other]).norm() > 1e-3


def test_equal_models_have_no_divergence_and_the_gradient_of_their_targets(
    tiny_bert: Path,
) -> None:
    method = built(CoDistillation(students=carved(2, 2)), tiny_bert)
    terms = method.losses(BATCH, WINDOW)
    assert terms["large/kl"].sum.abs() < 1e-12 > terms["small/kl"].sum.abs()
    _, gradients = loss_and_gradients(method)
    control = built(MaskedLM(students={"alone": carved(2, 2)["small"]}), tiny_bert)
    _, alone = loss_and_gradients(control)
    for gradient in gradients.values():
        torch.testing.assert_close(gradient, alone["alone"], rtol=0, atol=1e-14)


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("clip", [None, 0.3])
def test_without_weights_it_is_two_independent_runs_bit_for_bit(
    tiny_bert: Path, accumulate: int, clip: float | None
) -> None:
    """Initial weights and dropout included."""
    students = fresh(large=2, small=1)
    together = CoDistillation(alpha_large=0.0, alpha_small=0.0, students=students, **ADAM)
    options: dict[str, Any] = {"accumulate": accumulate, "gradient_clip_val": clip}
    fit(together, tiny_bert, **options)
    for name, start in students.items():
        alone = MaskedLM(students={name: start}, **ADAM)
        fit(alone, tiny_bert, **options)
        assert torch.equal(weights(alone)[name], weights(together)[name]), name
    pulled = CoDistillation(students=students, **ADAM)
    fit(pulled, tiny_bert, **options)
    assert not torch.allclose(weights(pulled)["small"], weights(together)["small"], atol=1e-4)


def test_decoders_too(tiny_gpt2: Path) -> None:
    students = {
        name: FreshStudent("gpt2", {"n_embd": 16, "n_head": 2, "n_layer": n, "n_positions": 32})
        for name, n in (("large", 2), ("small", 1))
    }
    batch = collate(samples(4, 100), causal=True)
    together = CoDistillation(alpha_large=0.0, alpha_small=0.0, students=dict(students), **ADAM)
    fit(together, tiny_gpt2, batches=[batch] * 8)
    alone = CausalLM(students={"small": students["small"]}, **ADAM)
    fit(alone, tiny_gpt2, batches=[batch] * 8)
    assert torch.equal(weights(alone)["small"], weights(together)["small"])
    assert set(together.logged) == {"large/clm", "small/clm", "loss"}


def test_models_of_one_shape_start_and_drop_out_differently(tiny_bert: Path) -> None:
    method = CoDistillation(alpha_large=0.0, alpha_small=0.0, students=fresh(large=1, small=1))
    fit(method, tiny_bert, updates=1)
    first, second = (model.model for model in method.students.values())
    assert not torch.equal(*(m.bert.embeddings.word_embeddings.weight for m in (first, second)))
    second.load_state_dict(first.state_dict())
    with torch.no_grad():
        hidden = [model.encode(BATCH).hidden for model in method.students.values()]
        assert not torch.allclose(*hidden)  # dropout is on
        method.students["small"].stream.name = "large"
        for stream in method.cast.streams.values():
            stream.move_to(1, 0, 0)
        hidden = [model.encode(BATCH).hidden for model in method.students.values()]
        assert torch.equal(*hidden)
        again = [model.encode(BATCH).hidden for model in method.students.values()]
        assert not torch.equal(hidden[0], again[0])  # a second view is drawn anew


def test_every_micro_batch_has_dropout_of_its_own(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places: list[tuple[int | str, ...]] = []
    monkeypatch.setattr(RandomStream, "move_to", lambda self, *place: places.append(place))
    monkeypatch.setattr(RandomStream, "drawn", lambda self, device: nullcontext())
    method = CoDistillation(students=fresh(large=1, small=1))
    places.clear()
    fit(method, tiny_bert, updates=2, accumulate=2)
    places.remove(("initial weights",))  # of what is trained beside the students
    assert places[::2] == places[1::2] == [(0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 0)]


def test_what_else_draws_does_not_change_dropout(tiny_bert: Path) -> None:
    runs = []
    for draws in (0, 7):
        method = CoDistillation(students=fresh(large=1, small=1), **ADAM)
        real = method.prepare
        method.prepare = lambda batches, n=draws, real=real: (torch.rand(n), real(batches))[1]
        fit(method, tiny_bert)
        runs.append(weights(method))
    assert same(*runs)


def test_divergences_wait_for_both_to_be_better_than_chance(tiny_bert: Path) -> None:
    method = CoDistillation(wait_for_chance=True, students=fresh(large=1, small=1), **ADAM)
    trainer = fit(method, tiny_bert, updates=1)
    assert method.waiting
    assert set(method.logged) == {"large/mlm", "small/mlm", "loss"}
    chance = torch.tensor(float(method.students["small"].vocab_size)).log().item()
    for large, small, waits in ((0.1, 0.1, True), (-0.1, 0.1, True), (-0.1, -0.1, False)):
        scores = {"large": chance + large, "small": chance + small}
        measured = {name: Measurement(mean={"loss": loss}) for name, loss in scores.items()}
        method.on_validated(measured)
        assert method.waiting is waits
    method.on_validated({name: Measurement(mean={"loss": chance + 1}) for name in scores})
    assert not method.waiting  # for good
    checkpoint: dict[str, Any] = {}
    method.on_save_checkpoint(checkpoint)
    other = CoDistillation(wait_for_chance=True, students=fresh(large=1, small=1))
    other.students.update(copy.deepcopy(dict(method.students.items())))
    other._trainer = trainer
    other.on_load_checkpoint(checkpoint)
    assert not other.waiting


def test_divergences_begin_in_a_fit_whose_validations_are_good_enough(tiny_bert: Path) -> None:
    runs = []
    for waits in (True, False):
        method = CoDistillation(
            wait_for_chance=waits, students=fresh(large=1, small=1), **{**ADAM, **FAST}
        )
        fit(method, tiny_bert, updates=30, limit_val_batches=1.0, val_check_interval=4)
        runs.append(weights(method))
        assert not method.waiting
        assert {"large/kl", "small/kl"} < set(method.logged)
    assert not same(*runs)  # the first divergences were left out


def test_what_is_only_tried_or_measured_begins_no_divergences(tiny_bert: Path) -> None:
    """The Trainer's trial of the validation, and `validate` itself."""
    called = []
    method = CoDistillation(wait_for_chance=True, students=fresh(large=1, small=1), **ADAM)
    method.on_validated = lambda measured: called.append(set(measured))
    options: dict[str, Any] = {"limit_val_batches": 1.0, "val_check_interval": 1}
    trainer = fit(method, tiny_bert, updates=1, num_sanity_val_steps=2, **options)
    assert called == [{"large", "small"}]
    trainer.validate(method, datamodule=trainer.datamodule, verbose=False)
    assert len(called) == 1


def test_what_cannot_work_is_refused(tiny_bert: Path, tiny_gpt2: Path) -> None:
    with pytest.raises(UserError, match=r"named large and small; model\.students has none"):
        CoDistillation()
    with pytest.raises(UserError, match="has large, tiny"):
        CoDistillation(students=fresh(large=1, tiny=1))
    with pytest.raises(UserError, match="temperature"):
        CoDistillation(temperature_small=0.0, students=fresh(large=1, small=1))
    with pytest.raises(UserError, match=r"MaskedLM trains one student.*large, small"):
        MaskedLM(students=fresh(large=1, small=1))
    with pytest.raises(UserError, match="give either"):
        MaskedLM(student=FreshStudent("bert"), students=fresh(large=1))
    with pytest.raises(UserError, match=r"'a\.b' is no name"):
        MaskedLM(students={"a.b": FreshStudent("bert")})
    decoder = FreshStudent("gpt2", {"n_embd": 16, "n_head": 2})
    mixed = {"large": FreshStudent("bert", SHAPE), "small": decoder}
    with pytest.raises(UserError, match="no common rows"):
        fit(CoDistillation(students=mixed), tiny_bert)
    twice = CoDistillation(students=carved(2, 1), teacher=TeacherSpec(str(tiny_bert)))
    fit(twice, tiny_bert, updates=1)  # a teacher carves
    assert [len(model.layers) for model in twice.students.values()] == [2, 1]


def test_students_of_other_vocabularies_are_refused(tiny_bert: Path, tmp_path: Path) -> None:
    sizes = {"large": 50, "small": 60}
    students = {n: FreshStudent("bert", {**SHAPE, "vocab_size": v}) for n, v in sizes.items()}
    with pytest.raises(UserError, match=r"different sizes \(large 50, small 60\)"):
        build_models(CoDistillation(students=students).cast, None)
    other = tmp_path / "other"
    shutil.copytree(tiny_bert, other)
    text = (other / "tokenizer.json").read_text()
    tokens = json.loads(text)
    vocabulary = tokens["model"]["vocab"]
    first, second = list(vocabulary)[-2:]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    (other / "tokenizer.json").write_text(json.dumps(tokens))
    mixed = {"large": PretrainedStudent(str(tiny_bert)), "small": PretrainedStudent(str(other))}
    cast = CoDistillation(students=mixed).cast
    cast.tokenizer = load_tokenizer(str(tiny_bert))
    with pytest.raises(UserError, match="tokenizers of student and teacher"):
        build_models(cast, None)
