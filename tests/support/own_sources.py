"""A source of teachers' answers as a user would write it: a server that is asked batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from lit_distill.batch import TextBatch
from lit_distill.errors import UserError
from lit_distill.losses import ForwardKL, TeacherSignal, TopK
from lit_distill.losses.rows.row_loss import RowLoss
from lit_distill.models import (
    Hears,
    Identity,
    LanguageModel,
    Site,
    SourceIdentity,
    TeacherSource,
    TeacherSpec,
    fingerprint,
)

Result = TypeVar("Result")
TEMPERATURE = 2.0


@dataclass(frozen=True)
class Answers:
    """What the server said about the rows of a batch."""

    batch: TextBatch
    view: ClassVar[str] = ""

    def check_losses(self, losses: Sequence[RowLoss]) -> None:
        for loss in losses:
            if loss.needs_teacher and not isinstance(loss, ForwardKL):
                raise UserError(f"{loss} needs more than a server says.")

    def with_signal(self, fn: Callable[[TeacherSignal], Result], rows: Tensor) -> Result:
        assert rows is self.batch["rows"]
        ids, log_p = self.batch["teacher_ids"], self.batch["teacher_log_probabilities"]
        return fn(TopK(ids, log_p, TEMPERATURE, "bucket"))

    def states(self, rows: Tensor, site: Site | None = None) -> list[tuple[float, Tensor]]:
        raise UserError("A server gives no states.")


class Server(TeacherSource):
    """Says all log-probabilities at the rows of a batch; its model is opened at the first request.

    Args:
        folder: of the model behind it.
    """

    gives = frozenset({Hears.TOP_K})
    remedy = "The {who} is broken"

    def __init__(self, folder: str) -> None:
        self.folder, self.requests, self.checked = folder, 0, list[str]()
        self._model: LanguageModel | None = None

    @property
    def model(self) -> LanguageModel:
        self._model = self._model or TeacherSpec(self.folder).build()
        return self._model

    def identity(self) -> SourceIdentity:
        found = fingerprint(self.model)
        teacher: Identity = {"name": self.folder, "revision": None, "fingerprint": found}
        return SourceIdentity(f"the server {self.folder}", found, {"teacher": teacher})

    def open(self, tokenizer: Any, data: Any) -> None:
        self.checked.append(type(data).__name__)

    def check(
        self, students: Mapping[str, LanguageModel], teachers: Mapping[str, Identity]
    ) -> None:
        self.checked += [*students, *teachers]

    @torch.no_grad()
    def read(self, batch: TextBatch) -> TextBatch:
        self.requests += 1
        logits = self.model.logits(self.model.encode(batch).rows(batch["rows"]))
        log_p = torch.log_softmax(logits / TEMPERATURE, -1)
        ids = torch.arange(log_p.shape[1], dtype=torch.int32).expand(log_p.shape)
        said: dict[str, Any] = {"teacher_ids": ids, "teacher_log_probabilities": log_p}
        return TextBatch(**{**batch, **said})  # type: ignore[typeddict-item]

    def outputs(self, batch: TextBatch, capture: Sequence[Site] = (), view: str = "") -> Answers:
        return Answers(batch)

    def non_finite(self, batches: Sequence[TextBatch]) -> dict[str, bool]:
        return {"server": False}
