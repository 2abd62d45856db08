"""From the command line to the typed function of a tool."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from itertools import takewhile
from typing import Any

from lit_distill.cli.errors import OneLineErrors
from lit_distill.cli.parsing.configs import replacing_options
from lit_distill.cli.parsing.modules import permit

PLACES = {
    "export": "export",
    "model-card": "publishing.model_card",
    "push": "publishing.push",
    "train-tokenizer": "corpora.train_tokenizer",
    "corpus-report": "corpora.corpus_report",
    "trim-vocabulary": "trimming.trim_vocabulary",
    "grow-vocabulary": "growing.grow_vocabulary",
    "pseudo-label": "labelling.pseudo_label",
    "preview": "preview",
    "compare": "comparing.compare",
    "evaluate": "evaluating.evaluate",
    "compare-texts": "comparing.compare_texts",
    "recommend": "recommending.recommend",
    "run": "recipes.run",
    "new-method": "scaffolding.new_method",
    "report": "reporting.report",
    "configs": "shipping.configs",
    "copy-config": "shipping.copy_config",
    "completion": "shipping.completion",
}
"""Where the function of a command is, which has its name with underscores."""


def invoke(command: str, args: Sequence[str]) -> None:
    """Runs one tool.

    Args:
        command: one of `PLACES`.
        args: its options, named as the function's arguments, with - or _ in them; a switch alone
            is true. The first may come without its name, and if it is a list, all of it before any
            option; else those behind it that have no default may, too.

    Raises:
        UserError: something the user gave cannot work.
    """
    function, config = read(command, args)
    function(**config())


def read(
    command: str, args: Sequence[str]
) -> tuple[Callable[..., Any], Callable[[], dict[str, Any]]]:
    """The function of a tool, and what makes its arguments of a command line that has been parsed.

    Args:
        command: one of `PLACES`.
        args: as of `invoke`.

    Raises:
        UserError: something the user gave cannot be understood.
    """
    args = replacing_options(permit(args))
    module = import_module(f"lit_distill.tools.{PLACES[command]}")
    function: Callable[..., Any] = vars(module)[command.replace("-", "_")]
    args = _named(args, inspect.signature(function).parameters)
    parser = OneLineErrors(
        prog=f"lit_distill {command}", description=(function.__doc__ or "").partition("\n")[0]
    )
    parser.add_function_arguments(function, as_group=False, fail_untyped=True)
    parsed = parser.parse_args(args)
    parser.check_nulls(parsed)

    def config() -> dict[str, Any]:
        made = parser.instantiate(parsed)
        return {name: value for name, value in made.items() if name != "config"}

    return function, config


def _named(args: Sequence[str], parameters: Mapping[str, inspect.Parameter]) -> list[str]:
    """A command line in which every value has the name of its option, as that is written."""
    given = list(takewhile(lambda arg: not arg.startswith("-"), args))
    first, *others = parameters.values()
    if given and str(first.annotation).startswith("list["):
        named, rest = [f"--{first.name}={json.dumps(given)}"], args[len(given) :]
    else:
        needed = [first, *takewhile(lambda one: one.default is one.empty, others)]
        pairs = list(zip(needed, given, strict=False))
        named = [part for one, value in pairs for part in (f"--{one.name}", value)]
        rest = args[len(pairs) :]
    for place, arg in enumerate(rest):
        name, equals, value = arg.partition("=")
        known = parameters.get(name[2:].replace("-", "_")) if name.startswith("--") else None
        alone = not equals and all(other.startswith("-") for other in rest[place + 1 :][:1])
        switched = known is not None and known.annotation == "bool" and alone
        own = f"--{known.name}" if known else name
        named.append(f"{own}=true" if switched else f"{own}{equals}{value}")
    return named
