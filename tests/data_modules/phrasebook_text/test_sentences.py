"""The generated sentences: enough, parallel, the same everywhere, rightly tagged and labelled."""

from __future__ import annotations

import os
import subprocess
import sys
import unicodedata
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from data_modules.phrasebook_text import sentences as phrasebook_sentences
from data_modules.phrasebook_text.grammar import MIXES, NAME, OTHER
from data_modules.phrasebook_text.sentences import SENTIMENTS, SPOKEN, TAGS, Phrasebook, Sentence
from lit_distill.errors import UserError

COUNT = 20_000
HELD_OUT_COUNT = 1_000


@pytest.fixture(scope="module")
def book() -> Phrasebook:
    return Phrasebook(seed=0)


@pytest.fixture(scope="module")
def train(book: Phrasebook) -> dict[str, list[Sentence]]:
    return {language: book.sentences(language, "train", COUNT) for language in SPOKEN}


@pytest.fixture(scope="module")
def held_out(book: Phrasebook) -> list[Sentence]:
    """Validation and test sentences of all languages."""
    return [
        sentence
        for language in SPOKEN
        for split in ("validation", "test")
        for sentence in book.sentences(language, split, HELD_OUT_COUNT)
    ]


def test_twenty_thousand_distinct_sentences_per_language(train: dict[str, list[Sentence]]) -> None:
    assert {language: len({s.text for s in said}) for language, said in train.items()} == (
        dict.fromkeys(SPOKEN, COUNT)
    )


def test_keys_are_parallel_over_languages(train: dict[str, list[Sentence]]) -> None:
    keys = [sentence.key for sentence in train["en"]]
    assert len(set(keys)) == COUNT
    for language in SPOKEN:
        assert [sentence.key for sentence in train[language]] == keys
        assert {sentence.language for sentence in train[language]} == {language}


def test_fewer_sentences_are_a_prefix(train: dict[str, list[Sentence]]) -> None:
    assert Phrasebook(seed=0).sentences("de", "train", 50) == train["de"][:50]
    assert Phrasebook(seed=1).sentences("de", "train", 50) != train["de"][:50]


def test_same_sentences_in_another_process(
    train: dict[str, list[Sentence]], book: Phrasebook
) -> None:
    code = (  # without data_modules/__init__.py, which imports lightning: seconds
        "import sys, types\n"
        "sys.modules['data_modules'] = package = types.ModuleType('data_modules')\n"
        f"package.__path__ = [{str(Path(phrasebook_sentences.__file__).parents[1])!r}]\n"
        "from data_modules.phrasebook_text.sentences import Phrasebook\n"
        "for split in ('train', 'validation'):\n"
        "    for s in Phrasebook(0).sentences('bn-hi-en', split, 200): print(s.text)\n"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "4711"}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, check=True
    )
    here = train["bn-hi-en"][:200] + book.sentences("bn-hi-en", "validation", 200)
    assert run.stdout.decode("utf-8").splitlines() == [sentence.text for sentence in here]


def test_held_out_sentences_have_something_new_in_known_surroundings(
    book: Phrasebook, train: dict[str, list[Sentence]], held_out: list[Sentence]
) -> None:
    new_template = new_lexeme = 0
    for sentence in held_out:
        template = sentence.template in book.held_out_templates
        lexemes = sum(x in book.held_out_lexemes for x in sentence.lexemes)
        assert (template, lexemes) in {(True, 0), (False, 1)}
        new_template += template
        new_lexeme += not template
    assert new_template > len(held_out) / 3
    assert new_lexeme > len(held_out) / 3
    trained = {x for s in train["en"] for x in s.lexemes}
    used = {x for s in held_out for x in s.lexemes}
    assert used - book.held_out_lexemes <= trained  # no class is left without training


def test_splits_are_disjoint(train: dict[str, list[Sentence]], book: Phrasebook) -> None:
    for language in SPOKEN:
        validation = {s.text for s in book.sentences(language, "validation", HELD_OUT_COUNT)}
        test = {s.text for s in book.sentences(language, "test", HELD_OUT_COUNT)}
        assert len(validation) == len(test) == HELD_OUT_COUNT
        assert validation.isdisjoint(test)
        assert (validation | test).isdisjoint(s.text for s in train[language])


def test_tags(train: dict[str, list[Sentence]], held_out: list[Sentence]) -> None:
    for said in (*train.values(), held_out):
        for sentence in said:
            assert len(sentence.tokens) == len(sentence.token_languages)
            assert "".join(sentence.tokens) == "".join(sentence.text.split())
            spoken = set(sentence.token_languages) - {NAME, OTHER}
            allowed = set(MIXES.get(sentence.language, (sentence.language,)))
            assert spoken <= allowed <= set(TAGS)
            assert len(spoken) >= min(len(allowed), 2), sentence.text


def test_entities_point_at_their_text(train: dict[str, list[Sentence]], book: Phrasebook) -> None:
    members = {x.id: x for found in book.book.classes.values() for x in found.values()}
    for language in ("en", "bn", "de", "bn-hi-en"):
        part = MIXES.get(language, (language,))[0]
        for sentence in train[language][:3000]:
            entities = [members[x] for x in sentence.lexemes if members[x].entity]
            assert len(sentence.entities) >= len(entities)
            for start, end, kind in sentence.entities:
                assert kind in {"PERSON", "PLACE", "EVENT"}
                assert any(
                    sentence.text[start:end] in each.forms[part].values() and each.entity == kind
                    for each in entities
                ), sentence
            for one, two in pairwise(sorted(sentence.entities)):
                assert one[1] <= two[0]


def test_labels(train: dict[str, list[Sentence]], book: Phrasebook) -> None:
    topics = {template.topic for template in book.book.templates}
    said = train["en"]
    assert {s.topic for s in said} == topics
    assert {s.sentiment for s in said} == set(SENTIMENTS)
    for language in SPOKEN:
        for one, other in zip(said, train[language], strict=True):
            assert (one.topic, one.sentiment) == (other.topic, other.sentiment)
    key = "school/finds_subject(name/Laura, subject/physics, judgement/{})"
    assert book.translate(key.format("boring"), "hi").sentiment == "negative"
    assert book.translate(key.format("easy"), "hi").sentiment == "positive"


def test_scripts(train: dict[str, list[Sentence]], held_out: list[Sentence]) -> None:
    scripts = {"hi": "DEVANAGARI", "bn": "BENGALI"}
    letters: dict[str, set[str]] = {language: set() for language in SPOKEN}
    for said in (*train.values(), held_out):
        for sentence in said:
            letters[sentence.language].update(sentence.text)
    for language in SPOKEN:
        if language in scripts:
            names = {unicodedata.name(c).split()[0] for c in letters[language] if c.isalpha()}
            assert names == {scripts[language]}, language
        elif language in ("es", "de"):
            names = {unicodedata.name(c).split()[0] for c in letters[language] if c.isalpha()}
            assert names == {"LATIN"}, language
        else:
            assert "".join(letters[language]).isascii(), language


def test_a_language_or_a_count_that_cannot_be(book: Phrasebook) -> None:
    with pytest.raises(UserError, match=r"not 'hi-latn'\. Did you mean 'hi-Latn'\?"):
        book.sentences("hi-latn", "train", 1)
    small = Phrasebook(seed=0)
    only = [t for t in small.book.templates if t.id == "travel/when_does_it_leave"]
    small.book = replace(small.book, templates=tuple(only))
    with pytest.raises(UserError, match=r"has about \d+ different train sentences .*, not 5000"):
        small.sentences("de", "train", 5000)
