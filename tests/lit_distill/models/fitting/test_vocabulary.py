from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from lit_distill.errors import UserError
from lit_distill.models import (
    FreshStudent,
    LanguageModel,
    TeacherSpec,
    check_agreement,
    check_length,
    check_model_vocabulary,
    check_models,
    load_tokenizer,
    share_vocabulary,
    tokenizer_files,
    tokenizer_from_files,
)
from lit_distill.models.loading import sentencepiece_models

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["a", "river", "runs", "नदी", "##s", "ফুল", "über"]
ROLES = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}


def word_piece(
    words: list[str] = WORDS, lowercase: bool = False, roles: dict[str, str] = ROLES
) -> PreTrainedTokenizerFast:
    vocabulary = {token: number for number, token in enumerate(SPECIAL + words)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **roles)


def unigram(score: float = -3.0, extra: AddedToken | None = None) -> PreTrainedTokenizerFast:
    pieces = [("<unk>", 0.0), ("a", -2.0), ("b", -2.5), ("ab", score)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0))
    tokenizer.add_special_tokens([extra or AddedToken("<mask>")])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, mask_token="<mask>")


def test_a_tokenizer_travels_as_text_and_needs_no_network(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_a, **_k: pytest.fail("a network look-up"))
    tokenizer = word_piece()
    files = tokenizer_files(tokenizer)
    assert "tokenizer.json" in files
    assert all(isinstance(text, str) for text in files.values())
    again = tokenizer_from_files(files)
    text = "a river runs नदी ফুল rivers [MASK] über"
    assert again(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert again.special_tokens_map == tokenizer.special_tokens_map
    assert tokenizer_files(again).keys() == files.keys()
    check_agreement(tokenizer, again)


@pytest.mark.parametrize("installed", [True, False])
def test_a_folder_without_a_tokenizer_is_refused(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: bool
):
    """For the same reason whether or not SentencePiece could be read."""
    monkeypatch.setattr(sentencepiece_models, "_is_there", lambda module: installed)
    with pytest.raises(UserError, match=r"bert holds no tokenizer: save one there"):
        load_tokenizer(str(saved))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"The tokenizer in .*empty cannot be read.*holds nothing"):
        load_tokenizer(str(tmp_path / "empty"))
    with pytest.raises(UserError, match=r"There is no folder no/such/place"):
        load_tokenizer("no/such/place")


def test_a_slow_tokenizer_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class Slow:
        pass

    word_piece().save_pretrained(tmp_path)
    monkeypatch.setattr(
        "lit_distill.models.loading.tokenizers.AutoTokenizer.from_pretrained",
        lambda *_a, **_k: Slow(),
    )
    with pytest.raises(UserError, match=r"\(Slow\) has no fast form .*train-tokenizer"):
        load_tokenizer(str(tmp_path))


def test_equal_tokenizers_agree():
    check_agreement(word_piece(), word_piece())
    check_agreement(unigram(), unigram())
    padded = word_piece()
    padded(["a", "a river"], padding=True, truncation=True, max_length=3)  # leaves traces in it
    check_agreement(padded, word_piece())


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        (
            word_piece(),
            word_piece([*WORDS[:2], "walks", *WORDS[3:]]),
            r"differ: 12 and 12 tokens; 'runs' is 7 / absent; 'walks' is absent / 7",
        ),
        (
            word_piece(),
            word_piece([WORDS[1], WORDS[0], *WORDS[2:]]),
            r"'a' is 5 / 6; 'river' is 6 / 5",
        ),
        (word_piece(), word_piece([*WORDS, "z"]), r"12 and 13 tokens; 'z' is absent / 12"),
        (
            word_piece(),
            word_piece(roles={**ROLES, "cls_token": "[SEP]"}),
            r"differ in cls_token: '\[CLS\]' and '\[SEP\]'",
        ),
        (
            word_piece(),
            word_piece(lowercase=True),
            r"same vocabulary and another normaliser: .*\"lowercase\": false.* and .*true",
        ),
        (unigram(), unigram(-3.5), r"another splitting model"),
        (
            unigram(),
            unigram(extra=AddedToken("<mask>", lstrip=True)),
            r"another way of matching special tokens",
        ),
    ],
)
def test_tokenizers_that_cut_text_differently_are_refused(
    student: PreTrainedTokenizerFast, teacher: PreTrainedTokenizerFast, message: str
):
    with pytest.raises(UserError, match=message) as caught:
        check_agreement(student, teacher)
    assert "Use the teacher's tokenizer (--tokenizer)" in str(caught.value)
    assert len(str(caught.value)) < 800


def test_every_id_needs_a_row_and_rows_may_be_padded(bert: LanguageModel):
    check_model_vocabulary(bert, word_piece(), "student")  # 12 tokens, 40 rows
    check_model_vocabulary(bert, word_piece([f"w{i}" for i in range(35)]), "student")
    large = word_piece([f"w{i}" for i in range(36)])
    with pytest.raises(UserError, match=r"The teacher has 40 vocabulary rows .* largest id is 40"):
        check_model_vocabulary(bert, large, "teacher")


def test_padding_ids_must_agree(make_model: Callable[..., Any]):
    roberta = LanguageModel(make_model("roberta"))  # counts positions from its padding id, 1
    with pytest.raises(UserError, match=r"The student pads with id 1 and the tokenizer with 0"):
        check_model_vocabulary(roberta, word_piece(), "student")


def test_windows_must_fit_the_position_table(make_model: Callable[..., Any]):
    roberta = LanguageModel(make_model("roberta"))
    check_length(18, roberta)
    with pytest.raises(
        UserError,
        match=r"hold up to 19 tokens and the teacher's position table holds 18: lower .* 18",
    ):
        check_length(19, roberta, "teacher")


class Data:
    max_length = 20


def test_all_checks_of_a_run(bert: LanguageModel, saved: Path):
    word_piece().save_pretrained(saved)
    spec, tokenizer = TeacherSpec(str(saved)), word_piece()
    student = FreshStudent().build(bert, 0)
    check_models(student, bert, spec, tokenizer, Data())
    check_models(student, None, None, None, None)
    Data.max_length = 21
    try:
        with pytest.raises(UserError, match=r"hold up to 21 tokens and the student's"):
            check_models(student, bert, spec, tokenizer, Data())
    finally:
        Data.max_length = 20
    with pytest.raises(UserError, match=r"differ in|differ:|another normaliser"):
        check_models(student, bert, spec, word_piece(lowercase=True), None)
    wider = FreshStudent(config={"vocab_size": 48}).build(bert, 0)
    check_models(wider, bert, spec, tokenizer, None)  # one of the tables is padded further
    with pytest.raises(UserError, match=r"student has 48 .* teacher 40, and no tokenizer says"):
        check_models(wider, bert, spec, None, None)


def test_tables_padded_differently_end_at_the_last_token(bert: LanguageModel):
    tokenizer = word_piece()
    tokens = max(tokenizer.get_vocab().values()) + 1
    share_vocabulary([bert, FreshStudent().build(bert, 0)], tokenizer)
    assert bert.size is None  # of one size: all entries take part, as the models were trained
    assert bert.tokens == tokens  # and no padding row is written
    wider = FreshStudent(config={"vocab_size": 48}).build(bert, 0)
    rows = torch.randn(3, bert.hidden_size)
    whole = wider.logits(rows)
    share_vocabulary([wider, bert], tokenizer)
    assert bert.logits(rows).shape == wider.logits(rows).shape == (3, tokens)
    assert torch.equal(wider.logits(rows), whole[:, :tokens])
    assert wider.with_lm_head(lambda head: head.vocabulary, rows) == tokens


def test_a_special_token_of_other_media_needs_no_row(make_model: Callable[..., Any]):
    """Gemma 3's tokenizer has one token, of images, more than the models of text have rows."""
    tokenizer = word_piece()
    rows = len(tokenizer)
    model = LanguageModel(make_model("gemma3_text", vocab_size=rows))
    tokenizer.add_tokens([AddedToken("<image_soft_token>", special=True)], special_tokens=True)
    assert max(tokenizer.get_vocab().values()) == model.vocab_size
    check_model_vocabulary(model, tokenizer, "student")
    share_vocabulary([model, FreshStudent(config={"vocab_size": 48}).build(model, 0)], tokenizer)
    assert model.size == model.tokens == rows
    tokenizer.add_tokens(["words"])  # which text becomes
    with pytest.raises(UserError, match=r"has 12 vocabulary rows .* largest id is 13"):
        check_model_vocabulary(model, tokenizer, "student")


def test_a_token_that_texts_end_with_needs_its_row(make_model: Callable[..., Any]):
    tokenizer = word_piece()
    model = LanguageModel(make_model("gpt2", vocab_size=len(tokenizer)))
    tokenizer.add_special_tokens({"eos_token": "</s>"})
    with pytest.raises(UserError, match=r"has 12 vocabulary rows .* largest id is 12"):
        check_model_vocabulary(model, tokenizer, "student")


def test_a_teachers_tokenizer_may_lie_elsewhere(bert: LanguageModel, saved: Path, tmp_path: Path):
    student, tokenizer = FreshStudent().build(bert, 0), word_piece()
    with pytest.raises(
        UserError, match=r"holds no tokenizer.*set model\.init_args\.teacher\.token"
    ):
        check_models(student, bert, TeacherSpec(str(saved)), tokenizer)
    word_piece().save_pretrained(tmp_path / "elsewhere")
    spec = TeacherSpec(str(saved), tokenizer=str(tmp_path / "elsewhere"))
    check_models(student, bert, spec, tokenizer)
