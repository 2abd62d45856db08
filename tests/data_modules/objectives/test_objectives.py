"""Objectives as settings: what they bind to, what they refuse, how they are measured."""

from __future__ import annotations

import numpy as np
import pytest
from jsonargparse import ArgumentParser
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from data_modules.objectives.masking import Texts
from data_modules.objectives.objectives import MaskedTokens, NextToken, NoTargets, Objective
from lit_distill.errors import UserError

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ROLES = dict(
    zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIALS, strict=True)
)
SIZE = 50


@pytest.fixture(scope="module")
def letters():
    """A WordPiece tokenizer of `SIZE` tokens."""
    names = [*SPECIALS, *(f"t{number}" for number in range(5, SIZE))]
    core = Tokenizer(models.WordPiece({n: i for i, n in enumerate(names)}, unk_token="[UNK]"))
    return PreTrainedTokenizerFast(tokenizer_object=core, **ROLES)


def flat(rows, windows=None, passes=None):
    lengths = np.array([len(row) for row in rows])
    windows = np.arange(len(rows)) if windows is None else np.asarray(windows)
    passes = np.zeros(len(rows), dtype=np.int64) if passes is None else np.asarray(passes)
    return Texts.joined(np.concatenate(rows).astype(np.int32), lengths, windows, passes)


def test_settings_become_a_masker(letters):
    counts = np.arange(SIZE, dtype=float)
    objective = MaskedTokens(0.3, 0.7, 0.2, smoothing=0.5, scope="batch")
    masker = objective.bind(letters, counts, seed=9)
    assert (masker.probability, masker.mask_share, masker.random_share) == (0.3, 0.7, 0.2)
    assert (masker.per_text, masker.mask_id, masker.seed, masker.starts) == (False, 4, 9, None)
    assert masker.maskable.tolist() == [False] * 5 + [True] * 45
    np.testing.assert_allclose(masker.slowness, np.maximum(counts, 1) ** 0.5)
    assert MaskedTokens().bind(letters, counts, 0).per_text


def test_tokens_without_a_count_are_rare(letters):
    masker = MaskedTokens(smoothing=0.7).bind(letters, np.full(SIZE - 1, 100.0), 0)
    assert masker.slowness[-1] == 1


def test_validation_is_the_same_for_all_settings(letters):
    settings = [MaskedTokens(), MaskedTokens(probability=0.4, smoothing=0.7, whole_word=True)]
    assert {objective.validation(letters) for objective in settings} == {MaskedTokens()}
    assert NoTargets().validation(letters) == MaskedTokens()
    assert NextToken().validation(letters) == NextToken()


def test_validation_of_plain_text_without_a_mask_token(letters):
    core = Tokenizer(models.WordPiece(letters.get_vocab(), unk_token="[UNK]"))
    causal = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="[PAD]")
    assert NoTargets().validation(causal) == NextToken()
    with pytest.raises(UserError, match="mask token and this one has none"):
        MaskedTokens().bind(causal, np.ones(SIZE), 0)


# -- the other objectives -------------------------------------------------------------------------


def test_next_token_stays_inside_its_text():
    texts = flat([[2, 10, 11, 3], [2, 3], [2], [2, 12, 3]])
    selection = NextToken().bind(None, np.ones(SIZE), 0)(texts)
    pairs = list(zip(texts.ids[selection.rows].tolist(), selection.targets.tolist(), strict=True))
    assert pairs == [(2, 10), (10, 11), (11, 3), (2, 3), (2, 12), (12, 3)]
    np.testing.assert_array_equal(selection.ids, texts.ids)
    assert selection.masked == 0


def test_plain_text_has_no_targets():
    texts = flat([[2, 10, 11, 3]])
    selection = NoTargets().bind(None, np.ones(SIZE), 0)(texts)
    np.testing.assert_array_equal(selection.ids, texts.ids)
    assert len(selection.rows) == len(selection.targets) == 0


@pytest.mark.parametrize(
    "settings",
    [
        {"probability": 0.0},
        {"probability": 1.5},
        {"mask_share": 0.9, "random_share": 0.2},
        {"mask_share": -0.1},
        {"smoothing": -0.7},
        {"smoothing": float("nan")},
    ],
)
def test_impossible_settings(settings):
    with pytest.raises(UserError, match=r"Masked|mask_share"):
        MaskedTokens(**settings)


@pytest.mark.parametrize(
    ("class_path", "init_args", "expected"),
    [
        ("MaskedTokens", {"scope": "batch", "smoothing": 0.7}, None),
        ("NextToken", {}, NextToken()),
        ("NoTargets", {}, NoTargets()),
    ],
)
def test_chosen_by_class_path(class_path, init_args, expected):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--objective", type=Objective, default=MaskedTokens())
    entry = {"class_path": class_path, "init_args": init_args}
    parsed = parser.instantiate(parser.parse_object({"objective": entry}))
    assert parsed.objective == (expected or MaskedTokens(scope="batch", smoothing=0.7))
