"""The outlook of a run after its rehearsal: memory, time, disk, and what its numbers say."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import LightningDataModule

from data_modules import Corpus
from lit_distill.cli.preflight import disk
from lit_distill.cli.preflight.findings import Checked, Finding, in_bytes, in_time
from lit_distill.cli.preflight.looks import look
from lit_distill.cli.preflight.room import available
from lit_distill.models import CachedTeacher, Hears, LanguageModel
from lit_distill.tools.checking.memory import Batches, Memory, still_to_grow, too_much
from lit_distill.tools.checking.options import CheckOptions
from lit_distill.tools.checking.rehearsal import Rehearsal, weights_of
from lit_distill.tools.checking.teacher_answers import doubts
from lit_distill.training.distillation import Distillation

if TYPE_CHECKING:
    from lit_distill.tools.checking.check_cli import CheckCLI

RISE = 1.5
"""Factor by which the loss may rise during a rehearsal at the full learning rate."""

FIRST_STAGES = Finding(
    "note",
    "stages",
    "The rehearsal is of the first stages. Gradients and the optimizer's states are counted for "
    "all that any stage trains; activations and time are those of the first.",
    "Leave model.stages out of a second check, which then trains everything at once.",
)


def outlook(checked: Checked, made: CheckCLI, rehearsal: Rehearsal, options: CheckOptions) -> None:
    """Adds what a rehearsal and a look at its models show.

    Args:
        checked: gets findings, figures and numbers.
        made: the run, after its rehearsal.
        rehearsal: what was watched.
        options: of the check.
    """
    module: Distillation = made.model
    total = total_updates(made.asked, made.datamodule)
    if made.trainer.optimizers:
        precision, ranks = str(made.asked["precision"]), world_size(made.asked)
        checked.add(look(module, made.trainer.optimizers[0], total, ranks, precision))
    checked.add(_losses(rehearsal))
    if made.trainer.val_dataloaders:
        checked.add(doubts(module, made.trainer.val_dataloaders))
    checked.figures["Models"] = {
        name: f"{type(model.model).__name__}, {_count(model):,} parameters"
        for name, model in _models(module).items()
    }
    if rehearsal.peak:
        _memory(checked, made, rehearsal, options)
    _disk(checked, made, rehearsal)
    if rehearsal.updates:
        _time(checked, made, rehearsal, total, options)


def total_updates(trainer: Any, data: LightningDataModule) -> int:
    """Updates of the run as it was asked for.

    Args:
        trainer: its options.
        data: whose epochs count where epochs end the run.
    """
    steps = trainer["max_steps"]
    epoch = getattr(data, "updates_per_epoch", None)
    epochs = trainer["max_epochs"]
    if epochs is None and steps == -1:
        epochs = 1000  # Lightning's own
    ends = [steps] if steps != -1 else []
    if epochs not in (None, -1) and epoch:
        ends.append(epochs * epoch)
    return min(ends, default=0)


def _models(module: Distillation) -> dict[str, LanguageModel]:
    return {**module.cast.student_models, **module.cast.teacher_models}


def _count(model: LanguageModel) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _losses(rehearsal: Rehearsal) -> Iterator[Finding]:
    """Losses that are no numbers, or rise."""
    losses = rehearsal.losses
    if any(not math.isfinite(loss) for loss in losses):
        first = next(i for i, loss in enumerate(losses, 1) if not math.isfinite(loss))
        yield Finding(
            "error",
            "loss",
            f"The loss of update {first} is {losses[first - 1]}.",
            "A lower --model.optimizer.lr, --trainer.gradient_clip_val 1, or bf16-mixed in the "
            "place of 16-mixed.",
        )
    elif len(losses) > 3 and statistics.median(losses[-3:]) > RISE * losses[0] > 0:
        yield Finding(
            "warning",
            "learning rate",
            f"The loss rose from {losses[0]:.4g} to {statistics.median(losses[-3:]):.4g} in "
            f"{len(losses)} updates at the full learning rate.",
            "A lower --model.optimizer.lr.",
        )


def _memory(checked: Checked, made: CheckCLI, rehearsal: Rehearsal, options: CheckOptions) -> None:
    module, device = made.model, made.trainer.strategy.root_device
    weights, trainable = weights_of(module), rehearsal.gradients
    states, later = rehearsal.states, trained_later(module)
    if later and trainable:  # as many states a parameter as there are now
        states, trainable = states * max(later, trainable) // trainable, max(later, trainable)
        checked.add([FIRST_STAGES])
    alone = Memory(
        program=made.program if device.type == "cpu" else 0,
        weights=sum(weights.values()),
        gradients=trainable,
        states=states,
        rest=max(rehearsal.peak - rehearsal.gradients, 0),
    )
    if device.type == "cpu":
        updates = total_updates(made.asked, made.datamodule)
        resident = rehearsal.resident + still_to_grow(rehearsal.residents, updates)
        alone = replace(alone, kept=max(resident - alone.total, 0))
    layers = [layer for model in _models(module).values() for layer in model.layers]
    largest = max(sum(p.numel() * p.element_size() for p in layer.parameters()) for layer in layers)
    ranks = world_size(made.asked)
    memory = alone.on_ranks(strategy_name(made.asked), ranks, largest)
    checked.figures["Memory"] = memory.table()
    room = int(options.memory_gib * 2**30) if options.memory_gib else available(device)
    if device.type == "cpu" and not options.memory_gib and ranks > 1:
        room //= ranks  # which share one machine
    checked.figures["Memory"]["there is, per rank"] = in_bytes(room)
    checked.numbers["memory"] = {**vars(memory), "total": memory.total, "available": room}
    data, accumulate = made.datamodule, made.asked["accumulate_grad_batches"]
    batches = None
    if isinstance(data, Corpus):
        batches = Batches(data.batch_tokens, data.max_length, accumulate)
    checked.add(too_much(memory, room, batches))


def trained_later(module: Distillation) -> int:
    """Bytes of all that any stage trains; 0 of a run without stages."""
    every = [p for own in module.updates.parameters.values() for p in own]
    return sum(p.numel() * p.element_size() for p in every) if module.stages.plan else 0


def world_size(trainer: Any) -> int:
    """Processes of the run as it was asked for; -1 and "auto" are what this machine has."""
    devices = trainer["devices"]
    if isinstance(devices, list):
        count = len(devices)
    elif str(devices) in ("auto", "-1"):
        count = max(torch.cuda.device_count(), 1)
    else:
        count = int(devices) if str(devices).isdigit() else len(str(devices).strip(",").split(","))
    return count * int(trainer["num_nodes"] or 1)


def strategy_name(trainer: Any) -> str:
    """The strategy's class, or the word for it."""
    strategy = trainer["strategy"]
    path = strategy if isinstance(strategy, str) else strategy.get("class_path", "")
    name = str(path).rpartition(".")[2]
    return {"fsdp2": "ModelParallelStrategy"}.get(
        name, "DeepSpeedStrategy" if "deepspeed" in name else name
    )


def _disk(checked: Checked, made: CheckCLI, rehearsal: Rehearsal) -> None:
    wanted = disk.run_folder(made.model, rehearsal.states)
    one = disk.checkpoint(made.model, rehearsal.states)
    checked.figures["Disk"] = {"a checkpoint": in_bytes(one), "the run folder": in_bytes(wanted)}
    checked.numbers["disk"] = {"checkpoint": one, "run_folder": wanted}
    data = made.datamodule
    if isinstance(data, Corpus) and data.place is not None:  # which the rehearsal has written
        cache = disk.size_of(data.place)
        checked.figures["Disk"]["the tokenised corpus, written"] = in_bytes(cache)
        checked.numbers["disk"]["corpus"] = cache
    checked.numbers["disk"] |= _teacher_cache(checked, made.model, data)
    if made.asked["enable_checkpointing"] is not False:
        checked.add(disk.too_full(made.real_run_dir, wanted))


def _teacher_cache(checked: Checked, module: Distillation, data: LightningDataModule) -> Any:
    """Bytes of the teacher cache that a run reads, or of one that it could."""
    source, figures = module.cast.source, checked.figures["Disk"]
    if isinstance(source, CachedTeacher):
        size = disk.size_of(source.folder)
        figures["the teacher cache, written"] = in_bytes(size)
        return {"teacher_cache": size}
    teachers = list(module.cast.answering_teachers.values())
    if module.hears != Hears.TOP_K or len(teachers) != 1 or not isinstance(data, Corpus):
        return {}
    size = disk.teacher_cache(data, teachers[0])
    if size:
        masks = ", each drawing of masks" if data.objective.masked else ""
        figures[f"a teacher cache of positions with a target{masks}, if written"] = in_bytes(size)
    return {"teacher_cache_if_written": size}


def _time(
    checked: Checked, made: CheckCLI, rehearsal: Rehearsal, total: int, options: CheckOptions
) -> None:
    times = rehearsal.updates[len(rehearsal.updates) // 2 :]  # new shapes take longer at first
    update = statistics.mean(times)
    spread = statistics.stdev(times) if len(times) > 1 else update
    validations = _validations(made.asked, made.datamodule, total)
    batches = _validation_batches(made)
    each = statistics.mean(rehearsal.validation) if rehearsal.validation else 0.0
    validation = each * batches + rehearsal.around
    seconds = total * update + validations * validation
    # of a mean over so many updates, and of the machine's own moods
    off = max(2 * total * spread / math.sqrt(len(times)), 0.05 * seconds)
    checked.figures["Time"] = {
        "an update": f"{in_time(update)} ({len(times)}: {min(times):.3g} to {max(times):.3g} s)",
        "a validation": f"{in_time(validation)} ({batches} batches), {validations} of them",
        f"the run, {total:,} updates": f"{in_time(seconds)}, give or take {in_time(off)}",
    }
    checked.numbers["time"] = {
        **{"update": update, "validation": validation, "validations": validations},
        **{"updates": total, "run": seconds, "spread": off},
    }
    if seconds > options.days * 86400:
        checked.add(
            [
                Finding(
                    "warning",
                    "time",
                    f"The run would take {in_time(seconds)} here.",
                    "More devices, `cache-teacher`, a shorter --data.max_length, or fewer updates.",
                )
            ]
        )


def _validations(trainer: Any, data: LightningDataModule, total: int) -> int:
    """How many validations a run has."""
    if trainer["limit_val_batches"] == 0:
        return 0
    interval, accumulate = trainer["val_check_interval"], trainer["accumulate_grad_batches"]
    epoch = getattr(data, "updates_per_epoch", 0) or total
    every = trainer["check_val_every_n_epoch"]
    if interval is None or isinstance(interval, float):
        between = (interval or 1.0) * epoch * (every or 1)
    else:
        between = interval / accumulate
    return int(total // max(between, 1))


def _validation_batches(made: CheckCLI) -> int:
    loaders = made.trainer.val_dataloaders or []
    loaders = loaders if isinstance(loaders, list) else [loaders]
    limit = made.asked["limit_val_batches"]
    lengths = [len(loader) for loader in loaders]
    if isinstance(limit, int):
        return sum(min(length, limit) for length in lengths)
    return sum(int(length * (1.0 if limit is None else limit)) for length in lengths)
