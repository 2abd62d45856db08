"""What one word on the command line decides in several places: the run folder and the tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import Namespace, dict_to_namespace

from data_modules.objectives.objectives import settled
from lit_distill.cli.parsing.configs import read_config
from lit_distill.cli.parsing.types import imported
from lit_distill.errors import UserError

RUN_DIR = "{run_dir}"
"""Stands for the run folder in any string of a config."""


_ORIGIN = "# Relative paths are relative to "


def origin() -> str:
    """The first line of a run's config.yaml."""
    return f"{_ORIGIN}{Path.cwd()}\n"


def foreign_origins(files: Sequence[str]) -> str:
    """Says that relative paths of config files are meant from another folder; empty if none is.

    Args:
        files: as typed.
    """
    for file in files:
        with Path(file).open(encoding="utf-8") as opened:
            first = opened.readline()
        written = first.removeprefix(_ORIGIN).strip()
        if first.startswith(_ORIGIN) and Path(written) != Path.cwd():
            return (
                f"{file} was written in {written}, to which its relative paths (run_dir, files, "
                f"models) are relative; now they are taken from {Path.cwd()}."
            )
    return ""


def choose(config: Namespace, control: str | None = None) -> None:
    """Fills in `run_dir`, `tokenizer` and the data's objective where they were not given.

    Args:
        config: as parsed; changed in place.
        control: a control's folder is not by default that of the run whose control it is.

    Raises:
        UserError: two places name different ones, or a name is empty.
    """
    _choose_run_dir(config, control)
    _choose_tokenizer(config)
    _choose_objective(config)


def spread(config: Namespace) -> Namespace:
    """The config with `run_dir` and `tokenizer` put where they are used.

    Args:
        config: after `choose`; not changed.
    """
    config = config.clone()
    for section in ("model", "data"):
        init_args = config[section].get("init_args") or {}
        if "tokenizer" in init_args:
            init_args["tokenizer"] = config["tokenizer"]
    config["trainer"]["default_root_dir"] = config["run_dir"]
    _replace(config, lambda text: text.replace(RUN_DIR, config["run_dir"]))
    return config


def _choose_run_dir(config: Namespace, control: str | None) -> None:
    typed = {
        "run_dir": config["run_dir"],
        "trainer.default_root_dir": config["trainer"]["default_root_dir"],
    }
    files = [Path(str(path)) for path in config.get("config") or [] if path]
    suffix = f"-{control}" if control else ""
    config["run_dir"] = _agreed(typed) or str(Path("runs") / f"{_name(config, files)}{suffix}")
    config["trainer"]["default_root_dir"] = None


def _name(config: Namespace, files: Sequence[Path]) -> str:
    """That of the file which is an experiment, with method and data; else of both of them."""
    sets = {file: {key for part in read_config(file) for key in part.classes()} for file in files}
    whole = next((file.stem for file in files if {"model", "data"} <= sets[file]), None)
    if whole is not None:
        return whole
    data = next((file.stem for file in reversed(files) if "data" in sets[file]), None)
    return f"{_own_name(config['model'])}-{data or _own_name(config['data'])}"


def _own_name(node: Any) -> str:
    """A class by its file where it is one of ours, whose names are written in small letters."""
    found = imported(str(node["class_path"]))
    module = found.__module__ if isinstance(found, type) else ""
    ours = module.startswith(("lit_distill.methods.", "data_modules."))
    return module.rpartition(".")[2] if ours else str(node["class_path"]).rpartition(".")[2]


def _choose_tokenizer(config: Namespace) -> None:
    typed = {"tokenizer": config["tokenizer"]}
    for section in ("model", "data"):
        given = (config[section].get("init_args") or {}).get("tokenizer")
        typed[f"{section}.init_args.tokenizer"] = given
    for place, given in typed.items():
        if given is not None and not str(given).strip():
            raise UserError(f"{place} is empty: give a folder or hub name, or leave it out.")
    model = config["model"].get("init_args") or {}
    _check_names(model, "model")
    config["tokenizer"] = _agreed(typed) or _tokenizer_of(model)


def _choose_objective(config: Namespace) -> None:
    """What the method reads; where that depends on the tokenizer, the data module will choose."""
    init_args = config["data"].get("init_args") or {}
    if "objective" not in init_args or init_args["objective"] is not None:
        return
    method = imported(config["model"]["class_path"])
    chosen = settled(method.reads) if method is not None else None
    if chosen is not None:
        path = f"data_modules.{type(chosen).__name__}"
        node = {"class_path": path, "init_args": dict(vars(chosen))}
        init_args["objective"] = dict_to_namespace(node)


def _check_names(value: Any, place: str) -> None:
    """Refuses empty names of models, which would be the current folder."""
    if isinstance(value, list):
        for number, item in enumerate(value):
            _check_names(item, f"{place}[{number}]")
    for key, inner in vars(value).items() if isinstance(value, Namespace) else ():
        if key == "name" and isinstance(inner, str) and not inner.strip():
            raise UserError(f"{place}.name is empty: give the folder or the hub name of a model.")
        _check_names(inner, place if key == "init_args" else f"{place}.{key}")


def _tokenizer_of(model: Any) -> str | None:
    """Where the tokenizer is: a trimmed one, a pretrained student's, or else the teacher's."""
    teacher = model.get("teacher")
    for student in (model.get("student"), *(model.get("students") or {}).values()):
        if student and (student.get("init_args") or {}).get("vocabulary"):
            return str(student["init_args"]["vocabulary"])
        if student and student.get("class_path", "").endswith(".PretrainedStudent"):
            return _pinned(student["init_args"])
    if teacher:
        own = teacher.get("vocabulary") or teacher.get("tokenizer")
        return str(own or _pinned(teacher))
    if model.get("teacher_cache"):
        return str(model["teacher_cache"])
    return None


def _pinned(model: Any) -> str:
    """A model's name with its revision, as `load_tokenizer` reads it."""
    revision = model.get("revision")
    return f"{model['name']}@{revision}" if revision else str(model["name"])


def _agreed(typed: dict[str, Any]) -> str | None:
    """The one value that was typed, in whichever place; None if there is none."""
    given = {place: str(value) for place, value in typed.items() if value is not None}
    if len(set(given.values())) > 1:
        listed = ", ".join(f"{place} is {value!r}" for place, value in given.items())
        raise UserError(
            f"{listed}: give it in one place, --{next(iter(typed))}, from which it goes everywhere."
        )
    return next(iter(given.values()), None)


def _replace(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_replace(item, change) for item in value]
    if isinstance(value, dict):
        return {key: _replace(item, change) for key, item in value.items()}
    if isinstance(value, Namespace):
        for key, item in vars(value).items():
            setattr(value, key, _replace(item, change))
    return value
