"""From specifications to models that fit each other and the data."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch.distributed.device_mesh import DeviceMesh
from transformers import PreTrainedTokenizerBase

from lit_distill.data_facts import DataFacts
from lit_distill.errors import UserError
from lit_distill.models import (
    CachedTeacher,
    Execution,
    Hears,
    LanguageModel,
    LayerCopyStudent,
    LiveTeachers,
    Predicted,
    PretrainedStudent,
    RandomStream,
    Student,
    TeacherSource,
    TeacherSpec,
    check_agreement,
    check_exported,
    check_kind,
    check_models,
    check_same_labels,
    load_tokenizer,
    settle_padding,
    shard,
    shard_auxiliary,
    share_vocabulary,
    task_of,
)
from lit_distill.training.cast import Cast
from lit_distill.training.data_contract import check_data_module


class Needs(NamedTuple):
    """What is asked of a run by its method.

    Attributes:
        name: of the method.
        hears: what it needs of its teacher; None: nothing.
        several: whether it trains several students.
    """

    name: str
    hears: Hears | None
    several: bool


def named_students(
    method: Needs, student: Student | None, students: Mapping[str, Student] | None
) -> dict[str, Student]:
    """The students by name: the single one is called "student".

    Args:
        method: what trains them.
        student: the only one.
        students: instead, by name.

    Raises:
        UserError: both were given, a name is none, or there are more than the method trains.
    """
    if not students:
        return {"student": student or LayerCopyStudent()}
    if student is not None:
        raise UserError("model.student is one and model.students several: give either.")
    for name in students:
        if not re.fullmatch(r"[A-Za-z][\w-]*", name) or name in ("auxiliary", "exported"):
            raise UserError(f"model.students: {name!r} is no name: letters, digits, - and _.")
    if len(students) > 1 and not method.several:
        raise UserError(
            f"{method.name} trains one student, and model.students names "
            f"{', '.join(students)}: CoDistillation and MutualLearning train several."
        )
    return dict(students)


def chosen_source(
    method: Needs,
    live: LiveTeachers,
    teacher: TeacherSpec | None,
    source: TeacherSource | None,
    cache: str | None,
) -> TeacherSource:
    """Where a method hears its teachers: what is given in their place, or else the live ones.

    Args:
        method: who hears.
        live: the teachers that the run opens.
        teacher: the first of them.
        source: what takes their place in training.
        cache: instead, the folder of a teacher cache.

    Raises:
        UserError: two are given, or none that can give what the method needs.
    """
    if source is not None and cache is not None:
        raise UserError("model.teacher_source and model.teacher_cache are both given: leave one.")
    found = CachedTeacher(cache) if cache is not None else source
    if found is None and method.hears is not None and teacher is None:
        raise UserError(
            f"{method.name} learns from a teacher and none is given: set "
            "model.init_args.teacher.name to a model name or folder."
        )
    if found is not None and method.hears not in found.gives:
        wanted = "hears no teacher" if method.hears is None else f"needs {method.hears.value}"
        given = " and ".join(sorted(what.value for what in found.gives))
        raise UserError(
            f"{method.name} {wanted}, and a {type(found).__name__} gives {given}: leave "
            "model.teacher_cache or model.teacher_source out, or use a method of logits such as "
            "TripleLoss."
        )
    return found or live


def tokenizer_of(data: Any, name: str | None) -> PreTrainedTokenizerBase | None:
    """Checks a data module and gives its tokenizer, or else opens the one of a name.

    Args:
        data: the data module, or None.
        name: of the tokenizer where the data module has none; None: there is none.

    Raises:
        UserError: the data module lacks something, or there is no such tokenizer.
    """
    check_data_module(data)
    found = DataFacts(data).tokenizer
    return load_tokenizer(name) if found is None and name else found


def build_models(cast: Cast, data: Any, needed: bool = True) -> bool:
    """Opens the teachers, makes the students (carved ones of the first teacher), and checks them.

    Args:
        cast: gets them, all or none.
        data: the data module, or None.
        needed: whether there is no run without them. `validate` and `test` restore students from
            the checkpoint, and need no teacher.

    Returns:
        Whether they were built.

    Raises:
        UserError: one that is needed cannot be opened, or they do not fit.
    """
    for stream in cast.streams.values():
        stream.seed = torch.initial_seed()  # of the run
    try:
        _build(cast, data)
    except UserError as error:
        if needed:
            raise
        rank_zero_info(f"{error} Agreement is left out; the student comes from the checkpoint.")
        return False
    return True


def _build(cast: Cast, data: Any) -> None:
    tokenizer, facts = cast.tokenizer, DataFacts(data)
    theirs = facts.teacher_tokenizer if cast.takes_view else None
    view = facts.teacher_tokenizer if cast.shares_vocabulary else facts.src_tokenizer
    cast.read_alike(view is not None)
    opened = {
        name: spec.build(cast.teachers_need_head) for name, spec in cast.teacher_specs.items()
    }
    made = {name: _built(cast, name, opened, data) for name in cast.student_specs}
    if len(made) > 1:
        _check_common_tokenizer(cast.student_specs, tokenizer)
        if not cast.by_task:
            _check_common_outputs(made, tokenizer)
    others = opened.values() if cast.shares_vocabulary else ()
    share_vocabulary([*made.values(), *others], tokenizer)
    settle_padding([*made.values()], tokenizer)
    settle_padding([*others], theirs or tokenizer)
    cast.students.update(made)
    cast.teachers.update(opened)


def _built(cast: Cast, name: str, opened: Mapping[str, LanguageModel], data: Any) -> LanguageModel:
    """The student of a name, which fits its teachers and its data."""
    tokenizer, own = cast.tokenizer, cast.streams.get(name)
    if cast.by_task:
        opened = {other: one for other, one in opened.items() if other == name}
        data = DataFacts(data).tasks.get(name)
    facts, first = DataFacts(data), next(iter(opened.values()), None)
    theirs = facts.teacher_tokenizer if cast.takes_view else None
    start = cast.student_specs[name]
    if facts.task_head is not None:
        start = start.for_task(task_of(facts.task_head, first))
    with own.drawn(torch.device("cpu")) if own else nullcontext():
        student = start.build(first, len(tokenizer or ()), cast.needs_head)
    student.stream = own
    for other, teacher in opened.items():
        pair = student, teacher, cast.teacher_specs[other]
        check_models(*pair, tokenizer, data, cast.shares_vocabulary, theirs)
    if not opened:
        check_models(student, None, None, tokenizer, data)
    return student


def check_kinds(cast: Cast, method: str, predicts: Collection[Predicted]) -> None:
    """Checks that a method can train what its students predict; see `check_kind`.

    Args:
        cast: with its students.
        method: the method's name.
        predicts: what it can train.

    Raises:
        UserError: it cannot.
    """
    for name, student in cast.student_models.items():
        if cast.needs_head:
            check_kind(student, name, method, predicts)


@contextmanager
def auxiliary_draws() -> Iterator[None]:
    """Random numbers, in float32, for the initial weights of auxiliary modules.

    They are a function of the run's seed: not of what the models drew before, nor of the trainer's
    precision, as students' weights.
    """
    before, stream = torch.get_default_dtype(), RandomStream(torch.initial_seed(), "auxiliary")
    torch.set_default_dtype(torch.float32)
    try:
        with stream.drawn(torch.get_default_device()):
            yield
    finally:
        torch.set_default_dtype(before)


def place_models(
    cast: Cast, execution: Execution, dropout: float | None, mesh: DeviceMesh | None
) -> None:
    """Sets how models run; splits them and auxiliary modules over the strategy's mesh.

    Args:
        cast: its students, teachers and auxiliary modules, whole.
        execution: gradient checkpointing and compilation of all models.
        dropout: probability for the students; None: each model's own.
        mesh: of the strategy; None: nothing is split.

    Raises:
        UserError: the mesh or a module is none that can be split (see `shard`, `shard_auxiliary`),
            or none that can be exported (see `check_exported`).
    """
    check_exported(cast.exported, cast.students)
    students, teachers = cast.student_models.values(), cast.teacher_models.values()
    if dropout is not None:
        for student in students:
            student.set_dropout(dropout)
    for model in (*students, *teachers):
        if mesh is not None:
            shard(model, mesh)
        execution.apply(model)
    if mesh is not None:
        parts = {"auxiliary": cast.auxiliary, "exported": cast.exported}
        named = {f"{at}.{name}": m for at, part in parts.items() for name, m in part.items()}
        shard_auxiliary(named, mesh)


def _check_common_tokenizer(
    students: Mapping[str, Student], tokenizer: PreTrainedTokenizerBase | None
) -> None:
    """Raises UserError where a student was trained to read other ids than the run's."""
    for name, start in students.items():
        if tokenizer is not None and isinstance(start, PretrainedStudent):
            own = load_tokenizer(start.vocabulary or start.own_tokenizer)
            check_agreement(tokenizer, own, f" (here: the run's, and that of {name})")


def _check_common_outputs(
    made: Mapping[str, LanguageModel], tokenizer: PreTrainedTokenizerBase | None
) -> None:
    """Raises UserError where logits of different students do not mean the same tokens."""
    if tokenizer is None and len({model.outputs for model in made.values()}) > 1:
        sizes = ", ".join(f"{name} {model.outputs}" for name, model in made.items())
        raise UserError(
            f"The students have vocabularies of different sizes ({sizes}) and no tokenizer says "
            "how many rows are tokens: give one (--tokenizer)."
        )
    check_same_labels(made)
    causal = {model.anatomy.causal for model in made.values()}
    if len(causal) > 1:
        raise UserError(
            "Some students predict masked tokens and others the next one: they have no common "
            "rows to compare. Choose architectures of one kind."
        )
