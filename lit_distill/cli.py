"""`fit`, `validate` and `test`: from config files and options to a run of Lightning's Trainer.

The only file that knows all packages: importing them is what makes bare class names resolve.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ActionConfigFile, ArgumentParser, Namespace
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_only

import callbacks as callbacks
import data_modules as data_modules
import lit_distill.methods as methods
from lit_distill.cli_checkpoints import differences, find_checkpoint
from lit_distill.cli_configs import check_exists, read_config
from lit_distill.cli_errors import OneLineErrors
from lit_distill.cli_settings import settle
from lit_distill.distillation import Distillation
from lit_distill.errors import UserError


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


class DistillParser(OneLineErrors, LightningArgumentParser):
    """Lightning's parser, with errors in one line and no abbreviated options."""

    sections = {"model": Distillation, "data": LightningDataModule, "trainer": Trainer}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_abbrev=False, print_config=None, **kwargs)
        self.configs, self.args = [], []


class ConfigFile(ActionConfigFile):
    """`--config FILE`: the file and all that it includes."""

    @staticmethod
    def apply_config(parser: DistillParser, cfg: Namespace, dest: str, value: str) -> None:
        """Applies the files one after the other, the included ones first."""
        check_exists(Path(value), "--config")
        for config in read_config(Path(value)):
            parser.configs.append(config)
            ActionConfigFile.apply_config(parser, cfg, dest, config.text)
        cfg[dest][-1] = value  # what was typed, beside None for each text


class DistillCLI(LightningCLI):
    """Parses one command and builds model, data and Trainer, all of them still without weights.

    Args:
        command: a method of the Trainer: fit, validate or test.
        args: what follows it on the command line.
    """

    def __init__(self, command: str, args: Sequence[str]) -> None:
        self.command = command
        super().__init__(
            Distillation,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=None,  # `run` writes it, to the run folder
            seed_everything_default=1,
            parser_class=DistillParser,
            parser_kwargs={"prog": f"lit_distill {command}", "description": None},
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            args=list(args),
            run=False,
        )
