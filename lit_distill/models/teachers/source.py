"""Where a method's teachers are heard: live models, answers that were written down, or others.

Shapes: N rows, D width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

from transformers import PreTrainedTokenizerBase

from lit_distill.models.body.encoded import Site
from lit_distill.models.body.language_model import LanguageModel
from lit_distill.models.teachers.outputs import TeacherOutputs

Identity = dict[str, str | None]
"""A teacher's `name`, `revision` and `fingerprint`."""


class Hears(Enum):
    """What a method needs of its teacher while it trains, and a source can give."""

    TOP_K = "the likeliest tokens at positions of the data's text"
    LOGITS = "whole distributions, also of text that is written while training"
    STATES = "tensors inside the teacher"


@dataclass(frozen=True)
class SourceIdentity:
    """What a resumed run must find again where answers were recorded.

    Attributes:
        name: of the source, for people.
        fingerprint: the same for the same answers.
        teachers: who gave them, by name.
    """

    name: str
    fingerprint: str
    teachers: Mapping[str, Identity]


class TeacherSource(ABC):
    """What a method hears of its teachers in training, wherever it comes from.

    A run calls `open`, builds its models, calls `check`, and then for every training batch `read`
    and, if the method asks, `outputs`. What cannot work is a UserError of the first two.
    Batches are of the data's kind; a source that knows one kind alone names it in its signatures.

    Attributes:
        gives: what can be asked for.
        remedy: what to do where the source says NaN or infinities, as a sentence without its end;
            `{who}` stands for the names.
    """

    gives: ClassVar[frozenset[Hears]]
    remedy: ClassVar[str]

    def identity(self) -> SourceIdentity | None:
        """What checkpoints note; None where live teachers are told by their weights."""
        return None

    def open(  # noqa: B027 (a source may know any text)
        self, tokenizer: PreTrainedTokenizerBase | None, data: Any
    ) -> None:
        """Called for a fit, before models are built.

        Args:
            tokenizer: of the run, if known.
            data: the data module, or None.

        Raises:
            UserError: the source has no answers about this text.
        """

    def check(  # noqa: B027 (and any model)
        self, students: Mapping[str, LanguageModel], teachers: Mapping[str, Identity]
    ) -> None:
        """Called with built models, before the first step.

        Args:
            students: by name.
            teachers: the live ones by name, which validation compares with; there may be none.

        Raises:
            UserError: the source's answers are none about their vocabulary.
        """

    def read(self, batch: Any) -> Any:
        """The training batch with what the source keeps of it; before it goes to the device.

        Raises:
            UserError: it keeps nothing about this batch.
        """
        return batch

    @abstractmethod
    def outputs(self, batch: Any, capture: Sequence[Site] = (), view: str = "") -> TeacherOutputs:
        """What the teachers say about a training batch, outside of any graph.

        Args:
            batch: from `read`, on the device.
            capture: sites inside the teachers whose states are read, beside the last ones.
            view: prefix of the batch keys that the teachers read ("src_", "tgt_").

        Raises:
            UserError: the source cannot give it.
        """

    @abstractmethod
    def non_finite(self, batches: Sequence[Any]) -> dict[str, bool]:
        """Whether NaN or infinities are said about training batches, by the name of who says it.

        Every rank must ask.

        Args:
            batches: as `outputs` reads them.
        """
