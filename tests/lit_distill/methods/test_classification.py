"""Classifiers distilled by SupervisedKD: against plain PyTorch, on every way of running."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from batches import Served, window
from labelled import Pair, classifier, collate, pairs
from lightning.pytorch.strategies import ModelParallelStrategy
from ranks import on_two_ranks
from shipped_methods import Keep, quiet_trainer, read
from torch import Tensor
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BertConfig,
    BertForTokenClassification,
)

from lit_distill.batch import IGNORED, Batch
from lit_distill.errors import UserError
from lit_distill.losses import ForwardKL
from lit_distill.measures import LabelMeasure
from lit_distill.methods import MaskedLM, SupervisedKD
from lit_distill.models import (
    LayerCopyStudent,
    Predicted,
    PretrainedStudent,
    TaskHead,
    TeacherSpec,
    load_tokenizer,
)
from lit_distill.schedules import Constant
from lit_distill.task_batches import labelled_batch, value_batch

TEXTS = pairs(8)
TEMPERATURE, KD, HARD = 2.0, 0.7, 0.4
Step = Callable[..., Tensor]


@pytest.fixture(scope="module")
def teacher(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return classifier(tiny_bert, tmp_path_factory.mktemp("classifier"))


def method(folder: Path, /, **options: Any) -> SupervisedKD:
    settings: dict[str, Any] = {
        "divergence": ForwardKL(TEMPERATURE, t_squared=True), "alpha_kd": KD, "alpha_hard": HARD,
        "teacher": TeacherSpec(str(folder)), "student": LayerCopyStudent(),
        "tokenizer": str(folder), "dropout": 0.0, "schedule": Constant(warmup=0.0),
        "optimizer": functools.partial(torch.optim.SGD, lr=1.0),
    }  # fmt: skip
    return SupervisedKD(**{**settings, **options})


@pytest.fixture(scope="module")
def step(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Step:
    """The change of the student's parameters, flat, in one update of rate 1: minus the gradient."""
    after = tmp_path_factory.mktemp("step") / "after.pt"

    def run(batches: list[list[Batch]], **options: Any) -> Tensor:
        own = {k: options.pop(k) for k in ("student", "alpha_kd", "teacher") if k in options}
        loop = quiet_trainer(
            accumulate_grad_batches=len(batches[0]), callbacks=[Keep(after)], **options
        )
        data = Served([window(rank) for rank in batches], None, load_tokenizer(str(teacher)))
        loop.fit(method(teacher, **own), datamodule=data)
        return read(after)

    return run


def by_hand(teacher: Path, texts: list[Pair], kd: float = KD) -> Tensor:
    """The gradient by Transformers' own forward and the formula, text by text, in float64."""
    load = AutoModelForSequenceClassification.from_pretrained
    old, new = (load(teacher, dtype=torch.float64).eval() for _ in range(2))
    layers = new.bert.encoder.layer
    new.bert.encoder.layer = torch.nn.ModuleList([layers[0], layers[2]])
    total = torch.zeros((), dtype=torch.float64)
    for one, other, label in texts:
        ids = torch.tensor([[*one, *other]])
        types = torch.tensor([[0] * len(one) + [1] * len(other)])
        z = new(input_ids=ids, token_type_ids=types).logits[0]
        with torch.no_grad():
            t = old(input_ids=ids, token_type_ids=types).logits[0]
        log_p, log_q = (torch.log_softmax(x / TEMPERATURE, 0) for x in (t, z))
        divergence = (log_p.exp() * (log_p - log_q)).sum() * TEMPERATURE**2
        total = total + kd * divergence - HARD * torch.log_softmax(z, 0)[label]
    (total / len(texts)).backward()
    return torch.cat([parameter.grad.flatten() for parameter in new.parameters()])


def apart(one: Tensor, other: Tensor) -> float:
    assert one.norm() > 1e-3
    return float((one - other).norm() / one.norm())


def test_the_gradient_is_the_formulas(teacher: Path, step: Step) -> None:
    assert apart(by_hand(teacher, TEXTS), -step([[collate(TEXTS)]])) < 1e-12


def test_without_a_divergence_it_is_fine_tuning(teacher: Path, step: Step) -> None:
    """Of a student of its own, with no teacher at all."""
    halved = LayerCopyStudent().build(TeacherSpec(str(teacher)).build(), 0)
    halved.model.save_pretrained(teacher / "halved")
    own = {"alpha_kd": 0.0, "teacher": None, "student": PretrainedStudent(str(teacher / "halved"))}
    change = step([[collate(TEXTS)]], **own)
    assert apart(by_hand(teacher, TEXTS, kd=0.0), -change) < 1e-12
    with pytest.raises(UserError, match="SupervisedKD learns from a teacher and none is given"):
        SupervisedKD()


def test_the_gradient_depends_on_no_way_of_running(step: Step) -> None:
    whole = step([[collate(TEXTS)]])
    ways = {
        "padding": [[collate(TEXTS, extra=3)]],
        "order": [[collate(TEXTS[::-1])]],
        "split": [[collate(TEXTS[:3]), collate(TEXTS[3:])]],
    }
    for way, batches in ways.items():
        assert apart(whole, step(batches)) < 1e-12, way
    ranks = [[collate(TEXTS[:3])], [collate(TEXTS[3:])]]
    assert apart(whole, step(ranks, strategy="ddp_fork", devices=2)) < 1e-12


def test_the_gradient_is_the_same_with_weights_in_pieces(
    teacher: Path, step: Step, tmp_path: Path
) -> None:
    """Pooler and classifier are outside of the layers that are sharded one by one."""
    whole = step([[collate(TEXTS)]], precision="32-true")
    tokenizer = load_tokenizer(str(teacher))

    def work() -> None:
        strategy = ModelParallelStrategy(
            data_parallel_size=2, tensor_parallel_size=1, process_group_backend="gloo"
        )
        loop = quiet_trainer(
            precision="32-true", devices=2, strategy=strategy, callbacks=[Keep(tmp_path / "s.pt")]
        )
        ranks = [[collate(TEXTS[:3])], [collate(TEXTS[3:])]]
        loop.fit(method(teacher), datamodule=Served(ranks, None, tokenizer))

    on_two_ranks(work, tmp_path / "log.txt")
    assert apart(whole, read(tmp_path / "s.pt")) < 1e-5


def test_labels_of_tokens_are_learnt_at_their_tokens(tiny_bert: Path, tmp_path: Path) -> None:
    """By a data module of somebody's own; against Transformers' own loss."""
    load_tokenizer(str(tiny_bert)).save_pretrained(tmp_path)
    torch.manual_seed(0)
    config = BertConfig.from_pretrained(tiny_bert, num_labels=3)
    BertForTokenClassification(config).save_pretrained(tmp_path)
    given = collate(TEXTS)
    labels = given["input_ids"] % 3
    labels[:, ::2] = IGNORED
    read = given["input_ids"], given["attention_mask"]
    batch = labelled_batch(*read, labels, given["language"].tolist())
    own = {"alpha_kd": 0.0, "alpha_hard": 1.0, "student": PretrainedStudent(str(tmp_path))}
    module = method(tmp_path, teacher=None, **own)
    data = Served([[batch]], [batch], load_tokenizer(str(tmp_path)))
    quiet_trainer(callbacks=[Keep(tmp_path / "s.pt")], limit_val_batches=1).fit(module, data)
    model = AutoModelForTokenClassification.from_pretrained(tmp_path, dtype=torch.float64).eval()
    wanted = torch.where(given["attention_mask"] > 0, labels, IGNORED)
    model(*read, labels=wanted).loss.backward()
    gradient = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    assert apart(gradient, -torch.load(tmp_path / "s.pt", weights_only=True)) < 1e-12
    assert isinstance(module.measure, LabelMeasure)


def test_validation_measures_labels_by_language(teacher: Path) -> None:
    """Nobody says so: students have labels."""
    batch = collate(TEXTS)
    data = Served([[batch]], [batch], load_tokenizer(str(teacher)))
    module, loop = method(teacher), quiet_trainer(limit_val_batches=1)
    loop.fit(module, datamodule=data)
    assert isinstance(module.measure, LabelMeasure)
    scores = module.measurements["student"].languages
    assert scores.keys() == {"xx", "yy"}
    names = ("input_ids", "attention_mask", "token_type_ids")
    with torch.no_grad():
        student, taught = (
            m.model(**{name: batch[name] for name in names}).logits.argmax(1)
            for m in (module.student, module.teacher)
        )
    for number, name in enumerate(("xx", "yy")):
        own = batch["language"] == number
        hits = (student == batch["targets"])[own].double().mean()
        assert scores[name]["accuracy"] == pytest.approx(float(hits))
        loyal = (student == taught)[own].double().mean()
        assert scores[name]["label_loyalty"] == pytest.approx(float(loyal))
        assert 0 <= scores[name]["macro_f1"] <= 1


def test_one_language_is_measured_as_well(teacher: Path) -> None:
    batch = collate(TEXTS)
    batch["language"] = torch.zeros_like(batch["language"])
    data = Served([[batch]], [batch], load_tokenizer(str(teacher)))
    data.languages = ["xx"]
    module = method(teacher)
    quiet_trainer(limit_val_batches=1).fit(module, datamodule=data)
    measured = module.measurements["student"]
    assert measured.languages["xx"]["macro_f1"] == measured.mean["macro_f1"]


def test_a_method_of_tokens_refuses_labels(teacher: Path) -> None:
    from data_modules.labelling.collation import Labels

    data = Served([[collate(TEXTS)]], None, load_tokenizer(str(teacher)))
    data.objective = Labels()  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=r"MaskedLM reads MaskedTokens, and Served has labels of"):
        quiet_trainer().fit(MaskedLM(teacher=TeacherSpec(str(teacher))), datamodule=data)


def test_numbers_are_another_methods(tiny_bert: Path, teacher: Path) -> None:
    given = collate(TEXTS)
    read = given["input_ids"], given["attention_mask"], torch.ones(len(TEXTS))
    batch = value_batch(*read, given["language"].tolist())
    student = PretrainedStudent(str(tiny_bert), head=TaskHead(Predicted.TEXT_VALUE))
    data = Served([[batch]], None, load_tokenizer(str(tiny_bert)))
    with pytest.raises(UserError, match=r"a number for each text, and SupervisedKD.*use FineTune"):
        quiet_trainer().fit(
            method(teacher, teacher=None, student=student, alpha_kd=0.0), datamodule=data
        )


def test_labels_out_of_range_are_told(teacher: Path) -> None:
    texts = [(one, other, label + 1) for one, other, label in TEXTS]
    data = Served([[collate(texts)]], None, load_tokenizer(str(teacher)))
    with pytest.raises(UserError, match="targets has 3, and the student predicts 0 to 2"):
        quiet_trainer().fit(method(teacher), datamodule=data)
