"""`fit`, `validate` and `test`: from config files and options to a run of Lightning's Trainer.

The only file that knows all packages: importing them is what makes bare class names resolve.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ActionConfigFile, Namespace
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_only

import callbacks
import data_modules
import lit_distill.methods as methods
from lit_distill.cli_checkpoints import differences, find_checkpoint
from lit_distill.cli_configs import check_exists, read_config
from lit_distill.cli_errors import OneLineErrors
from lit_distill.distillation import Distillation
from lit_distill.errors import UserError
