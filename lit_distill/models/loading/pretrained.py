"""Opens saved models by folder or hub name, within seconds or with one clear error."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import EntryNotFoundError
from transformers import PretrainedConfig, PreTrainedModel
from transformers.utils import logging

from lit_distill.errors import UserError
from lit_distill.models.architectures.anatomy import Anatomy, Predicted, TaskHead
from lit_distill.models.architectures.table import (
    ANATOMIES,
    TEXT_PARTS,
    anatomy_of,
    anatomy_of_config,
    anatomy_of_type,
)
from lit_distill.models.body.absent import leave_out
from lit_distill.models.loading.adapters import base_of, is_adapter, merge_folder
from lit_distill.models.loading.finite import check_finite
from lit_distill.models.loading.hub import FIRST_ASK, answer_within, outage, patience, refusal
from lit_distill.models.loading.loaded_weights import (
    absent_modules,
    check_weights,
    draw_head,
    missing_head,
)

_log = getLogger(__name__)
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


@dataclass(frozen=True)
class Source:
    """Where `from_pretrained` is to read.

    Attributes:
        name: an existing folder, or a hub name.
        revision: branch, tag or commit; None for folders and for the hub's default.
        cached_only: do not ask the hub: it is a folder, offline mode is on, or it did not answer.
        why: the hub is not asked; "" for folders.
    """

    name: str
    revision: str | None
    cached_only: bool
    why: str = ""

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments of `from_pretrained`; code from the hub is never run."""
        return {
            "revision": self.revision or "main",
            "local_files_only": self.cached_only,
            "trust_remote_code": False,
        }


def locate(name: str, revision: str | None = None) -> Source:
    """Finds out where to read a model or tokenizer.

    Transformers itself retries for most of a minute before it says that a name cannot be reached.

    Args:
        name: a folder, or a hub name such as "google-bert/bert-base-multilingual-cased".
        revision: branch, tag or commit on the hub.

    Raises:
        UserError: the name is empty, there is no such folder, a revision of a folder, or the hub
            has no such model or revision.
    """
    if not name.strip():
        raise UserError("The name of a model or tokenizer is empty: give a folder or a hub name.")
    folder = Path(name).expanduser()
    try:
        there = folder.is_dir()
    except OSError as error:
        raise UserError(f"{name} cannot be looked into: {error.strerror}.") from error
    if there:
        if revision is not None:
            raise UserError(
                f"{name} is a local folder and has no revision {revision!r}: remove it."
            )
        return Source(str(folder), None, cached_only=True)
    if name.startswith((".", "~")) or not _HUB_NAME.fullmatch(name):
        raise UserError(
            f"There is no folder {name} (seen from {Path.cwd()}), and a hub name has the form "
            "name or owner/name."
        )
    if constants.HF_HUB_OFFLINE:
        return Source(name, revision, cached_only=True, why="offline mode is on")
    why = _ask_hub(name, revision)
    if why:
        _log.warning("%s%s. The cache has to do for %s.", why[0].upper(), why[1:], name)
    return Source(name, revision, cached_only=bool(why), why=why)


def _ask_hub(name: str, revision: str | None) -> str:
    """Why the hub cannot be asked now, as half a sentence; "" if it can.

    Raises:
        UserError: it has no such name or revision for this user.
    """
    try:
        with patience(FIRST_ASK):
            get_hf_file_metadata(
                hf_hub_url(name, "config.json", revision=revision), timeout=answer_within()
            )
    except EntryNotFoundError:
        pass  # the repository answers; a missing file is reported where it is read
    except Exception as error:  # the HTTP client's own errors differ between versions
        if refused := refusal(error, "model", name, revision):
            raise UserError(refused) from error
        return outage(error) or "the hub cannot be reached"
    return ""


@contextmanager
def reading(what: str, source: Source) -> Iterator[None]:
    """Turns whatever `from_pretrained` raises or reports into one `UserError`.

    Args:
        what: "model", "tokenizer".
        source: what is read.
    """
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # its table of missing weights; `open_model` judges them itself
    try:
        with patience():
            yield
    except Exception as error:  # OSError, ValueError, SafetensorError, tokenizers' bare Exception
        raise UserError(_explain(what, source, error)) from error
    finally:
        logging.set_verbosity(verbosity)


def _explain(what: str, source: Source, error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = lines[0] if lines else type(error).__name__
    if Path(source.name).is_dir():
        files = sorted(path.name for path in Path(source.name).iterdir())[:8]
        return (
            f"The {what} in {source.name} cannot be read: {reason} The folder holds "
            f"{', '.join(files) or 'nothing'}; give one written by save_pretrained, such as a "
            "run's student/."
        )
    if source.cached_only:
        return (
            f"There is no folder {source.name}, the {what} of that name is not in the cache, and "
            f"{source.why}: give a local folder, or run `hf download {source.name}` where there is "
            "a network."
        )
    if refused := refusal(error, "model", source.name, source.revision):
        return refused
    if why := outage(error):
        return (
            f"The {what} {source.name} cannot be loaded: {why}. Start again (files that arrived "
            "whole are kept), or give a local folder."
        )
    return f"The {what} {source.name} cannot be loaded from the hub: {reason}"


def open_model(
    name: str,
    revision: str | None,
    dtype: torch.dtype,
    fresh_head: bool = False,
    needs_head: bool = True,
    head: TaskHead | None = None,
) -> PreTrainedModel:
    """Loads a supported model with the head that its config.json names, or a new one, in eval mode.

    A config that names no class of the table is taken for its type's language model.

    Args:
        name: local folder or hub name; the folder of an adapter (`adapter_config.json`) stands for
            the model that it names, with the adapter merged.
        revision: branch, tag or commit on the hub.
        dtype: of the weights, whatever they were saved in.
        fresh_head: accept a checkpoint without a head, or lose that of another task for `head`.
        needs_head: whether logits will be asked for; False: a checkpoint without a head is opened
            as the body that it is.
        head: what a task needs; it starts at random. None: the checkpoint's own head.

    Raises:
        UserError: it is not found, read or supported; weights lack, or are NaN or infinite.
    """
    source = locate(name, revision)
    if source.cached_only and is_adapter(folder := Path(source.name)):
        base = open_model(*base_of(folder), dtype, fresh_head, needs_head, head)
        model, anatomy = merge_folder(base, folder), anatomy_of(type(base).__name__)
        check_finite(model, anatomy, name, folder)
        return model
    values, names = text_part(config_of(source))
    anatomy = own = anatomy_of_config(values)
    if head is not None:
        anatomy, values = _with_head(name, anatomy, values, head, fresh_head)
        fresh_head = True
    bodies = ANATOMIES if not (needs_head or fresh_head) else ()  # then the body alone will do
    body = next((row for row in bodies if row.is_body_of(anatomy)), None)
    if body and values.get("architectures") == [body.architecture]:
        anatomy = body
    model, report = _load(source, anatomy, values, names, dtype)
    if body and missing_head(anatomy, report):
        anatomy = body
        model, report = _load(source, anatomy, values, names, dtype)
    if head is not None and own.has_task:
        draw_head(model, anatomy, report)
    check_weights(name, anatomy, report, fresh_head)
    leave_out(model, absent_modules(anatomy, report))
    check_finite(model, anatomy, name, Path(source.name))
    return model


def predicted_by(name: str, revision: str | None) -> Predicted:
    """What the head of a saved model predicts, as its config says; of a body alone, tokens.

    Args:
        name: see `open_model`.
        revision: likewise.

    Raises:
        UserError: it cannot be found or is not supported.
    """
    source = locate(name, revision)
    if source.cached_only and is_adapter(folder := Path(source.name)):
        return predicted_by(*base_of(folder))
    return anatomy_of_config(text_part(config_of(source))[0]).predicts


def config_of(source: Source) -> dict[str, Any]:
    """The values of its config.json."""
    with reading("config", source):
        values, _ = PretrainedConfig.get_config_dict(source.name, **source.options)
        if "model_type" not in values:  # a missing file reads as an empty config
            raise ValueError("there is no config.json with a model_type.")
    return dict(values)


def _load(
    source: Source,
    anatomy: Anatomy,
    values: dict[str, Any],
    names: dict[str, str] | None,
    dtype: torch.dtype,
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """The model of a row, and what `from_pretrained` says about its weights."""
    model_class = anatomy.model_class()
    with reading("model", source):
        model, report = model_class.from_pretrained(
            source.name,
            config=model_class.config_class.from_dict(values),
            dtype=dtype,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            key_mapping=names,
            **source.options,
        )
    return model, report


def _with_head(
    name: str, row: Anatomy, values: dict[str, Any], head: TaskHead, fresh_head: bool
) -> tuple[Anatomy, dict[str, Any]]:
    """The row and the config of a checkpoint with the head of another task; as `open_model`."""
    if row.has_task and not fresh_head:
        raise UserError(
            f"{name} is a {row.architecture} and has a head of its own, which predicts "
            f"{row.predicts.value}: leave `head` and `labels` out to go on with that one, or set "
            "fresh_head=true to start anew without it."
        )
    return anatomy_of_type(row.model_type, head.predicts), {**values, **head.config}


def text_part(values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str] | None]:
    """The config of the text model alone and how its weights are named, of a model of more media.

    Of others, the config as it is.
    """
    if values["model_type"] not in TEXT_PARTS or "text_config" not in values:
        return values, None
    model_type, names = TEXT_PARTS[values["model_type"]]
    roles = ("bos_token_id", "eos_token_id", "pad_token_id", "tie_word_embeddings")
    shared = {role: values[role] for role in roles if values.get(role) is not None}
    return {**values["text_config"], **shared, "model_type": model_type}, names
