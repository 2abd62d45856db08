"""Which templates and lexemes of the phrasebook training never shows."""

from __future__ import annotations

import random
from collections import Counter, defaultdict

from data_modules.phrasebook_text.grammar import TOKEN, Book, Lexeme, Template

ONE_IN = 8
"""One template of so many (per topic) and one lexeme of so many (per class) is held out."""

Owners = dict[str, set[str]]
"""For every word form, in any language, the lexemes and templates that bring it into a sentence."""


def hold_out(book: Book, seed: int) -> tuple[frozenset[str], frozenset[str]]:
    """Ids of the held-out templates and lexemes, drawn from `seed`.

    About one template in eight of each topic, among the half whose words are best known from other
    templates; about one lexeme in eight of each class, among those that have a word of their own in
    every form of every language. What surrounds the unknown stays known: no class of words loses
    all its templates, and no lexeme all others that lead to it.
    """
    owners: Owners = defaultdict(set)
    for lexeme in book.lexemes:
        for word in _words(" ".join(_forms(lexeme))):
            owners[word].add(lexeme.id)
    for template in book.templates:
        for word in _literals(template):
            owners[word].add(template.id)
    return _templates(book, seed, owners), _lexemes(book, seed, owners)


def _templates(book: Book, seed: int, owners: Owners) -> frozenset[str]:
    by_topic: dict[str, list[Template]] = defaultdict(list)
    for template in book.templates:
        by_topic[template.topic].append(template)
    uses = Counter(name for template in book.templates for name in template.classes)

    def known(template: Template) -> float:
        words = _literals(template)
        return sum(len(owners[word]) > 1 for word in words) / len(words)

    held_out: set[str] = set()
    for topic, templates in by_topic.items():
        best = sorted(templates, key=known, reverse=True)[: (len(templates) + 1) // 2]
        random.Random(f"{seed}/templates/{topic}").shuffle(best)
        wanted = max(1, round(len(templates) / ONE_IN))
        for template in best:
            if wanted and all(uses[name] > 1 for name in template.classes):
                held_out.add(template.id)
                uses.subtract(template.classes)
                wanted -= 1
    return frozenset(held_out)


def _lexemes(book: Book, seed: int, owners: Owners) -> frozenset[str]:
    by_class: dict[str, list[Lexeme]] = defaultdict(list)
    for lexeme in book.lexemes:
        by_class[lexeme.classes[0]].append(lexeme)
    leading = Counter(link for lexeme in book.lexemes for link in lexeme.linked)

    held_out: set[str] = set()
    for name, lexemes in by_class.items():
        random.Random(f"{seed}/lexemes/{name}").shuffle(lexemes)
        wanted = round(len(lexemes) / ONE_IN)
        for lexeme in lexemes:
            own = all(any(owners[w] == {lexeme.id} for w in _words(f)) for f in _forms(lexeme))
            if wanted and own and all(leading[link] > 1 for link in lexeme.linked):
                held_out.add(lexeme.id)
                leading.subtract(lexeme.linked)
                wanted -= 1
    return frozenset(held_out)


def _forms(lexeme: Lexeme) -> list[str]:
    return [text for forms in lexeme.forms.values() for text in forms.values()]


def _literals(template: Template) -> set[str]:
    """The words of a template's own text, in all languages."""
    lines = template.lines.values()
    return _words(" ".join(piece.text for line in lines for piece in line if piece.slot < 0))


def _words(text: str) -> set[str]:
    return {token.lower() for token in TOKEN.findall(text)}
