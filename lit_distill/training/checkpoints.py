"""What a checkpoint of a distillation holds beyond weights, and how it comes back.

A checkpoint restores and exports without the teacher: it carries the students' configurations, the
tokenizer and the configuration of the run, and of the teachers only name, revision and hash.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from lit_distill.errors import UserError
from lit_distill.files.checkpoint_description import KEY as KEY
from lit_distill.files.checkpoint_description import description_of
from lit_distill.models import (
    Exported,
    LanguageModel,
    differing_names,
    fingerprint,
    generation_state,
    known_endings,
    separate_names,
    student_from_state,
    student_state,
    tokenizer_files,
    tokenizer_from_files,
)

if TYPE_CHECKING:
    from lit_distill.training.distillation import Distillation


def leave_out_teachers(module: Distillation) -> None:
    """Keeps teachers out of state dicts; loading stays strict about everything else."""
    cast(Any, module.teachers).register_state_dict_post_hook(_drop_own_keys)
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


def describe(module: Distillation) -> dict[str, Any]:
    """Students' configs, tokenizer files, the run's configuration, the teachers' hashes.

    "generation", "endings" and "padding" say how students write and where texts end: checkpoints of
    the first release have none of them.
    """
    return {
        "version": 1,
        "method": type(module).__name__,
        "config": module.config_text,
        "notes": module.notes,
        "seeds": {name: stream.seed for name, stream in module.streams.items()},
        "students": {
            name: {
                **student_state(cast(LanguageModel, student)),
                "generation": generation_state(cast(LanguageModel, student)),
            }
            for name, student in module.students.items()
        },
        "exported": {
            name: cast(Exported, part).description() for name, part in module.exported.items()
        },
        "endings": _endings(module),
        "padding": module.tokenizer.pad_token_id if module.tokenizer else None,
        "tokenizer": _tokenizer(module),
        "teachers": teachers_of(module),
        "teacher_cache": _cache(module),
    }


def _tokenizer(module: Distillation) -> dict[str, str]:
    return tokenizer_files(module.tokenizer, _run_folder(module)) if module.tokenizer else {}


def _run_folder(module: Distillation) -> Path | None:
    return Path(module.trainer.default_root_dir) if module._trainer is not None else None


def _endings(module: Distillation) -> list[int]:
    """Ids that ended texts in training: of the data, the tokenizer, the students, the teachers."""
    found = set(getattr(module.data, "eos_ids", ()))  # not every data module says it
    for each in (*module.students.values(), *module.teachers.values()):
        model = cast(LanguageModel, each)
        if model.model.can_generate():
            found.update(known_endings(model, module.tokenizer))
    return sorted(found or module.restored.get("endings", ()))


def before_conversion(module: Distillation) -> None:
    """Hashes teachers while they are whole and in their own precision, as a resumed run finds them.

    Strict loading of weights in pieces would ask for teachers. What Lightning then no longer checks
    is checked by `restore`: the student's shape.
    """
    if module.trainer.training:
        teachers_of(module)
    if module.device_mesh is not None:
        module.strict_loading = False


def teachers_of(module: Distillation) -> dict[str, dict[str, str | None]]:
    """Name, revision and hash of each teacher; kept from the checkpoint where none was opened."""
    if not module.teachers and module.cache is not None:
        return {
            "teacher": {
                **module.cache.manifest.teacher,
                "fingerprint": module.cache.item("teacher"),
            }
        }
    if not module.teachers:
        return dict(module.restored.get("teachers", {}))
    if "teachers" not in module.restored:  # hashing reads every weight: once a run
        module.restored["teachers"] = {
            name: {
                "name": spec.name,
                "revision": spec.revision,
                "fingerprint": fingerprint(cast(LanguageModel, module.teachers[name])),
            }
            for name, spec in module.teacher_specs.items()
        }
    return dict(module.restored["teachers"])


def restore(module: Distillation, checkpoint: dict[str, Any]) -> None:
    """Builds students that are missing; refuses a checkpoint of other students or teachers.

    Raises:
        UserError: the checkpoint is not of this project, its student has another shape, or `fit`
            resumes against a teacher with other weights.
    """
    saved = description_of(checkpoint, "The checkpoint")
    if module.trainer.training and saved["method"] != type(module).__name__:
        raise UserError(
            f"The checkpoint was trained by {saved['method']} and the run is configured for "
            f"{type(module).__name__}, which keeps other things from update to update. Go on with "
            f"{saved['method']}, or start a new run (another --run_dir) from the exported student "
            "with PretrainedStudent."
        )
    if module.trainer.training and saved["students"].keys() != module.students.keys():
        raise UserError(
            f"The checkpoint's students are {', '.join(saved['students'])} and the run's are "
            f"{', '.join(module.students)}: resume with those that it was trained with."
        )
    for name, seed in saved.get("seeds", {}).items():
        if name in module.streams:
            module.streams[name].seed = seed
    for name, state in saved["students"].items():
        weights = _weights_of(checkpoint, name)
        if name not in module.students:
            module.students[name] = student_from_state(state, weights)
            continue
        student = cast(LanguageModel, module.students[name])
        _check_shape(name, state, student_state(student))
        _check_tables(name, state, weights, student)
    if module.tokenizer is None and saved["tokenizer"]:
        module.tokenizer = tokenizer_from_files(saved["tokenizer"], _run_folder(module))
    if module.trainer.training:
        _check_cache(saved.get("teacher_cache"), _cache(module))
    if module.teachers and module.trainer.training:
        for name, now in teachers_of(module).items():
            then = saved["teachers"].get(name)
            if then and then["fingerprint"] != now["fingerprint"]:
                raise UserError(
                    f"The checkpoint was trained against {then['name']} "
                    f"({str(then['fingerprint'])[:12]}); {now['name']} now has other weights "
                    f"({str(now['fingerprint'])[:12]}). Resume with the same teacher, or start a "
                    "new run from the exported student with PretrainedStudent."
                )
    module.restored.setdefault("teachers", saved["teachers"])
    module.restored.setdefault("endings", saved.get("endings", []))
    _leave_out_auxiliary(module, checkpoint.get("state_dict", {}))
    _make_room(module, checkpoint.get("state_dict", {}))


def _leave_out_auxiliary(module: Distillation, state: dict[str, Any]) -> None:
    """Drops what only training reads, where it was not built as no teacher was there."""
    if module.trainer.training or module.auxiliary or module.exported:
        return
    for key in [key for key in state if key.startswith(("auxiliary.", "exported."))]:
        state.pop(key)


def _make_room(module: Distillation, saved: Mapping[str, Any]) -> None:
    """Widens models to the weights they are to take: Lightning converts after it has loaded them.

    A run at `precision: 64-true` would go on from weights that passed through float32.
    """
    if any(value.dtype == torch.float64 for value in saved.values()):
        module.students.double()
        module.auxiliary.double()
        module.exported.double()


def _cache(module: Distillation) -> dict[str, str] | None:
    """Folder and fingerprint of the teacher cache; None where the teacher is live."""
    if module.cache is None:
        return None
    return {"folder": str(module.cache.folder), "fingerprint": module.cache.manifest.fingerprint}


def _check_cache(then: dict[str, str] | None, now: dict[str, str] | None) -> None:
    if (then and then["fingerprint"]) != (now and now["fingerprint"]):
        before, present = (
            f"the teacher cache {cache['folder']} ({cache['fingerprint'][:12]})"
            if cache
            else "a live teacher"
            for cache in (then, now)
        )
        raise UserError(
            f"The checkpoint was trained from {before} and the run is configured for {present}. "
            "Resume with what it was trained from (model.teacher_cache), or start a new run from "
            "the exported student with PretrainedStudent."
        )


def _weights_of(checkpoint: Mapping[str, Any], name: str) -> dict[str, Tensor]:
    """What a checkpoint holds of a student's state dict; nothing where it lies in pieces."""
    prefix = f"students.{name}."
    state = checkpoint.get("state_dict", {})
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
    ours, theirs = (
        {**state["config"], "surgeries": state.get("surgeries", [])} for state in (now, then)
    )
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
