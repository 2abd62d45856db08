"""Tokenizers of all three kinds: complete folders, the sampler's proportions."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from data_modules import MultilingualCorpus, Proportional, Source, Temperature
from lit_distill.errors import UserError
from lit_distill.tools.train_tokenizer import Kind, _all, _repeats, train_tokenizer


def corpus(folder: Path) -> MultilingualCorpus:
    return MultilingualCorpus([Source(files="{language}.txt")], str(folder), holdout=1000)


@pytest.mark.parametrize(
    ("kind", "first", "mask"),
    [("wordpiece", "[CLS]", "[MASK]"), ("unigram", "<s>", "<mask>"), ("byte-bpe", "<s>", "<mask>")],
)
def test_a_folder_that_any_tokenizer_loader_opens(
    text_folder: Path, tmp_path: Path, kind: Kind, first: str, mask: str
) -> None:
    size = 300 if kind == "byte-bpe" else 90
    for name in ("one", "two"):
        train_tokenizer(str(tmp_path / name), corpus(text_folder), kind, vocab_size=size)
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
    (tmp_path / "es.txt").write_text(
        "".join(f"Mañana Été नमस्ते দেশ {n}\n" for n in range(20)), encoding="utf-8"
    )
    kept = train_tokenizer(str(tmp_path / "a"), corpus(tmp_path), vocab_size=200)
    assert kept.tokenize("Mañana नमस्ते") == ["Mañana", "नमस्ते"]
    folded = train_tokenizer(str(tmp_path / "b"), corpus(tmp_path), vocab_size=200, lowercase=True)
    assert folded.tokenize("MAÑANA") == ["mañana"]


def test_languages_are_read_in_the_samplers_proportions(tmp_path: Path) -> None:
    (tmp_path / "aa.txt").write_text("".join("x" * 8 + f"{n}\n" for n in range(2)))
    (tmp_path / "bb.txt").write_text("".join("z" * 7 + f"{n:02}\n" for n in range(32)))
    data = corpus(tmp_path)
    assert _repeats(data, Proportional()) == [1.0, 1.0]
    often = _repeats(data, Temperature(2.0))  # sqrt(32 / 2) = 4
    assert often == pytest.approx([4.0, 1.0])
    assert sum(text[0] == "x" for text in _all(data, often)) == 8


def test_validation_text_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "xx.txt").write_text("aaaa\nbbbb\n")
    (tmp_path / "dev.txt").write_text("bbbb\n")
    source = Source(language="xx", files="xx.txt", validation="dev.txt")
    data = MultilingualCorpus([source], str(tmp_path))
    assert list(_all(data, [1.0])) == ["aaaa"]


def test_no_text_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "xx.txt").write_text("")
    with pytest.raises(UserError, match="No training text for xx"):
        train_tokenizer(str(tmp_path / "t"), corpus(tmp_path))
