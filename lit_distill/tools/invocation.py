"""From the command line to the typed function of a tool."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from lit_distill.cli_configs import replacing_options
from lit_distill.cli_errors import OneLineErrors
from lit_distill.cli_modules import permit


def invoke(command: str, args: Sequence[str]) -> None:
    """Runs one tool.

    Args:
        command: `train-tokenizer` is `train_tokenizer` in the module of that name.
        args: its options, named as the function's arguments; the first may come without its name.

    Raises:
        UserError: something the user gave cannot work.
    """
    args = replacing_options(permit(args))
    name = command.replace("-", "_")
    function: Callable[..., Any] = getattr(import_module(f"lit_distill.tools.{name}"), name)
    first = next(iter(inspect.signature(function).parameters))
    if args and not args[0].startswith("-"):
        args = [f"--{first}", *args]
    parser = OneLineErrors(
        prog=f"lit_distill {command}", description=(function.__doc__ or "").partition("\n")[0]
    )
    parser.add_function_arguments(function, as_group=False, fail_untyped=True)
    parsed = parser.parse_args(args)
    parser.check_nulls(parsed)
    config = parser.instantiate(parsed)
    del config["config"]
    function(**config)
