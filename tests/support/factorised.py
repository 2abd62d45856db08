"""Students whose embeddings are two factors: teachers for them, and the students in float64."""

from __future__ import annotations

from typing import Any

import pytest
from architectures import random_model
from torch import Tensor

from lit_distill.batch import Batch
from lit_distill.models import (
    FactorisedCopyStudent,
    LanguageModel,
    Site,
)
from lit_distill.models.students.starts.factorised_names import own_names

READ = Site("embeddings")
EXACT = {"layer_norm_eps": 1e-14}  # the only other difference of norms over other numbers


def of_gelu(kind: Any, **changes: Any) -> LanguageModel:
    """A tiny teacher; ALBERT's own activation is another one than ELECTRA's."""
    return LanguageModel(random_model(kind, hidden_act="gelu", **changes))


def exactly(
    start: FactorisedCopyStudent, teacher: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> LanguageModel:
    """The student in float64, of a teacher in float64: starts narrow to float32."""
    kept: dict[str, Tensor] = {}
    own = FactorisedCopyStudent._weights

    def keep(self: Any, *given: Any) -> Any:
        result = own(self, *given)
        kept.update(result)
        return result

    with monkeypatch.context() as patch:
        patch.setattr(FactorisedCopyStudent, "_weights", keep)
        student = start.build(teacher, 0)
    student.double()
    student.model.load_state_dict(own_names(kept, student.anatomy, student.model.state_dict()))
    return student


def reads(model: LanguageModel, batch: Batch) -> Tensor:
    """What the first layer reads (B, T, H)."""
    return model.capture(batch, [READ])[READ].detach()


def width_of(model: LanguageModel) -> int:
    return model.model.get_input_embeddings().weight.shape[1]
