"""Tokenizers whose folder holds a SentencePiece model only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from lit_distill.errors import UserError
from lit_distill.models import load_tokenizer, tokenizer_files, tokenizer_from_files
from lit_distill.models.loading import sentencepiece_models as own

spm = pytest.importorskip("sentencepiece")

TEXTS = [
    "the river runs past old houses",
    "Ein  Fluss liegt ﬁnster hinter Mauern ",
    " children,read long books! ",
    ">>de<< cats sleep daily",
    "наро́дный 2024 ½ x²",
    "",
]


def train(folder: Path, name: str, lines: list[str], **options: Any) -> Path:
    """Trains a small SentencePiece model, whatever its text allows."""
    defaults = {"vocab_size": 60, "model_type": "unigram", "hard_vocab_limit": False}
    model = folder / f"{name}.model"
    with model.open("wb") as file:
        spm.SentencePieceTrainer.train(
            sentence_iterator=iter(lines * 20), model_writer=file, minloglevel=2,
            **{**defaults, **options},
        )  # fmt: skip
    return model


def describe(folder: Path, model_type: str, **values: Any) -> Path:
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    (folder / "tokenizer_config.json").write_text(json.dumps(values))
    return folder


def marian(folder: Path, target: list[str] | None = None) -> Path:
    """A Marian folder; ids in the order of a vocab.json of its own, as they are published."""
    model = train(folder, "source", TEXTS).rename(folder / "source.spm")
    other = train(folder, "target", target).read_bytes() if target else model.read_bytes()
    (folder / "target.spm").write_bytes(other)
    pieces = spm.SentencePieceProcessor(model_file=str(model))
    words = [pieces.IdToPiece(number) for number in range(3, len(pieces))]
    order = ["</s>", "<unk>", ">>de<<", *reversed(words), "only a target has this", "<pad>"]
    (folder / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(order)}))
    return describe(folder, "marian", tokenizer_class="MarianTokenizer", source_lang="en")


@pytest.mark.parametrize(
    ("model_type", "file", "options"),
    [
        ("t5", "spiece", {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}),
        (
            "llama",
            "tokenizer",
            {
                "model_type": "bpe",
                "byte_fallback": True,
                "vocab_size": 330,
                "normalization_rule_name": "identity",
                "remove_extra_whitespaces": False,
            },
        ),
    ],
)
def test_a_sentencepiece_model_opens_and_travels(
    tmp_path: Path, model_type: str, file: str, options: dict[str, Any]
) -> None:
    model = train(tmp_path, file, TEXTS, **options)
    name = {"t5": "T5Tokenizer", "llama": "LlamaTokenizer"}[model_type]
    tokenizer = load_tokenizer(str(describe(tmp_path, model_type, tokenizer_class=name)))
    pieces = spm.SentencePieceProcessor(model_file=str(model))
    for text in map(str.strip, TEXTS[:2]):
        assert tokenizer(text, add_special_tokens=False).input_ids == pieces.encode(text)
    again = tokenizer_from_files(tokenizer_files(tokenizer))
    assert again(TEXTS[0]).input_ids == tokenizer(TEXTS[0]).input_ids


@pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")
def test_marians_fast_form_has_the_ids_of_its_slow_one(tmp_path: Path) -> None:
    folder = str(marian(tmp_path))
    fast, slow = load_tokenizer(folder), AutoTokenizer.from_pretrained(folder)
    assert fast.is_fast
    for text in TEXTS:
        ids = fast(text).input_ids
        assert ids == slow(text).input_ids == slow(text_target=text).input_ids, text
        assert fast.decode(ids, skip_special_tokens=True) == slow.decode(
            ids, skip_special_tokens=True
        )
    roles = ("pad_token_id", "eos_token_id", "unk_token_id")
    assert [getattr(fast, r) for r in roles] == [getattr(slow, r) for r in roles]
    again = tokenizer_from_files(tokenizer_files(fast))
    assert [again(text).input_ids for text in TEXTS] == [fast(text).input_ids for text in TEXTS]


def test_marian_with_two_models_is_refused_with_its_reason(tmp_path: Path) -> None:
    folder = marian(tmp_path, target=["दीर्घ नदी", "घर के पास नदी बहती है"])
    with pytest.raises(UserError, match=r"two SentencePiece models .* one tokenizer for both"):
        load_tokenizer(str(folder))


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ({"sentencepiece"}, r"sentencepiece to read it with is not installed"),
        ({"google.protobuf"}, r"protobuf to read it with is not"),
        ({"sentencepiece", "google.protobuf"}, r"sentencepiece and protobuf to read it with are"),
    ],
)
def test_what_to_install_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, missing: set[str], said: str
) -> None:
    """Transformers ask for tiktoken, which does not help."""
    monkeypatch.setattr(own, "find_spec", lambda name: None if name in missing else object())
    reason = ValueError("`tiktoken` is required to read a `tiktoken` file.")
    monkeypatch.setattr(
        AutoTokenizer, "from_pretrained", lambda *_, **__: (_ for _ in ()).throw(reason)
    )
    (tmp_path / "spiece.model").touch()
    with pytest.raises(UserError, match=said + r".*pip install 'lit-distill\[sentencepiece\]'"):
        load_tokenizer(str(tmp_path))
    (tmp_path / "spiece.model").unlink()
    with pytest.raises(UserError, match="cannot be read"):  # there is nothing to read
        load_tokenizer(str(tmp_path))


def test_other_failures_keep_their_message(tmp_path: Path) -> None:
    own.check_installed("x", ValueError("needs tiktoken"))  # all is installed
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(UserError, match=r"cannot be read"):
        load_tokenizer(str(tmp_path))
