"""The files of a model folder that others need, and nothing else that may lie there."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from safetensors import SafetensorError, safe_open

from lit_distill.errors import UserError

CARD, CONFIG, INDEX = "README.md", "config.json", "model.safetensors.index.json"
WEIGHTS = ("*.safetensors", "*.onnx")
MODEL = (
    *(CARD, CONFIG, INDEX, "config.yaml", "generation_config.json", "adapter_config.json"),
    *(*WEIGHTS, "*.onnx.data", "parity.json", "projections/*.safetensors", "projections/*.json"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "vocab.txt", "merges.txt", "tokenizer.model", "spiece.model"),
    *("sentencepiece.bpe.model", "source.spm", "target.spm", "chat_template.jinja"),
    *("chat_template.json", "additional_chat_templates/*.jinja", "modules.json"),
    *("sentence_bert_config.json", "config_sentence_transformers.json"),
    *("[0-9]_*/config.json", "[0-9]_*/*.safetensors"),
)
"""Patterns of what makes a model: weights, its shape, how text becomes tokens, its card."""
RIGHTS = ("LICENSE", "LICENSE.*", "NOTICE", "NOTICE.*")
"""Patterns of what is sent as well, and never removed from a repository."""


@dataclass(frozen=True)
class Sent:
    """What of a folder is sent.

    Attributes:
        folder: of the model.
        files: bytes by path inside of it, with slashes.
        left: paths of what stays here; folders that hold nothing to send end with a slash.
    """

    folder: Path
    files: dict[str, int]
    left: Sequence[str]


def is_of_model(path: str) -> bool:
    """Whether a path in a folder or repository is one of a model's own files."""
    return _fits(path, MODEL)


def sent_files(folder: Path) -> Sent:
    """Finds what is sent.

    Args:
        folder: of an export, or of any saved model.

    Raises:
        UserError: it is no folder of a model, its weights are not whole, or a file of it is a link
            to something outside.
    """
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder} (seen from {Path.cwd()}).")
    files, left = dict[str, int](), list[str]()
    for path in _walked(folder):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() or not _fits(name, (*MODEL, *RIGHTS)):
            left.append(f"{name}/" if path.is_dir() else name)
            continue
        if not path.resolve().is_relative_to(folder.resolve()):
            raise UserError(
                f"{path} is a link to {path.resolve()}, which is outside of {folder}: put the file "
                "itself there, or remove the link."
            )
        if not path.is_file():
            raise UserError(f"{path} is no file, or a link to nothing: remove it.")
        files[name] = path.stat().st_size
    _check_model(folder, files)
    return Sent(folder, files, left)


def _fits(name: str, patterns: Sequence[str]) -> bool:
    """Whether a path fits a pattern; a star stops at a slash, as patterns of shells do."""
    parts = name.split("/")
    return any(
        len(own := pattern.split("/")) == len(parts) and all(map(fnmatchcase, parts, own))
        for pattern in patterns
    )


def _walked(folder: Path) -> Iterator[Path]:
    """Files, in order, of those folders that may hold some of a model; other folders as they are.

    A folder that is a link is not entered.
    """
    inner = {pattern.split("/")[0] for pattern in MODEL if "/" in pattern}
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if not entry.is_dir() or entry.is_symlink() or not _fits(entry.name, [*inner]):
            yield Path(entry.path)
        else:
            yield from sorted(Path(entry.path).iterdir())


def _check_model(folder: Path, files: dict[str, int]) -> None:
    """Refuses a folder that nobody could load.

    Raises:
        UserError: config or weights are missing or damaged.
    """
    weights = [name for name in files if _fits(name, WEIGHTS)]
    configs = {CONFIG, "adapter_config.json"} & {*files}
    if not configs or not weights:
        missing = "weights (*.safetensors or *.onnx)" if configs else CONFIG
        raise UserError(f"{folder} is no export: it has no {missing}. {_instead(folder)}")
    if INDEX in files:
        parts = {*_mapped(folder / INDEX)}
        if lost := sorted(parts - {*files}):
            raise UserError(f"{folder} is not whole: {INDEX} names {lost[0]}, which is not there.")
    for name in weights:
        if name.endswith(".safetensors"):
            _check_weights(folder / name)


def _mapped(index: Path) -> Iterator[str]:
    try:
        yield from map(str, json.loads(index.read_text("utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{index} is damaged: it names no files of weights.") from error


def _check_weights(path: Path) -> None:
    try:
        with safe_open(path, framework="np"):  # its header says how long it has to be
            return
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} is damaged, or was not written to its end: {error}.") from error


def _instead(folder: Path) -> str:
    """Which folders inside are exports, if some are."""
    inner = [*sorted(folder.glob("student*")), *sorted(folder.glob("*/"))]
    models = dict.fromkeys(str(one) for one in inner if (one / CONFIG).is_file())
    if models:
        return f"Give one of those that are: {', '.join([*models][:4])}."
    return "Give a folder that `fit` or `export` has written."
