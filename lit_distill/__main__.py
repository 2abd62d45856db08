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
from lit_distill.cli.parsing.options import CACHE, CHECK, COMMANDS, TOOLS, TRAINING
from lit_distill.errors import UserError
from lit_distill.files import shipped_configs

# Read when torch is imported. Threads that spin while they wait slow a shared machine down: small
# models on two busy cores trained three to eight times faster without.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

WAY = """\
python -m lit_distill run quickstart             # five minutes: a teacher, its student, a control
python -m lit_distill configs                    # what can be run and combined
python -m lit_distill copy-config methods/triple_loss   # a file of yours, to be changed
python -m lit_distill fit --help                 # options of a training; COMMAND --help of others
python -m lit_distill --help                     # all commands"""
"""What is said without arguments."""


def main(args: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        args: what follows the program's name; by default this process's own.

    Returns:
        The exit code: 0, 2 for what the user has to change, 130 when interrupted.
    """
    command, *rest = list(sys.argv[1:] if args is None else args) or [""]
    if not command:
        options.show(WAY)
        return 0
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
    args = shipped_configs.with_paths(command, args)
    if command in (*TRAINING, CACHE, CHECK) and options.wants_brief(args):
        more = {CACHE: options.OF_CACHE, CHECK: options.OF_CHECK}.get(command, {})
        options.show(options.brief(command, COMMANDS[command], more))
    elif command in TRAINING:
        from lit_distill.cli import training

        training.run(command, args)
    elif command == CACHE:
        from lit_distill.tools.caching import cache_cli

        cache_cli.run(args)
    elif command == CHECK:
        from lit_distill.tools.checking import check_cli

        check_cli.run(args)
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
        "  python -m lit_distill run quickstart",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
