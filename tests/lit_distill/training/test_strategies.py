"""What strategies change about a step, and which are refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from batches import Served, collate, samples, window
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import FSDPStrategy, SingleDeviceStrategy
from torch.distributed.device_mesh import DeviceMesh

from lit_distill.errors import UserError
from lit_distill.methods import TripleLoss
from lit_distill.models import LayerCopyStudent, TeacherSpec, shard


def refused(method: TripleLoss, strategy: Any, message: str) -> None:
    # a Trainer would want a GPU for it
    method._trainer = SimpleNamespace(strategy=strategy)  # type: ignore[assignment]
    with pytest.raises(UserError, match=message):
        method.setup("fit")


def test_other_ways_of_sharding_are_refused_rather_than_wrong(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = TripleLoss(teacher=TeacherSpec(str(tiny_bert)))
    refused(method, FSDPStrategy(), r"use configs/trainer/fsdp\.yaml")
    deepspeed = SimpleNamespace(zero_stage_3=True)  # the real one wants its package
    monkeypatch.setattr("lit_distill.training.strategies.DeepSpeedStrategy", SimpleNamespace)
    refused(method, deepspeed, r"DeepSpeed stage 3 is not supported .* use stage 2")
    mesh = {"tensor_parallel": SimpleNamespace(size=lambda: 2)}
    with pytest.raises(UserError, match=r"tensor_parallel_size is 2; only 1 is supported"):
        shard(
            LayerCopyStudent().build(TeacherSpec(str(tiny_bert)).build(), 0), cast(DeviceMesh, mesh)
        )


class Twice(SingleDeviceStrategy):
    """Divides by the accumulation too, as DeepSpeed's engine does."""

    handles_gradient_accumulation = True

    def backward(self, closure_loss: Any, *args: Any, **options: Any) -> Any:
        assert self.lightning_module is not None
        steps = self.lightning_module.trainer.accumulate_grad_batches
        return super().backward(closure_loss / steps, *args, **options)

    def optimizer_step(self, optimizer: Any, closure: Any, *args: Any, **options: Any) -> Any:
        self.micro = getattr(self, "micro", 0) + 1
        if self.micro % 2:
            return closure()  # the engine keeps the gradients
        return super().optimizer_step(optimizer, closure, *args, **options)


def test_a_division_by_the_strategy_itself_is_undone(tiny_bert: Path) -> None:
    texts = samples(8, 100)
    parts = [collate(texts[:2]), collate(texts[2:])]
    ends = []
    for strategy in (SingleDeviceStrategy("cpu"), Twice("cpu")):
        method = TripleLoss(
            teacher=TeacherSpec(str(tiny_bert)),
            dropout=0.0,
            optimizer=lambda groups: torch.optim.SGD(groups, lr=1.0),
        )
        method.optimizer_zero_grad = lambda *_: None  # type: ignore[method-assign]
        Trainer(
            accelerator="cpu",
            strategy=strategy,
            max_steps=1,
            accumulate_grad_batches=2,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            log_every_n_steps=1,
        ).fit(method, datamodule=Served([window(parts)]))
        ends.append(torch.cat([p.detach().flatten() for p in method.student.parameters()]))
    torch.testing.assert_close(*ends)
