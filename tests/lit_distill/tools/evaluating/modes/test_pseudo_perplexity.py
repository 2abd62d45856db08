"""Losses of the test texts of any corpus, in characters and tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from asked import asked_of, saved

from data_modules import LabelledCorpus, LabelledSource, MultilingualCorpus, ParallelCorpus
from data_modules.reading.sources import Source
from data_modules.storing.tokenising import held_out
from data_modules.text.deduplication import marks_of
from lit_distill.errors import UserError
from lit_distill.measures.probing import text_losses
from lit_distill.tools.evaluating.cells.mode import Question
from lit_distill.tools.evaluating.cells.predictions import Kind
from lit_distill.tools.evaluating.modes import PseudoPerplexity

WORDS = ["she", "sings", "works", "and", "un", "##kind"]
TEXTS = {"en": ["she sings", "she works and sings", "unkind"], "de": ["works and works"]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for language, own in TEXTS.items():
        (tmp_path / f"{language}.test.txt").write_text("\n".join(own) + "\n")
        (tmp_path / f"{language}.txt").write_text("\n".join([*own, "sings she", "and she"]) + "\n")
    saved(asked_of(WORDS), tmp_path / "bert")
    return tmp_path


def corpus(folder: Path, **source: Any) -> MultilingualCorpus:
    own = Source(files="{language}.txt", **source)
    return MultilingualCorpus(
        [own], data_dir=str(folder), cache_dir=str(folder / "cache"), holdout=2
    )


def asked_about(mode: PseudoPerplexity, folder: Path, data: Any) -> Any:
    return mode.predict(Question(str(folder / "bert"), data, 0, folder))


def test_losses_are_of_the_test_texts_and_units_of_characters(folder: Path) -> None:
    data = corpus(folder, test="{language}.test.txt")
    found = asked_about(PseudoPerplexity(), folder, data)
    texts = [*TEXTS["de"], *TEXTS["en"]]
    assert (found.kind, found.languages) == (Kind.LOSSES, ["de", "en"])
    assert found.language.tolist() == [0, 1, 1, 1]
    assert found.targets.tolist() == [len(text) for text in texts]
    assert found.examples.tolist() == marks_of([text.encode() for text in texts]).tolist()
    losses, tokens = text_losses(asked_of(WORDS), texts, 128)
    assert found.scores[:, 0] == pytest.approx(losses, abs=1e-5)
    by_token = asked_about(PseudoPerplexity("tokens"), folder, data)
    assert by_token.targets.tolist() == tokens.tolist() == [3, 2, 4, 2]


def test_without_test_texts_those_held_out_are_asked_about(folder: Path) -> None:
    found = asked_about(PseudoPerplexity(), folder, corpus(folder))
    lines = [
        line for tag in ("de", "en") for line in (folder / f"{tag}.txt").read_text().splitlines()
    ]
    wanted = [line.encode() for line in lines if held_out(line.encode(), 2)]
    assert found.examples.tolist() == marks_of(wanted).tolist()
    assert 0 < len(wanted) < len(lines)


def test_a_few_texts_are_spread_over_each_language(folder: Path) -> None:
    data = corpus(folder, test="{language}.test.txt")
    found = asked_about(PseudoPerplexity(at_most=2), folder, data)
    assert found.targets.tolist() == [len(TEXTS["de"][0]), *map(len, TEXTS["en"][:2])]


def test_labelled_texts_are_texts(folder: Path) -> None:
    (folder / "l.jsonl").write_text(
        '{"a": "she", "b": "sings", "l": "x"}\n{"a": "and", "b": "she", "l": "y"}\n'
    )
    source = LabelledSource("en", files="l.jsonl", test="l.jsonl", text="a", second="b", label="l")
    data = LabelledCorpus([source], data_dir=str(folder), cache_dir=str(folder / "cache"))
    found = asked_about(PseudoPerplexity(), folder, data)
    assert found.targets.tolist() == [len("she sings"), len("and she")]


def test_other_data_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="A ParallelCorpus holds no single texts"):
        asked_about(PseudoPerplexity(), folder, ParallelCorpus([]))
