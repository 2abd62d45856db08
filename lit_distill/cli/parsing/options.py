"""The options of `fit`, `validate` and `test` that are ours, and the help that begins with them.

Nothing heavy is imported, so that `--help` answers at once; what has to look at classes is in
`lit_distill.cli.help`.
"""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Mapping
from typing import Any

HELP_ALL = "--help-all"
OPTION = "--allow-module"
EXPORT = "export_student"
"""The option that switches the export off."""

OWN: dict[str, dict[str, Any]] = {
    "--tokenizer": {
        "help": "Name or folder of the one tokenizer; by default the student's if it is a "
        "PretrainedStudent, else the teacher's."
    },
    "--run_dir": {
        "help": "Folder of all that the run writes, `{run_dir}` in a config; by default runs/<name "
        "of the config that names method and data>, or runs/<method>-<data>."
    },
    "--ckpt_path": {
        "help": "Checkpoint to go on from: a file, or `last`, `best` or another name in the run's "
        "checkpoints. validate and test take the best by default; `start` measures what is not yet "
        "trained. The configuration is not taken from it; differences are reported."
    },
    f"--{EXPORT}": {
        "metavar": "true|false",
        "type": bool,
        "default": True,
        "help": "Whether a fit writes its students as Hugging Face folders; checkpoints are "
        "switched off by --trainer.enable_checkpointing false.",
    },
    OPTION: {
        "metavar": "NAME",
        "help": "A module of yours whose classes the configuration may name; it is imported. Give "
        "it once for each. Files cannot permit any.",
    },
    "--print_config": {
        "action": "store_true",
        "help": "Print the merged configuration and exit.",
    },
}
"""By name, as `add_argument` takes them."""

CONFIG = "YAML file; several are merged in order, a later one over an earlier one."
SECTIONS = {
    "--model CLASS": "The method; --model.OPTION VALUE sets one of its options.",
    "--data CLASS": "The data module, and --data.OPTION VALUE.",
    "--seed_everything N": "Seed of everything that is drawn; 1 by default.",
}
TRAINER = {
    "max_steps": "Updates in all; -1 for no such end.",
    "max_epochs": "Epochs in all; -1 for no such end.",
    "val_check_interval": "Updates, or a share of an epoch, between validations.",
    "accelerator": "cpu, gpu, or auto.",
    "devices": "How many of them, or auto.",
    "strategy": "How several work together: auto, ddp, fsdp, deepspeed.",
    "precision": "32-true, bf16-mixed, 16-mixed, ...",
    "accumulate_grad_batches": "Batches of an update, one after the other.",
    "gradient_clip_val": "Largest norm of a gradient.",
    "log_every_n_steps": "Updates between two entries in the logs.",
    "limit_val_batches": "Batches, or a share of all, in a validation.",
    "callbacks": "List of classes that watch or save the run.",
    "logger": "Where curves, figures and texts go; false for nowhere.",
}
"""Options of Lightning's Trainer that runs are made with."""
OF_CACHE = {
    "--output FOLDER": "Folder of the cache.",
    "--cache.OPTION VALUE": "What is kept of the teacher; --cache.help shows the options.",
}
LOOK_UP = {
    "--model.help": "The methods; --model.help=TripleLoss shows the options of one.",
    "--data.help": "The data modules, and --data.help=MultilingualCorpus.",
    "--data.sources.help": "The options of one item of a list; so of any option of any class.",
    HELP_ALL: "Every option, Lightning's too.",
}
WIDTH = 34


def brief(command: str, purpose: str, more: Mapping[str, str]) -> str:
    """The text of `COMMAND --help`.

    Args:
        command: which.
        purpose: what it does.
        more: further options of it alone.
    """
    own = {
        f"{name} {'' if 'action' in option else option.get('metavar', name[2:].upper())}".strip(): (
            option["help"]
        )
        for name, option in OWN.items()
    }
    trainer = {f"--trainer.{name}": text for name, text in TRAINER.items()}
    blocks = {
        "options": {"-c FILE, --config FILE": CONFIG, **more, **SECTIONS, **own},
        "the training loop (Lightning's Trainer; these and more)": trainer,
        "to look up": LOOK_UP,
    }
    lines = [f"usage: lit_distill {command} -c FILE [-c FILE ...] [--OPTION VALUE ...]", ""]
    lines += [f"{purpose[0].upper()}{purpose[1:]}.", ""]
    for title, entries in blocks.items():
        lines += [f"{title}:", *(_entry(name, text) for name, text in entries.items()), ""]
    return "\n".join(lines).rstrip()


def show(text: str) -> None:
    """Prints help; a reader that has seen enough, as `head`, ends it without an error."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at the end


def wants_brief(args: list[str]) -> bool:
    """Whether a command line asks for the short help."""
    return "-h" in args or "--help" in args


def _entry(name: str, text: str) -> str:
    indent = " " * (WIDTH + 4)
    first = f"  {name:{WIDTH}}  " if len(name) <= WIDTH else f"  {name}\n{indent}"
    filled = textwrap.fill(text, 100, initial_indent=indent, subsequent_indent=indent)
    return first + filled.lstrip()
