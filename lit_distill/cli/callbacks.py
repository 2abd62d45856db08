"""Callbacks that a run is not without, whatever list a configuration gives.

A list that is given is the list that is used; what saves a run is switched off by its name only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jsonargparse import ArgumentParser, Namespace
from lightning.pytorch import Callback
from lightning.pytorch.plugins.io import CheckpointIO

from callbacks import AtomicCheckpointIO, ExportStudent, PerLanguage, RngState, RunCheckpoint
from lit_distill.cli.checkpoints import MEASURING
from lit_distill.cli.parsing.options import EXPORT
from lit_distill.cli.parsing.types import imported

SHIPPED = (
    "PerLanguage",
    "TeacherAgreement",
    "CodeMixing",
    "MaskedSamples",
    "ExportStudent",
    "RunCheckpoint",
    "RngState",
    "NonFiniteLoss",
    "Throughput",
    "LearningRateMonitor",
    "RunProgress",
)
"""The list of configs/trainer/*.yaml."""


def complete(command: str, config: Namespace) -> str:
    """Adds what saves a run, and what prints a measurement; takes out what is switched off.

    Args:
        command: validate and test print by a callback.
        config: as parsed; changed in place.

    Returns:
        What was left out of the shipped list and what was added, in a line; empty if nothing was.
    """
    trainer, off = config["trainer"], switched_off(config)
    given = [c for c in _items(trainer["callbacks"]) if not _is_any(c, off)]
    kept = [RunCheckpoint, RngState] if RunCheckpoint not in off else []
    kept += [ExportStudent] if ExportStudent not in off else []
    kept += [PerLanguage] if command in MEASURING else []
    added = [kind for kind in kept if not any(_is_any(c, [kind]) for c in given)]
    trainer["callbacks"] = [*given, *(_node(Callback, kind) for kind in added)]
    plugins = list(_items(trainer["plugins"]))
    if RunCheckpoint not in off and not any(_is_any(p, [CheckpointIO]) for p in plugins):
        trainer["plugins"] = [*plugins, _node(CheckpointIO, AtomicCheckpointIO)]
    names = {path.rpartition(".")[2] for c in trainer["callbacks"] if (path := _path(c))}
    left_out = [name for name in SHIPPED if name not in names]
    return _said(left_out, [kind.__name__ for kind in added], [kind.__name__ for kind in off])


def switched_off(config: Namespace) -> list[type]:
    """The saving callbacks that a configuration switches off by name."""
    off: list[type] = []
    if config["trainer"]["enable_checkpointing"] is False:
        off.append(RunCheckpoint)
    if not config[EXPORT]:
        off.append(ExportStudent)
    return off


def _said(left_out: list[str], added: list[str], off: list[str]) -> str:
    parts = []
    if others := [name for name in left_out if name not in off]:
        parts.append(f"Without callbacks of configs/trainer: {', '.join(others)}.")
    if added:
        parts.append(
            f"Added, because it saves the run: {', '.join(added)} (not with "
            f"--trainer.enable_checkpointing false, --{EXPORT} false)."
        )
    if off:
        parts.append(f"Switched off: {', '.join(off)}.")
    return " ".join(parts)


def _items(value: Any) -> Iterator[Any]:
    if value is not None:
        yield from value if isinstance(value, list) else [value]


def _path(item: Any) -> str:
    return str(item.get("class_path", "")) if isinstance(item, Namespace | dict) else ""


def _is_any(item: Any, kinds: list[type]) -> bool:
    found = imported(_path(item))
    return isinstance(found, type) and issubclass(found, tuple(kinds))


def _node(root: type, kind: type) -> Any:
    """A class with its defaults, as a parser leaves it."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(root, "its")
    return parser.parse_args([f"--its={kind.__module__}.{kind.__name__}"])["its"]
