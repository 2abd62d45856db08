"""`check`: a run as `fit` would make it, rehearsed for a few updates and not saved."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar

import torch
from lightning.pytorch.cli import LightningArgumentParser
from rich.console import Console

from lit_distill.cli.parsing.types import imported
from lit_distill.cli.preflight.findings import Checked, Finding, in_bytes
from lit_distill.cli.preflight.preflight import Preflight
from lit_distill.cli.preflight.room import available, too_large
from lit_distill.cli.trainer import check_batches
from lit_distill.cli.training import DistillCLI
from lit_distill.errors import UserError
from lit_distill.host_memory import resident
from lit_distill.tools.checking.heard import Heard
from lit_distill.tools.checking.options import CheckOptions
from lit_distill.tools.checking.outlook import outlook, strategy_name, world_size
from lit_distill.tools.checking.rehearsal import Rehearsal
from lit_distill.tools.checking.samples import show_samples

UNNEEDED = (
    *("RunCheckpoint", "ExportStudent", "RngState", "RunProgress", "LearningRateMonitor"),
    *("Throughput", "DeviceStatsMonitor", "NonFiniteLoss"),
)
"""Callbacks that a rehearsal is better without: they save, or write to a logger."""


def run(args: Sequence[str]) -> None:
    """Runs `check`.

    Args:
        args: the options of `fit`, and `--check.*`, `--json`.

    Raises:
        SystemExit: with 0 where nothing is wrong, 1 with warnings, 2 with errors.
    """
    as_json = "--json" in args
    checked, heard = Checked(), Heard()
    with heard, tempfile.TemporaryDirectory(prefix="lit_distill_check_") as scratch:
        try:
            made = _built([arg for arg in args if arg != "--json"], scratch)
            made.rehearse(checked)
        except UserError as error:
            checked.add([refusal(error)])
    checked.add(heard.findings())
    if as_json:
        print(checked.as_json())
    else:
        checked.show(Console(soft_wrap=True))
    raise SystemExit(checked.code)


def _built(args: Sequence[str], scratch: str) -> CheckCLI:
    """The run, not begun.

    Raises:
        UserError: `fit` would refuse it.
    """
    said = StringIO()
    try:
        with redirect_stderr(said):
            return CheckCLI(args, scratch)
    except SystemExit as end:  # of a parser, which prints its one line
        if end.code != 2:
            raise
        raise UserError(said.getvalue().strip().removeprefix("error: ")) from end


def refusal(error: Exception) -> Finding:
    """What `fit` refuses; its message says what to do."""
    return Finding("error", "refused", " ".join(str(error).split()))


class CheckCLI(DistillCLI):
    """Builds a run as `fit` does, on one device, with a folder that is thrown away.

    Args:
        args: the options.
        scratch: that folder.

    Attributes:
        asked: options of the Trainer as the run will have them.
    """

    sections: ClassVar[dict[str, type]] = {**DistillCLI.sections, "check": CheckOptions}

    def __init__(self, args: Sequence[str], scratch: str) -> None:
        self.scratch = scratch
        super().__init__("fit", args)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The options of `fit`, and those of the check."""
        super().add_arguments_to_parser(parser)
        parser.add_class_arguments(CheckOptions, "check")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses as `fit` does, and then shortens the run."""
        super().parse_arguments(parser, args)
        trainer, updates = self.config["trainer"], self.config["check"]["updates"]
        self.asked = trainer.clone()
        self.real_run_dir = Path(self.config["run_dir"])
        trainer["default_root_dir"] = self.scratch
        short = {
            "max_steps": updates,
            "max_epochs": -1,
            "min_steps": None,
            "min_epochs": None,
            "max_time": None,
            "check_val_every_n_epoch": None,
            "val_check_interval": updates * trainer["accumulate_grad_batches"],
            "num_sanity_val_steps": 0,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "devices": 1,
            "num_nodes": 1,
            "strategy": "auto",
        }
        if trainer["limit_val_batches"] != 0:
            short["limit_val_batches"] = 1
        for name, value in short.items():
            trainer[name] = value
        given = trainer["callbacks"] or []
        given = given if isinstance(given, list) else [given]
        trainer["callbacks"] = [one for one in given if not _is_unneeded(one)]

    def rehearse(self, checked: Checked) -> None:
        """Runs a few updates and a short validation; adds what they show.

        Args:
            checked: gets findings and figures.
        """
        options: CheckOptions = self.config_init["check"]
        check_batches(self.asked, self.datamodule)  # of the run, and not of its rehearsal
        if self._teachers_fit(checked, options):
            self._rehearse(checked, options)
        show_samples(checked, self.model, self.datamodule)

    def _teachers_fit(self, checked: Checked, options: CheckOptions) -> bool:
        """Whether teachers can be loaded here; what does not fit, here or there, is a finding."""
        device, ranks = self.trainer.strategy.root_device, world_size(self.asked)
        here, specs = available(device), self.model.cast.teacher_specs
        room = int(options.memory_gib * 2**30) if options.memory_gib else here
        if device.type == "cpu" and not options.memory_gib:
            room //= ranks  # which share one machine
        split = strategy_name(self.asked) == "ModelParallelStrategy"
        found = list(too_large(specs, room, ranks if split else 1))
        fit = not any(too_large(specs, here))
        if not (fit or found):
            text = f"Teachers fit there and not here, where there are {in_bytes(here)}."
            remedy = "Nothing was rehearsed: run `check` on that machine."
            found.append(Finding("warning", "teacher", text, remedy))
        checked.add(found)
        return fit

    def _rehearse(self, checked: Checked, options: CheckOptions) -> None:
        rehearsal = Rehearsal(options.updates, options.seconds)
        kept = [one for one in self.trainer.callbacks if not isinstance(one, Preflight)]  # type: ignore[attr-defined]
        self.trainer.callbacks = [rehearsal, *kept]  # type: ignore[attr-defined]
        self.model.config_text, self.program = self.config_text, resident()
        try:
            with redirect_stdout(StringIO()):  # tables of a validation that measures little
                self.trainer.fit(self.model, datamodule=self.datamodule)
        except UserError as error:
            checked.add([refusal(error)])
        except torch.OutOfMemoryError as error:
            text = f"One update does not fit on the device: {str(error).partition('. ')[0]}."
            remedy = (
                "A smaller --data.batch_tokens with more --trainer.accumulate_grad_batches trains "
                "the same; --model.execution.gradient_checkpointing true needs less."
            )
            checked.add([Finding("error", "memory", text, remedy)])
        if self.model.students:
            outlook(checked, self, rehearsal, options)


def _is_unneeded(callback: Any) -> bool:
    found = imported(str(callback.get("class_path", "")))
    return getattr(found, "__name__", "") in UNNEEDED
