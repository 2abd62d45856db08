"""What a run needs of a data module and of its batches, said before the first step.

The data modules of `data_modules` keep it; a data module of somebody else's is told what it lacks.
`docs/own_data_module.md` is its page.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from lit_distill.batch import Reading
from lit_distill.data_facts import DataFacts
from lit_distill.errors import UserError
from lit_distill.models import LanguageModel

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
OF_PROMPTS = ("teacher_answers", "eos_ids", "tokenizer")
"""What reports of written text read beside `sample_prompts`."""


def check_data_module(data: Any) -> None:
    """Checks what is read of a data module, before any model is built.

    Args:
        data: a data module; None, where loaders were given bare, is not looked at.

    Raises:
        UserError: it names no languages, its tokenizer is none, it has prompts and not what belongs
            to them, or it hides a hook of the method.
    """
    if data is None:
        return
    facts = DataFacts(data)
    kind, languages = facts.kind, facts.languages
    named = isinstance(languages, list | tuple) and all(isinstance(one, str) for one in languages)
    if not named or not languages:
        raise UserError(
            f"{kind}.languages is {_short(languages)}: it needs a list of names, which `language` "
            f"of a batch counts from 0 on; for a single one, languages = ['en']. {PAGE}"
        )
    tokenizer = facts.tokenizer
    if tokenizer is not None and not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise UserError(
            f"{kind}.tokenizer is {_short(tokenizer)} and no tokenizer of Transformers: set "
            f"self.tokenizer = load_tokenizer(name) (lit_distill.models) in its __init__. {PAGE}"
        )
    if facts.sample_prompts is not None and (missing := facts.lacks(*OF_PROMPTS)):
        raise UserError(
            f"{kind} has sample_prompts and no {', '.join(missing)}, which reports of written "
            f"text read with it. {PAGE}"
        )
    hook = getattr(type(data), "on_before_batch_transfer", None)
    if hook not in (None, LightningDataModule.on_before_batch_transfer):
        raise UserError(
            f"{kind} has a hook on_before_batch_transfer, so that Lightning does not call the "
            f"method's own: change batches where they are made, in the loader. {PAGE}"
        )
    # Lightning warns that a data module's hook of this name is not called; ours have none.
    warnings.filterwarnings("ignore", r"You have overridden `on_before_batch_transfer`")


def check_reading(method: str, reads: Sequence[Reading], data: Any) -> None:
    """Checks that a method is trained on what it reads.

    Args:
        method: its name.
        reads: what it can be trained on, the usual one first; nothing: on anything.
        data: the data module, or None.

    Raises:
        UserError: its objective contradicts `reads`.
    """
    facts = DataFacts(data)
    found = facts.reading
    if found is None or not reads or found in reads:
        return
    apart = {Reading.RESPONSES, Reading.LABELS}  # which have data modules of their own
    texts = " or ".join(one.value for one in reads if one not in apart)
    if found == Reading.LABELS:
        raise UserError(
            f"{method} reads {texts or 'prompts with responses'}, and {facts.kind} has "
            "labels of texts: use SupervisedKD, or another data module."
        )
    if not texts or found == Reading.RESPONSES:
        raise UserError(
            f"{method} reads {texts or 'prompts with responses'}, and {facts.kind} has "
            f"{'prompts' if texts else 'texts'}: use a "
            f"{'MultilingualCorpus' if texts else 'PromptCorpus'}, or another method."
        )
    raise UserError(
        f"{method} reads {texts}, and the data's objective is {type(facts.objective).__name__}: "
        "leave data.init_args.objective out, or use another method."
    )


def check_lightning(data: LightningDataModule) -> None:
    """Checks what Lightning itself needs of a data module, before it stumbles over it.

    Raises:
        UserError: its base was not initialised, or a hook takes other arguments than Lightning's.
    """
    facts = DataFacts(data)
    kind = facts.kind
    if facts.lacks("prepare_data_per_node"):  # what the base's __init__ sets
        raise UserError(f"{kind}.__init__ does not call super().__init__(): begin with it. {PAGE}")
    for hook in ("setup", "teardown"):
        try:
            signature(getattr(data, hook)).bind(stage="fit")
        except TypeError as error:
            raise UserError(
                f"{kind}.{hook} cannot be called as Lightning calls it: write "
                f"def {hook}(self, stage): ... {PAGE}"
            ) from error


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


class FirstBatches:
    """Checks the first batch of every loader of a run, once."""

    def __init__(self) -> None:
        self._seen: set[tuple[bool, int]] = set()

    def check(
        self,
        batch: Any,
        data: Any,
        students: Collection[LanguageModel],
        training: bool,
        loader: int,
    ) -> None:
        """Checks a batch against the data module and the students if it is the first one.

        Args:
            batch: what the loader gave, on the CPU.
            data: the data module, or None.
            students: the models that read it.
            training: whether the loader is of training.
            loader: its number.

        Raises:
            UserError: see `check_batch`.
        """
        if (training, loader) in self._seen:
            return
        self._seen.add((training, loader))
        whose = "the loader" if data is None else DataFacts(data).kind
        kind = "training" if training else "held-out"
        reach = Reach(
            None if data is None else len(data.languages),
            min((student.vocab_size for student in students), default=None),
            min((s.outputs for s in students if s.anatomy.has_head), default=None),
            min((student.max_length for student in students), default=None),
        )
        check_batch(batch, reach, f"The first {kind} batch of {whose}, loader {loader},")


def _problems(batch: Mapping[str, Any], reach: Reach) -> list[str]:
    """What does not fit; what follows from an earlier one is not looked for."""
    for key, shape in SHAPES.items():
        value, sizes = batch[key], len(shape.strip("(),").split(", "))
        if not isinstance(value, Tensor):
            return [f"{key} is a {type(value).__name__} and needs to be a tensor {shape} of int64"]
        if value.dtype != torch.int64 or value.dim() != sizes:
            found = f"{tuple(value.shape)} of {str(value.dtype).removeprefix('torch.')}"
            return [f"{key} is {found} and needs to be {shape} of int64"]
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
    ]


def _misplaced(batch: Mapping[str, Any], mask: Tensor) -> list[str]:
    """Flat indices that point elsewhere than at what they should."""
    rows, targets = batch["rows"], batch["targets"]
    problems = []
    if "segments" not in batch and bool((mask[:, 1:] > mask[:, :-1]).any()):
        problems.append("it is padded on the left, and texts need to begin in the first column")
    if not torch.equal(batch["tokens"], mask.flatten().nonzero().squeeze(1)):
        problems.append("tokens are not the flat indices of attention_mask's ones, ascending")
    if len(rows) != len(targets):
        problems.append(f"rows are {len(rows)} and targets {len(targets)}: one for each is needed")
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
    wrong = [f"{name} is {counts[name]}" for name in found if counts[name] != found[name]]
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
    for key, end in (("input_ids", reach.vocab_size), ("targets", reach.outputs)):
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


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
