"""Terms over pairs of texts: what a run says about them, and validation by rank."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from batches import Fixed, Served, collate, samples, window
from contrastive import Contrastive
from shipped_methods import quiet_trainer

from lit_distill.errors import UserError
from lit_distill.models import LayerCopyStudent, TeacherSpec
from lit_distill.schedules import Constant

TEXTS = samples(7, 100)
PARTS = [collate(part) for part in (TEXTS[:2], TEXTS[2:5], TEXTS[5:])]


def method(folder: Path) -> Contrastive:
    return Contrastive(
        student=LayerCopyStudent(),
        teacher=TeacherSpec(str(folder)),
        dropout=0.0,
        optimizer=torch.optim.SGD,
        schedule=Constant(warmup=0.0),
    )


def test_accumulation_is_refused_before_anything_is_built(tiny_bert: Path) -> None:
    module, loop = method(tiny_bert), quiet_trainer(accumulate_grad_batches=3)
    message = r"Contrastive compares .* \(contrast\), .*accumulate_grad_batches is 3: .* to 1; .*"
    with pytest.raises(UserError, match=message + "batch_tokens"):
        loop.fit(module, datamodule=Served([window(PARTS)]))
    assert not module.students
    loop.validate(module, datamodule=Served([[]], PARTS[:1]), verbose=False)  # nothing is summed


class Uneven(Served):
    """Gives the first rank one batch to validate on, and the second two."""

    def val_dataloader(self) -> Fixed:
        assert self.trainer is not None
        return Fixed([PARTS[:1], PARTS[1:]][self.trainer.global_rank])


def test_ranks_validate_on_different_numbers_of_batches(tiny_bert: Path, tmp_path: Path) -> None:
    """Texts are compared within a batch, as one process does it."""
    options: dict[str, Any] = {"limit_val_batches": None, "num_sanity_val_steps": 0}
    found = []
    for count, data in ((1, Served([[]], PARTS)), (2, Uneven([[], []]))):
        more = {"strategy": "ddp_fork", "devices": 2} if count == 2 else {}
        loop, module = quiet_trainer(**options, **more), method(tiny_bert)
        found.append(loop.validate(module, datamodule=data, verbose=False)[0]["val/loss"])
    assert found[0] == pytest.approx(found[1], rel=1e-12)
