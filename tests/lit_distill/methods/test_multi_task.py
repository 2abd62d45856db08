"""MultiTask against plain PyTorch, beside FineTune, and what its tasks share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from batches import Served, window
from labelled import LABELS, classifier, collate, pairs
from oracles.triple_loss import forward_kl
from shipped_methods import Keep, quiet_trainer, read
from torch import Tensor

from lit_distill.batch import LabelledBatch
from lit_distill.errors import UserError
from lit_distill.losses import AccumulationWindow, DynamicTemperatureKL, ForwardKL, SoftTarget
from lit_distill.methods import FineTune, MultiTask, TaskTerms
from lit_distill.models import LayerCopyStudent, PretrainedStudent, TeacherSpec
from lit_distill.schedules import Constant, Ramp
from lit_distill.task_batches import of_task, task_of

MOODS = ["calm", "cross"]
TASKS = ("topic", "mood")
KD = {"kd": SoftTarget(ForwardKL(2.0), 0.7)}


@pytest.fixture(scope="module")
def models(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, TeacherSpec]:
    """A teacher for each task: their bodies differ, and so do their labels."""
    place = tmp_path_factory.mktemp
    return {
        "topic": TeacherSpec(str(classifier(tiny_bert, place("topic"), LABELS, seed=1))),
        "mood": TeacherSpec(str(classifier(tiny_bert, place("mood"), MOODS, seed=2))),
    }


def starts(body: Path) -> dict[str, PretrainedStudent]:
    return {
        "topic": PretrainedStudent(str(body), labels=LABELS),
        "mood": PretrainedStudent(str(body), labels=MOODS),
    }


def batch_of(task: str, count: int, seed: int) -> LabelledBatch:
    made = collate(pairs(count, seed=seed))
    if task == "mood":
        made["targets"] = made["targets"] % 2
    return of_task(made, task, TASKS)


BATCHES = [batch_of(t, n, s) for t, n, s in (("topic", 3, 0), ("mood", 5, 1), ("topic", 2, 2))]


def method_of(models: dict[str, TeacherSpec], body: Path, **options: Any) -> MultiTask:
    given = {"teachers": models, "soft": KD, "alpha_hard": 0.4, "students": starts(body)}
    return MultiTask(
        **{**given, **options},
        optimizer=lambda groups: torch.optim.SGD(groups, lr=1.0),
        schedule=Constant(warmup=0.0),
        dropout=0.0,
    )


def fitted(method: Any, batches: list[LabelledBatch], **options: Any) -> Any:
    torch.manual_seed(0)
    served = Served([window(batches)])  # type: ignore[arg-type]
    quiet_trainer(accumulate_grad_batches=len(batches), **options).fit(method, datamodule=served)
    return method


def flat(module: torch.nn.Module) -> Tensor:
    return torch.cat([p.detach().double().flatten() for p in module.parameters()])


def logits_of(model: Any, batch: LabelledBatch) -> list[list[float]]:
    names = ("input_ids", "attention_mask", "token_type_ids")
    with torch.no_grad():
        return model.model(**{name: batch[name] for name in names}).logits.tolist()  # type: ignore


def test_an_update_of_two_tasks_is_its_formula(
    models: dict[str, TeacherSpec], tiny_bert: Path
) -> None:
    """b_t / b of the mean over all decisions of a task, whichever batches they are in."""
    method = fitted(method_of(models, tiny_bert, per_task=None), BATCHES)
    mixed = AccumulationWindow.of(BATCHES, 0.5, None, torch.device("cpu"))
    ours = sum(mixed.total_loss(method.losses(batch, mixed)).item() for batch in BATCHES)
    expected, counts = 0.0, {"topic": 5, "mood": 5}
    for batch in BATCHES:
        task = task_of(batch)
        assert task is not None
        share = {"topic": 2 / 3, "mood": 1 / 3}[task] / counts[task]
        student, teacher = method.students[task], method.teachers[task]
        own, theirs = logits_of(student, batch), logits_of(teacher, batch)
        for z, t, label in zip(own, theirs, batch["targets"].tolist(), strict=True):
            hard = np.log(np.exp(z).sum()) - z[label]
            expected += share * (0.4 * hard + 0.7 * forward_kl(z, t, temperature=2.0).real)
    assert ours == pytest.approx(expected, rel=1e-12)


def test_the_body_is_one_set_of_parameters(models: dict[str, TeacherSpec], tiny_bert: Path) -> None:
    method = fitted(method_of(models, tiny_bert), BATCHES)
    topic, mood = (method.students[task].model for task in TASKS)
    assert topic.bert.encoder is mood.bert.encoder
    assert topic.bert.embeddings is mood.bert.embeddings
    assert topic.bert.pooler is not mood.bert.pooler  # of the head
    groups = method.optimizers().param_groups
    trained = [p for group in groups for p in group["params"]]
    assert len(trained) == len({*map(id, trained)}) == len([*method.students.parameters()])


def test_a_single_task_is_fine_tuning(models: dict[str, TeacherSpec], tiny_bert: Path) -> None:
    """Bit for bit, over several micro-batches."""
    batches = [of_task(batch, "topic", ["topic"]) for batch in (BATCHES[0], BATCHES[2])]
    one, own = {"topic": starts(tiny_bert)["topic"]}, {"topic": models["topic"]}

    def trained(kind: type, **teachers: Any) -> Tensor:
        torch.manual_seed(3)
        method = kind(soft=KD, alpha_hard=Ramp(0, 1), students=one, **teachers, schedule=Constant())
        served = Served([window(batches) * 2])  # type: ignore[arg-type]
        served.tasks = {"topic": None} if kind is MultiTask else {}
        loop = quiet_trainer(accumulate_grad_batches=2, max_steps=2, gradient_clip_val=0.1)
        loop.fit(method, datamodule=served)
        return flat(method.students)

    alone = trained(FineTune, teacher=own["topic"])
    assert torch.equal(trained(MultiTask, teachers=own), alone)


def test_annealing_begins_with_the_teachers_and_ends_with_labels(
    models: dict[str, TeacherSpec], tiny_bert: Path
) -> None:
    ramps = {"kd": SoftTarget(ForwardKL(), Ramp(1, 0))}
    method = fitted(method_of(models, tiny_bert, soft=ramps, alpha_hard=Ramp(0, 1)), BATCHES)
    for progress, weighs in ((0.0, "kd"), (1.0, "hard")):
        at = AccumulationWindow.of(BATCHES, progress, None, torch.device("cpu"))
        terms = method.losses(BATCHES[1], at)
        own = terms[f"mood/{weighs}"]
        total = at.total_loss(terms).item()
        assert total == pytest.approx(own.sum.item() / 5 / 3, rel=1e-12)
        assert terms[f"topic/{weighs}"].sum.item() == 0


def test_a_student_that_is_its_teacher_learns_nothing_from_it(
    models: dict[str, TeacherSpec],
) -> None:
    same = dict.fromkeys(TASKS, models["topic"])
    every = dict.fromkeys(TASKS, LayerCopyStudent(layers=[0, 1, 2, 3]))
    both = {**KD, "flsw": SoftTarget(DynamicTemperatureKL())}
    method = method_of(same, Path(), students=every, soft=both)
    fitted(method, [BATCHES[0]])
    soft = {name: value for name, value in method.logged.items() if name.endswith(("kd", "flsw"))}
    assert soft == pytest.approx(
        dict.fromkeys(("topic/kd", "topic/flsw", "mood/kd", "mood/flsw"), 0.0), abs=1e-12
    )


def test_a_task_without_a_teacher_learns_from_its_labels(
    models: dict[str, TeacherSpec], tiny_bert: Path
) -> None:
    method = method_of({"topic": models["topic"]}, tiny_bert)
    assert method.terms["mood"] == TaskTerms()
    assert method.terms["topic"] == TaskTerms(alpha_hard=0.4, soft=KD)


@pytest.mark.parametrize("soft", [KD, {"flsw": SoftTarget(DynamicTemperatureKL())}])
def test_ranks_may_have_different_tasks(
    soft: dict[str, SoftTarget], models: dict[str, TeacherSpec], tiny_bert: Path, tmp_path: Path
) -> None:
    """Two ranks with a batch each, of different tasks, take the step of both batches."""

    def change(ranks: list[list[LabelledBatch]], **options: Any) -> Tensor:
        torch.manual_seed(0)
        loop = quiet_trainer(
            accumulate_grad_batches=len(ranks[0]), callbacks=[Keep(tmp_path / "a.pt")], **options
        )
        served = Served([window(batches) for batches in ranks])  # type: ignore[arg-type]
        loop.fit(method_of(models, tiny_bert, soft=soft), datamodule=served)
        return read(tmp_path / "a.pt")

    two = BATCHES[:2]
    apart = change([[batch] for batch in two], strategy="ddp_fork", devices=2)
    if "kd" in soft:
        whole = change([two])
    else:  # whose means want an update of one batch: the tasks add up
        whole = sum((change([[batch]]) for batch in two), torch.zeros(1)) / 2  # type: ignore
    assert (whole - apart).norm() / whole.norm() < 1e-12


def test_what_cannot_work_is_one_line(models: dict[str, TeacherSpec], tiny_bert: Path) -> None:
    with pytest.raises(UserError, match=r"no student for weather: model.students has topic, mood"):
        method_of({**models, "weather": models["mood"]}, tiny_bert)
    with pytest.raises(UserError, match=r"soft learns from teachers and none is given"):
        method_of({}, tiny_bert)
    one, alone = {"topic": models["topic"]}, {"topic": starts(tiny_bert)["topic"]}
    with pytest.raises(UserError, match=r"per_task.mood has soft targets, and no teacher"):
        method_of(one, tiny_bert, per_task={"mood": TaskTerms(soft=KD)})
    with pytest.raises(UserError, match=r"a teacher for each task: set teachers"):
        method_of(models, tiny_bert, teacher=models["topic"])
    carved = dict.fromkeys(TASKS, LayerCopyStudent())
    with pytest.raises(UserError, match=r"topic and mood are to have one body, .* differ in emb"):
        fitted(method_of(models, tiny_bert, students=carved), BATCHES)
    with pytest.raises(UserError, match=r"FineTune trains one head, and Served has the tasks"):
        quiet_trainer().fit(FineTune(), datamodule=Served([BATCHES]))  # type: ignore
    with pytest.raises(UserError, match=r"students for topic, and Served has mood, topic"):
        fitted(method_of({}, tiny_bert, soft=None, students=alone), BATCHES)
    sharded = method_of(models, tiny_bert)
    sharded._device_mesh = object()  # type: ignore[assignment]
    with pytest.raises(UserError, match=r"share a body, which FSDP2 would split"):
        sharded.on_models_built()
