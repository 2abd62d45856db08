"""Updates whose loss is not a number: left out, counted, and after a few the run stops."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.precision import MixedPrecision
from lightning_utilities.core.rank_zero import rank_zero_warn
from safetensors.torch import save_file
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.nn.utils import get_total_norm
from torch.optim import SGD, Adam, AdamW, Optimizer

from lit_distill.batch import Batch
from lit_distill.errors import UserError
from lit_distill.files.atomic_files import replacing
from lit_distill.knobs import Count, check_knobs
from lit_distill.training.distillation import Distillation


@dataclass(frozen=True)
class _Verdict:
    """What is known of one update, or will be when the device has got there.

    Attributes:
        update: its number, from 1.
        batches: its micro-batches on this rank.
        bad: 0-d on the CPU; 1 if it was left out.
        copied: recorded behind the copy of `bad` from a GPU.
    """

    update: int
    batches: list[Batch]
    bad: Tensor
    copied: torch.cuda.Event | None

    def is_bad(self) -> bool:
        """Waits for the copy, which was ordered an update ago unless a save is in a hurry."""
        if self.copied is not None:
            self.copied.synchronize()
        return bool(self.bad)


class NonFiniteLoss(Callback):
    """Leaves out updates whose loss or gradient is infinite or not a number.

    Such an update changes no weight and no moment of the optimizer; it counts as an update, so the
    schedule goes on and the batches after it are the same. Each is reported by a warning and by
    `train/skipped`, their number so far. After `limit` of them in a row the run stops and keeps
    its part of the last one's batch on every rank: `non_finite/update_<n>_rank_<r>.safetensors` in
    the run folder, tensors by micro-batch with the names of their languages as metadata.

    All ranks decide alike. On a GPU nothing waits for the device with a fused Adam, AdamW or SGD
    (`fused: true`): the optimizer is told on the device, and the report comes one update later.
    Other optimizers there wait once per update. Under 16-mixed gradients that overflow are the loss
    scaler's normal business: only losses are counted, and the scaler leaves updates out.

    Args:
        limit: how many in a row stop the run.
    """

    def __init__(self, limit: Count = 3) -> None:
        check_knobs(NonFiniteLoss, locals())
        self.limit = limit
        self.skipped = self._streak = 0
        self._batches: list[Batch] = []
        self._loss: Tensor | None = None
        self._open: list[_Verdict] = []
        self._worst: _Verdict | None = None

    # -- one update -----------------------------------------------------------------------------

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Remembers the micro-batches of the update."""
        if batch_idx % trainer.accumulate_grad_batches == 0:
            self._batches, self._loss = [], None
        self._batches.append(batch)

    def on_before_backward(
        self, trainer: Trainer, pl_module: LightningModule, loss: Tensor
    ) -> None:
        """Adds the micro-batch's loss; a sum is finite only if all its parts are."""
        self._loss = loss.detach() if self._loss is None else self._loss + loss.detach()

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Decides on the device; comes before clipping, which would spread one bad value to all."""
        assert self._loss is not None  # a backward comes before
        probe = self._loss
        scaled = _is_scaled(trainer)
        if not scaled:
            probe = probe + _gradient_norm(optimizer).to(probe.dtype)
        bad = probe.isfinite().logical_not().float()
        if trainer.world_size > 1:  # a loss is each rank's own, and so is a shard's gradient
            # not the strategy's `reduce`: it begins with a barrier, which waits for the device
            torch.distributed.all_reduce(bad, torch.distributed.ReduceOp.MAX)
        if not scaled:
            if _is_told_on_device(optimizer):
                optimizer.found_inf = bad  # type: ignore[attr-defined]
            elif bad:
                optimizer.zero_grad(set_to_none=True)  # zeros would still decay and move weights
        self._open.append(_Verdict(trainer.global_step + 1, self._batches, *_fetch(bad)))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Reports what every rank knows by now; stops if it is too much."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            self._report(trainer, newest=self._open[-1].copied is None)
            if self._streak >= self.limit:
                raise UserError(self._reason(trainer))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reports the last update too."""
        self._report(trainer)

    # -- reports --------------------------------------------------------------------------------

    def _report(self, trainer: Trainer, newest: bool = True) -> None:
        count = len(self._open) if newest else len(self._open) - 1
        for verdict in self._open[:count]:
            if not verdict.is_bad():
                self._streak = 0
                continue
            self.skipped, self._streak, self._worst = self.skipped + 1, self._streak + 1, verdict
            rank_zero_warn(
                f"Update {verdict.update} was left out: its loss or gradient is not finite "
                f"({self._streak} in a row, {self.limit} stop the run)."
            )
            for logger in trainer.loggers:
                logger.log_metrics({"train/skipped": self.skipped}, verdict.update - 1)
        del self._open[:count]

    def _reason(self, trainer: Trainer) -> str:
        worst = self._worst
        assert worst is not None  # whoever asks has counted one
        name = f"update_{worst.update}_rank_{trainer.global_rank}.safetensors"
        path = Path(trainer.default_root_dir) / "non_finite" / name
        try:
            module = Distillation.of(trainer.lightning_module)
            _write(worst, path, module.data_facts.languages)
            kept = f"The batch of the last one is in {path}."
        except UserError as error:
            kept = str(error)
        return (
            f"The loss or gradient of {self._streak} updates in a row, up to update "
            f"{worst.update}, is not finite; they were left out and the weights are those before "
            f"them. {kept} {_advice(trainer, worst)}; then go on with --ckpt_path last."
        )

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Adds how many were left out; a resumed run counts those in a row anew."""
        self._report(trainer)
        checkpoint["non_finite"] = {"skipped": self.skipped}

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Goes on counting."""
        self.skipped = checkpoint.get("non_finite", {"skipped": 0})["skipped"]


def _advice(trainer: Trainer, worst: _Verdict) -> str:
    """What to do, as a sentence without its end; every rank must ask."""
    source = Distillation.of(trainer.lightning_module).cast.source
    with trainer.precision_plugin.forward_context():
        found = source.non_finite(worst.batches)
    flags = torch.tensor([float(broken) for broken in found.values()])
    if trainer.world_size > 1:  # it may be another rank's batch
        flags = flags.to(trainer.strategy.root_device)
        torch.distributed.all_reduce(flags, torch.distributed.ReduceOp.MAX)
    who = [name for name, flag in zip(found, flags.tolist(), strict=True) if flag]
    if not who:
        return "Try a lower learning rate, bf16-mixed instead of 16-mixed, or look at that batch"
    return source.remedy.format(who=" and ".join(who))


def _is_scaled(trainer: Trainer) -> bool:
    plugin = trainer.precision_plugin
    return isinstance(plugin, MixedPrecision) and plugin.scaler is not None


def _is_told_on_device(optimizer: Optimizer) -> bool:
    """Whether it reads `found_inf`, which loss scalers set: fused kernels on whole tensors."""
    groups = optimizer.param_groups
    return (
        isinstance(optimizer, Adam | AdamW | SGD)
        and all(group["fused"] for group in groups)
        and not any(isinstance(p, DTensor) for group in groups for p in group["params"])
    )


def _gradient_norm(optimizer: Optimizer) -> Tensor:
    """Of all gradients, 0-d; one read of them. Finite only if all of them are."""
    parameters = (p for group in optimizer.param_groups for p in group["params"])
    norm = get_total_norm([p.grad for p in parameters if p.grad is not None])
    return norm.full_tensor() if isinstance(norm, DTensor) else norm


def _fetch(bad: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
    """A copy on the CPU, without waiting for it."""
    if not bad.is_cuda:
        return bad, None
    host = torch.empty_like(bad, device="cpu", pin_memory=True)
    host.copy_(bad, non_blocking=True)
    copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
    copied.record()
    return host, copied


def _write(verdict: _Verdict, path: Path, languages: Sequence[str]) -> None:
    """Plain tensors, `<micro-batch>/<key>`, and what else a batch holds as JSON in the metadata."""
    tensors: dict[str, Tensor] = {}
    others: dict[str, str] = {}
    for number, batch in enumerate(verdict.batches):
        own = {key: value for key, value in batch.items() if isinstance(value, Tensor)}
        # clones: what arrives from a loader are views of one tensor, which the format refuses
        tensors |= {f"{number}/{key}": value.detach().clone() for key, value in own.items()}
        names = [languages[index] for index in batch["language"].tolist()]
        others[f"{number}"] = json.dumps({"languages": names, "counts": batch["counts"]})
    with replacing(path) as beside:
        save_file(tensors, beside, {"update": str(verdict.update), **others})
