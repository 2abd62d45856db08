"""What a checkpoint of a distillation holds beyond weights, and how it comes back.

A checkpoint restores and exports without the teacher: it carries the students' configurations, the
tokenizer and the configuration of the run, and of the teachers only name, revision and hash.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from lit_distill.errors import UserError
from lit_distill.files.checkpoint_description import KEY as KEY
from lit_distill.files.checkpoint_description import description_of
from lit_distill.models import (
    LanguageModel,
    differing_names,
    generation_state,
    known_endings,
    separate_names,
    student_from_state,
    student_state,
    tokenizer_files,
    tokenizer_from_files,
)
from lit_distill.training.cast import Cast


def leave_out_teachers(module: nn.Module, teachers: nn.ModuleDict) -> None:
    """Keeps teachers out of a module's state dicts; loading stays strict about everything else."""
    cast(Any, teachers).register_state_dict_post_hook(_drop_own_keys)
    cast(Any, module).register_load_state_dict_post_hook(_forgive_missing_teachers)


def _drop_own_keys(
    module: nn.Module, state: dict[str, Any], prefix: str, metadata: dict[str, Any]
) -> None:
    del module, metadata
    for key in [key for key in state if key.startswith(prefix)]:
        del state[key]


def _forgive_missing_teachers(module: nn.Module, keys: Any) -> None:
    del module
    keys.missing_keys[:] = [k for k in keys.missing_keys if not k.startswith("teachers.")]


def describe(who: Cast, method: str, config: str, notes: list[str]) -> dict[str, Any]:
    """Students' configs, tokenizer files, the run's configuration, the teachers' hashes.

    "generation", "endings" and "padding" say how students write and where texts end: checkpoints of
    the first release have none of them.

    Args:
        who: the models of the run.
        method: name of the method.
        config: of the run, as YAML.
        notes: for the model card.
    """
    recorded = who.source.identity()
    return {
        "version": 1,
        "method": method,
        "config": config,
        "notes": notes,
        "seeds": {name: stream.seed for name, stream in who.streams.items()},
        "students": {
            name: {**student_state(student), "generation": generation_state(student)}
            for name, student in who.student_models.items()
        },
        "endings": _endings(who),
        "padding": who.tokenizer.pad_token_id if who.tokenizer else None,
        "tokenizer": tokenizer_files(who.tokenizer, who.folder) if who.tokenizer else {},
        "teachers": who.identify_teachers(),
        "teacher_source": recorded and {"name": recorded.name, "fingerprint": recorded.fingerprint},
    }


def _endings(who: Cast) -> list[int]:
    """Ids that ended texts in training: of the data, the tokenizer, the students, the teachers."""
    found = set(who.eos_ids)
    for model in (*who.student_models.values(), *who.teacher_models.values()):
        if model.model.can_generate():
            found.update(known_endings(model, who.tokenizer))
    return sorted(found or who.endings)


def restore(who: Cast, checkpoint: dict[str, Any], method: str, training: bool) -> None:
    """Builds students that are missing; refuses a checkpoint of other students or teachers.

    Args:
        who: the models of the run, built or not.
        checkpoint: its content; weights that the run has no place for are dropped.
        method: name of the run's method.
        training: whether training goes on.

    Raises:
        UserError: the checkpoint is not of this project, its student has another shape, or `fit`
            resumes with another method, other students, or teachers with other weights.
    """
    saved, weights = description_of(checkpoint, "The checkpoint"), checkpoint.get("state_dict", {})
    if training:
        _check_run(who, saved, method)
    for name, seed in saved.get("seeds", {}).items():
        if name in who.streams:
            who.streams[name].seed = seed
    _restore_students(who, saved["students"], weights)
    if who.tokenizer is None and saved["tokenizer"]:
        who.tokenizer = tokenizer_from_files(saved["tokenizer"], who.folder)
    if training:
        _check_source(who, saved)
        _check_teachers(who, saved["teachers"])
    who.identities = who.identities or saved["teachers"]
    who.endings = who.endings or saved.get("endings", [])
    if not training and not who.auxiliary:  # only training reads it, and a teacher is needed for it
        for key in [key for key in weights if key.startswith("auxiliary.")]:
            del weights[key]
    _widen(who, weights)


def _check_run(who: Cast, saved: Mapping[str, Any], method: str) -> None:
    """Refuses to go on with another method, or with other students."""
    if saved["method"] != method:
        raise UserError(
            f"The checkpoint was trained by {saved['method']} and the run is configured for "
            f"{method}, which keeps other things from update to update. Go on with "
            f"{saved['method']}, or start a new run (another --run_dir) from the exported student "
            "with PretrainedStudent."
        )
    if saved["students"].keys() != who.students.keys():
        raise UserError(
            f"The checkpoint's students are {', '.join(saved['students'])} and the run's are "
            f"{', '.join(who.students)}: resume with those that it was trained with."
        )


def _restore_students(who: Cast, saved: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
    """Builds the students that are missing, and refuses others than the saved ones."""
    for name, state in saved.items():
        own = _weights_of(weights, name)
        if name not in who.students:
            who.students[name] = student_from_state(state, own)
            continue
        student = who.student_models[name]
        _check_shape(name, state, student_state(student))
        _check_tables(name, state, own, student)


def _check_source(who: Cast, saved: Mapping[str, Any]) -> None:
    """Refuses to go on hearing teachers from elsewhere."""
    recorded = who.source.identity()
    before, now = _source_of(saved), recorded and (recorded.name, recorded.fingerprint)
    if (before and before[1]) == (now and now[1]):
        return
    then, present = (
        f"{source[0]} ({source[1][:12]})" if source else "a live teacher"
        for source in (before, now)
    )
    raise UserError(
        f"The checkpoint was trained from {then} and the run is configured for {present}. Resume "
        "with what it was trained from (model.teacher_cache, model.teacher_source), or start a new "
        "run from the exported student with PretrainedStudent."
    )


def _source_of(saved: Mapping[str, Any]) -> tuple[str, str] | None:
    """Name and fingerprint of the source that a checkpoint was trained from; None: live teachers.

    A checkpoint of 0.1 names its teacher cache instead.
    """
    if cache := saved.get("teacher_cache"):
        return f"the teacher cache {cache['folder']}", cache["fingerprint"]
    found = saved.get("teacher_source")
    return found and (found["name"], found["fingerprint"])


def _check_teachers(who: Cast, saved: Mapping[str, Any]) -> None:
    """Refuses to go on with live teachers of other weights."""
    for name, now in who.identify_teachers().items() if who.teachers else ():
        then = saved.get(name)
        if then and then["fingerprint"] != now["fingerprint"]:
            raise UserError(
                f"The checkpoint was trained against {then['name']} "
                f"({str(then['fingerprint'])[:12]}); {now['name']} now has other weights "
                f"({str(now['fingerprint'])[:12]}). Resume with the same teacher, or start a "
                "new run from the exported student with PretrainedStudent."
            )


def _widen(who: Cast, saved: Mapping[str, Tensor]) -> None:
    """Widens models to the weights they are to take: Lightning converts after it has loaded them.

    A run at `precision: 64-true` would go on from weights that passed through float32.
    """
    if any(value.dtype == torch.float64 for value in saved.values()):
        who.students.double()
        who.auxiliary.double()


def _weights_of(state: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """What a checkpoint holds of a student's state dict; nothing where it lies in pieces."""
    prefix = f"students.{name}."
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def _check_tables(
    name: str, then: Mapping[str, Any], weights: Mapping[str, Tensor], student: LanguageModel
) -> None:
    """Refuses to load two tables into one, or one into two.

    Raises:
        UserError: the checkpoint's student shares other tables than the configured one.
    """
    saved = then.get("separate")
    if saved is None:  # the first release did not say
        named = {key.removeprefix("model."): value for key, value in weights.items()}
        saved = differing_names(student.model, named) if named else None
    now = separate_names(student.model)
    if saved is not None and set(saved) != set(now):
        raise UserError(
            f"The checkpoint's {name} has {', '.join(saved) or 'no table'} apart from its "
            f"embeddings, and the configured one {', '.join(now) or 'none'}. The first release "
            "merged the head of a carved T5, mT5 or merged adapter into the embeddings: such a run "
            "cannot go on; start a new one."
        )


def _check_shape(name: str, then: dict[str, Any], now: dict[str, Any]) -> None:
    ours, theirs = now["config"], then["config"]
    ignored = {"_name_or_path", "transformers_version", "dtype"}
    differing = sorted(
        key for key in (ours.keys() | theirs.keys()) - ignored if ours.get(key) != theirs.get(key)
    )
    if differing:
        shown = "; ".join(
            f"{k}: {theirs.get(k)!r} saved, {ours.get(k)!r} now" for k in differing[:4]
        )
        raise UserError(
            f"The checkpoint's {name} is not the configured one ({shown}). Resume with the "
            "configuration it was trained with, or start a new run."
        )
