"""Measuring several models on the same held-out text: losses by window, agreement, speed."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Trainer
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor

from data_modules import Corpus
from lit_distill.batch import Batch, read_ids
from lit_distill.errors import UserError
from lit_distill.measures.logits import ScoreKeeper, score_batch
from lit_distill.models import (
    Ensemble,
    LanguageModel,
    TeacherSpec,
    VocabularyMap,
    check_models,
    load_tokenizer,
    share_vocabulary,
    teach,
)

TIMED_SECONDS = 3.0
"""For each model."""

Losses = Mapping[str, NDArray[np.float64]]
"""By language: (W, 2), sums of losses and numbers of targets of each of W windows."""


def open_models(models: dict[str, str], data: Corpus) -> dict[str, LanguageModel]:
    """Opens models that all read the tokens of a corpus.

    Where those are a trimmed vocabulary's, models of the whole one read them through the map, so
    that all are asked about the same tokens.

    Raises:
        UserError: one cannot be opened, or has another vocabulary.
    """
    try:
        tokenizer = data.tokenizer
    except UserError as error:
        raise UserError(
            "The corpus has no tokenizer: give --data.tokenizer the folder of one of the models."
        ) from error
    trimmed = VocabularyMap.is_in(Path(tokenizer.name_or_path))
    opened = {}
    for name, folder in models.items():
        has_own = (Path(folder) / "tokenizer.json").is_file()
        own = tokenizer.name_or_path if trimmed and has_own else None
        spec = TeacherSpec(folder, vocabulary=own)
        opened[name] = model = spec.build()
        check_models(model, None, None, tokenizer, data)
        if has_own and load_tokenizer(spec.reads).get_vocab() != tokenizer.get_vocab():
            raise UserError(
                f"{name} has another vocabulary than the corpus's tokenizer: losses per token can "
                "only be compared on the same tokens."
            )
    share_vocabulary(list(opened.values()), tokenizer)
    return opened


def measured(
    models: dict[str, LanguageModel],
    batches: list[Batch],
    teacher: LanguageModel | None,
    data: Corpus,
) -> dict[str, list[ScoreKeeper]]:
    """Two sums of scores for each model: by language, and by window."""
    windows = sum(len(batch["sample_id"]) for batch in batches)
    keepers = {
        name: [
            ScoreKeeper(len(data.languages), teacher is not None),
            ScoreKeeper(windows, teacher is not None, _row_windows),
        ]
        for name in models
    }
    for batch in track(batches, "Measuring", transient=True):
        taught = teach([teacher], Ensemble(), batch) if teacher else None
        score_batch(keepers, models, taught, batch)
    return keepers


def _row_windows(batch: Batch) -> Tensor:
    """The window (N,) of every selected position."""
    return batch["sample_id"].index_select(0, batch["rows"] // read_ids(batch).shape[1])


def by_window(keeper: ScoreKeeper, batches: list[Batch], languages: Sequence[str]) -> Losses:
    """Losses and targets of every window, by language.

    Args:
        keeper: of windows.
        batches: that it has seen.
        languages: names, which a batch's numbers count from 0.
    """
    sums, own = keeper.compute().numpy(), torch.cat([batch["language"] for batch in batches])
    return {name: sums[own == number][:, [1, 0]] for number, name in enumerate(languages)}


def validation_batches(data: Corpus) -> list[Batch]:
    """All validation batches of all languages; their windows are numbered through."""
    data.trainer = Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    data.prepare_data()
    data.setup("validate")
    batches, first = list[Batch](), 0
    for batch in (batch for loader in data.val_dataloader() for batch in loader):
        count = len(batch["language"])
        batches.append(Batch(**{**batch, "sample_id": torch.arange(first, first + count)}))
        first += count
    return batches


def speeds_of(models: dict[str, LanguageModel], batches: Sequence[Batch]) -> dict[str, float]:
    """Sentences per second of each model, in turns, so that a slow moment hits all."""
    seconds, sentences = dict.fromkeys(models, 0.0), dict.fromkeys(models, 0)
    end = time.perf_counter() + TIMED_SECONDS * len(models)
    mixed = random.Random(0).sample(batches, len(batches))  # not one language's before the others
    for batch in mixed[:1]:
        for model in models.values():  # the first call is slower
            model.logits(model.encode(batch).rows(batch["rows"]))
    for batch in mixed:
        for name, model in models.items():
            start = time.perf_counter()
            model.logits(model.encode(batch).rows(batch["rows"]))
            seconds[name] += time.perf_counter() - start
            sentences[name] += batch["counts"]["sequences"]
        if time.perf_counter() > end:
            break
    return {name: sentences[name] / seconds[name] for name in models}
