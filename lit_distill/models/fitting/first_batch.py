"""Whether a batch is what models and losses take it for; a run looks at the first of each loader.

`docs/own_data_module.md` says what a batch has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lit_distill.batch import IGNORED
from lit_distill.errors import UserError

PAGE = "docs/own_data_module.md shows one that works."
COUNTED = ("tokens", "sequences", "rows", "masked")
SHAPES = {
    "input_ids": "(B, T)",
    "attention_mask": "(B, T)",
    "language": "(B,)",
    "tokens": "(M,)",
    "rows": "(N,)",
    "targets": "(N,)",
}
"""Tensors that every batch has; all int64."""
OF_TASKS = {
    "values": "(N,)",
    "options": "(D, C)",
    "teacher_input_ids": "(B, S)",
    "teacher_attention_mask": "(B, S)",
    "teacher_rows": "(N,)",
}
"""Tensors that batches of some tasks have; int64, but for the values."""


@dataclass(frozen=True)
class Reach:
    """What the numbers of a batch may be, each from 0 on; None: not looked at.

    Attributes:
        languages: how many the data module names.
        vocab_size: token ids that the student reads.
        outputs: outputs of the student's head: tokens, or labels.
        max_length: positions that the student has.
    """

    languages: int | None = None
    vocab_size: int | None = None
    outputs: int | None = None
    max_length: int | None = None


def check_batch(batch: Any, reach: Reach, where: str) -> None:
    """Checks the first batch of a loader, on the CPU.

    Args:
        batch: what the loader gave.
        reach: of the data module and the students.
        where: whose batch it is, for the message.

    Raises:
        UserError: it is no `Batch`, or its parts do not fit each other or the student.
    """
    if not isinstance(batch, Mapping):
        raise UserError(
            f"{where} is a {type(batch).__name__}: it needs to be a dictionary with the keys of "
            f"lit_distill.batch.Batch ({', '.join([*SHAPES, 'counts'])}). {PAGE}"
        )
    missing = [key for key in (*SHAPES, "counts") if key not in batch]
    if missing:
        remedy = " It has `labels`: lit_distill.batch.batch_of_labels makes a batch of them."
        labels = remedy if "labels" in batch else ""
        raise UserError(f"{where} has no {', '.join(missing)}.{labels} {PAGE}")
    for problem in _problems(batch, reach):
        raise UserError(f"{where} does not fit: {problem}. {PAGE}")


def _problems(batch: Mapping[str, Any], reach: Reach) -> list[str]:
    """What does not fit; what follows from an earlier one is not looked for."""
    own = {key: shape for key, shape in OF_TASKS.items() if key in batch}
    for key, shape in {**SHAPES, **own}.items():
        value, sizes = batch[key], len(shape.strip("(),").split(", "))
        dtype = torch.float32 if key == "values" else torch.int64
        wanted = f"{shape} of {str(dtype).removeprefix('torch.')}"
        if not isinstance(value, Tensor):
            return [f"{key} is a {type(value).__name__} and needs to be a tensor {wanted}"]
        # Numbers have the trainer's precision by now.
        fits = value.is_floating_point() if key == "values" else value.dtype == dtype
        if not fits or value.dim() != sizes:
            found = f"{tuple(value.shape)} of {str(value.dtype).removeprefix('torch.')}"
            return [f"{key} is {found} and needs to be {wanted}"]
    decoder = "decoder_" if "decoder_input_ids" in batch else ""
    read, mask = batch[f"{decoder}input_ids"], batch[f"{decoder}attention_mask"]
    problems = []
    for name in ("input_ids", "attention_mask"):
        if batch[name].shape != batch["input_ids"].shape or len(batch[name]) != len(read):
            problems.append(f"{name} is {tuple(batch[name].shape)}, unlike input_ids")
    return problems or [
        *_misplaced(batch, mask),
        *_miscounted(batch, len(read)),
        *_out_of_range(batch, reach),
        *_undecidable(batch, reach.outputs),
        *_unlike_the_teachers(batch),
    ]


def _misplaced(batch: Mapping[str, Any], mask: Tensor) -> list[str]:
    """Flat indices that point elsewhere than at what they should."""
    rows, targets = batch["rows"], batch["targets"]
    problems = []
    if "segments" not in batch and bool((mask[:, 1:] > mask[:, :-1]).any()):
        problems.append("it is padded on the left, and texts need to begin in the first column")
    if not torch.equal(batch["tokens"], mask.flatten().nonzero().squeeze(1)):
        problems.append("tokens are not the flat indices of attention_mask's ones, ascending")
    decisions = "options" if "options" in batch else "rows"
    if len(batch[decisions]) != len(targets):
        problems.append(
            f"{decisions} are {len(batch[decisions])} and targets {len(targets)}: one for each is "
            "needed"
        )
    if bool((rows[1:] <= rows[:-1]).any()) or not bool(torch.isin(rows, batch["tokens"]).all()):
        problems.append(
            "rows are not flat indices (row * T + column) of real positions, ascending, each once"
        )
    return problems


def _miscounted(batch: Mapping[str, Any], texts: int) -> list[str]:
    """Counts by which losses would be divided wrongly."""
    counts = batch["counts"]
    lacking = [name for name in COUNTED if not isinstance(counts.get(name), int)]
    if lacking:
        return [f"counts has no whole number for {', '.join(lacking)}"]
    found = {"tokens": len(batch["tokens"]), "sequences": texts, "rows": len(batch["rows"])}
    if "options" in batch or "values" in batch or "decisions" in counts:
        found["decisions"] = len(batch["targets"])
    wrong = [f"{name} is {counts.get(name)}" for name in found if counts.get(name) != found[name]]
    there = ", ".join(f"{number} {name}" for name, number in found.items())
    return [f"in counts, {', '.join(wrong)}, and there are {there}"] if wrong else []


def _out_of_range(batch: Mapping[str, Any], reach: Reach) -> list[str]:
    """Numbers that name nothing."""
    problems = []
    language, ids, known = batch["language"], batch["input_ids"], reach.languages
    if len(language) != len(ids):
        problems.append(f"language has {len(language)} numbers for {len(ids)} texts")
    elif known is not None and not bool(((language >= 0) & (language < known)).all()):
        problems.append(
            f"language has numbers from {int(language.min())} to {int(language.max())}, and the "
            f"data module names {known}, counted from 0"
        )
    outputs = None if "options" in batch or "values" in batch else reach.outputs
    for key, end in (("input_ids", reach.vocab_size), ("targets", outputs)):
        value = batch[key]
        if end is not None and value.numel():
            low, high = int(value.min()), int(value.max())
            if low < 0 or high >= end:
                whose = "reads" if key == "input_ids" else "predicts"
                problems.append(
                    f"{key} has {low if low < 0 else high}, and the student {whose} 0 to "
                    f"{end - 1}: was it made with the run's tokenizer, or with other labels?"
                )
    if reach.max_length is not None and ids.shape[1] > reach.max_length:
        problems.append(
            f"a text has {ids.shape[1]} tokens and the student's position table "
            f"{reach.max_length}: cut texts"
        )
    return problems


def _undecidable(batch: Mapping[str, Any], outputs: int | None) -> list[str]:
    """Values and options of which no loss could be made; `outputs` is V."""
    targets, rows = batch["targets"], len(batch["rows"])
    known = targets[targets != IGNORED]
    if "values" in batch:
        values = batch["values"]
        if len(values) != rows or len(known) or not bool(values.isfinite().all()):
            return [
                f"values need to be a finite number for each of the {rows} rows, with targets that "
                f"are all {IGNORED}"
            ]
        return [] if outputs in (1, None) else [f"it has values, and the student {outputs} outputs"]
    if "options" not in batch or len(batch["options"]) != len(targets) or not len(targets):
        return []
    options = batch["options"]
    if bool((options < -1).any() | (options[:, 0] < 0).any()):
        return ["options are flat indices, or -1 from the second column on where there are fewer"]
    if outputs is not None and int(options.max()) // max(rows, 1) + 1 != outputs:
        return [
            f"options reach to {int(options.max())}, and they need to name outputs of all {rows} "
            f"rows, of which the student has {outputs} each"
        ]
    chosen = targets.where(targets != IGNORED, 0)
    inside = (chosen >= 0) & (chosen < options.shape[1])
    there = options.gather(1, chosen.where(inside, 0)[:, None]) >= 0
    if not bool((inside & there[:, 0]).all()):
        return [f"targets are not columns of options that are there, or {IGNORED}"]
    return []


def _unlike_the_teachers(batch: Mapping[str, Any]) -> list[str]:
    """A view for the teacher that does not answer to what the student reads."""
    keys = [key for key in OF_TASKS if key.startswith("teacher_")]
    there = [key for key in keys if key in batch]
    if not there:
        return []
    if len(there) < len(keys):
        return [f"it has {there[0]}, so it needs {', '.join(keys)}"]
    ids, mask, rows = (batch[key] for key in keys)
    if ids.shape != mask.shape:
        return [f"teacher_attention_mask is {tuple(mask.shape)}, unlike teacher_input_ids"]
    real = mask.flatten().nonzero().squeeze(1)
    if len(rows) != len(batch["rows"]) or not bool(torch.isin(rows, real).all()):
        return ["teacher_rows are not a real position of the teacher's texts for each of the rows"]
    return []
