"""FineTune against plain PyTorch, beside the methods it meets, on every kind of task."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from batches import Served, window
from labelled import LABELS, classifier, collate, pairs
from oracles import row_losses as oracle
from oracles.triple_loss import forward_kl
from shipped_methods import Keep, quiet_trainer, read
from tokenizers import BertWordPieceTokenizer
from torch import Tensor
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertTokenizerFast,
)

from data_modules.labelling.collation import Labels
from lit_distill.batch import IGNORED, Batch, LabelledBatch
from lit_distill.errors import UserError
from lit_distill.losses import (
    AccumulationWindow,
    DynamicTemperatureKL,
    FocalLoss,
    ForwardKL,
    LogitMSE,
    NormalisedKD,
    SmoothedCrossEntropy,
    SoftTarget,
    SquaredError,
)
from lit_distill.measures import LabelMeasure
from lit_distill.methods import FineTune, SupervisedKD
from lit_distill.models import (
    Ensemble,
    LanguageModel,
    LayerCopyStudent,
    Predicted,
    PretrainedStudent,
    TaskHead,
    TeacherSpec,
    load_tokenizer,
)
from lit_distill.schedules import Constant, Ramp
from lit_distill.task_batches import choice_batch
from lit_distill.training.distillation import Distillation

TEXTS = pairs(8)
BATCH = collate(TEXTS, extra=2)
Step = Callable[..., Tensor]


@pytest.fixture(scope="module")
def teacher(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return classifier(tiny_bert, tmp_path_factory.mktemp("classifier"))


@pytest.fixture(scope="module")
def scorer(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One output: a number, or how good a choice is."""
    return classifier(tiny_bert, tmp_path_factory.mktemp("scorer"), ["score"])


@pytest.fixture(scope="module")
def pointer(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two outputs of every token: first and last of an answer."""
    folder = tmp_path_factory.mktemp("pointer")
    torch.manual_seed(2)
    model = BertForTokenClassification(BertConfig.from_pretrained(tiny_bert, num_labels=2))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    model.save_pretrained(folder)
    return folder


def built(method: Distillation, folder: Path) -> Distillation:
    """Ready for a batch, in float64; dropout is off."""
    teacher = TeacherSpec(str(folder)).build().double()
    method.teachers["teacher"] = teacher
    method.students["student"] = LayerCopyStudent().build(teacher, 0).double()
    return method


def soft(**losses: Any) -> dict[str, SoftTarget]:
    return {name: SoftTarget(loss) for name, loss in losses.items()}


def terms_of(method: Distillation, batch: Batch, progress: float = 0.5) -> dict[str, float]:
    """The mean of every term."""
    window = AccumulationWindow.single(batch, progress)
    found = method.losses(batch, window)
    return {name: term.sum.item() / batch["counts"][term.per] for name, term in found.items()}


def gradient_of(method: Distillation, batch: Batch, progress: float = 0.5) -> Tensor:
    window = AccumulationWindow.single(batch, progress)
    loss = window.total_loss(method.losses(batch, window))
    found = torch.autograd.grad(loss, list(method.student.parameters()), materialize_grads=True)
    return torch.cat([gradient.flatten() for gradient in found])


def logits_of(model: LanguageModel, batch: Batch) -> Tensor:
    """Logits (N, V) at the rows, by Transformers' own forward."""
    names = ("input_ids", "attention_mask", "token_type_ids")
    given = {name: batch[name] for name in names if name in batch}  # type: ignore[literal-required]
    with torch.no_grad():
        found: Tensor = model.model(**given).logits
    return found if found.dim() == 2 else found.flatten(0, 1)[batch["rows"]]


# -- what it is, and what it meets ----------------------------------------------------------------


def test_every_term_is_its_formula(teacher: Path) -> None:
    targets = {"kd": ForwardKL(2.0), "logits": LogitMSE(), "nkd": NormalisedKD(1.5, 2.0)}
    method = built(FineTune(FocalLoss(), soft=soft(**targets), teacher=spec(teacher)), teacher)
    found, count = terms_of(method, BATCH), len(TEXTS)
    each = (logits_of(model, BATCH).tolist() for model in (method.student, method.teacher))
    rows = list(zip(*each, BATCH["targets"].tolist(), strict=True))
    expected = {
        "kd": sum(forward_kl(s, t, temperature=2.0).real for s, t, _ in rows),
        "logits": sum((a - b) ** 2 for s, t, _ in rows for a, b in zip(s, t, strict=True)),
        "nkd": sum(oracle.normalised_kd(s, t, y, 1.5, 2.0).real for s, t, y in rows),
        "hard": sum(oracle.focal(s, y, 2.0).real for s, _, y in rows),
    }
    assert found == pytest.approx({k: v / count for k, v in expected.items()}, rel=1e-12)


def spec(folder: Path) -> TeacherSpec:
    return TeacherSpec(str(folder))


def test_one_soft_target_is_supervised_kd(teacher: Path) -> None:
    """Bit for bit."""
    given = {"teacher": spec(teacher), "alpha_hard": 0.4}
    ours = FineTune(soft={"kd": SoftTarget(ForwardKL(2.0), 0.7)}, **given)
    theirs = SupervisedKD(ForwardKL(2.0), alpha_kd=0.7, **given)
    one, other = (gradient_of(built(method, teacher), BATCH) for method in (ours, theirs))
    assert torch.equal(one, other)


def test_without_soft_targets_it_needs_no_teacher(teacher: Path) -> None:
    method = built(FineTune(), teacher)
    del method.teachers["teacher"]
    assert method.hears is None
    method.teach = None  # type: ignore[assignment]
    focal = built(FineTune(FocalLoss(0.0)), teacher)
    torch.testing.assert_close(gradient_of(method, BATCH), gradient_of(focal, BATCH))


def test_equal_views_are_ordinary_distillation(teacher: Path) -> None:
    """Bit for bit; and another view is heard."""
    method = built(FineTune(soft=soft(kd=ForwardKL()), teacher=spec(teacher)), teacher)
    views = with_view(BATCH, BATCH)
    plain = gradient_of(method, BATCH)
    assert torch.equal(gradient_of(method, views), plain)
    other = collate([(one[::-1], two, label) for one, two, label in TEXTS], extra=4)
    across = with_view(BATCH, other)
    assert not torch.equal(gradient_of(method, across), plain)
    expected = [
        forward_kl(s, t).real
        for s, t in zip(
            logits_of(method.student, BATCH).tolist(),
            logits_of(method.teacher, other).tolist(),
            strict=True,
        )
    ]
    assert terms_of(method, across)["kd"] == pytest.approx(sum(expected) / 8, rel=1e-12)


def with_view(batch: Batch, other: Batch) -> LabelledBatch:
    """The batch, whose teacher reads another one."""
    view = {f"teacher_{name}": value for name, value in other.items()}
    return LabelledBatch(**{**batch, **view})  # type: ignore[typeddict-item]


def test_annealing_goes_from_the_teacher_to_the_labels(teacher: Path) -> None:
    annealed = {"kd": SoftTarget(ForwardKL(), Ramp(1, 0))}
    both = built(FineTune(alpha_hard=Ramp(0, 1), soft=annealed, teacher=spec(teacher)), teacher)
    alone = FineTune(alpha_hard=0.0, soft=soft(kd=ForwardKL()), teacher=spec(teacher))
    ends = {progress: gradient_of(both, BATCH, progress) for progress in (0.0, 0.25, 1.0)}
    taught = gradient_of(built(alone, teacher), BATCH)
    labelled = gradient_of(built(FineTune(), teacher), BATCH)
    torch.testing.assert_close(ends[0.0], taught, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(ends[1.0], labelled, rtol=1e-12, atol=1e-15)
    between = 0.75 * taught + 0.25 * labelled
    torch.testing.assert_close(ends[0.25], between, rtol=1e-9, atol=1e-13)


def test_a_student_that_is_its_teacher_learns_nothing_from_it(teacher: Path) -> None:
    every = soft(
        kd=ForwardKL(3.0), logits=LogitMSE(), warm=DynamicTemperatureKL(), bare=ForwardKL()
    )
    method = built(FineTune(alpha_hard=0.0, soft=every, teacher=spec(teacher)), teacher)
    same = LayerCopyStudent(layers=[0, 1, 2, 3]).build(method.teacher, 0).double()
    method.students["student"] = same
    assert terms_of(method, BATCH) == pytest.approx(dict.fromkeys(every, 0.0), abs=1e-12)
    assert gradient_of(method, BATCH).abs().max() < 1e-12


# -- temperatures that depend on all rows ---------------------------------------------------------


def test_temperatures_are_around_the_mean_of_the_update(teacher: Path) -> None:
    method = built(FineTune(soft=soft(kd=DynamicTemperatureKL()), teacher=spec(teacher)), teacher)
    assert method.couples == ("kd",)
    each = (logits_of(model, BATCH).tolist() for model in (method.student, method.teacher))
    rows = list(zip(*each, strict=True))
    mean = sum(oracle.distance(s, t, 1.0) for s, t in rows) / len(rows)
    values = [64 * oracle.dynamic_temperature_kl(s, t, mean, 8.0).real for s, t in rows]
    assert terms_of(method, BATCH)["kd"] == pytest.approx(sum(values) / len(rows), rel=1e-12)


@pytest.fixture(scope="module")
def step(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Step:
    """The change of the student's parameters, flat, in one update of rate 1: minus the gradient."""
    after = tmp_path_factory.mktemp("step") / "after.pt"

    def run(batches: list[list[Batch]], **options: Any) -> Tensor:
        loop = quiet_trainer(
            accumulate_grad_batches=len(batches[0]), callbacks=[Keep(after)], **options
        )
        data = Served([window(rank) for rank in batches], None, load_tokenizer(str(teacher)))
        method = FineTune(
            soft=soft(warm=DynamicTemperatureKL(4.0, 1.5)),
            teacher=spec(teacher), student=LayerCopyStudent(), tokenizer=str(teacher), dropout=0.0,
            schedule=Constant(warmup=0.0), optimizer=functools.partial(torch.optim.SGD, lr=1.0),
        )  # fmt: skip
        loop.fit(method, datamodule=data)
        return read(after)

    return run


def test_coupled_rows_depend_on_no_padding_order_or_number_of_ranks(step: Step) -> None:
    whole = step([[collate(TEXTS)]])
    ways = {
        "padding": [[collate(TEXTS, extra=3)]],
        "order": [[collate(TEXTS[::-1])]],
    }
    for way, batches in ways.items():
        assert (whole - step(batches)).norm() / whole.norm() < 1e-12, way
    ranks = [[collate(TEXTS[:3])], [collate(TEXTS[3:])]]
    assert (whole - step(ranks, strategy="ddp_fork", devices=2)).norm() / whole.norm() < 1e-12
    with pytest.raises(UserError, match=r"compares the texts .*\(warm\).*accumulate_grad_batches"):
        step([[collate(TEXTS[:3]), collate(TEXTS[3:])]])


# -- choices, answers, numbers --------------------------------------------------------------------


def of_options(batch: Batch, options: list[list[int]], targets: list[int]) -> LabelledBatch:
    most = max(map(len, options))
    padded = [[*own, *[-1] * (most - len(own))] for own in options]
    counts = {**batch["counts"], "decisions": len(options)}
    own = {"options": torch.tensor(padded), "targets": torch.tensor(targets), "counts": counts}
    return LabelledBatch(**{**batch, **own})  # type: ignore[typeddict-item]


CHOICES = [[0, 1, 2], [3, 4], [5, 6, 7]]
"""Of eight texts, which are the choices of three questions."""


def test_choices_are_among_texts(scorer: Path) -> None:
    """Of unequal numbers: an option that is none counts nowhere, not even in a smoothed loss."""
    batch, targets = of_options(BATCH, CHOICES, [2, 0, 1]), [2, 0, 1]
    given = soft(kd=ForwardKL(2.0), logits=LogitMSE(), warm=DynamicTemperatureKL())
    hard = SmoothedCrossEntropy(0.2)
    method = built(FineTune(hard, soft=given, teacher=spec(scorer)), scorer)
    flat = [logits_of(m, BATCH).flatten().tolist() for m in (method.student, method.teacher)]
    rows = [[[own[place] for place in options] for own in flat] for options in CHOICES]
    mean = sum(oracle.distance(s, t, 1.0) for s, t in rows) / 3
    pairs = list(zip(rows, targets, strict=True))
    expected = {
        "kd": sum(forward_kl(s, t, temperature=2.0).real for s, t in rows),
        "logits": sum((a - b) ** 2 for s, t in rows for a, b in zip(s, t, strict=True)),
        "warm": 64 * sum(oracle.dynamic_temperature_kl(s, t, mean, 8.0).real for s, t in rows),
        "hard": sum(oracle.smoothed_cross_entropy(s, y, 0.2).real for (s, _), y in pairs),
    }
    found = terms_of(method, batch)
    assert found == pytest.approx({name: value / 3 for name, value in expected.items()}, rel=1e-12)


def test_ends_of_answers_are_among_the_positions_of_a_text(pointer: Path) -> None:
    """Against Transformers' loss of a question answering model: the mean over both ends."""
    rows = BATCH["tokens"]
    text = rows // BATCH["input_ids"].shape[1]
    places = [(text == number).nonzero().flatten().tolist() for number in range(len(TEXTS))]
    options = [[2 * n + end for n in own] for own in places for end in (0, 1)]
    targets = [(3 * number) % len(own) for number, own in enumerate(options)]
    batch = of_options(Batch(**{**BATCH, "rows": rows}), options, targets)
    method = built(FineTune(), pointer)
    found = gradient_of(method, batch)
    model = method.student.model
    names = ("input_ids", "attention_mask", "token_type_ids")
    logits = model(**{name: BATCH[name] for name in names}).logits  # type: ignore[literal-required]
    blocked = logits.masked_fill(BATCH["attention_mask"].unsqueeze(-1) == 0, -torch.inf)
    losses = [
        torch.nn.functional.cross_entropy(blocked[..., end], torch.tensor(targets[end::2]))
        for end in (0, 1)
    ]
    expected = torch.autograd.grad(sum(losses) / 2, list(method.student.parameters()))
    apart = found - torch.cat([gradient.flatten() for gradient in expected])
    assert apart.norm() / found.norm() < 1e-12


def test_numbers_are_learnt_by_their_squared_error(scorer: Path) -> None:
    values = torch.linspace(-1, 3, 8)
    nothing = torch.full((8,), IGNORED)
    batch = LabelledBatch(**{**BATCH, "values": values, "targets": nothing})
    given: dict[str, Any] = {"soft": soft(kd=LogitMSE()), "teacher": spec(scorer)}
    method = built(FineTune(SquaredError(), alpha_hard=0.3, **given), scorer)
    student, teacher = (logits_of(m, BATCH).squeeze(1) for m in (method.student, method.teacher))
    assert terms_of(method, batch) == pytest.approx(
        {
            "kd": (student - teacher).square().mean().item(),
            "hard": (student - values).square().mean().item(),
        },
        rel=1e-12,
    )


def test_nothing_to_decide_is_a_gradient_of_zero(scorer: Path) -> None:
    none = BATCH["rows"][:0]
    bare = Batch(**{**BATCH, "rows": none, "targets": none})
    batch = LabelledBatch(
        **{**bare, "options": none.view(0, 1), "counts": {**BATCH["counts"], "decisions": 0}}
    )
    every = soft(kd=ForwardKL(), warm=DynamicTemperatureKL())
    method = built(FineTune(soft=every, teacher=spec(scorer)), scorer)
    assert gradient_of(method, batch).abs().max() == 0


# -- whole runs -----------------------------------------------------------------------------------


class Asking(Served):
    """Data that says which head its task needs, and what cuts the teacher's view."""

    def __init__(self, batch: Batch, head: TaskHead, folder: Path, theirs: Path | None = None):
        super().__init__([[batch]], [batch], load_tokenizer(str(folder)))
        self.task_head, self.objective = head, Labels()
        self.teacher_tokenizer = None if theirs is None else load_tokenizer(str(theirs))


def fit(method: FineTune, data: Asking) -> FineTune:
    quiet_trainer(limit_val_batches=1, val_check_interval=1).fit(method, datamodule=data)
    return method


def fresh(folder: Path, **options: Any) -> FineTune:
    """On the body of a language model."""
    own = {"student": PretrainedStudent(str(folder)), "tokenizer": str(folder)}
    return FineTune(**own, **options, optimizer=functools.partial(torch.optim.SGD, lr=0.1))


HEAD = TaskHead(Predicted.TEXT_LABELS, tuple(LABELS))


def test_a_language_model_gets_the_head_of_the_datas_task(tiny_bert: Path) -> None:
    method = fit(fresh(tiny_bert), Asking(BATCH, HEAD, tiny_bert))
    assert method.student.labels == LABELS
    assert isinstance(method.measure, LabelMeasure)
    choice = choice_batch(
        BATCH["input_ids"], BATCH["attention_mask"], [3, 2, 3], torch.tensor([0, 1, 2]), [0, 1, 0]
    )
    method = fit(fresh(tiny_bert), Asking(choice, TaskHead(Predicted.CHOICES), tiny_bert))
    assert type(method.student.model).__name__ == "BertForMultipleChoice"
    assert method.logged["hard"] > 0


def test_a_head_of_its_own_stays(teacher: Path, tiny_bert: Path) -> None:
    before = TeacherSpec(str(teacher)).build().model.classifier.weight
    start = PretrainedStudent(str(teacher)).for_task(HEAD)
    assert torch.equal(start.build(None, 0).model.classifier.weight, before)
    named = PretrainedStudent(str(tiny_bert), labels=["one", "two"])
    assert named.for_task(HEAD) == named


def test_the_head_has_the_teachers_labels_in_its_order(tiny_bert: Path, tmp_path: Path) -> None:
    """Of which the data may lack some, but has no other ones."""
    order = ["good", "none", "bad", "fair"]
    taught = {"teacher": spec(classifier(tiny_bert, tmp_path, order)), "soft": soft(kd=ForwardKL())}
    method = fit(fresh(tiny_bert, **taught), Asking(BATCH, HEAD, tiny_bert))
    assert method.student.labels == order
    more = TaskHead(Predicted.TEXT_LABELS, (*LABELS, "best"))
    with pytest.raises(UserError, match=r"has 4 labels, and the teacher, .* best:"):
        fit(fresh(tiny_bert, **taught), Asking(BATCH, more, tiny_bert))


def test_a_teacher_with_another_tokenizer_reads_its_own_view(
    tiny_bert: Path, tmp_path: Path
) -> None:
    """Its labels are the student's: their logits are compared in training and validation."""
    trainer = BertWordPieceTokenizer(lowercase=True)
    trainer.train_from_iterator(["some other words " * 3] * 9, vocab_size=40, show_progress=False)
    theirs = BertTokenizerFast(tokenizer_object=trainer._tokenizer)
    other = tmp_path / "other"
    config = BertConfig(
        vocab_size=104, pad_token_id=theirs.pad_token_id, hidden_size=8,
        max_position_embeddings=40,
        num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        id2label=dict(enumerate(LABELS)), label2id={name: n for n, name in enumerate(LABELS)},
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(other)
    theirs.save_pretrained(other)
    given = {"teacher": spec(other), "soft": soft(kd=ForwardKL())}
    views = with_view(BATCH, collate(pairs(8, seed=5)))
    method = fit(fresh(tiny_bert, **given), Asking(views, HEAD, tiny_bert, other))
    assert method.logged["kd"] > 0
    assert method.measurements["student"].mean["kl"] is not None
    with pytest.raises(UserError, match="use the tokenizer that the teacher was trained with"):
        fit(fresh(tiny_bert, **given), Asking(BATCH, HEAD, tiny_bert))


# -- what is refused ------------------------------------------------------------------------------


def test_what_cannot_be_learnt_is_refused(teacher: Path) -> None:
    with pytest.raises(UserError, match=r"alpha_hard is 0, so nothing is learnt"):
        FineTune(alpha_hard=0.0)
    with pytest.raises(UserError, match="names a term 'hard'"):
        FineTune(soft=soft(hard=ForwardKL()), teacher=spec(teacher))
    with pytest.raises(UserError, match="FineTune learns from a teacher and none is given"):
        FineTune(soft=soft(kd=ForwardKL()))
    with pytest.raises(UserError, match=r"SoftTarget.weight is -1"):
        SoftTarget(ForwardKL(), -1.0)
    with pytest.raises(UserError, match="CachedTeacher gives"):
        FineTune(soft=soft(warm=DynamicTemperatureKL()), teacher_cache="folder")


def test_losses_that_do_not_fit_the_task_are_refused(teacher: Path) -> None:
    number = built(FineTune(SquaredError()), teacher)
    with pytest.raises(UserError, match="SquaredError is of numbers, and the student chooses"):
        number.on_models_built()
    several = built(
        FineTune(
            soft=soft(kd=ForwardKL(), logits=LogitMSE()), teacher=spec(teacher),
            ensemble=Ensemble({"other": spec(teacher)}),
        ),
        teacher,
    )  # fmt: skip
    several.teachers["other"] = several.teacher
    with pytest.raises(UserError, match=r"logits compares logits, .*combine=logits"):
        several.on_models_built()
