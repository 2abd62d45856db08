"""The command line: `python -m lit_distill COMMAND ...`, also installed as `lit-distill`.

Nothing heavy is imported before a command needs it, so that help and mistakes answer at once.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Sequence
from difflib import get_close_matches

from lit_distill import host_memory, own_packages
from lit_distill.cli.parsing import options
from lit_distill.errors import UserError

# Read when torch is imported. Threads that spin while they wait slow a shared machine down: small
# models on two busy cores trained three to eight times faster without.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

TRAINING = {
    "fit": "train students, or go on with a run (--ckpt_path last)",
    "validate": "measure a model on the validation text, per language",
    "test": "the same measurement on the test text",
}
CACHE = "cache-teacher"
TOOLS = {
    CACHE: "write down what a teacher says about a corpus; students then train without it",
    "export": "turn a checkpoint into a Hugging Face folder",
    "train-tokenizer": "train a tokenizer: WordPiece, Unigram or byte-level BPE",
    "corpus-report": "count what a corpus holds per language, and what will be drawn of it",
    "pseudo-label": "let a teacher answer prompts once: a file of responses to train on",
    "preview": "print prompts as student and teacher will read them",
    "compare": "measure several model folders side by side",
    "compare-texts": "compare what runs wrote behind the same prompts, with paired intervals",
    "run": "run a recipe: stages one after the other, finished ones are skipped",
    "new-method": "write the files of a method, in which only its formula is missing",
}
COMMANDS = {**TRAINING, **TOOLS}


def main(args: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        args: what follows the program's name; by default this process's own.

    Returns:
        The exit code: 0, 2 for what the user has to change, 130 when interrupted.
    """
    command, *rest = list(sys.argv[1:] if args is None else args) or ["--help"]
    if command in ("-h", "--help", "help"):
        options.show(_help())
        return 0
    if command == "--version":
        from lit_distill import __version__

        print(__version__)
        return 0
    own_packages.prefer()
    _leave_out_noise()
    if args is None:  # the process is this program's alone
        host_memory.keep_freed()
    try:
        _run(command, rest)
    except UserError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _run(command: str, args: list[str]) -> None:
    if command in (*TRAINING, CACHE) and options.wants_brief(args):
        more = options.OF_CACHE if command == CACHE else {}
        options.show(options.brief(command, COMMANDS[command], more))
    elif command in TRAINING:
        from lit_distill.cli import training

        training.run(command, args)
    elif command == CACHE:
        from lit_distill.tools.caching import cache_cli

        cache_cli.run(args)
    elif command in TOOLS:
        from lit_distill.tools.invocation import invoke

        invoke(command, args)
    else:
        close = get_close_matches(command, COMMANDS, 1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(COMMANDS)}."
        raise UserError(f"there is no command {command!r}: {hint}")


def _leave_out_noise() -> None:
    """Adverts and a deprecation inside Lightning, which are no news of a run."""
    warnings.filterwarnings("ignore", r".*LeafSpec")
    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    logger.addFilter(lambda record: "Tip: For seamless" not in record.getMessage())


def _help() -> str:
    lines = ["usage: python -m lit_distill COMMAND [OPTIONS]", ""]
    for title, commands in (("training", TRAINING), ("tools", TOOLS)):
        lines += [f"{title}:", *(f"  {name:16} {text}" for name, text in commands.items()), ""]
    lines += [
        "`COMMAND --help` lists the options of a command. To begin with:",
        "  python -m lit_distill run configs/quickstart/recipe.yaml",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
