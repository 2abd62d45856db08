"""Knobs: numbers that a config sets, each with the range in which it makes sense in its type.

`temperature: Positive = 2.0` declares one, and `check_knobs` in the constructor refuses what lies
outside. Floats have to be finite unless their range ends at infinity. Ranges are those of
`annotated_types`, so that other libraries can read them too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import is_dataclass
from functools import cache
from numbers import Integral, Real
from typing import Annotated, Any, Literal, cast, get_args, get_origin, get_type_hints

from annotated_types import Interval

from lit_distill.errors import UserError

_MOST = 2**31 - 1  # what a signed 32-bit number holds: counts and lengths beyond it are mistakes
_LARGEST = 1e9  # products of larger weights and rates leave float32
_OPEN = (_MOST, 2**32 - 1, _LARGEST)  # ends that are said only to whom they stop

Count = Annotated[int, Interval(ge=1, le=_MOST)]
"""How many there are; one at least."""
CountOrNone = Annotated[int, Interval(ge=0, le=_MOST)]
"""How many there are, where none is a choice."""
Whole = Annotated[int, Interval(ge=-_MOST, le=_MOST)]
"""A position that may be counted from the end."""
Seed = Annotated[int, Interval(ge=0, le=2**32 - 1)]
"""What random numbers are drawn from; numpy and Lightning take 32 bits."""
Positive = Annotated[float, Interval(gt=0, le=_LARGEST)]
"""A number above 0."""
NotNegative = Annotated[float, Interval(ge=0, le=_LARGEST)]
"""A number of at least 0."""
Share = Annotated[float, Interval(ge=0, le=1)]
"""A part of a whole, or a probability."""
PositiveShare = Annotated[float, Interval(gt=0, le=1)]
"""A part of a whole that is not empty."""
ShareBelowOne = Annotated[float, Interval(ge=0, lt=1)]
"""A part of a whole that leaves something."""
Between = Annotated[float, Interval(gt=0, lt=1)]
"""A part of a whole that is neither empty nor all of it."""
Temperature = Annotated[
    float,
    Interval(ge=1e-3, le=1e6),
    "it divides logits: 1 leaves them as they are, a larger one is softer",
]
"""What logits are divided by before a softmax."""


def check_knobs(owner: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """Refuses numbers outside the ranges that the constructor of a class declares.

    Args:
        owner: the class, or a function.
        given: what its constructor got, by name (`locals()`, or `vars(self)` of a dataclass);
            names that are no knobs are left alone. The message calls the class of its `self` by
            name, else the owner.

    Raises:
        UserError: with the first number that is outside.
    """
    called = type(given["self"]).__name__ if "self" in given else owner.__name__
    for name, annotation in _knobs(owner).items():
        if name in given:
            _check(f"{called}.{name}", given[name], annotation)


def check_one_weighs(owner: type, **weights: Any) -> None:
    """Refuses weights of terms that are all 0, because nothing would be learnt.

    Args:
        owner: the method, by whose name the message calls it.
        weights: of its terms, by name; a schedule counts as more than 0.

    Raises:
        UserError: all are 0.
    """
    if all(not callable(weight) and weight == 0 for weight in weights.values()):
        names = list(weights)
        listed = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
        every = "are all" if len(names) > 1 else "is"
        raise UserError(
            f"{owner.__name__}: {listed} {every} 0, so nothing is learnt: give one a weight."
        )


def ranges_in(annotation: Any) -> Iterator[tuple[type, Interval]]:
    """The ranges of a type with the kind of number that each is of; none if it is no knob's."""
    if get_origin(annotation) is Annotated:
        kind, *notes = get_args(annotation)
        number = int if int in (kind, *get_args(kind)) else float
        yield from ((number, note) for note in notes if isinstance(note, Interval))
        return
    for part in get_args(annotation):
        yield from ranges_in(part)


def described(kind: type, span: Interval) -> str:
    """A range in words, as `a number above 0`."""
    noun = "a whole number" if kind is int else "a number"
    low, high = _low(span), _high(span)
    if span.le in _OPEN:
        most = f"{noun} {'above' if span.gt is not None else 'of at least'} {low:g}"
        return noun if low == -_MOST else most
    if math.isinf(high):
        return f"{noun} {'above' if span.gt is not None else 'of at least'} {low:g}, or infinity"
    opening, closing = "(" if span.gt is not None else "[", ")" if span.lt is not None else "]"
    return f"{noun} in {opening}{low:g}, {high:g}{closing}"


@cache
def _knobs(owner: Callable[..., Any]) -> dict[str, Any]:
    declared: Any = owner
    if isinstance(owner, type) and not is_dataclass(owner):  # whose fields stand in the class
        declared = vars(owner)["__init__"]
    hints = get_type_hints(declared, include_extras=True)
    return {name: hint for name, hint in hints.items() if any(ranges_in(hint))}


def _check(name: str, value: Any, annotation: Any) -> None:
    """Follows a value into the lists and mappings of its type; other members of a union pass."""
    if callable(value) or (value is None and type(None) in get_args(annotation)):
        return
    if isinstance(value, Mapping):
        for key, item in value.items():
            _check(f"{name}.{key}", item, annotation)
        return
    if isinstance(value, list | tuple):
        for item in value:
            _check(name, item, annotation)
        return
    if value in _constants(annotation):
        return
    spans = list(ranges_in(annotation))
    if not any(_inside(value, kind, span) for kind, span in spans):
        wanted = " or ".join(dict.fromkeys(described(kind, span) for kind, span in spans))
        most = max(_high(span) for _, span in spans)
        too_large = most in _OPEN and isinstance(value, int | float) and value > most
        limit = f" and at most {most:g}" if too_large else ""
        why = "".join(f"; {note}" for note in _reasons(annotation))
        shown = repr(value) if isinstance(value, str) else value
        raise UserError(f"{name} is {shown}: use {wanted}{limit}{why}.")


def _constants(annotation: Any) -> list[Any]:
    """The constants of a union (`Literal["first"] | list[Count]`)."""
    parts = get_args(annotation)
    if get_origin(annotation) is Literal:
        return list(parts)
    return [constant for part in parts for constant in _constants(part)]


def _reasons(annotation: Any) -> list[str]:
    """What a knob's type says about its range."""
    if get_origin(annotation) is Annotated:
        return [note for note in get_args(annotation) if isinstance(note, str)]
    return [note for part in get_args(annotation) for note in _reasons(part)]


def _inside(value: Any, kind: type, span: Interval) -> bool:
    if isinstance(value, bool) or not isinstance(value, Integral if kind is int else Real):
        return False
    value = cast(Any, value)
    if not math.isfinite(value) and not (value == math.inf and span.le == math.inf):
        return False
    above = value > span.gt if span.gt is not None else value >= _low(span)
    below = value < span.lt if span.lt is not None else value <= _high(span)
    return bool(above and below)


def _low(span: Interval) -> Any:
    return next((end for end in (span.gt, span.ge) if end is not None), -math.inf)


def _high(span: Interval) -> Any:
    return next((end for end in (span.lt, span.le) if end is not None), math.inf)
