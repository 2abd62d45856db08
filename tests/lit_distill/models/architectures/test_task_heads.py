"""Classifiers: the rows of the table against Transformers' own forward, and how they are found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from architectures import LABELS, random_model
from torch import Tensor

from lit_distill.batch import Batch, Reading, labelled_batch
from lit_distill.errors import UserError
from lit_distill.models import (
    Anatomy,
    FreshStudent,
    LanguageModel,
    LayerCopyStudent,
    PretrainedStudent,
    RandomStream,
    check_models,
    student_from_state,
    student_state,
)
from lit_distill.models.architectures.anatomy import Predicted
from lit_distill.models.architectures.table import (
    TASK_HEADS,
    anatomy_of,
    anatomy_of_config,
    anatomy_of_type,
)
from lit_distill.models.loading.pretrained import open_model

IDS = torch.tensor([[2, 7, 8, 9, 3], [2, 11, 12, 3, 0], [2, 13, 3, 0, 0]])
MASK = (IDS > 0).long()
TEXTS = [row for row in TASK_HEADS if row.predicts == Predicted.TEXT_LABELS]
SEQUENCE, TOKENS = (anatomy_of(f"BertFor{kind}Classification") for kind in ("Sequence", "Token"))
every_head = pytest.mark.parametrize("row", TASK_HEADS, ids=lambda row: row.architecture)


def batch_for(row: Anatomy, types: bool = True) -> Batch:
    """Texts, or pairs where the model tells their kinds apart, with a label each."""
    own = torch.zeros_like(IDS)
    own[:, 2:] = MASK[:, 2:]
    kinds = own if types and "token_type_ids" in row.inputs else None
    return labelled_batch(IDS, MASK, torch.tensor([0, 2, 1]), [0, 1, 0], kinds)


def own_logits(model: LanguageModel, batch: Batch, rows: Tensor) -> Tensor:
    """By Transformers' own forward."""
    names = ("input_ids", "attention_mask", "token_type_ids")
    out = model.model(**{name: batch[name] for name in names if name in batch}).logits
    return out if out.dim() == 2 else out.flatten(0, 1)[rows]


@every_head
def test_logits_and_gradients_are_the_models_own(row: Anatomy) -> None:
    model, batch = LanguageModel(random_model(row).double()), batch_for(row)
    whole = row.predicts == Predicted.TOKEN_LABELS
    rows = batch["tokens"] if whole else batch["rows"]
    logits = model.logits(model.encode(batch).rows(rows))
    expected = own_logits(model, batch, rows)
    torch.testing.assert_close(logits, expected, rtol=1e-12, atol=1e-13)
    parameters = dict(model.model.named_parameters())
    ours = torch.autograd.grad(logits.sin().sum(), [*parameters.values()], allow_unused=True)
    theirs = torch.autograd.grad(expected.sin().sum(), [*parameters.values()], allow_unused=True)
    for name, one, other in zip(parameters, ours, theirs, strict=True):
        assert one is not None, name
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-13)
    assert (model.outputs, model.vocab_size, model.labels) == (3, 40, LABELS)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_modernbert_pools_as_its_config_says(pooling: str) -> None:
    row = anatomy_of("ModernBertForSequenceClassification")
    model = LanguageModel(random_model(row, classifier_pooling=pooling).double())
    batch = batch_for(row)
    logits = model.logits(model.encode(batch).rows(batch["rows"]))
    torch.testing.assert_close(logits, own_logits(model, batch, batch["rows"]))


@every_head
def test_its_own_config_finds_a_row(row: Anatomy, tmp_path: Path) -> None:
    random_model(row).save_pretrained(tmp_path)
    assert LanguageModel(open_model(str(tmp_path), None, torch.float32)).anatomy is row
    config = json.loads((tmp_path / "config.json").read_text())
    assert anatomy_of_config(config) is row
    body = {**config, "architectures": ["SomeBodyAlone"]}
    assert anatomy_of_config(body) is anatomy_of_type(row.model_type)
    (tmp_path / "config.json").write_text(json.dumps(body))
    with pytest.raises(UserError, match="has no language-model head"):
        open_model(str(tmp_path), None, torch.float32)


@every_head
def test_the_head_is_the_head(row: Anatomy) -> None:
    model = random_model(row)
    names = list(model.state_dict())
    body = [name for name in names if not name.startswith(row.head_prefixes)]
    assert all(name.startswith(f"{model.base_model_prefix}.") for name in body)
    other = anatomy_of_type(row.model_type).model_class().base_model_prefix
    assert other == model.base_model_prefix


@pytest.mark.parametrize("row", TEXTS, ids=lambda row: row.architecture)
def test_labels_give_a_language_model_a_fresh_head(row: Anatomy, tmp_path: Path) -> None:
    random_model(row.model_type).save_pretrained(tmp_path / "mlm")
    start = PretrainedStudent(str(tmp_path / "mlm"), labels=["no", "yes"])
    student = start.build(None, 0)
    assert (student.anatomy, student.labels, student.outputs) == (row, ["no", "yes"], 2)
    assert student.config.label2id == {"no": 0, "yes": 1}
    kept = student.model.get_input_embeddings().weight
    assert torch.equal(kept, random_model(row.model_type).get_input_embeddings().weight)
    student.model.save_pretrained(tmp_path / "own")
    with pytest.raises(UserError, match="has labels of its own"):
        PretrainedStudent(str(tmp_path / "own"), labels=["no", "yes"]).build(None, 0)
    for labels in (["one"], [], ["one", "one"]):
        with pytest.raises(UserError, match="two or more"):
            PretrainedStudent("x", labels=labels)


@every_head
def test_students_take_the_labels_of_their_teacher(row: Anatomy) -> None:
    teacher = LanguageModel(random_model(row, problem_type="single_label_classification"))
    shape = {"num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 2}
    made = {
        "carved": LayerCopyStudent(num_layers=2),
        "fresh": FreshStudent(config={"num_hidden_layers": 1}),
        "typed": FreshStudent("bert", {**shape, "intermediate_size": 8}),
    }
    for start in made.values():
        student = start.build(teacher, 0)
        assert student.anatomy.predicts == row.predicts
        assert (student.labels, student.outputs, student.vocab_size) == (LABELS, 3, 40)
        assert student.config.problem_type == "single_label_classification"
        check_models(student, teacher, None, None)
        again = student_from_state(student_state(student), student.state_dict())
        assert (again.anatomy, again.labels) == (student.anatomy, LABELS)


def test_a_bert_of_token_labels_becomes_a_distilbert_and_one_of_texts_does_not() -> None:
    small = LayerCopyStudent(num_layers=4, layers="first", distilbert=True)
    cased = {"layer_norm_eps": 1e-12}
    teacher = LanguageModel(random_model(TOKENS, **cased).double())
    student = small.build(teacher, 0).double()
    batch = batch_for(student.anatomy)
    ours, theirs = (m.logits(m.encode(batch).rows(batch["tokens"])) for m in (student, teacher))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)  # positions passed float32
    assert student.labels == LABELS
    with pytest.raises(UserError, match="has a tanh where DistilBERT's has a ReLU"):
        small.build(LanguageModel(random_model(SEQUENCE, **cased)), 0)


def relabelled(labels: list[str]) -> LanguageModel:
    numbers = {label: number for number, label in enumerate(labels)}
    changes = {"id2label": dict(enumerate(labels)), "label2id": numbers}
    return LanguageModel(random_model(SEQUENCE, **changes))


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["good", "fair", "bad"], "bad, fair, good and the teacher good, fair, bad, in another"),
        (["bad", "fair", "fine"], "and the teacher bad, fair, fine, and not the same"),
        (["bad", "good"], "and not the same"),
        (["LABEL_0", "LABEL_1", "LABEL_2"], "and not the same"),
    ],
)
def test_other_labels_or_another_order_are_refused(labels: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_models(relabelled(LABELS), relabelled(labels), None, None)


def test_what_does_not_choose_one_label_is_refused() -> None:
    one = LanguageModel(random_model(SEQUENCE, id2label={0: "x"}, label2id={"x": 0}))
    with pytest.raises(UserError, match=r"The student has 1 output\(s\)"):
        check_models(one, None, None, None)
    for kind in ("regression", "multi_label_classification"):
        several = LanguageModel(random_model(SEQUENCE, problem_type=kind))
        with pytest.raises(UserError, match=f"problem_type {kind}"):
            check_models(several, None, None, None)


class _Asks:
    """A data module's part that is looked at."""

    def __init__(self, reading: Reading) -> None:
        masked = None if reading == Reading.LABELS else reading == Reading.MASKED
        self.objective = type("Asking", (), {"masked": masked, "reading": reading})()
        self.max_length, self.decoder_start_id = 5, None


@pytest.mark.parametrize(
    ("kind", "reading", "said"),
    [
        ("bert", Reading.LABELS, "predicts tokens, and the data has labels of texts"),
        (TOKENS, Reading.LABELS, "predicts labels of tokens, and the data has labels of texts"),
        (SEQUENCE, Reading.MASKED, "predicts labels of texts, and the data's objective is Masked"),
    ],
)
def test_data_that_asks_for_something_else_is_refused(
    kind: Any, reading: Reading, said: str
) -> None:
    model = LanguageModel(random_model(kind))
    with pytest.raises(UserError, match=said):
        check_models(model, None, None, None, _Asks(reading))
    right = LanguageModel(random_model(SEQUENCE if reading == Reading.LABELS else "bert"))
    check_models(right, None, None, None, _Asks(reading))


@pytest.mark.parametrize("row", TASK_HEADS, ids=lambda row: row.architecture)
def test_students_train_with_the_dropout_of_their_head(row: Anatomy) -> None:
    """As Transformers does, and drawn from the student's stream; teachers have none."""
    model, batch = LanguageModel(random_model(row)), batch_for(row)
    model.set_dropout(0.5)
    states = model.encode(batch).rows(batch["rows"])
    assert torch.equal(model.logits(states), model.logits(states))
    model.train()
    one, other = model.logits(states), model.logits(states)
    assert not torch.equal(one, other)
    model.stream = RandomStream(3, "student")
    draws = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        model.stream.move_to(7)
        draws.append(model.logits(states))
        assert torch.initial_seed() == seed
    assert torch.equal(*draws)
    assert not torch.equal(draws[0], model.logits(states))  # the next draw is another
