"""Values of nested options, as the inner parsers of jsonargparse get them."""

from __future__ import annotations

import ast
import json
from typing import Any

from jsonargparse import ArgumentParser


class InnerValues(ArgumentParser):
    """A parser that reads what another one has parsed before as that other meant it.

    jsonargparse hands `--model.teacher.revision=null` on to the parser of the teacher in Python's
    words, as `--revision=None`, which YAML reads as a text.
    """

    def parse_args(self, args: Any = None, *more: Any, **options: Any) -> Any:
        """See `ArgumentParser.parse_args`."""
        if args is not None and not self.exit_on_error:  # an inner one
            args = [_in_json(arg) for arg in args]
        return super().parse_args(args, *more, **options)


def _in_json(arg: str) -> str:
    """`--name=VALUE` with a value in Python's words in those of JSON; any other as it is."""
    name, equals, value = arg.partition("=")
    if value != "None" and value[:1] not in ("[", "{"):
        return arg
    try:
        return f"{name}{equals}{json.dumps(ast.literal_eval(value))}"
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return arg
