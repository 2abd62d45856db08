"""`fit`, `validate` and `test`: from config files and options to a run of Lightning's Trainer.

The only file that knows all packages: importing them is what makes bare class names resolve.
"""

from __future__ import annotations

import errno
import os
import re
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, ClassVar

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import DeviceStatsMonitor, LearningRateMonitor
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.exceptions import SIGTERMException

import data_modules  # noqa: F401 (for its class names)
import lit_distill.methods  # noqa: F401 (for its class names)
from callbacks import note_read_texts
from callbacks.watching.hyperparameters import log_hyperparameters
from lit_distill.cli.callbacks import complete
from lit_distill.cli.checkpoints import (
    check_unused,
    checkpoint_for,
    report_differences,
    tokenizer_at_hand,
)
from lit_distill.cli.control import NO_TEACHER, TRUNCATION, controlled, note_of, train_nothing
from lit_distill.cli.ending import ending
from lit_distill.cli.errors import OneLineErrors
from lit_distill.cli.help import looked_up
from lit_distill.cli.parsing.callables import check_callables
from lit_distill.cli.parsing.configs import replacing_options
from lit_distill.cli.parsing.modules import permit
from lit_distill.cli.parsing.options import HELP_ALL, OPTION, OWN, show
from lit_distill.cli.parsing.order import files_first
from lit_distill.cli.preflight.preflight import Preflight
from lit_distill.cli.run_lock import locked
from lit_distill.cli.settings import choose, foreign_origins, origin, spread
from lit_distill.cli.trainer import check_batches, check_trainer, make_trainer
from lit_distill.errors import UserError
from lit_distill.files.atomic_files import replacing
from lit_distill.files.disk_errors import remedy
from lit_distill.training.data_contract import PAGE, check_lightning
from lit_distill.training.distillation import Distillation

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
"""A disk that is full, limited, locked or broken."""
LOGGING = (LearningRateMonitor, DeviceStatsMonitor)
"""Callbacks that refuse to run without a logger."""
LOST_RANK = re.compile(r"Connection (reset|closed) by peer|remote process exit")
"""What gloo and NCCL say when another rank is gone."""


def run(command: str, args: Sequence[str]) -> None:
    """Runs `fit`, `validate` or `test`.

    Args:
        command: which.
        args: its options.

    Raises:
        UserError: something the user gave cannot work.
    """
    try:
        DistillCLI(command, args).run()
    except MisconfigurationException as error:
        raise UserError(str(error)) from error
    except ValueError as error:  # where only the loader knew how long an epoch is
        if not str(error).lstrip().startswith("`val_check_interval`"):
            raise
        raise UserError(f"trainer: {error}") from error
    except OSError as error:  # of whatever writes by itself, as TensorBoard's logger does
        if error.errno not in DISK_ERRORS:
            raise
        raise UserError(
            f"{os.fsdecode(error.filename or 'A file of the run')} could not be written: "
            f"{error.strerror}. {remedy(error, '--run_dir')} A run that has saved goes on with "
            "--ckpt_path last."
        ) from error
    except TypeError as error:
        if not str(error).startswith("An invalid dataloader"):
            raise
        raise UserError(f"{error} A loader gives batches one after the other. {PAGE}") from error
    except RuntimeError as error:
        if not LOST_RANK.search(str(error)):
            raise
        raise UserError(
            "Another process of this run has ended, and this one cannot train without it. The "
            "reason is in what that one printed; if there is none, the system killed it, for want "
            "of memory perhaps. A run that has saved goes on with --ckpt_path last."
        ) from error


@contextmanager
def _interrupted() -> Iterator[None]:
    """Ends with 130 after a Ctrl-C, where the Trainer exits with 1."""
    try:
        yield
    except SystemExit as ending:
        if isinstance(ending.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from ending
        raise


class DistillParser(OneLineErrors, LightningArgumentParser):
    """Lightning's parser, with errors in one line and no abbreviated options."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sections = {"model": Distillation, "data": LightningDataModule, "trainer": Trainer}


class SaveConfig(SaveConfigCallback):
    """Writes `config.yaml` into the run folder when training begins: a refused run changes nothing.

    Its text is what `--print_config` shows, after a line that says where paths begin.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Does not write yet."""

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Writes at the first batch, before the first checkpoint."""
        self._write(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes at the end of a run without a batch."""
        self._write(trainer, pl_module)

    def _write(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero and not self.already_saved:
            assert isinstance(pl_module, Distillation)
            with replacing(Path(trainer.default_root_dir) / "config.yaml") as beside:
                beside.write_text(origin() + pl_module.config_text, "utf-8")
            note_read_texts(trainer, pl_module)
            students, metrics = list(pl_module.students), pl_module.measure.metrics
            log_hyperparameters(trainer, pl_module.config_text, students, metrics)
        self.already_saved = True


class DistillCLI(LightningCLI):
    """Parses one command and builds model, data and Trainer, all of them still without weights.

    Args:
        command: a method of the Trainer: fit, validate or test.
        args: what follows it on the command line.

    Attributes:
        sections: the classes whose options stand under top-level keys.
    """

    sections: ClassVar[dict[str, type]] = {
        "model": Distillation,
        "data": LightningDataModule,
        "trainer": Trainer,
    }

    def __init__(self, command: str, args: Sequence[str]) -> None:
        self.command = command
        args = files_first(permit(args))
        if (text := looked_up(args, self.sections)) is not None:
            show(text)
            raise SystemExit
        args = replacing_options(args)
        super().__init__(
            Distillation,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=SaveConfig,
            seed_everything_default=1,
            parser_class=DistillParser,
            parser_kwargs={"prog": f"lit_distill {command}", "description": None},
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            args=list(args),
            run=False,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The options of ours, beside `model`, `data` and `trainer`."""
        for name, option in OWN.items():
            kind: dict[str, Any] = {} if "action" in option else {"type": str | None}
            parser.add_argument(name, **{**kind, **option})
        parser.add_argument(HELP_ALL, action="help", help="Show every option and exit.")

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """The parser; it brings `--config` along."""
        return DistillParser(**kwargs)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses, checks, and settles what goes to several places."""
        assert isinstance(parser, DistillParser)  # see `init_parser`
        config = parser.parse_args(args)
        self.control, name = config["control"], str(config["model"]["class_path"])
        config = controlled(config, lambda more: parser.parse_args([*args, *more]))
        self.note = note_of(self.control, name.rpartition(".")[2])
        parser.check_nulls(config)
        check_callables(config, parser.where)
        shown = config.pop("print_config")
        if config.pop("allow_module") is not None:
            raise UserError(f"A file cannot permit modules: type {OPTION} on the command line.")
        check_trainer(self.command, config["trainer"], parser.where)
        choose(config, self.control)
        changes = complete(self.command, config)
        ckpt_path, config["ckpt_path"] = config["ckpt_path"], None
        if self.control == NO_TEACHER:  # what is written down is what runs
            config["control"] = None
        self.config_text = parser.dump(config, skip_unset=False)
        if shown:
            print(self.config_text, end="")
            raise SystemExit
        if elsewhere := foreign_origins([str(path) for path in config["config"] or [] if path]):
            rank_zero_info(elsewhere)
        self.checkpoint = checkpoint_for(self.command, ckpt_path, Path(config["run_dir"]))
        if self.command == "fit" and ckpt_path is None and not config["trainer"]["fast_dev_run"]:
            check_unused(Path(config["run_dir"]))
        if self.checkpoint is not None:
            report_differences(self.checkpoint, self.config_text)
            if self.command != "fit":
                config["tokenizer"] = tokenizer_at_hand(config["tokenizer"], self.checkpoint)
        self.config = spread(config)
        if self.command == "fit" and changes:
            rank_zero_info(changes)

    def instantiate_classes(self) -> None:
        """Builds everything; what a constructor refuses is the user's to read."""
        try:
            self.config_init = self.parser.instantiate(self.config)
            self.model, self.datamodule = self.config_init["model"], self.config_init["data"]
            self.model.updates.check()
            check_lightning(self.datamodule)
            self.model.check_reading(self.datamodule)
            if self.command == "fit":
                check_batches(self.config["trainer"], self.datamodule)
            self.trainer = make_trainer(self.instantiate_trainer)
            if self.command == "fit":
                self.trainer.callbacks.append(Preflight())  # type: ignore[attr-defined]
        except ValueError as error:
            cause: BaseException = error  # jsonargparse wraps what constructors raise
            while cause.__cause__ is not None and not isinstance(cause, UserError):
                cause = cause.__cause__
            # an import: of a logger whose package is not installed
            if not isinstance(
                cause, ValueError | OSError | ImportError | MisconfigurationException
            ):
                raise
            raise UserError(str(cause)) from error

    def instantiate_trainer(self, **options: Any) -> Trainer:
        """Builds the Trainer; without a logger, nothing that only writes to one is there."""
        config = self.config_init["trainer"]
        if config["logger"] is False and isinstance(config["callbacks"], list):
            for one in [one for one in config["callbacks"] if isinstance(one, LOGGING)]:
                config["callbacks"].remove(one)
                rank_zero_info(f"There is no logger: {type(one).__name__} is left out.")
        return super().instantiate_trainer(**options)

    def run(self) -> None:
        """Runs the command."""
        self.model.config_text = self.config_text
        self.model.notes += [self.note] * bool(self.note)
        if self.command == "fit" and self.control == TRUNCATION:
            train_nothing(self.trainer)
        try:
            Path(self.config["run_dir"]).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"The run folder {self.config['run_dir']} cannot be made: {error.strerror}. "
                "Choose another --run_dir."
            ) from error
        # what `validate` and `test` return is printed by callbacks: per language, not per loader
        quiet = {} if self.command == "fit" else {"verbose": False}
        alone = locked(Path(self.config["run_dir"])) if self.command == "fit" else nullcontext()
        with alone, suppress(SIGTERMException), _interrupted():  # a SystemExit that says 0
            getattr(self.trainer, self.command)(
                self.model, datamodule=self.datamodule, ckpt_path=self.checkpoint, **quiet
            )
        if self.trainer.received_sigterm:  # before training began: later ones are RunCheckpoint's
            raise SystemExit(128 + signal.SIGTERM)
        if self.command == "fit" and self.trainer.is_global_zero:
            print(ending(self.trainer, self.model), flush=True)
