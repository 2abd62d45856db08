"""The order of a command line: files among each other, and what is typed over all of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lit_distill.cli.parsing.configs import read_config
from lit_distill.errors import UserError

FILES = ("-c", "--config")
CLASSES = ("--model", "--data")


def files_first(args: Sequence[str]) -> list[str]:
    """A command line on which options stand behind the files, so that they hold wherever typed.

    Classes of whole sections stand before them as well: a file may say only their options.

    Args:
        args: the options of a command.
    """
    files, options, classes = list[str](), list[str](), list[str]()
    left = iter(args)
    for arg in left:
        if arg in FILES:
            files += [arg, *(value for value in [next(left, None)] if value is not None)]
        elif arg.startswith(("--config=", "-c=")):
            files.append(arg)
        elif arg in CLASSES:
            options += [arg, *(value for value in [next(left, None)] if value is not None)]
            classes += options[-2:]
        else:
            options.append(arg)
            classes += [arg] if arg.startswith(tuple(f"{name}=" for name in CLASSES)) else []
    return [*classes, *files, *options]


def late_class(section: str, args: Sequence[str], read: Sequence[Path]) -> str:
    """The file that names the class of a section too late for another one; empty if none does.

    Args:
        section: a top-level key.
        args: the options of a command.
        read: the files that have been read when one was refused.
    """
    for arg, following in zip(args, [*args[1:], ""], strict=True):
        name, equals, value = arg.partition("=")
        path = Path(value if equals else following)
        if name not in FILES or path in read:
            continue
        try:
            configs = read_config(path)
        except UserError:  # which is for later
            continue
        for config in configs:
            if section in config.classes():
                return str(config.path)
    return ""
