"""Writes down what a teacher says about a corpus, so that students train without running it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from data_modules import Corpus, MaskedTokens
from lit_distill.data_facts import DataFacts
from lit_distill.errors import UserError
from lit_distill.files.atomic_files import replacing
from lit_distill.files.output_folders import check_output
from lit_distill.knobs import Count, Temperature, check_knobs
from lit_distill.losses.fused.signals import Tail
from lit_distill.models import (
    LanguageModel,
    TeacherCache,
    TeacherSpec,
    check_models,
    fingerprint,
    task_of,
    tokenizer_files,
    tokenizer_fingerprint,
)
from lit_distill.models.teachers.cache_format import MANIFEST, Manifest
from lit_distill.tools.caching.cache_error import measure, show
from lit_distill.tools.caching.cache_shards import Scribe, write_missing

KIND = "teacher cache"


@dataclass(frozen=True)
class CacheOptions:
    """What is kept of a teacher.

    Attributes:
        k: likeliest tokens of every kept position. 64 take 258 bytes, and up to 274 where the
            vocabulary has 262,144. Of a classifier all labels are kept, whatever it says.
        temperature: of the kept probabilities, > 0: losses from the cache have no other. None: that
            of the configured method, or 1 if it has none.
        tail: what a loss is to make of the mass outside the k: see `TopK`.
        positions: "rows" keeps those with a target (masked ones; for decoders all but the last of a
            text), "tokens" all real ones, special tokens included.
        states: keep the last hidden states there too, 2 bytes for each of their width.
        shard_tokens: tokens of a shard's windows, about. A shard that is being made is in memory.
        measured_windows: of every language, on which the error is measured.
    """

    k: Count = 64
    temperature: Temperature | None = None
    tail: Tail = "bucket"
    positions: Literal["rows", "tokens"] = "rows"
    states: bool = False
    shard_tokens: Count = 1 << 19
    measured_windows: Count = 200

    def __post_init__(self) -> None:
        check_knobs(CacheOptions, vars(self))


def cache_teacher(
    output: str,
    teacher: TeacherSpec,
    data: Corpus,
    options: CacheOptions = CacheOptions(),
    device: torch.device | str = "cpu",
) -> Manifest:
    """Writes the cache of a teacher on the training text of a corpus, or what is missing of it.

    Args:
        output: the folder. One that was begun with the same settings is completed; whole shards are
            kept. Any other folder with something in it is refused.
        teacher: who is written down.
        data: the corpus; with masks, its `mask_variants` says how many drawings are kept.
        options: what is kept.
        device: where the teacher runs.

    Returns:
        What was written, with its measured error.

    Raises:
        UserError: something does not fit, or the folder holds other things, or a cache of them.
    """
    folder = Path(output).expanduser().resolve()  # it may be a link to another disk
    if not (folder / MANIFEST).exists():
        check_output(folder, kind=KIND)
    _check_objective(data)
    data.prepare_data()
    data.setup("fit")
    model = teacher.build()
    tokenizer = DataFacts(data).teacher_tokenizer or data.tokenizer
    check_models(model, model, teacher, tokenizer, data)
    if model.labels:
        options = _of_labels(data, model, options)
    if options.k > model.outputs:
        raise UserError(f"cache.k is {options.k} and the vocabulary has {model.outputs} tokens.")
    manifest = _begin(folder, _manifest(teacher, model, data, options))
    for name, text in tokenizer_files(data.tokenizer).items():
        if not (folder / name).exists():
            with replacing(folder / name) as beside:
                beside.write_text(text, "utf-8")
    scribe = Scribe(model.to(device), data, manifest.provenance)
    if write_missing(folder, manifest, scribe) or manifest.error is None:
        error = measure(TeacherCache(folder, measured=False), scribe, options.measured_windows)
        manifest = replace(manifest, error=error)
        _write(folder, manifest)
    show(manifest, folder)
    return manifest


def _check_objective(data: Corpus) -> None:
    objective = data.objective
    if not objective.masked:
        return
    if data.mask_variants is None:
        raise UserError(
            "Every pass over the text would draw new masks, and a cache holds so many drawings: "
            "set data.init_args.mask_variants, here and in training (4 cost four times the space "
            "of 1 and let a run repeat a mask only every fourth pass)."
        )
    if isinstance(objective, MaskedTokens) and objective.scope == "batch":
        raise UserError(
            "With objective.scope `batch` the masks of a text depend on the batch it is in, which "
            "a cache cannot know: use `sample`."
        )


def _of_labels(data: Corpus, model: LanguageModel, options: CacheOptions) -> CacheOptions:
    """The options for a classifier: all of its labels, where the data has some.

    Raises:
        UserError: it does not know the data's labels; or all positions are to be kept.
    """
    task_of(DataFacts(data).task_head, model)
    if options.positions == "tokens":
        raise UserError(
            "cache.positions is tokens, and a classifier says something about the texts or words "
            "that have a label alone: use rows."
        )
    return replace(options, k=model.outputs)


def _manifest(
    teacher: TeacherSpec, model: LanguageModel, data: Corpus, options: CacheOptions
) -> Manifest:
    items = len(data.train.lengths) * (data.mask_variants or 1)
    tokens = np.tile(data.train.lengths.astype(np.int64), data.mask_variants or 1)
    shard = (np.cumsum(tokens) - tokens) // options.shard_tokens
    provenance = {
        "teacher": fingerprint(model),
        "vocab_size": model.outputs,
        "tokenizer": tokenizer_fingerprint(data.tokenizer),
        **data.provenance(),
        "positions": options.positions,
        "k": options.k,
        "temperature": 1.0 if options.temperature is None else options.temperature,
        "tail": options.tail,
        "dtype": "float16",
        "hidden_size": model.hidden_size if options.states else None,
        **({"labels": model.labels} if model.labels else {}),
    }
    borders = [*np.flatnonzero(np.diff(shard, prepend=-1)).tolist(), items]
    return Manifest(provenance, borders, {"name": teacher.name, "revision": teacher.revision})


def _begin(folder: Path, wanted: Manifest) -> Manifest:
    """What is there of this cache, or nothing yet; a cache of other things is refused."""
    if not (folder / MANIFEST).exists():
        _write(folder, wanted)
        return wanted
    found = Manifest.read(folder)
    differing = found.differences(wanted.provenance)
    if found.borders != wanted.borders and not differing:
        differing = ["shard_tokens: other shards in the cache"]
    if differing:
        raise UserError(
            f"{folder} holds another teacher cache: {'; '.join(differing)}. Choose another "
            "--output, or delete the folder."
        )
    return found


def _write(folder: Path, manifest: Manifest) -> None:
    with replacing(folder / MANIFEST) as beside:
        beside.write_text(manifest.text, "utf-8")
