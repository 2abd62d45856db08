"""Whether a tokenizer reads texts as that of a model does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import prompted
import pytest
from transformers import AutoTokenizer

from lit_distill.models import read_otherwise


@pytest.fixture
def own(tmp_path: Path) -> Any:
    return AutoTokenizer.from_pretrained(prompted.tokenizer(tmp_path / "own"))


def test_other_merges_are_other_tokens(own: Any, tmp_path: Path) -> None:
    folder = prompted.tokenizer(tmp_path / "other", texts=["what is seven"])
    other = AutoTokenizer.from_pretrained(folder)
    assert "tokens have other ids" in read_otherwise(other, own)


def test_another_normaliser_is_named(tiny_bert: Path) -> None:
    lower, cased = (
        AutoTokenizer.from_pretrained(tiny_bert, do_lower_case=one) for one in (True, False)
    )
    assert "normaliser" in read_otherwise(lower, cased)
    assert read_otherwise(cased, cased) == ""


def test_roles_and_added_tokens_do_not_count(own: Any, tmp_path: Path) -> None:
    other = AutoTokenizer.from_pretrained(tmp_path / "own")
    other.pad_token = other.eos_token
    assert read_otherwise(other, own) == ""
    for one, more in ((other, "<image>"), (own, "<padding>")):
        one.add_special_tokens({"additional_special_tokens": [more]})
    assert read_otherwise(other, own) == ""
