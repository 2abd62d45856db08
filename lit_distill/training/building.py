"""From specifications to models that fit each other and the data."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, cast

import torch
from lightning.pytorch.utilities import rank_zero_info
from transformers import PreTrainedTokenizerBase

from lit_distill.errors import UserError
from lit_distill.models import (
    LanguageModel,
    LayerCopyStudent,
    PretrainedStudent,
    RandomStream,
    Student,
    TeacherSpec,
    check_agreement,
    check_models,
    check_same_labels,
    load_tokenizer,
    shard,
    shard_auxiliary,
    share_vocabulary,
)
from lit_distill.training import checkpoints

if TYPE_CHECKING:
    from lit_distill.training.distillation import Distillation


def named_students(
    method: type[Distillation], student: Student | None, students: Mapping[str, Student] | None
) -> dict[str, Student]:
    """The students by name: the single one is called "student".

    Raises:
        UserError: both were given, a name is none, or there are more than the method trains.
    """
    if not students:
        return {"student": student or LayerCopyStudent()}
    if student is not None:
        raise UserError("model.student is one and model.students several: give either.")
    for name in students:
        if not re.fullmatch(r"[A-Za-z][\w-]*", name) or name == "auxiliary":
            raise UserError(f"model.students: {name!r} is no name: letters, digits, - and _.")
    if len(students) > 1 and not method.takes_several:
        raise UserError(
            f"{method.__name__} trains one student, and model.students names "
            f"{', '.join(students)}: CoDistillation and MutualLearning train several."
        )
    return dict(students)


def check_teacher(method: type[Distillation], needed: bool, given: bool) -> None:
    """Checks that a method that learns from a teacher has one, live or in a cache.

    Args:
        method: for the message.
        needed: whether it learns from one.
        given: whether there is one.

    Raises:
        UserError: it has none.
    """
    if needed and not given:
        raise UserError(
            f"{method.__name__} learns from a teacher and none is given: set "
            "model.init_args.teacher.name to a model name or folder."
        )


def build(module: Distillation) -> None:
    """Gives a module its students, teachers and auxiliary modules, and places them.

    None where a run does not train and they cannot be built: `validate` and `test` restore the
    student from the checkpoint, and need no teacher.

    Raises:
        UserError: they cannot be built, or do not fit, and the run trains.
    """
    for stream in module.streams.values():
        stream.seed = torch.initial_seed()  # of the run
    run = module.tokenizer, module.data, module.streams
    try:
        models = build_models(module.student_specs, module.teacher_specs, *run)
    except UserError as error:
        if module.trainer.training:
            raise
        rank_zero_info(f"{error} Agreement is left out; the student comes from the checkpoint.")
        return
    module.students.update(models[0])
    module.teachers.update(models[1])
    with auxiliary_draws():
        module.on_models_built()
    checkpoints.before_conversion(module)
    place_models(module)


def build_models(
    students: Mapping[str, Student],
    teachers: Mapping[str, TeacherSpec],
    tokenizer: PreTrainedTokenizerBase | None,
    data: Any,
    streams: Mapping[str, RandomStream],
) -> tuple[dict[str, LanguageModel], dict[str, LanguageModel]]:
    """Opens the teachers, makes the students (carved ones of the first teacher), and checks them.

    Args:
        students: how each starts, by name.
        teachers: by name, the first one first.
        tokenizer: of the run, if known.
        data: the data module, or None.
        streams: random numbers of students that have their own, by name.

    Returns:
        Students and teachers by name.

    Raises:
        UserError: one cannot be opened, or they do not fit.
    """
    opened = {name: spec.build() for name, spec in teachers.items()}
    first, made = next(iter(opened.values()), None), dict[str, LanguageModel]()
    for name, start in students.items():
        own = streams.get(name)
        with own.drawn(torch.device("cpu")) if own else nullcontext():
            made[name] = start.build(first, len(tokenizer or ()))
        made[name].stream = own
        for other, spec in teachers.items():
            check_models(made[name], opened[other], spec, tokenizer, data)
        if not teachers:
            check_models(made[name], None, None, tokenizer, data)
    if len(students) > 1:
        _check_common_vocabulary(students, made, tokenizer)
    share_vocabulary([*made.values(), *opened.values()], tokenizer)
    return made, opened


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


def place_models(module: Distillation) -> None:
    """Splits students, teachers and auxiliary modules over the strategy's mesh, if there is one.

    Raises:
        UserError: the mesh or a module is none that can be split; see `shard`, `shard_auxiliary`.
    """
    if module.dropout is not None:
        for student in module.students.values():
            cast(LanguageModel, student).set_dropout(module.dropout)
    for model in (*module.students.values(), *module.teachers.values()):
        if module.device_mesh is not None:
            shard(cast(LanguageModel, model), module.device_mesh)
        module.execution.apply(cast(LanguageModel, model))
    if module.device_mesh is not None:
        shard_auxiliary(dict(module.auxiliary.items()), module.device_mesh)


def _check_common_vocabulary(
    students: Mapping[str, Student],
    made: Mapping[str, LanguageModel],
    tokenizer: PreTrainedTokenizerBase | None,
) -> None:
    """Raises UserError where logits of different students do not mean the same tokens."""
    if tokenizer is None and len({model.outputs for model in made.values()}) > 1:
        sizes = ", ".join(f"{name} {model.outputs}" for name, model in made.items())
        raise UserError(
            f"The students have vocabularies of different sizes ({sizes}) and no tokenizer says "
            "how many rows are tokens: give one (--tokenizer)."
        )
    for name, start in students.items():
        if tokenizer is not None and isinstance(start, PretrainedStudent):
            own = load_tokenizer(start.name, start.revision)
            check_agreement(tokenizer, own, f" (here: the run's, and that of {name})")
    check_same_labels(made)
    causal = {model.anatomy.causal for model in made.values()}
    if len(causal) > 1:
        raise UserError(
            "Some students predict masked tokens and others the next one: they have no common "
            "rows to compare. Choose architectures of one kind."
        )
