"""Tokenizers of all three kinds: complete folders, the sampler's proportions."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from data_modules import Proportional, Source, Temperature
from lit_distill.errors import UserError
from lit_distill.tools.train_tokenizer import Kind, _all, _repeats, train_tokenizer

SOURCES = [Source(files="{language}.txt")]


@pytest.mark.parametrize(
    ("kind", "first", "mask"),
    [("wordpiece", "[CLS]", "[MASK]"), ("unigram", "<s>", "<mask>"), ("byte-bpe", "<s>", "<mask>")],
)
def test_a_folder_that_any_tokenizer_loader_opens(
    text_folder: Path, tmp_path: Path, kind: Kind, first: str, mask: str
) -> None:
    size = 300 if kind == "byte-bpe" else 90
    for name in ("one", "two"):
        train_tokenizer(str(tmp_path / name), SOURCES, str(text_folder), kind, vocab_size=size)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "one")
    assert len(tokenizer) <= size
    assert tokenizer.mask_token == mask
    assert len({tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.mask_token_id}) == 3
    ids = tokenizer("the cats sleep")["input_ids"]
    assert ids[0] == tokenizer.convert_tokens_to_ids(first) == tokenizer.cls_token_id
    assert ids[-1] == tokenizer.sep_token_id
    assert tokenizer.decode(ids, skip_special_tokens=True).strip() == "the cats sleep"
    if kind == "byte-bpe":
        one, two = ((tmp_path / name / "tokenizer.json").read_bytes() for name in ("one", "two"))
        assert one == two


def test_accents_stay_and_case_is_folded_on_request(tmp_path: Path) -> None:
    (tmp_path / "es.txt").write_text("Mañana Été नमस्ते দেশ\n" * 20, encoding="utf-8")
    kept = train_tokenizer(str(tmp_path / "a"), SOURCES, str(tmp_path), vocab_size=200)
    assert kept.tokenize("Mañana नमस्ते") == ["Mañana", "नमस्ते"]
    folded = train_tokenizer(
        str(tmp_path / "b"), SOURCES, str(tmp_path), vocab_size=200, lowercase=True
    )
    assert folded.tokenize("MAÑANA") == ["mañana"]


def test_languages_are_read_in_the_samplers_proportions(tmp_path: Path) -> None:
    from data_modules.sources import resolve

    (tmp_path / "aa.txt").write_text("x" * 9 + "\n" + "y" * 9 + "\n")
    (tmp_path / "bb.txt").write_text(("z" * 9 + "\n") * 32)
    texts = resolve(SOURCES, tmp_path)
    assert _repeats(texts, Proportional()) == [1.0, 1.0]
    often = _repeats(texts, Temperature(2.0))  # sqrt(32 / 2) = 4
    assert often == pytest.approx([4.0, 1.0])
    assert sum(text[0] in "xy" for text in _all(texts, often)) == 8


def test_no_text_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "xx.txt").write_text("\n\n")
    with pytest.raises(UserError, match="No text for xx"):
        train_tokenizer(str(tmp_path / "t"), SOURCES, str(tmp_path))
