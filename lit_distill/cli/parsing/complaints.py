"""What jsonargparse's messages complain of.

It reports a bad value as a tree of everything that it tried. The deepest branch says what is wrong;
above it stand the keys that lead there and the classes whose options they are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_KEY = re.compile(r'Parser key "([^"]+)":\s*')
_CLASS = re.compile(r"Problem with given class_path '([^']+)':")
_TYPE = re.compile(r"Expected an? (?:<class '([\w.]+)'>|typing\.(.+?))(?:\. Got value.*)?$")
_VALUE = re.compile(r"(?:Got|Given) value: (.*)")
_USED = re.compile(r"Got value: Namespace\(class_path='([^']+)'")
_SCAFFOLD = re.compile(
    r"Does not validate|Subtypes:|Errors:|Given value|Subclass types expect|a (class|dict)\b|"
    r"Expected a path but|Unable to load config"
)


@dataclass(frozen=True)
class Complaint:
    """One leaf of an error message.

    Attributes:
        keys: the path, without `init_args`.
        owners: import paths of the classes on the way; the last key is an option of the last one.
        text: what is said of it.
    """

    keys: tuple[str, ...]
    owners: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Refusal:
    """What a message says about one value, or one option.

    Attributes:
        leaves: the deepest complaints, of which there is one at least.
        found: the value that was refused, as it was written; empty if it is not said.
        types: those that were expected, as they are written in a config.
    """

    leaves: Sequence[Complaint]
    found: str
    types: Sequence[str]

    @classmethod
    def of(cls, message: str) -> Refusal:
        """Reads a message of jsonargparse, or any other."""
        leaves = complaints(message) or [Complaint((), (), message)]
        depth = max(len(leaf.keys) for leaf in leaves)
        leaves = [leaf for leaf in leaves if len(leaf.keys) == depth]
        value = next(iter(_VALUE.findall(message)), "").split(". Got value")[0]
        found = "" if value.startswith("NestedArg") else value
        return cls(leaves, found, [name for leaf in leaves for name in expected_types(leaf.text)])


def complaints(message: str) -> list[Complaint]:
    """The leaves of a message of jsonargparse, in its order."""
    stack: list[tuple[int, str, str]] = []  # indentation, key, class
    found = []
    for line in filter(str.strip, message.splitlines()):
        text = line.lstrip(" ").removeprefix("- ").lstrip(" ")
        indent = len(line) - len(text)
        while stack and stack[-1][0] >= indent:
            stack.pop()
        for key in _KEY.findall(text):
            stack.extend((indent, part, "") for part in key.split("."))
        text = text[text.rfind('":') + 2 :].strip() if _KEY.search(text) else text
        if owner := _CLASS.match(text):
            stack.append((indent, "", owner[1]))
        elif text and not _SCAFFOLD.match(text):
            found.append(_leaf(stack, text))
    return found


def _leaf(above: Sequence[tuple[int, str, str]], text: str) -> Complaint:
    """What stands below these keys and classes.

    Of a callable it is `Type Callable[...] expects a callable class: REASON. Got value:
    Namespace(class_path=...)`.
    """
    keys = tuple(key for _, key, _ in above if key)
    owners = [owner for _, _, owner in above if owner]
    if used := _USED.search(text):
        owners.append(used[1])
    return Complaint(keys, tuple(owners), text.rpartition("callable class: ")[2])


def expected_types(text: str) -> list[str]:
    """The types in `Expected a ...` as they are written in a config; none if it says otherwise."""
    match = _TYPE.match(text)
    if match is None:
        return []
    if match[1]:
        return [{"NoneType": "null"}.get(match[1], match[1].rpartition(".")[2])]
    if match[2].startswith("Literal["):
        return [value.strip("'") for value in match[2][8:-1].split(", ")]
    return [match[2]]
