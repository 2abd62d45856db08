"""A rehearsal: a few updates and a short validation of a run, watched and not saved."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from callbacks.saving.due_validation import validate_now, validation_is_due
from lit_distill.host_memory import peak_resident, reset_peak
from lit_distill.tools.checking.live_tensors import LiveTensors
from lit_distill.training.distillation import Distillation

COUNTED = 2
"""The last updates, whose tensors are counted, which slows them down; the first one warms up."""


class Rehearsal(Callback):
    """Watches updates and a validation: times first, tensors in the last updates.

    Args:
        updates: how many there will be.
        seconds: after so many no further update is timed, where three have been.

    Attributes:
        updates: seconds of each timed update.
        losses: of every update.
        validation: seconds of the batches of the short validation, and how many there were.
        around: seconds of that validation beside its batches: reports and figures.
        residents: largest resident set until the end of each timed update, on a CPU.
        resident: likewise, until the tensors are counted, and in the validation.
        peak: most bytes of what an update makes, alive at once, without the optimizer's states.
        states: bytes of the optimizer's states.
        gradients: bytes of gradients.
    """

    def __init__(self, updates: int, seconds: float) -> None:
        self.seconds = seconds
        self.updates: list[float] = []
        self.losses: list[float] = []
        self.residents: list[int] = []
        self.validation: list[float] = []
        self.around = 0.0
        self.resident = self.peak = self.states = self.gradients = 0
        self._counted_from = max(updates - COUNTED, 2)
        self._live: LiveTensors | None = None
        self._begun = self._started = self._validation = self._batch = 0.0
        self._before = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock, and the process's own count of its memory."""
        self._begun = time.perf_counter()
        reset_peak()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Before the first batch of an update: starts its clock, or the count of tensors."""
        if batch_idx % trainer.accumulate_grad_batches:
            return
        if trainer.global_step == self._counted_from:
            self._count(trainer, pl_module, batch)
        self._started = time.perf_counter()

    def _count(self, trainer: Trainer, module: LightningModule, batch: Any) -> None:
        (optimizer,) = trainer.optimizers
        states = list(_states(optimizer))
        self.states = sum(t.numel() * t.element_size() for t in states)
        self.resident = peak_resident()
        if module.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(module.device)
            held = [parameter.grad for parameter in module.parameters()]
            old = sum(grad.numel() * grad.element_size() for grad in held if grad is not None)
            self._before = torch.cuda.memory_allocated(module.device) - old
        else:
            before = [*module.parameters(), *module.buffers(), *states, *_tensors(batch)]
            self._live = LiveTensors(before)
            self._live.__enter__()  # type: ignore[no-untyped-call]

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Any
    ) -> None:
        """Counts gradients while they are there."""
        found = [p.grad for p in pl_module.parameters() if p.grad is not None]
        self.gradients = sum(grad.numel() * grad.element_size() for grad in found)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Behind the last batch of an update."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)
        now, done = time.perf_counter(), trainer.global_step
        loss = outputs.get("loss") if isinstance(outputs, dict) else None
        if isinstance(loss, Tensor):
            self.losses.append(float(loss))
        if 1 < done <= self._counted_from:
            self.updates.append(now - self._started)
            self.residents.append(peak_resident())
        if now - self._begun > self.seconds and 3 <= len(self.updates) < self._counted_from - 1:
            self._counted_from = done
        if done == self._counted_from + COUNTED:
            self._close(pl_module)
            if not validation_is_due(trainer) and trainer.limit_val_batches:
                validate_now(trainer)
            trainer.should_stop = True

    def _close(self, module: LightningModule) -> None:
        if self._live is not None:
            self._live.__exit__(None, None, None)  # type: ignore[no-untyped-call]
            self.peak, self._live = self._live.peak, None
        elif module.device.type == "cuda":
            self.peak = torch.cuda.max_memory_allocated(module.device) - self._before

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Counts no more."""
        self._close(pl_module)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock of the whole."""
        self._validation = time.perf_counter()

    def on_validation_batch_start(self, *_: Any, **__: Any) -> None:
        """Starts the clock of a batch."""
        self._batch = time.perf_counter()

    def on_validation_batch_end(self, *_: Any, **__: Any) -> None:
        """Notes how long a batch took."""
        self.validation.append(time.perf_counter() - self._batch)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Notes what took time beside the batches, and how much memory the whole has taken."""
        self.around = time.perf_counter() - self._validation - sum(self.validation)
        if pl_module.device.type == "cpu":
            self.resident = max(self.resident, peak_resident())


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _tensors(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _tensors(inner)


def _states(optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
    for state in optimizer.state.values():
        yield from (value for value in state.values() if isinstance(value, Tensor))


def weights_of(module: Distillation) -> dict[str, int]:
    """Bytes of the weights and buffers of every model of a run, by name."""
    parts = {**module.students, **module.teachers, "auxiliary": module.auxiliary}
    found = {}
    for name, part in parts.items():
        tensors = {id(t): t for t in (*part.parameters(), *part.buffers())}.values()
        found[name] = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    return {name: size for name, size in found.items() if size}
