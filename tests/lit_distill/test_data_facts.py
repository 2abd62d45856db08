"""What a data module says, whoever wrote it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from data_modules import PhrasebookCorpus, Source
from data_modules.objectives.objectives import MaskedTokens, NextToken
from data_modules.prompting.collation import Responses
from lit_distill.batch import Reading
from lit_distill.data_facts import DataFacts

SILENT: dict[str, Any] = {
    "tokenizer": None, "max_length": None, "eos_ids": (), "provenance": None, "objective": None,
    "reading": None, "task_head": None, "masked": None, "pairs": False, "decoder_start_id": None,
    "seen_texts": None, "text_hashes": None, "origins": [],
    "sample_prompts": None, "longest_prompt": 1, "partly_labelled": False, "renders_chats": False,
}  # fmt: skip


@pytest.mark.parametrize("module", [None, object(), SimpleNamespace(objective=object())])
def test_who_says_nothing_asks_for_nothing(module: Any) -> None:
    facts = DataFacts(module)
    said = {name: getattr(facts, name) for name in SILENT if name != "objective"}
    assert said == {name: value for name, value in SILENT.items() if name != "objective"}
    assert facts.lacks("languages", "teacher_answers") == ["languages", "teacher_answers"]
    assert DataFacts(None).languages == ()


def test_what_is_said_is_what_the_module_has() -> None:
    def sample(split: str, most: int, seed: int) -> dict[str, Any]:
        return {"split": split, "most": most, "seed": seed}

    module = SimpleNamespace(
        languages=["en"], tokenizer="t", max_length=9, eos_ids=[3], decoder_start_id=7,
        partly_labelled=True, sample_prompts=sample, provenance=dict, objective=Responses(True),
        limits=SimpleNamespace(prompt=5), rendering=SimpleNamespace(chat=True),
    )  # fmt: skip
    facts = DataFacts(module)
    assert (facts.languages, facts.tokenizer, facts.max_length) == (["en"], "t", 9)
    assert (facts.eos_ids, facts.decoder_start_id, facts.longest_prompt) == ([3], 7, 5)
    assert facts.partly_labelled
    assert facts.renders_chats
    assert facts.pairs
    assert facts.reading == Reading.RESPONSES
    assert facts.provenance is dict
    assert facts.sample_prompts is sample
    assert facts.lacks("languages", "teacher_answers") == ["teacher_answers"]
    assert facts.kind == "SimpleNamespace"


def test_objectives_say_what_methods_call_them() -> None:
    for objective, reading, masked in (
        (MaskedTokens(), Reading.MASKED, True),
        (NextToken(), Reading.NEXT, False),
    ):
        facts = DataFacts(SimpleNamespace(objective=objective))
        assert (facts.reading, facts.masked, facts.pairs) == (reading, masked, False)


def test_facts_are_looked_up_when_they_are_asked_for() -> None:
    """Some are there only after `setup`, and what a module raises is not swallowed."""

    class Late:
        made: Callable[[], list[str]] | None = None

        @property
        def languages(self) -> list[str]:
            assert self.made is not None, "before setup"
            return self.made()

    late = Late()
    facts = DataFacts(late)
    with pytest.raises(AssertionError, match="before setup"):
        _ = facts.languages
    late.made = lambda: ["en", "hi"]
    assert facts.languages == ["en", "hi"]


def test_texts_come_from_files_from_hubs_and_with_the_project(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    sources = [
        Source("ro", dataset="owner/name", config="c", revision="abc", licence="cc-by-4.0"),
        Source(languages=["en", "hi"], files=["{language}.txt", "{language}.csv"]),
        Source("de", dataset="here"),
    ]
    corpus = SimpleNamespace(sources=sources, data_dir=tmp_path)
    mixture = SimpleNamespace(tasks={"one": corpus, "two": PhrasebookCorpus(["en"])})
    hub, files, local, embedded = DataFacts(mixture).origins
    assert hub == {
        "texts": "owner/name c abc", "dataset": "owner/name", "languages": "ro",
        "licence": "cc-by-4.0",
    }  # fmt: skip
    assert files["texts"] == "{language}.txt, {language}.csv"
    assert (files["dataset"], files["languages"], files["licence"]) == (None, "en, hi", None)
    assert (local["texts"], local["dataset"]) == ("here", None)
    assert (embedded["texts"], embedded["licence"]) == ("PhrasebookCorpus", "apache-2.0")


@pytest.mark.parametrize("odd", [None, 3, "text", {"a": 1}, [None, 3, object()]])
def test_modules_of_others_may_call_anything_sources(odd: Any) -> None:
    module = SimpleNamespace(sources=odd, mixes=odd, licence=odd, data_dir=odd)
    assert all(isinstance(one, dict) for one in DataFacts(module).origins)


def test_a_licence_changes_nothing_that_is_made_of_a_source() -> None:
    """Stores and cells of evaluations know their data by what it prints and equals."""
    bare, licensed = Source("ro", dataset="a/b"), Source("ro", dataset="a/b", licence="mit")
    assert repr(bare) == repr(licensed)
    assert bare == licensed
