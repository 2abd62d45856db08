"""Classifiers: the rows of the table against Transformers' own forward, and how they are found."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from architectures import LABELS, random_model
from torch import Tensor

from lit_distill.batch import LabelledBatch, Reading
from lit_distill.errors import UserError
from lit_distill.models import (
    Anatomy,
    FreshStudent,
    LanguageModel,
    LayerCopyStudent,
    Predicted,
    PretrainedStudent,
    RandomStream,
    Reach,
    TaskHead,
    check_batch,
    check_kind,
    check_models,
    decision_logits,
    settle_padding,
    student_from_state,
    student_state,
)
from lit_distill.models.architectures.anatomy import as_it_is
from lit_distill.models.architectures.table import (
    TASK_HEADS,
    anatomy_of,
    anatomy_of_config,
    anatomy_of_type,
)
from lit_distill.models.loading.pretrained import open_model
from lit_distill.task_batches import choice_batch, labelled_batch, span_batch, value_batch
from lit_distill.training.method import Method

IDS = torch.tensor([[2, 7, 8, 9, 3], [2, 11, 12, 3, 0], [2, 13, 3, 0, 0]])
MASK = (IDS > 0).long()
TEXTS = [row for row in TASK_HEADS if row.predicts == Predicted.TEXT_LABELS]
DECODERS = [row for row in TEXTS if row.causal]
ENCODERS = [row for row in TASK_HEADS if row.has_labels and not row.causal]
SEQUENCE, TOKENS = (anatomy_of(f"BertFor{kind}Classification") for kind in ("Sequence", "Token"))
LLAMA = anatomy_of("LlamaForSequenceClassification")
ANSWERS = anatomy_of("BertForQuestionAnswering")
CASED = {"layer_norm_eps": 1e-12}
OF_BERT = [row for row in TASK_HEADS if row.model_type == "bert"]


def names(row: Anatomy) -> str:
    return f"{row.architecture}-{row.predicts.name}"


# A number for each text is a classifier of texts with one output: two of these rows will do.
DISTINCT = [
    row
    for row in TASK_HEADS
    if row.predicts != Predicted.TEXT_VALUE or row.model_type in ("bert", "llama")
]
every_head = pytest.mark.parametrize("row", DISTINCT, ids=names)
heads_of_encoders = pytest.mark.parametrize("row", ENCODERS, ids=names)
heads_of_bert = pytest.mark.parametrize("row", OF_BERT, ids=names)


def batch_for(row: Anatomy, types: bool = True) -> LabelledBatch:
    """Texts, or pairs where the model tells their kinds apart, with what it is to predict."""
    own = torch.zeros_like(IDS)
    own[:, 2:] = MASK[:, 2:]
    kinds = own if types and "token_type_ids" in row.inputs else None
    if row.predicts == Predicted.TOKEN_LABELS:
        return labelled_batch(IDS, MASK, IDS % 3, [0, 1, 0], kinds)
    if row.predicts == Predicted.TEXT_VALUE:
        return value_batch(IDS, MASK, torch.tensor([0.5, 2.0, -1.0]), [0, 1, 0], kinds)
    if row.predicts == Predicted.CHOICES:
        return choice_batch(IDS, MASK, [3], torch.tensor([1]), [1], kinds)
    if row.predicts == Predicted.SPANS:
        spans = torch.tensor([[1, 3], [0, 0], [1, 1]])
        return span_batch(IDS, MASK, MASK, spans, [0, 1, 0], kinds)
    return labelled_batch(IDS, MASK, torch.tensor([0, 2, 1]), [0, 1, 0], kinds)


def own_logits(model: LanguageModel, batch: LabelledBatch) -> Tensor:
    """Logits (D, C) of the batch's decisions, by Transformers' own forward."""
    keys = ("input_ids", "attention_mask", "token_type_ids")
    inputs = {key: batch[key] for key in keys if key in batch}  # type: ignore[literal-required]
    predicts = model.anatomy.predicts
    if predicts == Predicted.CHOICES:
        inputs = {key: value.unsqueeze(0) for key, value in inputs.items()}
    out = model.model(**inputs)
    if predicts == Predicted.SPANS:
        both = torch.stack([out.start_logits, out.end_logits], 1)
        nowhere = torch.finfo(both.dtype).min / 64
        return both.masked_fill(batch["attention_mask"][:, None] == 0, nowhere).flatten(0, 1)
    logits: Tensor = out.logits
    return logits if logits.dim() == 2 else logits.flatten(0, 1)[batch["rows"]]


@every_head
def test_logits_and_gradients_are_the_models_own(row: Anatomy) -> None:
    model, batch = LanguageModel(random_model(row).double()), batch_for(row)
    logits = decision_logits(model, batch, model.encode(batch))
    expected = own_logits(model, batch)
    torch.testing.assert_close(logits, expected, rtol=1e-12, atol=1e-13)
    parameters = dict(model.model.named_parameters())
    ours = torch.autograd.grad(logits.sin().sum(), [*parameters.values()], allow_unused=True)
    theirs = torch.autograd.grad(expected.sin().sum(), [*parameters.values()], allow_unused=True)
    for name, one, other in zip(parameters, ours, theirs, strict=True):
        assert one is not None, name
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-13)
    outputs = {Predicted.TEXT_VALUE: 1, Predicted.CHOICES: 1, Predicted.SPANS: 2}
    labels = LABELS if row.has_labels else []
    assert (model.outputs, model.vocab_size) == (outputs.get(row.predicts, 3), 40)
    assert (model.anatomy, model.labels) == (row, labels)
    check_batch(batch, Reach(2, 40, model.outputs, 20), "It")


@pytest.mark.parametrize("row", DECODERS, ids=names)
@pytest.mark.parametrize("pad", [0, 3], ids=["padding", "an end of texts"])
def test_decoders_read_the_last_token_that_plain_transformers_reads(row: Anatomy, pad: int) -> None:
    """Also of texts that end with the token that pads, or that are nothing else."""
    model = LanguageModel(random_model(row, pad_token_id=pad).double())
    ids = torch.tensor([[2, 7, 8, 9, 11], [2, 11, 12, 3, pad], [2, 3, pad, pad, pad], [pad] * 5])
    mask = torch.ones_like(ids)
    mask[1:, -1] = mask[2:, -2] = 0
    batch = labelled_batch(ids, mask, torch.tensor([0, 2, 1, 0]), [0, 1, 0, 1])
    with torch.no_grad():
        ours = decision_logits(model, batch, model.encode(batch))
        torch.testing.assert_close(ours, own_logits(model, batch), rtol=1e-12, atol=1e-13)
        alone = model.encode(labelled_batch(ids[:1, :4], mask[:1, :4], torch.tensor([0]), [0]))
    assert len(ours.unique(dim=0)) == 4
    assert torch.equal(alone.hidden[0, 0], alone.hidden[0, -1])  # everywhere in the text


def test_without_a_padding_token_the_mask_tells_the_last_token() -> None:
    model = LanguageModel(random_model(LLAMA, pad_token_id=None))
    other = LanguageModel(random_model(LLAMA))
    batch = batch_for(LLAMA)
    ours, theirs = (decision_logits(m, batch, m.encode(batch)) for m in (model, other))
    assert torch.equal(ours, theirs)


def test_a_run_tells_decoders_what_padding_is() -> None:
    """By which plain Transformers finds the last token of the export."""
    tokenizer: Any = SimpleNamespace(pad_token_id=None, eos_token_id=3, eos_token="</s>")
    decoder, encoder = LanguageModel(random_model(LLAMA)), LanguageModel(random_model(SEQUENCE))
    writer, before = LanguageModel(random_model("llama")), encoder.config.pad_token_id
    settle_padding([decoder, encoder, writer], tokenizer)
    assert (decoder.config.pad_token_id, encoder.config.pad_token_id) == (3, before)
    assert writer.config.pad_token_id is None
    assert any("tokenizer.pad_token = tokenizer.eos_token" in note for note in decoder.notes)
    settle_padding([decoder], SimpleNamespace(pad_token_id=5, eos_token_id=3))  # type: ignore[arg-type]
    assert decoder.config.pad_token_id == 5
    again = student_from_state(student_state(decoder), decoder.state_dict())
    assert again.config.pad_token_id == 5
    settle_padding([decoder], None)
    with pytest.raises(UserError, match="neither a padding token nor one that ends texts"):
        settle_padding([decoder], SimpleNamespace(pad_token_id=None, eos_token_id=None))  # type: ignore[arg-type]


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_modernbert_pools_as_its_config_says(pooling: str) -> None:
    row = anatomy_of("ModernBertForSequenceClassification")
    model = LanguageModel(random_model(row, classifier_pooling=pooling).double())
    batch = batch_for(row)
    logits = model.logits(model.encode(batch).rows(batch["rows"]))
    torch.testing.assert_close(logits, own_logits(model, batch))


@every_head
def test_its_own_config_finds_a_row(row: Anatomy, tmp_path: Path) -> None:
    random_model(row).save_pretrained(tmp_path)
    assert LanguageModel(open_model(str(tmp_path), None, torch.float32)).anatomy is row
    config = json.loads((tmp_path / "config.json").read_text())
    assert anatomy_of_config(config) is row
    body = {**config, "architectures": ["SomeBodyAlone"]}
    assert anatomy_of_config(body) is anatomy_of_type(row.model_type)
    (tmp_path / "config.json").write_text(json.dumps(body))
    if config.get("tie_word_embeddings", row.model_type in ("gpt2", "gemma", "gemma2")):
        return  # then no weight of a language model is missing
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


def head_for(row: Anatomy) -> TaskHead:
    return TaskHead(row.predicts, ("no", "yes") if row.has_labels else ())


@every_head
def test_the_body_of_a_language_model_gets_a_fresh_head(row: Anatomy, tmp_path: Path) -> None:
    """Or a body alone, as sentence encoders are saved: every fourth row."""
    whole = random_model(row.model_type)
    saved = whole.base_model if DISTINCT.index(row) % 4 == 0 else whole
    saved.save_pretrained(tmp_path / "lm")
    student = PretrainedStudent(str(tmp_path / "lm"), head=head_for(row)).build(None, 0)
    assert student.anatomy is row
    if row.has_labels:
        assert (student.labels, student.outputs) == (["no", "yes"], 2)
        assert student.config.label2id == {"no": 0, "yes": 1}
    kept = student.model.get_input_embeddings().weight
    assert torch.equal(kept, whole.get_input_embeddings().weight)
    assert bool(row.lm_head(student.model).weight.std() > 0)


@pytest.mark.parametrize("row", [*OF_BERT[::2], OF_BERT[3], LLAMA], ids=names)
def test_a_task_of_its_own_is_given_up_only_when_that_is_asked_for(
    row: Anatomy, tmp_path: Path
) -> None:
    """Whatever head it was, of equal names and shapes too: none of its numbers is left."""
    before = random_model(row)
    before.save_pretrained(tmp_path)
    rows = [r for r in TASK_HEADS if r.model_type == row.model_type]
    for other in rows:
        labels = tuple(LABELS) if other is row and row.has_labels else head_for(other).labels
        head = TaskHead(other.predicts, labels)
        with pytest.raises(UserError, match=r"has a head of its own.*fresh_head=true"):
            PretrainedStudent(str(tmp_path), head=head).build(None, 0)
        student = PretrainedStudent(str(tmp_path), head=head, fresh_head=True).build(None, 0)
        assert student.anatomy is other
        for name, value in student.model.state_dict().items():
            old = before.state_dict().get(name)
            if name.startswith(other.head_prefixes):
                assert old is None or old.shape != value.shape or not torch.equal(old, value), name
            else:
                assert old is not None, name
                assert torch.equal(old, value), name
    own = PretrainedStudent(str(tmp_path)).build(None, 0)
    linear = (row.lm_head(model).weight for model in (own.model, before))
    assert torch.equal(*linear)


def test_an_export_of_another_task_goes_on_with_a_new_head(tmp_path: Path) -> None:
    """As a student's folder is written: from a body alone to numbers, from these to choices."""
    random_model("xlm-roberta").base_model.save_pretrained(tmp_path / "body")
    folder = tmp_path / "body"
    for predicts in (Predicted.TEXT_VALUE, Predicted.CHOICES, Predicted.SPANS):
        start = PretrainedStudent(str(folder), head=TaskHead(predicts), fresh_head=True)
        student = start.build(None, 0)
        assert student.anatomy.predicts == predicts
        folder = tmp_path / predicts.name
        student.model.save_pretrained(folder)
        again = LanguageModel(open_model(str(folder), None, torch.float32))
        assert again.anatomy.predicts == predicts


def test_labels_are_short_for_a_head_of_them() -> None:
    for labels in (["one"], [], ["one", "one"]):
        with pytest.raises(UserError, match="two or more"):
            PretrainedStudent("x", labels=labels)
        with pytest.raises(UserError, match="two or more"):
            TaskHead(Predicted.TOKEN_LABELS, tuple(labels))
    with pytest.raises(UserError, match="give either"):
        PretrainedStudent("x", labels=["no", "yes"], head=TaskHead(Predicted.CHOICES))
    with pytest.raises(UserError, match=r"was given the labels \['a', 'b'\]: leave them out"):
        TaskHead(Predicted.SPANS, ("a", "b"))
    with pytest.raises(UserError, match="language model's own"):
        TaskHead(Predicted.TOKENS)


@pytest.mark.parametrize("row", [SEQUENCE, anatomy_of("DistilBertForSequenceClassification")])
def test_labels_give_a_language_model_a_fresh_head(row: Anatomy, tmp_path: Path) -> None:
    random_model(row.model_type).save_pretrained(tmp_path / "mlm")
    student = PretrainedStudent(str(tmp_path / "mlm"), labels=["no", "yes"]).build(None, 0)
    assert (student.anatomy, student.labels, student.outputs) == (row, ["no", "yes"], 2)


def test_heads_that_transformers_has_no_class_for_are_refused(tmp_path: Path) -> None:
    random_model("llama").save_pretrained(tmp_path)
    for head in (TaskHead(Predicted.CHOICES), TaskHead(Predicted.TOKEN_LABELS, ("a", "b"))):
        with pytest.raises(UserError, match=f"'llama' is not supported.*{head.predicts.value}"):
            PretrainedStudent(str(tmp_path), head=head).build(None, 0)


@pytest.mark.parametrize("row", [*ENCODERS, *OF_BERT, LLAMA], ids=names)
def test_students_take_the_labels_of_their_teacher(row: Anatomy) -> None:
    problem = {"problem_type": "single_label_classification"} if row.has_labels else {}
    teacher = LanguageModel(random_model(row, **problem))
    shape = {"num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 2}
    made = {
        "carved": LayerCopyStudent(num_layers=2),
        "fresh": FreshStudent(config={"num_hidden_layers": 1}),
        "typed": FreshStudent("bert", {**shape, "intermediate_size": 8}),
    }
    for start in made.values():
        student = start.build(teacher, 0)
        assert student.anatomy.predicts == row.predicts
        assert (student.labels, student.outputs) == (teacher.labels, teacher.outputs)
        assert student.vocab_size == 40
        assert student.config.problem_type == teacher.config.problem_type
        check_models(student, teacher, None, None)
        again = student_from_state(student_state(student), student.state_dict())
        assert (again.anatomy, again.labels) == (student.anatomy, teacher.labels)


@pytest.mark.parametrize("row", [TOKENS, ANSWERS], ids=names)
def test_a_bert_that_reads_tokens_becomes_a_distilbert(row: Anatomy) -> None:
    small = LayerCopyStudent(num_layers=4, layers="first", distilbert=True)
    teacher = LanguageModel(random_model(row, **CASED).double())
    student = small.build(teacher, 0).double()
    batch = batch_for(student.anatomy)
    ours, theirs = (decision_logits(m, batch, m.encode(batch)) for m in (student, teacher))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)  # positions passed float32
    assert (student.labels, student.outputs) == (teacher.labels, teacher.outputs)


@pytest.mark.parametrize(
    "row", [r for r in OF_BERT if r.transform not in (TOKENS.transform, as_it_is)]
)
def test_one_that_reads_texts_does_not(row: Anatomy) -> None:
    small = LayerCopyStudent(num_layers=4, layers="first", distilbert=True)
    with pytest.raises(UserError, match="has a tanh where DistilBERT's has a ReLU"):
        small.build(LanguageModel(random_model(row, **CASED)), 0)


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
    single = {"id2label": {0: "x"}, "label2id": {"x": 0}}
    kind = "multi_label_classification"
    one = LanguageModel(random_model(SEQUENCE, **single, problem_type=kind))
    with pytest.raises(UserError, match=r"The student has 1 output\(s\)"):
        check_models(one, None, None, None)
    for kind in ("regression", "multi_label_classification"):
        several = LanguageModel(random_model(SEQUENCE, problem_type=kind))
        with pytest.raises(UserError, match=f"problem_type {kind}"):
            check_models(several, None, None, None)


def test_one_output_is_a_number_as_transformers_takes_it() -> None:
    """Rerankers are saved so, with a label of some name and no problem_type."""
    single = {"id2label": {0: "LABEL_0"}, "label2id": {"LABEL_0": 0}}
    reranker = LanguageModel(random_model(SEQUENCE, **single, problem_type=None))
    assert (reranker.anatomy.predicts, reranker.labels) == (Predicted.TEXT_VALUE, [])
    bare = {"architectures": [SEQUENCE.architecture], "model_type": "bert", "num_labels": 1}
    assert anatomy_of_config(bare) is reranker.anatomy


@heads_of_bert
def test_a_method_trains_what_it_says(row: Anatomy) -> None:
    model, plain = LanguageModel(random_model(row)), Method.predicts
    if row.has_labels:
        check_kind(model, "student", "SupervisedKD", plain)
    else:
        said = f"{row.architecture}, which predicts {row.predicts.value}, and SupervisedKD trains"
        with pytest.raises(UserError, match=f"{said}.*use FineTune"):
            check_kind(model, "student", "SupervisedKD", plain)
        check_kind(model, "student", "FineTune", tuple(Predicted))
    body = LanguageModel(random_model(anatomy_of("BertModel")))
    check_kind(body, "student", "FineTune", ())


def test_tasks_of_two_kinds_are_not_compared() -> None:
    number, choice = (LanguageModel(random_model(OF_BERT[at])) for at in (2, 3))
    with pytest.raises(UserError, match=r"^The student predicts a number for each text and the te"):
        check_models(number, choice, None, None)
    check_models(number, LanguageModel(random_model(OF_BERT[2])), None, None)


class _Asks:
    """A data module's part that is looked at."""

    def __init__(self, reading: Reading, head: TaskHead | None = None) -> None:
        self.task_head = head
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


@heads_of_bert
def test_data_names_the_head_that_it_needs(row: Anatomy) -> None:
    data = _Asks(Reading.LABELS, head_for(row))
    check_models(LanguageModel(random_model(row)), None, None, None, data)
    for other in (*OF_BERT, anatomy_of_type("bert")):
        if other is not row:
            with pytest.raises(UserError, match=f"predicts {other.predicts.value}, and the data"):
                check_models(LanguageModel(random_model(other)), None, None, None, data)


DROPPING = [row for row in TASK_HEADS if row.transform is not as_it_is]


@pytest.mark.parametrize("row", DROPPING, ids=names)
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
