"""The part of a method that hears its teachers: live ones, or one that was written down."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities import rank_zero_info
from torch import nn

from lit_distill.batch import Batch, Reading
from lit_distill.errors import UserError
from lit_distill.models import (
    CachedOutputs,
    Ensemble,
    LanguageModel,
    LiveOutputs,
    TeacherCache,
    TeacherOutputs,
    gives_non_finite,
    load_tokenizer,
    teach,
    tokenizer_fingerprint,
)
from lit_distill.training.data_contract import Reach, check_batch, check_data_module


class Learner(LightningModule):
    """Gives a method what its teachers say about a batch, wherever it comes from.

    Attributes:
        students: trained models by name.
        teachers: frozen models by name.
        ensemble: how several teachers are heard as one.
        takes_cache: whether all that the method reads of its teacher comes from `teach`.
        reads: what it can be trained on, the usual one first; nothing named: on anything.
        cache_folder: of the teacher cache, if training reads one.
        cache: it, from `setup` of a fit on.
        tokenizer: of the run, if known.
    """

    takes_cache: ClassVar[bool] = False
    reads: ClassVar[tuple[Reading, ...]] = ()
    ensemble: Ensemble

    def __init__(self, cache_folder: str | None = None) -> None:
        super().__init__()
        self.students, self.teachers = nn.ModuleDict(), nn.ModuleDict()
        if cache_folder is not None and not self.takes_cache:
            raise UserError(
                f"{type(self).__name__} reads nothing that a teacher cache holds: leave "
                "model.teacher_cache out, or use a method of logits such as TripleLoss."
            )
        self.cache_folder = cache_folder
        self.cache: TeacherCache | None = None
        self.tokenizer: Any = None
        self._checked: set[tuple[bool, int]] = set()
        self._view = ""

    @property
    def student(self) -> LanguageModel:
        """The one called so, or else the only one."""
        if "student" in self.students:
            return cast(LanguageModel, self.students["student"])
        (only,) = self.students.values()
        return cast(LanguageModel, only)

    @property
    def data(self) -> Any:
        """The data module, which names the languages; None if loaders were given bare."""
        return getattr(self.trainer, "datamodule", None)

    @property
    def teacher(self) -> LanguageModel:
        """The single live teacher."""
        return cast(LanguageModel, self.teachers["teacher"])

    def check_reading(self, data: Any) -> None:
        """Checks that the method is trained on what it reads.

        Args:
            data: the data module, or None.

        Raises:
            UserError: its objective contradicts `reads`.
        """
        objective = getattr(data, "objective", None)  # not every data module has one
        found = getattr(objective, "reading", None)
        if found is None or not self.reads or found in self.reads:
            return
        name = type(self).__name__
        apart = {Reading.RESPONSES, Reading.LABELS}  # which have data modules of their own
        texts = " or ".join(one.value for one in self.reads if one not in apart)
        if found == Reading.LABELS:
            raise UserError(
                f"{name} reads {texts or 'prompts with responses'}, and {type(data).__name__} has "
                "labels of texts: use SupervisedKD, or another data module."
            )
        if not texts or found == Reading.RESPONSES:
            raise UserError(
                f"{name} reads {texts or 'prompts with responses'}, and {type(data).__name__} has "
                f"{'prompts' if texts else 'texts'}: use a "
                f"{'MultilingualCorpus' if texts else 'PromptCorpus'}, or another method."
            )
        raise UserError(
            f"{name} reads {texts}, and the data's objective is {type(objective).__name__}: leave "
            "data.init_args.objective out, or use another method."
        )

    def teach(self, batch: Batch, view: str = "") -> TeacherOutputs:
        """What the teacher says about a training batch: read, or else run outside of any graph.

        Args:
            batch: of the training text.
            view: prefix of the batch keys that the teacher reads ("src_", "tgt_").

        Raises:
            UserError: a view is asked for and a cache is read, which holds none.
        """
        self._view = view
        if self.cache is None:
            return self.run_teachers(batch, view)
        if view:
            raise UserError(
                f"{type(self).__name__} asks its teacher about the view {view!r} of a batch, and a "
                "teacher cache holds what was said about a single text: leave model.teacher_cache "
                "out."
            )
        return CachedOutputs(self.cache, batch)

    def run_teachers(self, batch: Batch, view: str = "") -> LiveOutputs:
        """Runs every teacher over a batch, or a view of it, outside of any graph."""
        teachers = cast(list[LanguageModel], list(self.teachers.values()))
        return teach(teachers, self.ensemble, batch, view)

    def find_tokenizer(self, name: str | None) -> None:
        """Checks the data module and takes its tokenizer, or else opens the one of this name.

        Raises:
            UserError: the data module lacks something, or there is no such tokenizer.
        """
        check_data_module(self.data)
        self.tokenizer = getattr(self.data, "tokenizer", None)
        if self.tokenizer is None and name:
            self.tokenizer = load_tokenizer(name)

    def broken_teachers(self, batches: Sequence[Batch]) -> list[str]:
        """Names of the teachers that say NaN or infinities about batches, on any rank.

        Every rank must ask. A teacher cache is called "teacher_cache".

        Args:
            batches: of the training text, on the device.
        """
        if self.cache is not None:
            kept = [batch["teacher_log_probabilities"] for batch in batches]
            found = {"teacher_cache": [(p.isnan() | p.isposinf()).any().float() for p in kept]}
        else:
            read = [batch for batch in batches if f"{self._view}input_ids" in batch]
            with self.trainer.precision_plugin.forward_context():
                found = {
                    name: [gives_non_finite(cast(LanguageModel, m), b, self._view) for b in read]
                    for name, m in self.teachers.items()
                }
        flags = torch.tensor([float(sum(map(float, own)) > 0) for own in found.values()])
        if self.trainer.world_size > 1:
            flags = flags.to(self.device)
            torch.distributed.all_reduce(flags, torch.distributed.ReduceOp.MAX)
        return [name for name, flag in zip(found, flags.tolist(), strict=True) if flag]

    def open_cache(self, stage: str) -> None:
        """Opens the cache for a fit and checks that it was made for this text and these masks.

        Raises:
            UserError: it was not; or the data module cannot say what decides on its text.
        """
        # Lightning warns that a data module's hook of this name is not called; ours have none.
        warnings.filterwarnings("ignore", r"You have overridden `on_before_batch_transfer`")
        if self.cache_folder is None or stage != "fit" or self.cache is not None:
            return
        provenance = getattr(self.data, "provenance", None)
        if provenance is None:
            raise UserError(
                f"{type(self.data).__name__} does not say what decides on its texts, so a teacher "
                "cache cannot be matched with them: use a corpus of `data_modules`."
            )
        cache = TeacherCache(Path(self.cache_folder).expanduser())
        tokenizer = {"tokenizer": tokenizer_fingerprint(self.tokenizer)} if self.tokenizer else {}
        cache.check({**tokenizer, **provenance()})
        self.cache = cache

    def check_cache(self, teachers: Mapping[str, Mapping[str, str | None]]) -> None:
        """Checks student and live teacher, once they are built, against the cache.

        Args:
            teachers: name and `fingerprint` of every live teacher.

        Raises:
            UserError: the student has another vocabulary, or the live teacher other weights.
        """
        if self.cache is None:
            return
        if len(self.teachers) > 1:
            raise UserError(
                "A teacher cache holds what one teacher says, and model.ensemble names more: leave "
                "one of both out."
            )
        for student in self.students.values():
            self.cache.check({"vocab_size": cast(LanguageModel, student).outputs})
        if self.teachers:
            self.cache.check({"teacher": teachers["teacher"]["fingerprint"]})
        else:
            rank_zero_info(
                "Training reads the teacher cache, and no live teacher is given: agreement is left "
                "out of validation."
            )

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Checks the first batch of a loader; reads what the cache says about a training batch.

        With accumulation it reads that of the whole window at once.
        """
        loader = (self.trainer.training, dataloader_idx)
        if loader not in self._checked:
            self._checked.add(loader)
            self._check(batch, dataloader_idx)
        if self.cache is None or not self.trainer.training:
            return batch
        if self.trainer.accumulate_grad_batches == 1:
            return self.cache.read(batch)
        if "window" not in batch:  # the first batch of the window carried this one
            return batch
        return Batch(**{**batch, "window": [self.cache.read(each) for each in batch["window"]]})

    def _check(self, batch: Any, number: int) -> None:
        """Checks the batch of a loader against the data module and the students."""
        students = [cast(LanguageModel, student) for student in self.students.values()]
        whose = "the loader" if self.data is None else type(self.data).__name__
        kind = "training" if self.trainer.training else "held-out"
        reach = Reach(
            None if self.data is None else len(self.data.languages),
            min((student.vocab_size for student in students), default=None),
            min((student.outputs for student in students), default=None),
            min((student.max_length for student in students), default=None),
        )
        check_batch(batch, reach, f"The first {kind} batch of {whose}, loader {number},")
