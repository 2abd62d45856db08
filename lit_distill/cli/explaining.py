"""What jsonargparse refuses, said in one line: where, what was found, what was probably meant.

It says that in prose. `USAGE` and `NO_CLASS` are the tables of what it can say: a pattern, and what
answers it. What no pattern knows is a wrong type, or said as it came.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeVar

from lit_distill.cli.parsing.complaints import Complaint, Refusal, expected_types
from lit_distill.cli.parsing.modules import is_permitted
from lit_distill.cli.parsing.old_names import new_class, new_option
from lit_distill.cli.parsing.options import OPTION
from lit_distill.cli.parsing.order import late_class
from lit_distill.cli.parsing.places import Places
from lit_distill.cli.parsing.types import (
    classes_in,
    imported,
    options_of,
    subclasses_of,
    type_of,
)

Answer = TypeVar("Answer", bound=Callable[..., str])


@dataclass(frozen=True)
class Explainer:
    """What can be said about a refusal of one command line.

    Attributes:
        places: what was typed and read.
        sections: the classes that can stand under top-level keys.
        options: the dotted paths of all options outside of classes.
    """

    places: Places
    sections: Mapping[str, type]
    options: Sequence[str]

    def explain(self, message: str) -> str:
        """The message of jsonargparse in one line."""
        refusal = Refusal.of(message)
        for answer in (self._usage, self._no_plain_value, self._no_class, self._wrong_type):
            if text := answer(refusal):
                return text
        said = [leaf.text for leaf in refusal.leaves if not expected_types(leaf.text)]
        text = " ".join(dict.fromkeys(said)) or message
        return self._where(refusal.leaves[0], refusal.found) + re.sub(r"Namespace\(.*", "", text)

    def _usage(self, refusal: Refusal) -> str:
        """Of options that do not exist, lack something, or may not be used."""
        for leaf in refusal.leaves:
            for pattern, answer in USAGE:
                if match := pattern.search(leaf.text):
                    return answer(self, leaf, match)
        return ""

    def _no_plain_value(self, refusal: Refusal) -> str:
        """Of a value where numbers and words are expected, and no class was given."""
        plain = set(refusal.types) - {"null", "list", "dict"}
        keyed = refusal.found.startswith(("{", "[{", "Namespace"))
        return self._wrong_type(refusal) if plain and not keyed else ""

    def _no_class(self, refusal: Refusal) -> str:
        """Of a class that is not there, or not one that fits."""
        for pattern, answer in NO_CLASS:
            for leaf in refusal.leaves:
                if match := pattern.search(leaf.text):
                    return answer(self, leaf, match, refusal.found)
        return ""

    def _wrong_type(self, refusal: Refusal) -> str:
        """Of a value that has none of the types that can stand there."""
        found, types = refusal.found, refusal.types
        if not set(types) - {"null"}:
            return ""
        expected = " or ".join(dict.fromkeys(types))
        hint = hint_of(found, types) if get_close_matches(found, types) else "."
        value = " ".join(found.split())
        value = repr(value) if len(value) <= 60 else f"{value[:57]}..."
        return f"{self._where(refusal.leaves[0], found)}expected {expected}, found {value}{hint}"

    # -- what the rows of `USAGE` answer --------------------------------------------------------

    def not_allowed(self, leaf: Complaint, match: re.Match[str]) -> str:
        """A class of a module that was not permitted."""
        path = match["path"]
        module = path.rpartition(".")[0]
        return (
            f"{self._where(leaf, path)}{path!r} is of the module {module}, which a configuration "
            "may not name by itself, because importing it runs its code. If it is yours or you "
            f"trust it: {OPTION} {module}."
        )

    def unknown_option(self, leaf: Complaint, match: re.Match[str]) -> str:
        """An option that a class, a section or the command does not have."""
        groups = match.groupdict()
        name = [*([groups["group"]] if "group" in groups else []), *groups["option"].split(".")]
        if not leaf.owners:
            path = tuple(part for part in (*leaf.keys, *name) if part != "init_args")
            keys, known = self._first_unknown(path)
            return self._without(keys, ".".join(keys[:-1]), known)
        owner = imported(leaf.owners[-1])
        if owner in self.sections.values():
            return self._classless(leaf, (*leaf.keys, *name), "", [])
        keys = (*leaf.keys, name[0])
        if new := new_option(owner, name[0]):
            return f"{self.places.where(keys)}{name[0]} is now {new}."
        return self._without(keys, leaf.owners[-1].rpartition(".")[2], options_of(owner))

    def stray(self, leaf: Complaint, match: re.Match[str]) -> str:
        """A word that no option takes."""
        return f"{match['word']!r} is not understood: options are written --name value."

    def missing(self, leaf: Complaint, match: re.Match[str]) -> str:
        """Options that must be given, and are not."""
        names = match["names"]
        if leaf.owners:
            return f"{self._where(leaf)}{leaf.owners[-1].rpartition('.')[2]} needs {names}."
        options = ", ".join(f"--{name}" for name in names.split(", "))
        files = ", ".join(str(config.path) for config in self.places.configs)
        where = f"{files}: " if files else ""
        return f"{where}missing {names}: add to a file given with --config, or give {options}."

    def valueless(self, leaf: Complaint, match: re.Match[str]) -> str:
        """An option at the end of the command line whose value is not there."""
        last = self.places.args[-1] if self.places.args else ""
        option = f"--{match['option']}"
        name = last if last.startswith(f"{option}.") else option
        return f"{name}: expected {match['wanted']}, found nothing."

    # -- what the rows of `NO_CLASS` answer -----------------------------------------------------

    def misnamed(self, leaf: Complaint, match: re.Match[str], found: str) -> str:
        """A name that is no class of the kind."""
        return self._unfit(leaf, match["name"])

    def not_importable(self, leaf: Complaint, match: re.Match[str], found: str) -> str:
        """A path that leads to no class: the innermost one on the way."""
        return self._unfit(Complaint(leaf.keys, leaf.owners[:-1], ""), leaf.owners[-1])

    def unnamed(self, leaf: Complaint, match: re.Match[str], found: str) -> str:
        """A value that names no class where one belongs."""
        roots, known = self._fitting(leaf)
        where = self._where(leaf, found)
        if not known:
            fields = ", ".join(option for root in roots for option in options_of(root))
            return f"{where}expected a {_names(roots)} ({fields}), found {found}."
        files = [config.path for config in self.places.configs]
        if late := late_class(leaf.keys[0], self.places.args, files):
            return f"{where}its class is named by {late}, which comes later: give that before."
        how = "given by class_path and init_args"
        return f"{where}expected a {_names(roots)}, {how}{hint_of('', known)}"

    def _unfit(self, leaf: Complaint, name: str) -> str:
        """A class that is not there or does not fit, by the name that was given."""
        roots, known = self._fitting(leaf)
        if imported(name) in self.sections.values():
            return self._classless(leaf, leaf.keys, name, known)
        if new := new_class(name, roots):
            return f"{self.places.where_class(leaf.keys, name)}{name} is now {new}."
        path = "; write its full path, as in package.module.Class."
        hint = hint_of(name, known) if roots else path
        return f"{self._where(leaf, name)}{name!r} is no {_names(roots)}{hint}"

    # -- what they share ------------------------------------------------------------------------

    def _where(self, leaf: Complaint, found: str = "") -> str:
        return self.places.where(leaf.keys, found)

    def _without(self, keys: Sequence[str], owner: str, known: Sequence[str]) -> str:
        """An owner (of none: the command) that does not have the last key of a path."""
        what = f"{owner} has" if owner else "there is"
        hint = hint_of(keys[-1], known)
        return f"{self.places.where(keys)}{what} no option {keys[-1]!r}{hint}"

    def _classless(
        self, leaf: Complaint, keys: Sequence[str], name: str, known: Sequence[str]
    ) -> str:
        """A section whose options were given, and not its class."""
        section = leaf.keys[0]
        what = f"no class is named for {section}: give --{section} CLASS{hint_of('', known)}"
        return f"{self.places.where(keys, name)}{what}"

    def _fitting(self, leaf: Complaint) -> tuple[list[type], list[str]]:
        """What an option's class must inherit from, and the names of all that do."""
        section = self.sections.get(leaf.keys[0]) if leaf.keys else None
        annotation: Any = section
        if leaf.owners:
            annotation = type_of(imported(leaf.owners[-1]), leaf.keys[-1])
        elif leaf.keys[1:]:
            annotation = type_of(section, leaf.keys[-1])
        roots = classes_in(annotation)
        heirs = (child for root in roots for child in subclasses_of(root))
        return roots, sorted({child.__name__ for child in heirs if _can_be_chosen(child)})

    def _first_unknown(self, keys: tuple[str, ...]) -> tuple[tuple[str, ...], list[str]]:
        """The shortest beginning of a path that no option has, and what could stand there."""
        options = [tuple(key.split(".")) for key in self.options]
        for end in range(1, len(keys)):
            known = {key[end - 1] for key in options if key[: end - 1] == keys[: end - 1]}
            if keys[end - 1] not in known:
                return keys[:end], sorted(known)
        return keys, sorted({key[-1] for key in options if key[:-1] == keys[:-1]})


FEW = 60
"""So many names are listed where none is near: all methods are."""


def _can_be_chosen(found: type) -> bool:
    """Whether a config may name a class: one of another program in this process it may not."""
    library = found.__module__.partition(".")[0]
    return is_permitted(found.__module__) or library in ("torch", "lightning")


def hint_of(wrong: str, known: Sequence[str]) -> str:
    """The end of a message: the name that was probably meant, or all that there are if few."""
    last = wrong.rpartition(".")[2]
    close = [name for name in get_close_matches(last, known, 2, cutoff=0.5) if name != last]
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there is {', '.join(known)}." if 0 < len(known) <= FEW else "."


def _names(roots: Sequence[type]) -> str:
    return " or ".join(root.__name__ for root in roots) or "class"


def _rows(table: Mapping[str, Answer]) -> list[tuple[re.Pattern[str], Answer]]:
    return [(re.compile(pattern), answer) for pattern, answer in table.items()]


USAGE = _rows(
    {
        r"Importing '(?P<path>[^']+)' is not allowed": Explainer.not_allowed,
        r"(Group|Subcommand) '(?P<group>[^']+)' does not accept option '(?P<option>[^']+)'": (
            Explainer.unknown_option
        ),
        r"Option '(?P<option>[^']+)' is not accepted": Explainer.unknown_option,
        r"unrecognized arguments: --(?P<option>[^\s=]+)": Explainer.unknown_option,
        r"unrecognized arguments: (?P<word>.*)": Explainer.stray,
        r"arguments are required: (?P<names>.+)": Explainer.missing,
        r"argument (-\S+/)*--(?P<option>\S+): expected (?P<wanted>.*)": Explainer.valueless,
    }
)
"""What is said of options, and what answers it; the first that fits counts."""

NO_CLASS = _rows(
    {
        r"Expected a dot import path string: (?P<name>\S+)": Explainer.misnamed,
        r"Import path (?P<name>\S+) does not correspond": Explainer.misnamed,
        r"but (?P<name>\S+) is abstract": Explainer.misnamed,
        r"No module named|module '\S+' has no attribute": Explainer.not_importable,
        r"Not a valid subclass": Explainer.unnamed,
    }
)
"""What is said of classes, likewise."""
