"""A model with the vocabulary of another tokenizer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from architectures import LABELS, random_model
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from torch import nn
from transformers import (
    BartForConditionalGeneration,
    MarianMTModel,
    MBartForConditionalGeneration,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from lit_distill.models import Anatomy, LanguageModel, VocabularyTransferStudent, load_tokenizer
from lit_distill.models.architectures.table import TASK_HEADS
from lit_distill.models.students.starts.retokenising import pieces_of

ROLES = {f"{role}_token": f"[{role.upper()}]" for role in ("pad", "unk", "cls", "sep", "mask")}
WORDS = ["casă", "lung", "drum", "a", "ul", "##ul", "##u", "##c", "##m"]
OLD = [*ROLES.values(), *WORDS]
NEW = [*reversed(ROLES.values()), "Casă", "casă", "drumlung", "##ul", "##acum", "ж"]


def word_piece(tokens: list[str], lowercase: bool) -> PreTrainedTokenizerFast:
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **ROLES)


@pytest.fixture
def folders(
    tmp_path: Path, make_model: Callable[..., PreTrainedModel], family: str
) -> tuple[str, str]:
    """A model with an uncased tokenizer, and a cased tokenizer."""
    special = {"pad_token_id": 0, **dict.fromkeys(("bos_token_id", "eos_token_id"), 3)}
    model = make_model(family, vocab_size=len(OLD) + 3, **special)  # padded, as many are
    if isinstance(
        model, BartForConditionalGeneration | MarianMTModel | MBartForConditionalGeneration
    ):
        model.final_logits_bias = nn.Buffer(torch.randn_like(model.final_logits_bias))
    model.save_pretrained(tmp_path / "model")
    word_piece(OLD, lowercase=True).save_pretrained(tmp_path / "model")
    word_piece(NEW, lowercase=False).save_pretrained(tmp_path / "cased")
    return str(tmp_path / "model"), str(tmp_path / "cased")


def test_pieces_are_the_same_token_else_those_of_its_text_and_roles_are_kept() -> None:
    pieces = pieces_of(word_piece(NEW, False), word_piece(OLD, True))
    spelt = {new: [OLD[piece] for piece in each] for new, each in zip(NEW, pieces, strict=True)}
    assert {role: [role] for role in ROLES.values()}.items() <= spelt.items()
    assert spelt["Casă"] == spelt["casă"] == ["casă"]  # the uncased one writes it small
    assert spelt["##ul"] == ["##ul"]  # and not the word of two letters
    assert spelt["##acum"] == ["a", "##c", "##u", "##m"]
    assert spelt["ж"] == ["[UNK]"]


def test_a_tokenizer_of_its_own_changes_nothing(
    make_model: Callable[..., PreTrainedModel], tmp_path: Path
) -> None:
    model = make_model("bert", vocab_size=len(OLD), pad_token_id=0)
    model.save_pretrained(tmp_path)
    word_piece(OLD, lowercase=True).save_pretrained(tmp_path)
    built = VocabularyTransferStudent(str(tmp_path), str(tmp_path)).build(None, 0)
    expected = model.state_dict()
    for key, value in built.model.state_dict().items():
        assert torch.equal(value, expected[key]), key


def test_embeddings_and_head_are_means_of_their_pieces(folders: tuple[str, str]) -> None:
    name, tokenizer = folders
    built = VocabularyTransferStudent(name, tokenizer).build(None, 0)
    own = LanguageModel(type(built.model).from_pretrained(name))
    pieces = pieces_of(load_tokenizer(tokenizer), load_tokenizer(name))
    assert built.vocab_size == built.config.vocab_size == len(NEW)
    assert built.config.pad_token_id == NEW.index("[PAD]")
    pairs = [
        (built.model.get_input_embeddings().weight, own.model.get_input_embeddings().weight),
        (built.anatomy.lm_head(built.model).weight, own.anatomy.lm_head(own.model).weight),
        (built.anatomy.lm_head(built.model).bias, own.anatomy.lm_head(own.model).bias),
    ]
    extra = [model.anatomy.logit_bias(model.model) for model in (built, own)]
    if extra[0] is not None:  # BART's and Marian's, of zeros at first
        pairs[2] = extra
    for new, old in pairs[: 2 if pairs[2][0] is None else 3]:
        expected = torch.stack([old[each].mean(0) for each in pieces])
        torch.testing.assert_close(new.detach(), expected.detach())
    tied = [model.anatomy.lm_head(model.model).weight is model.model.get_input_embeddings().weight
            for model in (built, own)]  # fmt: skip
    assert tied[0] == tied[1]
    body = own.model.base_model.state_dict()
    for key, value in built.model.base_model.state_dict().items():
        if value.shape == body[key].shape:
            assert torch.equal(value, body[key]), key


@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_what_starts_and_ends_a_text_has_its_new_id(folders: tuple[str, str]) -> None:
    """Also where the model writes: an old id is another token now."""
    folder, cased = folders
    student = VocabularyTransferStudent(folder, cased).build(None, 0)
    old, new = load_tokenizer(folder), load_tokenizer(cased)
    assert new.pad_token_id != old.pad_token_id
    assert student.model.generation_config.pad_token_id == new.pad_token_id
    assert student.model.generation_config.eos_token_id == new.eos_token_id
    if student.reads_pairs:  # T5 starts with its padding token
        assert student.config.decoder_start_token_id == new.pad_token_id


@pytest.mark.parametrize("family", ["m2m_100"])
def test_positions_are_counted_from_the_new_padding_as_once_saved(
    folders: tuple[str, str], tmp_path: Path
) -> None:
    folder, cased = folders
    student = VocabularyTransferStudent(folder, cased).build(None, 0).model.eval()
    student.save_pretrained(tmp_path / "saved")
    again = type(student).from_pretrained(tmp_path / "saved")
    assert student.config.pad_token_id == NEW.index("[PAD]") == 4
    ids = torch.tensor([[5, 6, 7, 4]])
    read = {"input_ids": ids, "attention_mask": ids != 4, "decoder_input_ids": ids[:, :3]}
    with torch.no_grad():
        assert torch.equal(student(**read).logits, again(**read).logits)


@pytest.mark.parametrize(
    ("family", "head"), [("t5", "lm_head.weight"), ("bert", "cls.predictions.decoder.weight")]
)
def test_a_head_of_its_own_keeps_its_own_means(folders: tuple[str, str], head: str) -> None:
    """Transformers' own resizing ties it to the embeddings, as the config says."""
    name, tokenizer = folders
    file = Path(name) / "model.safetensors"
    weights = load_file(file)
    weights[head] = torch.randn(len(OLD) + 3, 16)
    save_file(weights, file, {"format": "pt"})
    built = VocabularyTransferStudent(name, tokenizer).build(None, 0)
    pieces = pieces_of(load_tokenizer(tokenizer), load_tokenizer(name))
    old = type(built.model).from_pretrained(name).get_input_embeddings().weight
    for table, new in (
        (weights[head], built.anatomy.lm_head(built.model).weight),
        (old, built.model.get_input_embeddings().weight),
    ):
        expected = torch.stack([table[each].mean(0) for each in pieces])
        torch.testing.assert_close(new.detach(), expected.detach())


@pytest.mark.parametrize(
    "row", [row for row in TASK_HEADS if not row.causal], ids=lambda row: row.architecture
)
def test_a_task_keeps_its_head(row: Anatomy, tmp_path: Path) -> None:
    """Only what it reads is exchanged: its outputs are labels."""
    special = {"pad_token_id": 0, **dict.fromkeys(("bos_token_id", "eos_token_id"), 3)}
    own = random_model(row, vocab_size=len(OLD), **special)
    own.save_pretrained(tmp_path / "model")
    word_piece(OLD, lowercase=True).save_pretrained(tmp_path / "model")
    word_piece(NEW, lowercase=False).save_pretrained(tmp_path / "cased")
    built = VocabularyTransferStudent(str(tmp_path / "model"), str(tmp_path / "cased"))
    student, before = built.build(None, 0), own.state_dict()
    assert (student.vocab_size, student.labels) == (len(NEW), LABELS if row.has_labels else [])
    assert (student.anatomy, student.outputs) == (row, LanguageModel(own).outputs)
    pieces = pieces_of(word_piece(NEW, False), word_piece(OLD, True))
    table = own.get_input_embeddings().weight
    expected = torch.stack([table[each].mean(0) for each in pieces])
    torch.testing.assert_close(student.model.get_input_embeddings().weight, expected)
    for key, value in student.model.state_dict().items():
        if "word_embeddings" not in key and "tok_embeddings" not in key:
            assert torch.equal(value, before[key]), key
