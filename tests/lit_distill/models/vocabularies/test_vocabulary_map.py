"""The map from old ids to new ones and back, and its file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cut_vocabularies import tokenizer_of

from lit_distill.errors import UserError
from lit_distill.models import DROPPED, VocabularyMap, closure, trim_tokenizer
from lit_distill.models.loading.tokenizers import backend_hash

KEPT = (0, 2, 3, 7)
MAP = VocabularyMap(KEPT, 9, "a" * 64, "b" * 64)


def test_ids_of_any_shape_become_new_ones_and_old_ones_again() -> None:
    old = torch.tensor([[0, 7, 3], [8, 1, 2]], dtype=torch.int32)
    new = MAP.new_ids(old)
    assert new.tolist() == [[0, 3, 2], [DROPPED, DROPPED, 1]]
    assert new.dtype == torch.long
    assert MAP.old_ids(torch.tensor([3, 0, 1])).tolist() == [7, 0, 2]
    array = MAP.new_ids(np.array([7, 4], dtype=np.int32))
    assert isinstance(array, np.ndarray)
    assert array.tolist() == [3, DROPPED]
    assert MAP.old_ids(np.array([[2]])).tolist() == [[3]]
    assert MAP.size == 4


@pytest.mark.parametrize("ids", [[-100, 2], [9], [DROPPED]])
def test_ids_outside_are_errors(ids: list[int]) -> None:
    with pytest.raises(ValueError, match=r"1 old ids are outside of \[0, 9\)"):
        MAP.new_ids(torch.tensor(ids))
    with pytest.raises(ValueError, match="1 new ids"):
        MAP.old_ids(np.array([0, 4]))
    with pytest.raises(ValueError, match=r"whole numbers, and are torch.float32"):
        MAP.new_ids(torch.tensor([1.0]))


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    MAP.write(tmp_path)
    assert VocabularyMap.read(tmp_path) == MAP


def test_it_names_both_tokenizers() -> None:
    old = tokenizer_of("wordpiece")
    kept = closure(old, [40, 50])
    new = trim_tokenizer(old, kept)
    found = VocabularyMap.between(kept, len(old) + 7, old, new)
    assert (found.old_tokenizer, found.new_tokenizer) == (backend_hash(old), backend_hash(new))
    assert found.old_tokenizer != found.new_tokenizer
    text = torch.tensor(old("the")["input_ids"])
    moved = found.new_ids(text)
    assert torch.equal(moved == DROPPED, torch.tensor([number not in kept for number in text]))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kept": [2, 0]}, "ascend, each once, and 0 follows 2"),
        ({"kept": [2, 2]}, "ascend, each once, and 2 follows 2"),
        ({"kept": [1, 9]}, "id 9 is out of range: the model had 9 rows"),
        ({"kept": [-1, 2]}, "id -1 is out of range"),
        ({"kept": []}, "one at least"),
        ({"kept": "0123"}, "whole numbers"),
        ({"kept": [0, 1.5]}, "whole numbers"),
        ({"kept": [False, True]}, "whole numbers"),
        ({"old_size": 0}, "had 0 rows"),
        ({"old_size": "9"}, "had '9' rows"),
        ({"old_tokenizer": "a" * 63}, "old_tokenizer is 'a+', and has to be a sha256"),
        ({"new_tokenizer": None}, "new_tokenizer is None, and has to be a sha256"),
        ({"version": 2}, "is not of this version"),
        ({"more": 1}, "is not of this version"),
    ],
)
def test_a_file_that_was_changed_is_one_clear_error(
    changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    MAP.write(tmp_path)
    path = tmp_path / "vocabulary_map.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(UserError, match=f"vocabulary_map.json.*{said}"):
        VocabularyMap.read(tmp_path)


def test_a_file_that_is_none_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no vocabulary_map.json"):
        VocabularyMap.read(tmp_path)
    for text in ("{", "[]", '{"version": 1}'):
        (tmp_path / "vocabulary_map.json").write_text(text)
        with pytest.raises(UserError, match=r"vocabulary_map.json (cannot be read|is not of)"):
            VocabularyMap.read(tmp_path)
