"""Any value for any option of any shipped class: taken, or refused in one line."""

from __future__ import annotations

import inspect
import json
from typing import Any

import pytest
from configurable import CONFIGURABLE

from lit_distill.cli.errors import OneLineErrors
from lit_distill.errors import UserError
from lit_distill.training.distillation import Distillation

NUMBERS = (".nan", ".inf", "0", "-1", "1e38", str(10**18))
VALUES = (*NUMBERS, "''", "six", "[]", "{}", "true", "[1, six]")
FRESH = {"class_path": "lit_distill.models.FreshStudent", "init_args": {"config": {}}}
NEEDED: dict[str, Any] = {  # what classes cannot do without, by the name of the option
    "name": "mix",
    "matrix": "hi",
    "embedded": ["en"],
    "sources": [],
    "files": "{language}.txt",
    "teacher": {"name": "nowhere"},
    "start": 0.0,
    "end": 1.0,
    "updates": 100,
    "weights": {"en": 1.0},
    "words": {"good": "good", "bad": "bad"},
    "probe": {"class_path": "lit_distill.measures.probing.MaskedPronouns"},
    "file": "texts.jsonl",
    "groups": ["women"],
    "positive": "toxic",
    "prompts": ["Who are you?"],
    "facts": {"maker": {"right": [], "wrong": ["X"]}},
    "style": {"model": "nowhere", "label": "neutral"},
    "embedder": "nowhere",
    "fluency": {"model": "nowhere", "label": "fluent"},
}
CLASSES = [o for o in CONFIGURABLE if isinstance(o, type) and not inspect.isabstract(o)]
THIRDS = range(3)
"""Of the values; all of them take half a minute."""


def given_for(owner: type) -> dict[str, str]:
    """What a class needs beside the option that is tried, as it is typed."""
    parameters = inspect.signature(owner).parameters
    needed = {
        name: NEEDED[name]
        for name, parameter in parameters.items()
        if name in NEEDED and parameter.default is inspect.Parameter.empty
    }
    if issubclass(owner, Distillation):
        needed["teacher"] = NEEDED["teacher"]
        if owner.takes_several:
            needed["students"] = {"large": FRESH, "small": FRESH}
    return {name: json.dumps(value) for name, value in needed.items()}


@pytest.mark.rotated(3)
@pytest.mark.parametrize("third", THIRDS)
@pytest.mark.parametrize("owner", CLASSES, ids=lambda owner: owner.__name__)
def test_values_are_taken_or_refused_in_one_line(
    owner: Any, third: int, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = OneLineErrors(prog="test")
    parser.add_class_arguments(owner, "its", fail_untyped=False)
    own = [name for name in inspect.signature(owner).parameters if name not in ("self", "base")]
    keys = parser.get_defaults(skip_validation=True).keys()
    options = [name for name in own if any(key.startswith(f"its.{name}") for key in keys)]
    for place, option in enumerate(options):
        for value in VALUES[(place + third) % 3 :: 3]:
            typed = {**given_for(owner), option: value}
            try:
                parsed = parser.parse_args([f"--its.{name}={text}" for name, text in typed.items()])
                parser.check_nulls(parsed)
                parser.instantiate(parsed)
            except SystemExit:
                said = capsys.readouterr().err
                assert said.startswith("error: ")
                assert said.count("\n") == 1, f"{option}={value}: {said}"
                assert len(said) < 600, f"{option}={value}: {said}"
            except ValueError as error:  # jsonargparse wraps what constructors raise
                cause: BaseException = error
                while cause.__cause__ is not None and not isinstance(cause, UserError):
                    cause = cause.__cause__
                assert isinstance(cause, ValueError | OSError), f"{option}={value}: {cause!r}"
