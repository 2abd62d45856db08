"""The sentences of the phrasebook: a seeded generator over templates and lexemes.

Every sentence is a key, a template with one lexeme per slot, and every key is said in seven
languages and three code-mixed ones, so that any two languages are parallel by key. Slots carry word
classes that fit the verb (food is eaten, trains are late), and lexemes list what goes with them.
Validation and test hold out templates and lexemes: see `Phrasebook`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from typing import Literal
from zlib import crc32

from data_modules.phrasebook_text.grammar import (
    LANGUAGES,
    MIXES,
    NAME,
    OTHER,
    TOKEN,
    Lexeme,
    Template,
    load_book,
)
from data_modules.phrasebook_text.holdout import hold_out
from lit_distill.errors import UserError

Split = Literal["train", "validation", "test"]
Key = tuple[Template, tuple[Lexeme, ...]]

SPOKEN = (*LANGUAGES, *MIXES)
SENTIMENTS = ("positive", "neutral", "negative")
TAGS = (*LANGUAGES, NAME, OTHER)
"""Tags of tokens: a language, a proper name, or neither (punctuation, digits)."""

_START = re.compile(r"(?:^|(?<=[.!?] ))[¿¡]?[a-zà-ÿ]")


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence in one language; `key` names its meaning and is the same in all languages.

    `entities` are (start, end, type) in characters of `text`; `token_languages` runs with `tokens`.
    """

    key: str
    language: str
    text: str
    tokens: tuple[str, ...]
    token_languages: tuple[str, ...]
    sentiment: str
    topic: str
    entities: tuple[tuple[int, int, str], ...]
    template: str
    lexemes: tuple[str, ...]


class Phrasebook:
    """All sentences, a pure function of `seed` and the shipped text.

    What is held out (`hold_out`) is drawn from `seed`. A training sentence is a training template
    filled with training lexemes, so no held-out template, and no form of a held-out lexeme, ever
    occurs in it. Validation and test sentences take turns: a held-out template filled with training
    lexemes, and a training template with exactly one held-out lexeme; a checksum of its key decides
    between validation and test.

    `sentences(..., count=n)` is a prefix of `sentences(..., count=m)` for n < m.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.book = load_book()
        self.held_out_templates, self.held_out_lexemes = hold_out(self.book, seed)
        self._keys: dict[tuple[Split, int], list[Key]] = {}
        self._fillers: dict[tuple[str, ...], tuple[list[Lexeme], list[Lexeme]]] = {}

    def sentences(self, language: str, split: Split, count: int) -> list[Sentence]:
        """The first `count` sentences of a split, distinct, in the same order in every language.

        Raises:
            UserError: `language` is unknown, or the phrasebook cannot say `count` sentences.
        """
        check_language(language)
        if (split, count) not in self._keys:
            self._keys[split, count] = list(islice(self._drawn(split), count))
        keys = self._keys[split, count]
        if len(keys) < count:
            raise UserError(
                f"The phrasebook has about {len(keys)} different {split} sentences per language, "
                f"not {count}: ask for fewer."
            )
        return [say(template, words, language) for template, words in keys]

    def translate(self, key: str, language: str) -> Sentence:
        """The sentence with this key in another language.

        Raises:
            UserError: `language` is unknown.
            KeyError: there is no such template or lexeme.
        """
        check_language(language)
        template, _, words = key.rstrip(")").partition("(")
        lexemes = {lexeme.id: lexeme for lexeme in self.book.lexemes}
        templates = {each.id: each for each in self.book.templates}
        return say(templates[template], tuple(lexemes[w] for w in words.split(", ")), language)

    def _drawn(self, split: Split) -> Iterator[Key]:
        """Distinct keys without end, or until new ones get rare."""
        draw = random.Random(f"{self.seed}/{split}")
        seen = [t for t in self.book.templates if t.id not in self.held_out_templates]
        unseen = [t for t in self.book.templates if t.id in self.held_out_templates]
        given: set[Key] = set()
        failures = 0
        while failures < 10_000:
            failures += 1
            new_word = split != "train" and len(given) % 2 == 1
            template = draw.choice(seen if split == "train" or new_word else unseen)
            words = self._bind(template, draw, new_word)
            if words is None or (template, words) in given:
                continue
            if split != "train" and crc32(_key(template, words).encode()) % 2 != (split == "test"):
                continue
            given.add((template, words))
            failures = 0
            yield template, words

    def _bind(
        self, template: Template, draw: random.Random, new_word: bool
    ) -> tuple[Lexeme, ...] | None:
        """One lexeme per slot, exactly one of them held out if `new_word`; None: try again."""
        bound: dict[str, Lexeme] = {}
        surprise = draw.choice(list(template.slots)) if new_word else None
        for slot, spec in template.slots.items():
            choices = self._candidates(spec, bound)[slot == surprise]
            lexeme = draw.choice(choices) if choices else None
            if lexeme is None or lexeme in bound.values():
                return None
            bound[slot] = lexeme
        return tuple(bound.values())

    def _candidates(self, spec: str, bound: dict[str, Lexeme]) -> tuple[list[Lexeme], list[Lexeme]]:
        """What may fill a slot: training lexemes, and held-out ones."""
        slot, dot, role = spec.partition(".")
        names = bound[slot].links[role] if dot else ()
        where = (role, *names) if dot else (spec,)
        if where not in self._fillers:
            classes = self.book.classes
            found = (
                [classes[role][name] for name in names]
                if dot
                else [lexeme for each in spec.split("|") for lexeme in classes[each].values()]
            )
            new = [lexeme for lexeme in found if lexeme.id in self.held_out_lexemes]
            self._fillers[where] = [lexeme for lexeme in found if lexeme not in new], new
        return self._fillers[where]


def check_language(language: str) -> None:
    """Stops at a language that the phrasebook does not speak.

    Raises:
        UserError: with the languages it speaks.
    """
    if language not in SPOKEN:
        close = get_close_matches(language, SPOKEN, 1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise UserError(f"The phrasebook speaks {', '.join(SPOKEN)}, not {language!r}.{hint}")


def say(template: Template, words: tuple[Lexeme, ...], language: str) -> Sentence:
    """The sentence of a template and its lexemes in one language or mix."""
    parts: list[str] = []
    starts: list[int] = []
    tags: list[str] = []
    entities: list[tuple[int, int, str]] = []
    end = 0
    for piece in template.lines[language]:
        part = piece.say(words)
        entity = words[piece.slot].entity if piece.slot >= 0 and not piece.choices else None
        if entity:
            entities.append((end, end + len(part), entity))
        starts.append(end)
        tags.append(NAME if entity else piece.language)
        parts.append(part)
        end += len(part)
    text = _START.sub(lambda match: match[0].upper(), "".join(parts))
    tokens, languages = _tokens(text, starts, tags)
    sentiment = template.sentiment
    if sentiment not in SENTIMENTS:  # it is a slot: that lexeme decides
        sentiment = words[list(template.slots).index(sentiment)].sentiment or "neutral"
    return Sentence(
        key=_key(template, words),
        language=language,
        text=text,
        tokens=tokens,
        token_languages=languages,
        sentiment=sentiment,
        topic=template.topic,
        entities=tuple(entities),
        template=template.id,
        lexemes=tuple(lexeme.id for lexeme in words),
    )


def _tokens(
    text: str, starts: list[int], tags: list[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Words and punctuation marks with the tag of the piece in which each begins."""
    tokens: list[str] = []
    languages: list[str] = []
    piece, pieces = 0, len(starts) - 1
    for match in TOKEN.finditer(text):
        start, token = match.start(), match[0]
        while piece < pieces and starts[piece + 1] <= start:
            piece += 1
        tokens.append(token)
        languages.append(tags[piece] if token[0].isalpha() else OTHER)
    return tuple(tokens), tuple(languages)


def _key(template: Template, words: tuple[Lexeme, ...]) -> str:
    return f"{template.id}({', '.join(lexeme.id for lexeme in words)})"
