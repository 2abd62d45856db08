"""What jsonargparse's messages complain of.

It reports a bad value as a tree of everything that it tried. The deepest branch says what is wrong;
above it stand the keys that lead there and the classes whose options they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_KEY = re.compile(r'Parser key "([^"]+)":\s*')
_CLASS = re.compile(r"Problem with given class_path '([^']+)':")
_TYPE = re.compile(r"Expected an? (?:<class '([\w.]+)'>|typing\.(.+?))(?:\. Got value.*)?$")
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
            # `Type Callable[...] expects a callable class: reason. Got value: Namespace(class_path`
            used = re.search(r"Got value: Namespace\(class_path='([^']+)'", text)
            owners = [owner for _, _, owner in stack if owner] + ([used[1]] if used else [])
            keys = tuple(key for _, key, _ in stack if key)
            found.append(Complaint(keys, tuple(owners), text.rpartition("callable class: ")[2]))
    return found


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
