"""The phrasebook as a corpus: its readers, stamps and stores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_modules import NoTargets, PhrasebookCorpus
from data_modules import phrasebook as module
from data_modules.phrasebook import PhrasebookReader, phrasebook_texts, preview
from data_modules.phrasebook_text.sentences import SPOKEN
from lit_distill.errors import UserError


def test_corpus(tiny_bert: Path, tmp_path: Path) -> None:
    corpus = PhrasebookCorpus(
        languages=["de", "bn-hi-en"],
        sentences_per_language=60,
        validation_sentences=20,
        tokenizer=str(tiny_bert),
        objective=NoTargets(),
        cache_dir=str(tmp_path),
        max_length=256,
    )
    corpus.prepare_data()
    corpus.setup("fit")
    assert corpus.languages == ["bn-hi-en", "de"]
    assert np.bincount(corpus.train.language).tolist() == [60, 60]
    assert [(r.rows, r.broken, r.repeated) for r in corpus.report if "train" in r.name] == (
        [(60, 0, 0)] * 2
    )
    assert {r.name for r in corpus.report if r.rows == 20} == {
        f"phrasebook {language} {split}"
        for language in ("de", "bn-hi-en")
        for split in ("validation", "test")
    }


def test_stamp_follows_everything_that_decides_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = PhrasebookReader("de", "train", 10, 0)
    assert reader.stamp == PhrasebookReader("de", "train", 10, 0).stamp
    others = [
        PhrasebookReader("es", "train", 10, 0),
        PhrasebookReader("de", "test", 10, 0),
        PhrasebookReader("de", "train", 11, 0),
        PhrasebookReader("de", "train", 10, 1),
    ]
    assert reader.stamp not in {other.stamp for other in others}
    before, book = reader.stamp, module.phrasebook(0)
    monkeypatch.setattr(book, "book", replace(book.book, source=book.book.source + " "))
    assert reader.stamp != before


def test_preview_shows_all_languages() -> None:
    shown = preview(count=2)
    assert shown.count("\n\n") == 1
    assert all(f"  {language:9} " in shown for language in SPOKEN)


def test_unknown_language() -> None:
    with pytest.raises(UserError, match=r"speaks en, hi, .*, not 'fr'"):
        phrasebook_texts(["fr"])
