"""Parse errors in one line: where, what was found, and what was probably meant."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

from jsonargparse import Namespace

from lit_distill.cli.parsing.complaints import Complaint, complaints, expected_types
from lit_distill.cli.parsing.configs import Config, ConfigFile
from lit_distill.cli.parsing.order import late_class
from lit_distill.cli.parsing.types import (
    classes_in,
    imported,
    options_of,
    subclasses_of,
    takes_null,
    type_of,
)
from lit_distill.cli.parsing.values import InnerValues
from lit_distill.errors import UserError

_VALUE = re.compile(r"(?:Got|Given) value: (.*)")
_GROUP = re.compile(r"(?:Group|Subcommand) '([^']+)' does not accept option '([^']+)'")
_UNKNOWN = re.compile(r"Option '([^']+)' is not accepted|unrecognized arguments: --([^\s=]+)")
_STRAY = re.compile(r"unrecognized arguments: (.*)")
_REQUIRED = re.compile(r"arguments are required: (.+)")
_INCOMPLETE = re.compile(r"argument (?:-\S+/)*--(\S+): expected (.*)")
_DENIED = re.compile(r"Importing '([^']+)' is not allowed")
_NO_CLASS = re.compile(
    r"Expected a dot import path string: (\S+)|Import path (\S+) does not correspond|"
    r"but (\S+) is abstract|(No module named|module '\S+' has no attribute)|(Not a valid subclass)"
)


class OneLineErrors(InnerValues):
    """A parser with `--config` that names file, line, key path and the likely remedy; exit code 2.

    Attributes:
        configs: the files read so far, in order.
        sections: the classes that can stand under top-level keys.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_abbrev=False, print_config=None, **kwargs)
        self.configs: list[Config] = []
        self.sections: Mapping[str, type] = {}
        if self.exit_on_error:  # the outer one
            self.add_argument(
                "-c", "--config", action=ConfigFile, help="YAML file; several are merged in order."
            )

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Writes one line and exits; inner parsers report to the outer one."""
        if not self.exit_on_error:
            super().error(message, ex)
        sys.stderr.write(f"error: {' '.join(self.explain(str(message)).split())}\n")
        raise SystemExit(2)

    def explain(self, message: str) -> str:
        """The message in one line."""
        leaves = complaints(message) or [Complaint((), (), message)]
        depth = max(len(leaf.keys) for leaf in leaves)
        leaves = [leaf for leaf in leaves if len(leaf.keys) == depth]
        values = [value.split(". Got value")[0] for value in _VALUE.findall(message)]
        found = values[0] if values and not values[0].startswith("NestedArg") else ""
        if denied := _DENIED.search(message):
            return self._denied(leaves[0], denied[1])
        for leaf in leaves:
            if text := self._usage(leaf):
                return text
        types = [name for leaf in leaves for name in expected_types(leaf.text)]
        plain = set(types) - {"null", "list", "dict"}  # what a class cannot be mistaken for
        if plain and not found.startswith(("{", "[{", "Namespace")):
            return self._wrong_type(leaves[0], types, found)
        unfit = [(match, leaf) for leaf in leaves if (match := _NO_CLASS.search(leaf.text))]
        for match, leaf in sorted(unfit, key=lambda pair: pair[0].lastindex == 5):
            name = match[1] or match[2] or match[3] or ""
            if match[4]:  # the class itself cannot be imported
                name, leaf = leaf.owners[-1], Complaint(leaf.keys, leaf.owners[:-1], "")
            return self._no_class(leaf, name, found)
        if set(types) - {"null"}:
            return self._wrong_type(leaves[0], types, found)
        text = " ".join(
            dict.fromkeys(leaf.text for leaf in leaves if not expected_types(leaf.text))
        )
        return self.where(leaves[0].keys, found) + re.sub(r"Namespace\(.*", "", text or message)

    def _denied(self, leaf: Complaint, path: str) -> str:
        """A class of a module that was not permitted."""
        module = path.rpartition(".")[0]
        return (
            f"{self.where(leaf.keys, path)}{path!r} is of the module {module}, which a "
            "configuration may not name by itself, because importing it runs its code. If it is "
            f"yours or you trust it: --allow-module {module}."
        )

    def _usage(self, leaf: Complaint) -> str:
        """Options that do not exist, or lack something; empty if it is something else."""
        if match := _GROUP.search(leaf.text):
            return self._unknown_option(leaf, [match[1], *match[2].split(".")])
        if match := _UNKNOWN.search(leaf.text):
            return self._unknown_option(leaf, (match[1] or match[2]).split("."))
        if match := _STRAY.search(leaf.text):
            return f"{match[1]!r} is not understood: options are written --name value."
        if match := _REQUIRED.search(leaf.text):
            return self._missing(leaf, match[1])
        if match := _INCOMPLETE.search(leaf.text):
            last = self.args[-1] if self.args else ""
            name = last if last.startswith(f"--{match[1]}.") else f"--{match[1]}"
            return f"{name}: expected {match[2]}, found nothing."
        return ""

    def _unknown_option(self, leaf: Complaint, name: Sequence[str]) -> str:
        if leaf.owners and imported(leaf.owners[-1]) in self.sections.values():
            return _classless(self.where((*leaf.keys, *name)), leaf.keys[0], [])
        if leaf.owners:
            keys, known = (*leaf.keys, name[0]), options_of(imported(leaf.owners[-1]))
            owner = leaf.owners[-1].rpartition(".")[2]
        else:
            path = tuple(part for part in (*leaf.keys, *name) if part != "init_args")
            keys, known = self._first_unknown(path)
            owner = ".".join(keys[:-1])
        what = (
            f"{owner} has no option {keys[-1]!r}" if owner else f"there is no option {keys[-1]!r}"
        )
        return f"{self.where(keys)}{what}{_hint(keys[-1], known)}"

    def _first_unknown(self, keys: tuple[str, ...]) -> tuple[tuple[str, ...], list[str]]:
        """The shortest beginning of a path that no option has, and what could stand there."""
        defaults = self.get_defaults(skip_validation=True)
        options = [tuple(key.split(".")) for key in defaults.keys()]  # noqa: SIM118 (no mapping)
        for end in range(1, len(keys)):
            known = {key[end - 1] for key in options if key[: end - 1] == keys[: end - 1]}
            if keys[end - 1] not in known:
                return keys[:end], sorted(known)
        return keys, sorted({key[-1] for key in options if key[:-1] == keys[:-1]})

    def _missing(self, leaf: Complaint, names: str) -> str:
        if leaf.owners:
            return f"{self.where(leaf.keys)}{leaf.owners[-1].rpartition('.')[2]} needs {names}."
        options = ", ".join(f"--{name}" for name in names.split(", "))
        files = ", ".join(str(config.path) for config in self.configs)
        where = f"{files}: " if files else ""
        return f"{where}missing {names}: add to a file given with --config, or give {options}."

    def _wrong_type(self, leaf: Complaint, types: list[str], found: str) -> str:
        expected = " or ".join(dict.fromkeys(types))
        hint = _hint(found, types) if get_close_matches(found, types) else "."
        value = " ".join(found.split())
        value = repr(value) if len(value) <= 60 else f"{value[:57]}..."
        return f"{self.where(leaf.keys, found)}expected {expected}, found {value}{hint}"

    def _no_class(self, leaf: Complaint, name: str, found: str) -> str:
        """A class that is not there, or not one that fits; `name` is empty if none was named."""
        roots = classes_in(self._annotation(leaf))
        known = sorted({child.__name__ for root in roots for child in subclasses_of(root)})
        wanted = " or ".join(root.__name__ for root in roots) or "class"
        where = self.where(leaf.keys, name or found)
        if imported(name) in self.sections.values():
            return _classless(where, leaf.keys[0], known)
        if name:
            path = "; write its full path, as in package.module.Class."
            return f"{where}{name!r} is no {wanted}{_hint(name, known) if roots else path}"
        if known:
            if late := late_class(leaf.keys[0], self.args or (), [c.path for c in self.configs]):
                return f"{where}its class is named by {late}, which comes later: give that before."
            return (
                f"{where}expected a {wanted}, given by class_path and init_args{_hint('', known)}"
            )
        fields = ", ".join(option for root in roots for option in options_of(root))
        return f"{where}expected a {wanted} ({fields}), found {found}."

    def _annotation(self, leaf: Complaint) -> Any:
        """The type of an option, as far as it can be found."""
        if leaf.owners:
            return type_of(imported(leaf.owners[-1]), leaf.keys[-1])
        section = self.sections.get(leaf.keys[0]) if leaf.keys else None
        return type_of(section, leaf.keys[-1]) if leaf.keys[1:] else section

    def check_nulls(self, value: Any, keys: tuple[str, ...] = (), owner: Any = None) -> None:
        """Refuses `null` for options that take none; jsonargparse takes it for "not given".

        Args:
            value: a parsed config, or a part of it.
            keys: the path to that part.
            owner: whose options it has, where it does not say so itself.

        Raises:
            UserError: there is one, or the text "None" where null may stand.
        """
        if isinstance(value, list):
            for item in value:
                self.check_nulls(item, keys, owner)
        if not isinstance(value, Namespace):
            return
        owner = imported(str(value.get("class_path", ""))) or owner
        for key, inner in vars(value.get("init_args") or value).items():
            kind, path = type_of(owner, key), (*keys, key)
            if inner is None and not takes_null(kind):
                said = f"null is no value of {owner.__name__}'s option {key!r}."
                raise UserError(f"{self.where(path)}{said}")
            if inner == "None" and kind is not None and takes_null(kind):
                said = "'None' is a text: write null where there is nothing."
                raise UserError(f"{self.where(path)}{said}")
            self.check_nulls(inner, path, next(iter(classes_in(kind)), None))

    def where(self, keys: Sequence[str], found: str = "") -> str:
        """Where a key stands, for the beginning of a message: `file:line: key.path: `."""
        path = ".".join(keys)
        typed = dict(_typed(self.args or ()))
        for name, value in typed.items():
            if f"{name}.".startswith(f"{path}.") and (not found or value in ("", found)):
                return f"--{name}: "
        for value in dict.fromkeys((found, "")) if keys else ():
            for config in reversed(self.configs):
                line = config.find(keys, value or None)
                if line is not None:
                    return f"{config.path}:{line}: {path}: "
        inside = [name for name in typed if path.startswith(f"{name}.")]
        return f"--{inside[-1]}: " if inside else f"{path}: " if path else ""


def _typed(args: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Options on the command line as (key path, value)."""
    for arg, following in zip(args, [*args[1:], ""], strict=True):
        if arg.startswith("--") and len(arg) > 2:
            name, equals, value = arg[2:].partition("=")
            parts = [part for part in name.rstrip("+").split(".") if part != "init_args"]
            path = parts[:-1] if parts[-1] == "class_path" else parts
            yield ".".join(path), value if equals else following


def _classless(where: str, section: str, known: Sequence[str]) -> str:
    return f"{where}no class is named for {section}: give --{section} CLASS{_hint('', known)}"


def _hint(wrong: str, known: Sequence[str]) -> str:
    last = wrong.rpartition(".")[2]
    close = [name for name in get_close_matches(last, known, 2, cutoff=0.5) if name != last]
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there is {', '.join(known)}." if 0 < len(known) <= 20 else "."
