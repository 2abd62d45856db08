"""Parse errors in one line: where, what was found, and what was probably meant.

jsonargparse reports a bad value as a tree of everything that it tried. The deepest branch says what
is wrong; above it stand the keys that lead there and the class whose option the last one is.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal, NoReturn, get_args, get_origin, get_type_hints

from jsonargparse import ArgumentParser

from lit_distill.cli_configs import Config

_KEY = re.compile(r'Parser key "([^"]+)":\s*')
_CLASS = re.compile(r"Problem with given class_path '([^']+)':")
_VALUE = re.compile(r"(?:Got|Given) value: (.*)")
_TYPE = re.compile(r"Expected an? (?:<class '([\w.]+)'>|typing\.(.+?))(?:\. Got value.*)?$")
_SCAFFOLD = re.compile(
    r"Does not validate|Subtypes:|Errors:|Given value|Subclass types expect|a (class|dict)\b|"
    r"Expected a path but|Unable to load config"
)
_NAMELESS = re.compile(r"Expected a dot import path string: (\S+)")
_FOREIGN = re.compile(r"Import path (\S+) does not correspond to a subclass of (\w+)")
_UNKNOWN = re.compile(r"[Oo]ption '([^']+)' is not accepted|does not accept option '([^']+)'")
_STRAY = re.compile(r"unrecognized arguments: (?:--)?([^\s=]+)")
_REQUIRED = re.compile(r"arguments are required: (.+)")
_INCOMPLETE = re.compile(r"argument (?:-\S+/)*--(\S+): expected (.*)")


@dataclass(frozen=True)
class Complaint:
    """One leaf of an error message.

    Attributes:
        keys: the path, without `init_args`.
        owner: import path of the class whose option the last key is; empty at the top.
        text: what is said of it.
    """

    keys: tuple[str, ...]
    owner: str
    text: str


def complaints(message: str) -> list[Complaint]:
    """The leaves of a message of jsonargparse, in its order."""
    stack: list[tuple[int, str, str]] = []  # indentation, key, class
    found = []
    for line in message.splitlines():
        text = line.lstrip(" -")
        indent = len(line) - len(text)
        while stack and stack[-1][0] >= indent:
            stack.pop()
        for key in _KEY.findall(text):
            stack.extend((indent, part, "") for part in key.split("."))
        text = text[text.rfind('":') + 2 :].strip() if _KEY.search(text) else text
        if owner := _CLASS.match(text):
            stack.append((indent, "", owner[1]))
        elif text and not _SCAFFOLD.match(text):
            keys = tuple(key for _, key, _ in stack if key)
            owners = [owner for _, _, owner in stack if owner]
            # `Type Callable[...] expects a callable class: reason. Got value: Namespace(class_path`
            used = re.search(r"Got value: Namespace\(class_path='([^']+)'", text)
            text = text.rpartition("callable class: ")[2]
            found.append(Complaint(keys, used[1] if used else (owners or [""])[-1], text))
    return found


class OneLineErrors(ArgumentParser):
    """A parser that names file, line, key path and the likely remedy; exit code 2.

    Attributes:
        configs: the files read so far, in order.
        sections: the classes that can stand under top-level keys.
    """

    configs: list[Config]
    sections: dict[str, type]

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Writes one line and exits; inner parsers report to the outer one."""
        if not self.exit_on_error:
            super().error(message, ex)
        sys.stderr.write(f"error: {self.explain(str(message))}\n")
        raise SystemExit(2)

    def explain(self, message: str) -> str:
        """The message in one line."""
        leaves = complaints(message) or [Complaint((), "", message)]
        depth = max(len(leaf.keys) for leaf in leaves)
        deepest = [leaf for leaf in leaves if len(leaf.keys) == depth]
        values = [value.split(". Got value")[0] for value in _VALUE.findall(message)]
        found = values[0] if values and not values[0].startswith("NestedArg") else ""
        for leaf in deepest:
            if unknown := _UNKNOWN.search(leaf.text) or _STRAY.search(leaf.text):
                name = next(group for group in unknown.groups() if group)
                return self._unknown_option(leaf, name.split("."))
            if missing := _REQUIRED.search(leaf.text):
                return self._missing(leaf, missing[1])
            if incomplete := _INCOMPLETE.search(leaf.text):
                return f"--{incomplete[1]}: expected {incomplete[2]}, found nothing."
        types = [name for leaf in deepest if (name := _expected(leaf.text))]
        scalar = not found.startswith(("{", "[{", "Namespace"))
        if types and scalar and set(types) != {"null"}:
            return self._wrong_type(deepest[0], types, found)
        for leaf in deepest:
            if nameless := _NAMELESS.search(leaf.text):
                return self._unknown_class(leaf, nameless[1])
            if foreign := _FOREIGN.search(leaf.text):
                where = self._where(leaf.keys, foreign[1])
                return f"{where}{foreign[1]} is no {foreign[2]}{self._classes(leaf, foreign[1])}"
        text = " ".join(dict.fromkeys(leaf.text for leaf in deepest if not _is_null(leaf.text)))
        return self._where(deepest[0].keys, found) + re.sub(r"Namespace\(.*", "", text or message)

    def _unknown_option(self, leaf: Complaint, name: Sequence[str]) -> str:
        keys = (*leaf.keys, *(part for part in name if part != "init_args"))
        if leaf.owner:
            owner, known = leaf.owner.rpartition(".")[2], _options(_import(leaf.owner))
            keys, wrong = keys[: len(leaf.keys) + 1], name[0]
        else:
            keys, known = self._first_unknown(keys)
            owner, wrong = ".".join(keys[:-1]) or "the command", keys[-1]
        return f"{self._where(keys)}{owner} has no option {wrong!r}{_hint(wrong, known)}"

    def _first_unknown(self, keys: tuple[str, ...]) -> tuple[tuple[str, ...], list[str]]:
        """The shortest beginning of a path that no option has, and what could stand there."""
        options = [tuple(key.split(".")) for key in self.get_defaults(skip_validation=True).keys()]
        for end in range(1, len(keys) + 1):
            known = {option[end - 1] for option in options if option[: end - 1] == keys[: end - 1]}
            known.discard("")
            if keys[end - 1] not in known:
                return keys[:end], sorted(key for key in known if key)
        return keys, []

    def _missing(self, leaf: Complaint, names: str) -> str:
        if leaf.owner:
            return f"{self._where(leaf.keys)}{leaf.owner.rpartition('.')[2]} needs {names}."
        options = ", ".join(f"--{name}" for name in names.split(", "))
        files = ", ".join(str(config.path) for config in self.configs) or "no --config is given"
        return f"missing: {names} (in {files}): add to a config file, or give {options}."

    def _wrong_type(self, leaf: Complaint, types: list[str], found: str) -> str:
        choices = [value for value in _literals(self._annotation(leaf)) if isinstance(value, str)]
        expected = " or ".join(dict.fromkeys(types))
        hint = _hint(found, choices).removesuffix(".") if get_close_matches(found, choices) else ""
        return f"{self._where(leaf.keys, found)}expected {expected}, found {_short(found)}{hint}."

    def _unknown_class(self, leaf: Complaint, name: str) -> str:
        return (
            f"{self._where(leaf.keys, name)}there is no class {name!r}{self._classes(leaf, name)}"
        )

    def _classes(self, leaf: Complaint, name: str) -> str:
        roots = [
            kind for kind in _classes_in(self._annotation(leaf)) if kind.__module__ != "builtins"
        ]
        known = {found.__name__ for root in roots for found in _subclasses(root)}
        return _hint(name, sorted(known))

    def _annotation(self, leaf: Complaint) -> Any:
        """The type of an option, as far as it can be found."""
        if leaf.owner:
            owner: Any = _import(leaf.owner)
        elif leaf.keys[1:]:
            owner = self.sections.get(leaf.keys[0])
        else:
            return self.sections.get(leaf.keys[0]) if leaf.keys else None
        for kind in getattr(owner, "__mro__", ()):
            try:
                hints = get_type_hints(kind.__init__)
            except NameError:  # an import for type checkers only
                continue
            if leaf.keys[-1] in hints:
                return hints[leaf.keys[-1]]
        return None

    def _where(self, keys: Sequence[str], found: str = "") -> str:
        """Where a key stands, for the beginning of a message: `file:line: key.path: `."""
        path = ".".join(keys)
        for name, value in _typed(self.args):
            if name == path and (not found or value in ("", found)):
                return f"--{path}: "
        for value in (found, None) if found else (None,):
            for config in reversed(self.configs):
                line = config.find(keys, value) if keys else None
                if line is not None:
                    return f"{config.path}:{line}: {path}: "
        return f"{path}: " if path else ""


def _typed(args: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Options on the command line as (key path, value)."""
    for index, arg in enumerate(args):
        if arg.startswith("--"):
            name, equals, value = arg[2:].partition("=")
            following = args[index + 1] if index + 1 < len(args) and not equals else ""
            parts = [part for part in name.rstrip("+").split(".") if part != "init_args"]
            yield ".".join(parts[:-1] if parts[-1] == "class_path" else parts), value or following


def _hint(wrong: str, known: Sequence[str]) -> str:
    close = get_close_matches(wrong.rpartition(".")[2], known, 1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there is {', '.join(known)}." if 0 < len(known) <= 20 else "."


def _short(value: str) -> str:
    value = " ".join(value.split())
    return repr(value) if len(value) <= 60 else f"{value[:57]}..."


def _is_null(text: str) -> bool:
    return "<class 'NoneType'>" in text


def _expected(text: str) -> str:
    """The type in `Expected a ...` as it is written in a config; empty if it says otherwise."""
    match = _TYPE.match(text)
    if match is None:
        return ""
    if match[2]:
        name = match[2]
        literal = name.startswith("Literal[")
        return name[8:-1].replace("'", "").replace(", ", " or ") if literal else name
    return {"NoneType": "null"}.get(match[1], match[1].rpartition(".")[2])


def _import(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(sys.modules.get(module), name, None)  # jsonargparse has imported it


def _options(owner: Any) -> list[str]:
    if owner is None:
        return []
    parser = ArgumentParser()
    parser.add_class_arguments(owner, fail_untyped=False)
    return sorted({key.split(".")[0] for key in parser.get_defaults(skip_validation=True).keys()})


def _classes_in(annotation: Any) -> list[type]:
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return [annotation]
    inner = annotation if isinstance(annotation, list) else get_args(annotation)
    return [found for part in inner for found in _classes_in(part)]


def _literals(annotation: Any) -> list[Any]:
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [value for part in get_args(annotation) for value in _literals(part)]


def _subclasses(root: type) -> Iterator[type]:
    if not root.__name__.startswith("_"):
        yield root
    for child in type.__subclasses__(root):
        yield from _subclasses(child)
