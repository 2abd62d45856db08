"""What a run needs of a data module and of its batches, said before the first step.

The data modules of `data_modules` keep it; a data module of somebody else's is told what it lacks.
`docs/own_data_module.md` is its page.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from inspect import signature
from typing import Any

from lightning.pytorch import LightningDataModule
from transformers import PreTrainedTokenizerBase

from lit_distill.batch import Reading
from lit_distill.data_facts import DataFacts
from lit_distill.errors import UserError
from lit_distill.models import LanguageModel, Reach, check_batch
from lit_distill.models.fitting.first_batch import PAGE as PAGE

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
    if reads == (Reading.LABELS,):
        raise UserError(
            f"{method} reads labels, choices, answers or numbers, and {facts.kind} has none: use a "
            "LabelledCorpus, or another method."
        )
    if found == Reading.LABELS:
        raise UserError(
            f"{method} reads {texts or 'prompts with responses'}, and {facts.kind} has "
            "labels of texts: use FineTune, or another data module."
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


def check_tasks(method: str, by_task: bool, students: Collection[str], data: Any) -> None:
    """Checks that a mixture of tasks is trained by a method of several, with a student for each.

    Args:
        method: its name.
        by_task: whether its students have a task each.
        students: their names.
        data: the data module; None is not looked at.

    Raises:
        UserError: they do not fit.
    """
    facts = DataFacts(data)
    tasks = sorted(facts.tasks)
    if tasks and not by_task:
        raise UserError(
            f"{method} trains one head, and {facts.kind} has the tasks {', '.join(tasks)}: use "
            "MultiTask, or the data of one of them."
        )
    if data is not None and by_task and tasks != sorted(students):
        raise UserError(
            f"{method} has students for {', '.join(sorted(students))}, and {facts.kind} has "
            f"{', '.join(tasks) or 'no tasks'}: name one in model.students for each of "
            "data.init_args.tasks (of a TaskMixture)."
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


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
