"""The table of `train-tokenizer`: what it says of letters that no token stands for."""

from __future__ import annotations

from typing import Any

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import NFC, NFKC, BertNormalizer, Lowercase, Normalizer, Sequence
from tokenizers.pre_tokenizers import BertPreTokenizer
from transformers import PreTrainedTokenizerFast

from lit_distill.tools.corpora.cutting_table import cutting_table


def tokenizer(normalizer: Normalizer | None) -> Any:
    letters = ["[UNK]", *"abcde\u00e9\u200d"]
    vocabulary = [*letters, *(f"##{letter}" for letter in letters[1:])]
    made = Tokenizer(WordPiece({piece: n for n, piece in enumerate(vocabulary)}, unk_token="[UNK]"))
    made.pre_tokenizer = BertPreTokenizer()
    if normalizer is not None:
        made.normalizer = normalizer
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="[UNK]")


def row(normalizer: Normalizer | None, *texts: str) -> list[str]:
    table = cutting_table(tokenizer(normalizer), {"xx": texts}, {"xx": 2.0})
    return [str(cell) for column in table.columns for cell in column.cells]


@pytest.mark.parametrize(
    ("normalizer", "text", "lost"),
    [
        (None, "ab cd\n\u00ad", "0.00%"),
        (None, "abcz cd", "66.67%"),  # a word with an unknown letter is unknown
        (BertNormalizer(), "a\u200db a", "25.00%"),  # the joiner, and no token is unknown
        (None, "a\u200db a", "0.00%"),
        (BertNormalizer(strip_accents=True), "a\u00e9 cd", "25.00%"),  # e is another letter
        (Sequence([NFC(), Lowercase()]), "aE\u0301 B", "0.00%"),
        (NFKC(), "\uff41b", "0.00%"),
    ],
)
def test_letters_that_are_lost(normalizer: Normalizer | None, text: str, lost: str) -> None:
    assert row(normalizer, text)[-1] == lost


def test_lengths_are_those_of_text_without_control_tokens() -> None:
    cells = row(None, "abcd ab", "[UNK]")  # which the second text quotes
    assert cells[:4] == ["xx", "2.00 x", "1.33", "3.00"]
