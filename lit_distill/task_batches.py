"""Batches of tasks, for data modules of one's own: labels, numbers, choices, answers in a text.

What all have in common is explained by `LabelledBatch`. Shapes: B texts, T padded length, D
examples, C choices, N rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from lit_distill.batch import IGNORED, Batch, LabelledBatch


def labelled_batch(
    input_ids: Tensor,
    attention_mask: Tensor,
    labels: Tensor,
    language: Sequence[int],
    token_type_ids: Tensor | None = None,
) -> LabelledBatch:
    """The batch of texts with a label each, or with labels of tokens.

    Args:
        input_ids: (B, T) int64, padded on the right.
        attention_mask: (B, T), 1 at real positions.
        labels: (B,) of texts, or (B, T) of tokens, `IGNORED` where one has none: numbers in the
            model's `id2label`.
        language: (B,) numbers that count the data module's `languages` from 0.
        token_type_ids: (B, T) int64, of pairs of texts.
    """
    texts, width = input_ids.shape
    tokens = attention_mask.flatten().nonzero().squeeze(1)
    if labels.dim() == 1:
        rows = torch.arange(texts) * width
    else:
        labels = torch.where(attention_mask > 0, labels, IGNORED).flatten()
        rows = (labels != IGNORED).nonzero().squeeze(1)
        labels = labels[rows]
    batch = LabelledBatch(
        input_ids=input_ids.long(),
        attention_mask=attention_mask.long(),
        language=torch.tensor(language, dtype=torch.int64),
        tokens=tokens,
        rows=rows,
        targets=labels.long(),
        counts={"tokens": len(tokens), "sequences": texts, "rows": len(rows), "masked": 0},
    )
    batch["counts"]["decisions"] = len(rows)
    if token_type_ids is not None:
        batch["token_type_ids"] = token_type_ids.long()
    return batch


def value_batch(
    input_ids: Tensor,
    attention_mask: Tensor,
    values: Tensor,
    language: Sequence[int],
    token_type_ids: Tensor | None = None,
) -> LabelledBatch:
    """The batch of texts, or pairs of texts, with a number each: regression.

    Args:
        input_ids: (B, T) int64, padded on the right.
        attention_mask: (B, T), 1 at real positions.
        values: (B,) numbers that are to be predicted.
        language: (B,) numbers that count the data module's `languages` from 0.
        token_type_ids: (B, T) int64, of pairs of texts.
    """
    nothing = torch.full((len(input_ids),), IGNORED)
    batch = labelled_batch(input_ids, attention_mask, nothing, language, token_type_ids)
    batch["values"] = values.float()
    return batch


def choice_batch(
    input_ids: Tensor,
    attention_mask: Tensor,
    choices: Sequence[int],
    targets: Tensor,
    language: Sequence[int],
    token_type_ids: Tensor | None = None,
) -> LabelledBatch:
    """The batch of examples with several texts, of which one is right: multiple choice.

    Args:
        input_ids: (B, T) int64, padded on the right: the texts of the first example, of the second
            and so on. Each text holds the question as well.
        attention_mask: (B, T), 1 at real positions.
        choices: (D,) how many texts each example has, together B.
        targets: (D,) the number of the right text in its example, from 0; `IGNORED`: unknown.
        language: (D,) of the examples, numbers that count the data module's `languages` from 0.
        token_type_ids: (B, T) int64, of pairs of texts.

    Raises:
        ValueError: `choices` do not add up to the texts, or an example has none.
    """
    number = torch.tensor(choices, dtype=torch.int64)
    if int(number.sum()) != len(input_ids) or bool((number < 1).any()):
        raise ValueError(f"{len(input_ids)} texts for examples with {list(choices)} choices.")
    languages = torch.tensor(language).repeat_interleave(number).tolist()
    nothing = torch.full((len(input_ids),), IGNORED)
    batch = labelled_batch(input_ids, attention_mask, nothing, languages, token_type_ids)
    column = torch.arange(int(number.max()))
    first = number.cumsum(0) - number
    options = torch.where(column < number[:, None], first[:, None] + column, -1)
    return _with_options(batch, options, targets)


def span_batch(
    input_ids: Tensor,
    attention_mask: Tensor,
    possible: Tensor,
    spans: Tensor,
    language: Sequence[int],
    token_type_ids: Tensor | None = None,
) -> LabelledBatch:
    """The batch of questions with a text each that may hold the answer.

    Args:
        input_ids: (B, T) int64, padded on the right: question and text.
        attention_mask: (B, T), 1 at real positions.
        possible: (B, T) bool, the positions that may begin or end an answer: of the text, and the
            first one of all, which stands for "no answer".
        spans: (B, 2) columns of the first and of the last token of the answer; `IGNORED`: unknown.
        language: (B,) numbers that count the data module's `languages` from 0.
        token_type_ids: (B, T) int64, of pairs of texts.

    Raises:
        ValueError: a text has no possible position, or an answer is at none.
    """
    possible = possible.bool() & (attention_mask > 0)
    known = spans != IGNORED
    at = possible.gather(1, spans.where(known, 0)) | ~known
    if not bool(at.all() & possible.any(1).all()):
        raise ValueError("Spans begin and end at possible positions, of which every text has one.")
    nothing = torch.where(possible, 0, IGNORED)
    batch = labelled_batch(input_ids, attention_mask, nothing, language, token_type_ids)
    place = possible.cumsum(1) - 1  # of a position among those of its text
    number = possible.sum(1)
    column = torch.arange(int(number.max()))
    first = (number.cumsum(0) - number)[:, None]
    row = torch.where(column < number[:, None], first + column, -1)
    options = torch.stack([torch.where(row < 0, -1, 2 * row + end) for end in (0, 1)], 1)
    targets = torch.where(known, place.gather(1, spans.where(known, 0)), IGNORED)
    return _with_options(batch, options.flatten(0, 1), targets.flatten())


def of_task(batch: LabelledBatch, task: str, tasks: Iterable[str]) -> LabelledBatch:
    """The batch of one task of a mixture, which `counts` then name.

    For each task, `<task>/batches` is 1 or 0 and `<task>/decisions` as many as the batch has of it:
    so an update knows how often each task occurs in it, on all ranks. A tensor with the number of
    the task would be a wait for the device, as it says which head runs.

    Args:
        batch: of the task.
        task: its name.
        tasks: names of all tasks of the mixture.
    """
    counts = dict(batch["counts"])
    for name in tasks:
        counts[f"{name}/batches"] = int(name == task)
        counts[f"{name}/decisions"] = counts["decisions"] if name == task else 0
    return LabelledBatch(**{**batch, "counts": counts})


def task_of(batch: Batch) -> str | None:
    """Name of the task of a batch; None where its data has a single one."""
    own = (name for name, count in batch["counts"].items() if name.endswith("/batches") and count)
    return next((name.removesuffix("/batches") for name in own), None)


def _with_options(batch: LabelledBatch, options: Tensor, targets: Tensor) -> LabelledBatch:
    batch["options"], batch["targets"] = options, targets.long()
    batch["counts"]["decisions"] = len(options)
    return batch
