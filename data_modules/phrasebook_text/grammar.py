"""The small grammar of the phrasebook files: lexemes with their forms, templates with slots.

A file of `phrasebook-text/` holds one topic: `lexemes` by class and `templates`. A lexeme is one
line, the English key first and then one cell per language, `base | gender | form=text`:

    rice: {hi: चावल | m, hi-Latn: chawal, bn: ভাত, bn-Latn: bhat, es: arroz | m, de: Reis | m}

A cell that is left out is the key itself, with the gender of the Hindi cell (so do names), from
which the romanised and the English cell always take theirs. Any further entry (`taste: [spicy]`)
lists lexemes of the class of that name which go with this one; `also` lists its other classes. A
template gives one line per language and per mix, in which a slot is written

    {dish}            the base form                     {dish.obl}      a named form
    {den dish}        article and noun, agreeing        {taste@dish}    an adjective, agreeing
    {dish?लगा/लगी}     a choice by the noun's gender, in the order of `GENDERS`

In a mix the matrix language is the first of its languages (`MIXES`); `<...>` switches to English
and `[...]` to Hindi, for words and slots alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unicodedata import normalize

import yaml

try:
    from yaml import CSafeLoader as Loader  # ten times faster, where PyYAML was built with libyaml
except ImportError:  # pragma: no cover
    from yaml import SafeLoader as Loader  # type: ignore[assignment]

LANGUAGES = ("en", "hi", "hi-Latn", "bn", "bn-Latn", "es", "de")
MIXES = {
    "hi-en": ("hi-Latn", "en"),
    "bn-en": ("bn-Latn", "en"),
    "bn-hi-en": ("bn-Latn", "hi-Latn", "en"),
}
"""Each mix and its languages, the matrix language first."""

NAME, OTHER = "name", "other"
"""Token tags beside the languages: proper names; punctuation and digits."""

GENDERS = {"en": "mf", "hi": "mf", "hi-Latn": "mf", "es": "mf", "de": "mfn"}
BRACKETS = {"<": "en", "[": "hi-Latn"}
ENTITIES = {"name": "PERSON", "city": "PLACE", "festival": "EVENT"}
"""Lexeme classes whose members are named entities, and the entity type."""

ARTICLES = {
    "es": {
        "el": ("base", "el/la"),
        "un": ("base", "un/una"),
        "al": ("base", "al/a la"),
        "del": ("base", "del/de la"),
        "este": ("base", "este/esta"),
    },
    "de": {
        "der": ("base", "der/die/das"),
        "den": ("acc", "den/die/das"),
        "dem": ("dat", "dem/der/dem"),
        "einen": ("acc", "einen/eine/ein"),
        "einem": ("dat", "einem/einer/einem"),
        "keinen": ("acc", "keinen/keine/kein"),
        "mein": ("base", "mein/meine/mein"),
        "meinen": ("acc", "meinen/meine/mein"),
        "im": ("dat", "im/in der/im"),
        "ins": ("acc", "in den/in die/ins"),
        "zum": ("dat", "zum/zur/zum"),
        "vom": ("dat", "vom/von der/vom"),
        "am": ("dat", "am/an der/am"),
        "deinen": ("acc", "deinen/deine/dein"),
    },
}
"""Article words by language (de, es): the form the noun takes, and the word by gender."""

TOKEN = re.compile(r"[^\s.,;:!?¿¡।\"()]+|[.,;:!?¿¡।\"()]")
"""A word or a punctuation mark (vowel signs are no \\w, so words are what marks leave)."""

_LIKE_BASE = {"obl", "acc", "dat", "mass"}  # few nouns show these; every other form must be given
_PART = re.compile(r"\{([^{}]+)\}|([<>\[\]])|([^{}<>\[\]]+)")
_SLOT = re.compile(r"(?:(\w+) )?(\w+)(?:\.(\w+)|@(\w+)|\?(.+))?")


@dataclass(frozen=True, eq=False)
class Lexeme:
    """One meaning with its forms in every language: `forms[language][form]`, "base" always."""

    id: str
    classes: tuple[str, ...]
    forms: Mapping[str, Mapping[str, str]]
    gender: Mapping[str, str]
    links: Mapping[str, tuple[str, ...]]
    sentiment: str | None
    entity: str | None

    @property
    def linked(self) -> list[tuple[str, str]]:
        """Class and key of everything that goes with it."""
        return [(role, key) for role, keys in self.links.items() for key in keys]

    def form(self, language: str, name: str) -> str:
        """The form called `name`; a case that is not given is like the base form.

        Raises:
            KeyError: A form that has to be given is not.
        """
        forms = self.forms[language]
        return forms[name] if name in forms or name not in _LIKE_BASE else forms["base"]


@dataclass(frozen=True)
class Piece:
    """A stretch of a line: fixed text, or what one slot says here."""

    language: str
    text: str = ""
    slot: int = -1
    form: str = "base"
    agrees_with: int = -1
    choices: tuple[str, ...] = ()
    indefinite: bool = False

    def say(self, words: tuple[Lexeme, ...]) -> str:
        """The text with the slots bound to `words`."""
        if self.slot < 0:
            return self.text
        lexeme = words[self.slot]
        if self.choices:
            return self.choices[GENDERS[self.language].index(lexeme.gender[self.language])]
        if self.agrees_with >= 0:
            forms = lexeme.forms[self.language]
            return forms.get(words[self.agrees_with].gender[self.language], forms["base"])
        form = lexeme.form(self.language, self.form)
        return f"{'an' if form[0] in 'aeiou' else 'a'} {form}" if self.indefinite else form


@dataclass(frozen=True, eq=False)
class Template:
    """One sentence frame in every language. `slots` maps a slot to its class (or `slot.class`)."""

    id: str
    topic: str
    sentiment: str
    slots: Mapping[str, str]
    lines: Mapping[str, tuple[Piece, ...]] = field(repr=False)

    @property
    def classes(self) -> set[str]:
        """The lexeme classes of its slots."""
        return {name for spec in self.slots.values() for name in spec.split(".")[-1].split("|")}


@dataclass(frozen=True)
class Book:
    """Everything the files say: lexemes by class, in file order, and the templates."""

    classes: Mapping[str, Mapping[str, Lexeme]]
    templates: tuple[Template, ...]
    source: str
    """The text of all files, for fingerprints."""

    @property
    def lexemes(self) -> list[Lexeme]:
        """All lexemes, each once."""
        members = (lexeme for found in self.classes.values() for lexeme in found.values())
        return list({lexeme.id: lexeme for lexeme in members}.values())


def load_book() -> Book:
    """Read the phrasebook files that are shipped with the package."""
    files = sorted(Path(__file__).with_name("text").glob("*.yaml"))
    texts = [normalize("NFC", file.read_text(encoding="utf-8")) for file in files]
    classes: dict[str, dict[str, Lexeme]] = {}
    templates: list[Template] = []
    for text in texts:
        page = yaml.load(text, Loader)
        for name, cells in page.get("lexemes", {}).items():
            for key, entry in cells.items():
                lexeme = _lexeme(name, str(key), entry)
                for each in lexeme.classes:
                    classes.setdefault(each, {})[str(key)] = lexeme
        templates += (_template(page["topic"], entry) for entry in page.get("templates", []))
    return Book(classes, tuple(templates), "\n".join(texts))


def _lexeme(class_name: str, key: str, entry: dict[str, Any]) -> Lexeme:
    given = set(entry)
    forms: dict[str, dict[str, str]] = {}
    gender: dict[str, str] = {}
    for language in LANGUAGES:
        base, *rest = str(entry.pop(language, key)).split(" | ")
        forms[language] = {"base": base}
        for cell in rest:
            name, equals, text = cell.partition("=")
            if equals:
                forms[language][name] = text
            else:
                gender[language] = name
    if "hi" in gender:
        natural = {language: gender["hi"] for language in LANGUAGES if language not in given}
        gender = {**natural, **gender, "en": gender["hi"], "hi-Latn": gender["hi"]}
    also = tuple(entry.pop("also", ()))
    sentiment = entry.pop("sentiment", None)
    links = {role: tuple(map(str, keys)) for role, keys in entry.items()}
    id_ = f"{class_name}/{key}"
    classes = (class_name, *also)
    return Lexeme(id_, classes, forms, gender, links, sentiment, ENTITIES.get(class_name))


def _template(topic: str, entry: dict[str, Any]) -> Template:
    slots = entry["slots"]
    names = list(slots)
    lines = {
        language: tuple(_pieces(entry[language], language, names))
        for language in (*LANGUAGES, *MIXES)
    }
    return Template(f"{topic}/{entry['id']}", topic, entry["sentiment"], slots, lines)


def _pieces(line: str, language: str, names: list[str]) -> Iterator[Piece]:
    matrix = MIXES[language][0] if language in MIXES else language
    current = matrix
    for placeholder, bracket, text in _PART.findall(line):
        if bracket:
            current = BRACKETS.get(bracket, matrix)
        elif text:
            yield Piece(current, text)
        else:
            yield from _slot(placeholder, current, names)


def _slot(placeholder: str, language: str, names: list[str]) -> Iterator[Piece]:
    match = _SLOT.fullmatch(placeholder)
    if match is None:
        raise ValueError(f"phrasebook: cannot read the slot {{{placeholder}}}")
    article, name, form, noun, choices = match.groups()
    slot = names.index(name)
    if choices:
        yield Piece(language, slot=slot, choices=tuple(choices.split("/")))
    elif noun:
        yield Piece(language, slot=slot, agrees_with=names.index(noun))
    elif article == "a" and language == "en":
        yield Piece(language, slot=slot, form=form or "base", indefinite=True)
    elif article:
        case, by_gender = ARTICLES[language][article]
        yield Piece(language, slot=slot, choices=tuple(by_gender.split("/")))
        yield Piece(language, " ")
        yield Piece(language, slot=slot, form=form or case)
    else:
        yield Piece(language, slot=slot, form=form or "base")
