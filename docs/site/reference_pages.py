"""The pages of the reference: a family of classes each, the commands, and the shipped configs."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping
from inspect import getdoc
from itertools import groupby, takewhile
from pathlib import Path

from reference_catalogue import Family, families, functions, heirs
from reference_options import Option, class_path, options, prose, shown, words

from lit_distill.cli.parsing import options as cli
from lit_distill.cli.parsing.types import is_unfinished
from lit_distill.files.shipped_configs import shipped
from lit_distill.tools.caching.cache_teacher import CacheOptions
from lit_distill.tools.checking.options import CheckOptions

ROOT = Path(__file__).parents[2]
FOLDER = "reference"
TOOLS = "lit_distill.tools."
OF_CONFIGS: dict[str, tuple[Mapping[str, str], type, str]] = {
    cli.CACHE: (cli.OF_CACHE, CacheOptions, "What is kept"),
    cli.CHECK: (cli.OF_CHECK, CheckOptions, "How much is rehearsed"),
}
"""Commands that take the config of a fit: their own options, the class of these, what it says."""
HEADINGS = ("Needs", "Data", "Relations", "Source", "Sources", "Raises")


class Reference:
    """All pages, by their place in the site.

    Attributes:
        pages: the families with their classes.
        sources: files of the repository that pages name as where a class is.
    """

    def __init__(self) -> None:
        self.pages = families()
        self.sources: set[str] = set()
        self._homes = {one: page for page in self.pages for one in page.classes}
        evaluating_first = sorted(self._homes, key=lambda one: not one.__module__.startswith(TOOLS))
        self._by_name = {one.__name__: one for one in evaluating_first}  # others hold, where two do

    def written(self) -> dict[str, str]:
        """Markdown by place."""
        found = {f"{FOLDER}/{page.page}": self._family(page) for page in self.pages}
        found[f"{FOLDER}/index.md"] = self._index()
        found[f"{FOLDER}/commands.md"] = self._commands()
        for folder, members in groupby(sorted(shipped()), lambda name: name.partition("/")[0]):
            found[f"{FOLDER}/configs/{folder}.md"] = _configs(folder, members)
        return found

    def _index(self) -> str:
        here = "index.md"
        lines = [
            "# Reference",
            "",
            "Every option of every class that a config can name, and of the commands, made from",
            "the docstrings when this site is built. On the command line `--OPTION.help` says the",
            "same: `fit --model.help`, `--model.help=TripleLoss`, `--data.sources.help`.",
            "",
            "- [Commands](commands.md)",
        ]
        for page in self.pages:
            lines += ["", f"## [{page.title}]({page.page})", "", page.about, ""]
            lines += ["| class | |", "|---|---|"]
            lines += [
                f"| {self.linked(one, here)} | {self._text(first_sentence(one), here)} |"
                for one in page.classes
                if not is_unfinished(one)
            ]
        folders = sorted({name.partition("/")[0] for name in shipped()})
        lines += ["", "## Configs", "", "Those that come with the package, whole, by folder:", ""]
        lines += [f"- [`configs/{folder}`](configs/{folder}.md)" for folder in folders]
        return "\n".join(lines) + "\n"

    def _family(self, page: Family) -> str:
        roots = [one for one in page.classes if is_unfinished(one)]
        rest = [one for one in page.classes if not is_unfinished(one)]
        parts = [f"# {page.title}\n\n{page.about}\n"]
        parts += [self._class(one, page.page) for one in [*roots, *rest]]
        return "\n".join(parts)

    def _class(self, one: type, page: str) -> str:
        file = os.path.relpath(str(sys.modules[one.__module__].__file__), ROOT)
        self.sources.add(file)
        lines = [
            f"## `{one.__name__}` {{ #{one.__name__} }}",
            "",
            f"`{class_path(one)}`, in [{file}](../source/{file}.md)",
            "",
            self._text(_paragraphs(prose(one)), page),
            "",
        ]
        if is_unfinished(one) and (under := heirs(one, list(self._homes))):
            lines += [f"One of {', '.join(self.linked(heir, page) for heir in under)}.", ""]
        own, inherited = self._split(one)
        if not own and not inherited:
            lines += ["It has no options.", ""]
        for option in own:
            lines += self._option(option, page, f"{one.__name__}.{option.name}")
        for base, names in inherited.items():
            links = [
                f"[`{name}`]({self._page(base, page)}#{base.__name__}.{name})" for name in names
            ]
            lines += [f"And those of {self.linked(base, page)}: {', '.join(links)}.", ""]
        return "\n".join(lines)

    def _split(self, one: type) -> tuple[list[Option], dict[type, list[str]]]:
        """Options that a class says itself, and names of those that a base of it says, by base."""
        own, inherited = list[Option](), dict[type, list[str]]()
        for option in options(one):
            base = option.owner
            of_base = {} if base is one else {o.name: o.text for o in options(base)}
            if base in self._homes and of_base.get(option.name) == option.text:
                inherited.setdefault(base, []).append(option.name)
            else:
                own.append(option)
        return own, inherited

    def _option(self, option: Option, page: str, anchor: str) -> list[str]:
        """A term of a definition list, and what it is."""
        default = shown(option.default)
        kind = words(option.annotation, lambda one: self.linked(one, page))
        given = f"; {default} by default" if default else "; has to be given"
        term = f"`{option.name}`{{ #{anchor} }} *{kind}{given}*"
        return [term, f":   {self._text(option.text, page)}", ""]

    def _commands(self) -> str:
        page = "commands.md"
        parts = [
            "# Commands",
            "",
            "`lit-distill COMMAND`, or `python -m lit_distill COMMAND`. Options are `--NAME VALUE`",
            "or `--NAME=VALUE`; those of a class go on with a point, as `--model.teacher.name`.",
            "",
        ]
        parts += [f"- [`{name}`](#{name}): {text}" for name, text in cli.COMMANDS.items()]
        given, of_tools = _training_options(), functions()
        for name, purpose in cli.COMMANDS.items():
            parts += ["", f"## `{name}` {{ #{name} }}", ""]
            if name in cli.TRAINING:
                parts += [f"{purpose[0].upper()}{purpose[1:]}.", ""]
                if name != "fit":
                    parts += ["Its options are those of [`fit`](#fit)."]
                    continue
                for option, text in given.items():
                    parts += [f"`{option}`", f":   {self._text(text, page)}", ""]
                continue
            function = of_tools[name]
            parts += [self._text(_paragraphs(prose(function)), page), ""]
            if name in OF_CONFIGS:
                own, kept, what = OF_CONFIGS[name]
                parts += [
                    "It takes the config and the options of [`fit`](#fit), and of its own:",
                    "",
                ]
                for option, text in own.items():
                    parts += [f"`{option}`", f":   {self._text(text, page)}", ""]
                parts += [f"{what}: {self.linked(kept, page)}.", ""]
                continue
            for option_of in options(function):
                parts += self._option(option_of, page, f"{name}.{option_of.name}")
        return "\n".join(parts) + "\n"

    def linked(self, one: type, page: str) -> str:
        """A class in Markdown, from a page of the reference."""
        if one is Path:
            return "text"
        if one not in self._homes:
            return f"`{one.__name__}`"
        return f"[`{one.__name__}`]({self._page(one, page)}#{one.__name__})"

    def _page(self, one: type, page: str) -> str:
        home = self._homes[one].page
        return "" if home == page else home

    def _known(self, name: str, page: str) -> type | None:
        """The class of a name: one of the same page, or else of any."""
        here = [one for one, home in self._homes.items() if home.page == page]
        return next((one for one in here if one.__name__ == name), self._by_name.get(name))

    def _text(self, text: str, page: str) -> str:
        """Text of a docstring in Markdown; classes in backticks become links."""
        lines = text.splitlines()
        return "\n".join(
            line if line.startswith("    ") else self._line(line, page) for line in lines
        )

    def _line(self, line: str, page: str) -> str:
        parts = re.split(r"(`[^`]+`)", line)
        for place, part in enumerate(parts):
            if place % 2 == 0:
                plain = part.replace("&", "&amp;").replace("<", "&lt;")
                parts[place] = re.sub(r"([*\[\]|])", r"\\\1", plain)
            elif known := self._known(part.strip("`"), page):
                parts[place] = self.linked(known, page)
        return "".join(parts)


def _training_options() -> dict[str, str]:
    """Options of `fit`, `validate` and `test`, as `--help` shows them."""
    own = {
        f"{name} {option.get('metavar', '')}".strip(): str(option["help"])
        for name, option in cli.OWN.items()
    }
    trainer = {f"--trainer.{name}": text for name, text in cli.TRAINER.items()}
    return {"-c FILE, --config FILE": cli.CONFIG, **cli.SECTIONS, **own, **trainer, **cli.LOOK_UP}


def _paragraphs(text: str) -> str:
    """A docstring whose headings (Needs, Source, ...) begin paragraphs."""
    return re.sub(rf"\n+(?=(?:{'|'.join(HEADINGS)}):)", "\n\n", text)


def _configs(folder: str, names: Iterable[str]) -> str:
    """A page with all configs of a folder."""
    parts = [f"# `configs/{folder}`", ""]
    files: Mapping[str, Path] = shipped()
    for name in names:
        text = files[name].read_text("utf-8")
        comment = [
            line[1:].strip() for line in takewhile(lambda one: one[:1] == "#", text.splitlines())
        ]
        stem = name.partition("/")[2] or name
        first = re.split(r"(?<=[.?:]) ", " ".join(comment), maxsplit=1)[0]
        plain = first.replace("<", "&lt;").replace("[", "\\[")
        parts += [f"## `{stem}` {{ #{stem} }}", "", plain, "", "```yaml", text.rstrip(), "```", ""]
    return "\n".join(parts)


def first_sentence(one: type) -> str:
    """The first sentence of a docstring."""
    first = (getdoc(one) or "").split("\n\n")[0]
    return re.split(r"(?<=[.:]) (?=[A-Z])", " ".join(first.split()))[0]
