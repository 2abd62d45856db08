"""Teachers that run beside the students, and what they say about a batch.

Shapes: N rows, D a teacher's width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from lit_distill.batch import Batch
from lit_distill.losses import Head, TeacherSignal
from lit_distill.losses.rows.row_loss import RowLoss
from lit_distill.models.body.encoded import Encoded, Site
from lit_distill.models.body.heads import with_lm_heads
from lit_distill.models.body.language_model import LanguageModel
from lit_distill.models.loading.finite import gives_non_finite
from lit_distill.models.teachers.ensemble import Ensemble
from lit_distill.models.teachers.source import Hears, TeacherSource
from lit_distill.models.vocabularies.trimmed_model import TrimmedModel

Result = TypeVar("Result")


@dataclass(frozen=True)
class LiveOutputs:
    """One batch as all teachers encoded it, outside of any graph.

    Attributes:
        models: the teachers.
        encoded: what each made of the batch.
        ensemble: how they are heard as one.
    """

    models: Sequence[LanguageModel]
    encoded: Sequence[Encoded]
    ensemble: Ensemble

    def states(self, rows: Tensor, site: Site | None = None) -> list[tuple[float, Tensor]]:
        """Weight and states (N, D) of each teacher at flat `rows`: the last, or a captured site."""
        found = [encoded.rows(rows, site) for encoded in self.encoded]
        return list(zip(self.ensemble.shares, found, strict=True))

    def hand_over(self, site: Site) -> list[tuple[float, Tensor]]:
        """See `TeacherOutputs`: their memory is free once the caller has done with them."""
        found = [encoded.captured.pop(site) for encoded in self.encoded]
        return list(zip(self.ensemble.shares, found, strict=True))

    @property
    def view(self) -> str:
        """See `TeacherOutputs`."""
        return self.encoded[0].view

    def check_losses(self, losses: Sequence[RowLoss]) -> None:
        """See `TeacherOutputs`; heads give what any loss needs."""

    def with_signal(self, fn: Callable[[TeacherSignal], Result], rows: Tensor) -> Result:
        """See `TeacherOutputs`; no logits are made yet."""
        found, grad = list[Result](), torch.is_grad_enabled()

        def call(heads: Sequence[Head]) -> None:
            with torch.set_grad_enabled(grad):
                # Returned through the heads, it would gather the teachers again for its gradient.
                found.append(fn(self.ensemble.signal(heads)))

        with torch.no_grad():
            pairs = zip(self.models, self.states(rows), strict=True)
            with_lm_heads(call, [(model, states) for model, (_, states) in pairs])
        return found[0]

    def lost_share(self, rows: Tensor) -> Tensor | None:
        """The probability (N,) of tokens that trimmed vocabularies lack, a mean over the teachers.

        None where no teacher reads one. It is that before anything is renormalised.
        """
        if not any(isinstance(model, TrimmedModel) for model in self.models):
            return None
        lost = [
            share * model.lost_share(states)
            for model, (share, states) in zip(self.models, self.states(rows), strict=True)
            if isinstance(model, TrimmedModel)
        ]
        return torch.stack(lost).sum(0)

    def logits(self, rows: Tensor) -> Tensor:
        """Logits (N, V) at flat `rows`."""
        pairs = zip(self.models, self.states(rows), strict=True)
        return self.ensemble.logits([model.logits(states) for model, (_, states) in pairs])


def teach(
    models: Sequence[LanguageModel],
    ensemble: Ensemble,
    batch: Batch,
    capture: Sequence[Site] = (),
    view: str = "",
) -> LiveOutputs:
    """Runs every teacher once over a batch, or over a view of it.

    Args:
        models: the teachers.
        ensemble: how they are heard as one.
        batch: what they read.
        capture: sites of each whose states are kept.
        view: prefix of the batch keys that they read.
    """
    with torch.no_grad():
        encoded = [model.encode(batch, view, capture) for model in models]
    return LiveOutputs(models, encoded, ensemble)


class LiveTeachers(TeacherSource):
    """Teachers that are run on every training batch.

    Args:
        models: by name; empty until a run has built them.
        ensemble: how they are heard as one.
    """

    gives = frozenset(Hears)
    remedy = (
        "What {who} says about that batch is not finite itself; no learning rate mends that: "
        "load the teacher in float32 or bfloat16 (model.teacher.dtype), train in bf16-mixed "
        "instead of 16-mixed, or take another teacher"
    )

    def __init__(self, models: nn.ModuleDict, ensemble: Ensemble) -> None:
        self.models, self.ensemble = models, ensemble
        self._view = ""  # that was read last

    @property
    def _models(self) -> dict[str, LanguageModel]:
        return cast(dict[str, LanguageModel], dict(self.models.items()))

    def outputs(self, batch: Batch, capture: Sequence[Site] = (), view: str = "") -> LiveOutputs:
        """See `TeacherSource`; one forward of every teacher."""
        self._view = view
        return teach(list(self._models.values()), self.ensemble, batch, capture, view)

    def non_finite(self, batches: Sequence[Batch]) -> dict[str, bool]:
        """See `TeacherSource`; runs the teachers again."""
        read, found = [each for each in batches if f"{self._view}input_ids" in each], {}
        for name, model in self._models.items():
            flags = [gives_non_finite(model, each, self._view) for each in read]
            found[name] = any(flag.item() for flag in flags)  # of all: ranks run them together
        return found
