"""The commands, options of `fit`, `validate` and `test` that are ours, and the help of these.

Nothing heavy is imported, so that `--help` answers at once; what has to look at classes is in
`lit_distill.cli.help`.
"""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Mapping
from typing import Any

TRAINING = {
    "fit": "train students, or go on with a run (--ckpt_path last)",
    "validate": "measure a model on the validation text, per language",
    "test": "the same measurement on the test text",
}
CACHE = "cache-teacher"
CHECK = "check"
TOOLS = {
    CHECK: "try a run before hours are spent: what is wrong, how much memory, time and disk",
    CACHE: "write down what a teacher says about a corpus; students then train without it",
    "export": "turn a checkpoint into a Hugging Face folder, or into ONNX",
    "model-card": "put what an evaluation found about a model into its card",
    "push": "send a model folder to a hub, private unless you say otherwise",
    "train-tokenizer": "train a tokenizer: WordPiece, Unigram or byte-level BPE",
    "trim-vocabulary": "cut a model's vocabulary to what some languages use, and verify it",
    "grow-vocabulary": "give a model pieces for a language that its tokenizer cuts to bits",
    "corpus-report": "count what a corpus holds per language, and what will be drawn of it",
    "pseudo-label": "let a teacher answer prompts once: a file of responses to train on",
    "preview": "print prompts as student and teacher will read them",
    "compare": "measure model folders side by side, or methods by seeds that are asserted alike",
    "evaluate": "ask models about tasks, and what a student retains of its teacher's scores",
    "compare-texts": "compare what runs wrote behind the same prompts, with paired intervals",
    "recommend": "rank pipelines for a data set by tables of compare, or say that they cannot tell",
    "run": "run a recipe: stages one after the other, finished ones are skipped",
    "report": "write one page about runs, a recipe or an evaluation: HTML, and Markdown",
    "new-method": "write the files of a method, in which only its formula is missing",
    "configs": "list the configs that come with the package",
    "copy-config": "write one of them to a file of yours, to be changed",
    "completion": "print what makes bash, zsh or tcsh complete commands, options and configs",
}
COMMANDS = {**TRAINING, **TOOLS}
"""All commands with a line on each."""

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
    "--control": {
        "metavar": "no_teacher|truncation",
        "help": "Instead, what a distilled student is compared with: the same run without the "
        "teacher's signal, or its start as it is.",
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
OF_CHECK = {
    "--check.OPTION VALUE": "How much is rehearsed; --check.help shows all.",
    "--json": "Print for programs. Exit codes: 0, 1 (warnings), 2 (errors).",
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
