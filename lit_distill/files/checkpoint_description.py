"""What a checkpoint says about itself, checked before anything is built from it or written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lit_distill.errors import UserError
from lit_distill.files.file_names import check_file_name

KEY = "lit_distill"
"""Where in a checkpoint its description lives."""

_FIELDS: dict[str, tuple[type | tuple[type, ...], bool]] = {  # types, and whether it must be there
    "version": (int, True),
    "method": (str, True),
    "config": (str, True),
    "students": (Mapping, True),
    "tokenizer": (Mapping, True),
    "teachers": (Mapping, True),
    "notes": (list, False),
    "seeds": (Mapping, False),
    "teacher_cache": ((Mapping, type(None)), False),  # of 0.1, now a `teacher_source`
    "teacher_source": ((Mapping, type(None)), False),
    "endings": (list, False),
    "padding": ((int, type(None)), False),
}


def description_of(checkpoint: Any, source: str) -> dict[str, Any]:
    """The description in a checkpoint, of which every field has its type and every name is one.

    Args:
        checkpoint: its content.
        source: how to call it in a message.

    Raises:
        UserError: there is none, or a field is missing or of another type; with the first one.
    """
    if not isinstance(checkpoint, dict) or KEY not in checkpoint:
        raise UserError(
            f"{source} was not written by lit_distill (no student description in it): to start "
            "from other weights, give them as a Hugging Face folder to PretrainedStudent."
        )
    saved = checkpoint[KEY]
    _require(isinstance(saved, dict), source, "its description is no mapping")
    for name, (kind, needed) in _FIELDS.items():
        found = saved.get(name, None if needed else _EMPTY)
        sound = found is _EMPTY or (isinstance(found, kind) and not isinstance(found, bool))
        _require(sound, source, f"{name} is {_shown(found)}")
    _require(bool(saved["students"]), source, "it holds no student")
    for name, state in saved["students"].items():
        check_file_name(name, f"A student of {source}")
        config = state.get("config") if isinstance(state, Mapping) else None
        classes = config.get("architectures") if isinstance(config, Mapping) else None
        sound = isinstance(classes, list) and bool(classes) and isinstance(classes[0], str)
        _require(sound, source, f"the config of its student {name} names no architecture")
        generation = state.get("generation")
        _require(
            generation is None or isinstance(generation, Mapping), source,
            f"the generation config of its student {name} is {_shown(generation)}",
        )  # fmt: skip
    for name, text in saved["tokenizer"].items():
        check_file_name(name, f"The tokenizer of {source}", folders=True)
        _require(isinstance(text, str), source, f"its tokenizer's {name} is {_shown(text)}")
    for name, teacher in saved["teachers"].items():
        wanted = {"name", "revision", "fingerprint"}
        sound = isinstance(teacher, Mapping) and wanted <= teacher.keys()
        _require(sound, source, f"its teacher {name} is {_shown(teacher)}")
    source_of = saved.get("teacher_source")
    sound = source_of is None or {"name", "fingerprint"} <= source_of.keys()
    _require(sound, source, f"teacher_source is {_shown(source_of)}")
    for name, seed in saved.get("seeds", {}).items():
        _require(isinstance(seed, int), source, f"the seed of {name} is {_shown(seed)}")
    numbers = all(isinstance(number, int) for number in saved.get("endings", ()))
    _require(numbers, source, f"endings is {_shown(saved.get('endings'))}")
    return dict(saved)


_EMPTY = object()


def _require(sound: bool, source: str, what: str) -> None:
    if not sound:
        raise UserError(
            f"{source} is damaged: {what}. Take another checkpoint of the run; --ckpt_path last "
            "finds the newest that can be read."
        )


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
