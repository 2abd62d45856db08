"""What training must never show."""

from __future__ import annotations

import pytest

from data_modules.phrasebook_text.grammar import MIXES
from data_modules.phrasebook_text.sentences import SPOKEN, Phrasebook


@pytest.mark.parametrize("seed", [0, 1])
def test_training_never_shows_what_is_held_out(seed: int) -> None:
    book = Phrasebook(seed)
    members = {x.id: x for found in book.book.classes.values() for x in found.values()}
    assert len({template.split("/")[0] for template in book.held_out_templates}) >= 10
    assert len(book.held_out_lexemes) >= 40
    for language in SPOKEN:
        said = book.sentences(language, "train", 3000)
        assert book.held_out_templates.isdisjoint(s.template for s in said)
        assert book.held_out_lexemes.isdisjoint(x for s in said for x in s.lexemes)
        text = "\n".join(f" {' '.join(s.tokens)} " for s in said).lower()
        for lexeme in (members[x] for x in book.held_out_lexemes):
            for part in MIXES.get(language, (language,)):
                for form in lexeme.forms[part].values():
                    assert f" {form.lower()} " not in text, (language, form)
