"""Set-ups that are sound: a teacher that knows its text, and what `check` says of options."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from checking import Check, decoder, informed, prompts, said
from conftest import sentences


@pytest.fixture(scope="session")
def teacher(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT that knows how often tokens are."""
    folder = tmp_path_factory.mktemp("informed") / "bert"
    shutil.copytree(tiny_bert, folder)
    informed(folder, (line for language in ("en", "de") for line in sentences(language, 300)))
    return folder


@pytest.fixture
def check(
    teacher: Path, tiny_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Check:
    """What `check` says about half of that teacher on the corpus, with options over it."""

    def asked(*args: str) -> dict[str, Any]:
        own = "methods/fine_tune" in args
        parts = ["trainer/cpu", "methods/fine_tune" if own else "methods/triple_loss"]
        if not own:
            parts += ["models/half", "data/multilingual_folder", str(tiny_corpus)]
        parts.append("optimizers/small_model")
        usual = [arg for part in parts for arg in ("-c", part)]
        usual += [] if own else ["--model.teacher.name", str(teacher)]
        return said([*usual, *args], tmp_path / "run", capsys)

    return asked


@pytest.fixture(scope="session")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny GPT-2 that knows how often tokens are, with a chat template."""
    return decoder(tmp_path_factory.mktemp("informed") / "gpt2")


@pytest.fixture
def check_prompts(writer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Check:
    """What `check` says about GKD of half of that decoder, with options over it."""

    def asked(*args: str) -> dict[str, Any]:
        return said([*prompts(tmp_path, writer), *args], tmp_path / "run", capsys)

    return asked
