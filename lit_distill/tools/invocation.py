"""From the command line to the typed function of a tool."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from lit_distill.cli.errors import OneLineErrors
from lit_distill.cli.parsing.configs import replacing_options
from lit_distill.cli.parsing.modules import permit

PLACES = {
    "export": "export",
    "train-tokenizer": "corpora.train_tokenizer",
    "corpus-report": "corpora.corpus_report",
    "pseudo-label": "labelling.pseudo_label",
    "preview": "preview",
    "compare": "comparing.compare",
    "compare-texts": "comparing.compare_texts",
    "run": "recipes.run",
    "new-method": "scaffolding.new_method",
}
"""Where the function of a command is, which has its name with underscores."""


def invoke(command: str, args: Sequence[str]) -> None:
    """Runs one tool.

    Args:
        command: one of `PLACES`.
        args: its options, named as the function's arguments; the first may come without its name.

    Raises:
        UserError: something the user gave cannot work.
    """
    args = replacing_options(permit(args))
    module = import_module(f"lit_distill.tools.{PLACES[command]}")
    function: Callable[..., Any] = vars(module)[command.replace("-", "_")]
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
