"""Tokenizers of every kind with fewer pieces: what is left works as it did."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from cut_vocabularies import KINDS, TEXTS, tokenizer_of
from tokenizers import Tokenizer, models, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from lit_distill.errors import UserError
from lit_distill.models import closure, load_tokenizer, trim_tokenizer
from lit_distill.models.loading.tokenizers import backend_hash, tokenizer_fingerprint


def some(tokenizer: PreTrainedTokenizerFast, share: float, seed: int) -> tuple[int, ...]:
    """A closed random selection."""
    draw = random.Random(seed)
    ids = sorted(tokenizer.get_vocab().values())
    return closure(tokenizer, draw.sample(ids, int(share * len(ids))))


def names(tokenizer: PreTrainedTokenizerFast, ids: tuple[int, ...]) -> set[str]:
    return {*tokenizer.convert_ids_to_tokens(list(ids))}


@pytest.fixture(params=KINDS)
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerFast:
    return tokenizer_of(request.param)


def test_texts_of_kept_pieces_are_cut_as_before(tokenizer: PreTrainedTokenizerFast) -> None:
    met = 0
    for seed in range(6):
        kept = some(tokenizer, (0.2, 0.5, 0.9)[seed % 3], seed)
        new = {old: place for place, old in enumerate(kept)}
        trimmed = trim_tokenizer(tokenizer, kept)
        words = {word for text in TEXTS for word in text.split()}
        for text in [*TEXTS, *sorted(words), "cats x 日本", "the the"]:
            old = tokenizer(text)["input_ids"]
            if all(number in new for number in old):
                met += 1
                assert trimmed(text)["input_ids"] == [new[number] for number in old], text
    assert met > 100


def test_every_piece_is_reached_that_was_reached_before(tokenizer: PreTrainedTokenizerFast) -> None:
    def reached(of: PreTrainedTokenizerFast) -> set[str]:
        plain = of.backend_tokenizer.model
        return {
            piece
            for piece in of.get_vocab()
            for text in (piece.removeprefix("##").removesuffix("</w>"), f"x{piece[2:]}")
            if piece in [token.value for token in plain.tokenize(text)]
        }

    before = reached(tokenizer)
    for seed in range(3):
        kept = some(tokenizer, 0.3, seed)
        assert reached(trim_tokenizer(tokenizer, kept)) >= before & names(tokenizer, kept)


def test_all_files_hold_new_ids_and_any_loader_opens_them(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    kept = some(tokenizer, 0.3, 1)
    trimmed = trim_tokenizer(tokenizer, kept)
    assert trimmed.get_vocab() == {
        token: kept.index(old) for token, old in tokenizer.get_vocab().items() if old in kept
    }
    assert trimmed.special_tokens_map == tokenizer.special_tokens_map
    for role in ("pad", "unk", "cls", "sep", "mask", "bos", "eos"):
        old = getattr(tokenizer, f"{role}_token_id")
        assert getattr(trimmed, f"{role}_token_id") == (None if old is None else kept.index(old))
    trimmed.save_pretrained(tmp_path)
    for again in (AutoTokenizer.from_pretrained(tmp_path), load_tokenizer(str(tmp_path))):
        assert tokenizer_fingerprint(again) == tokenizer_fingerprint(trimmed)
        assert again.model_max_length == 64
        pair = again("the cats", "the river")["input_ids"]
        assert trimmed("the cats", "the river")["input_ids"] == pair


def test_what_is_kept_is_closed(tokenizer: PreTrainedTokenizerFast) -> None:
    kept = closure(tokenizer, [])
    assert {*tokenizer.all_special_ids} <= {*kept}
    assert closure(tokenizer, kept) == kept
    more = some(tokenizer, 0.4, 2)
    assert closure(tokenizer, more) == more
    assert {*kept} <= {*more}
    with pytest.raises(UserError, match=r"ids to keep are no token of the tokenizer, such as 9999"):
        closure(tokenizer, [9999])


def test_what_is_missing_is_an_error(tokenizer: PreTrainedTokenizerFast) -> None:
    kept = some(tokenizer, 0.4, 2)
    with pytest.raises(UserError, match=r"cannot do without 1 pieces .* '(\[PAD\]|<s>)'"):
        trim_tokenizer(tokenizer, kept[1:])
    with pytest.raises(UserError, match="ascend, each once"):
        trim_tokenizer(tokenizer, (*kept, kept[0]))


def test_bpe_keeps_what_a_piece_is_merged_from_and_no_more() -> None:
    tokenizer = tokenizer_of("BPE with bytes")  # whose pieces are the result of many merges
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    numbers = model["vocab"]
    piece = max((piece for piece in numbers if piece.startswith("▁")), key=len)
    kept = names(tokenizer, closure(tokenizer, [numbers[piece]]))
    made = kept - names(tokenizer, closure(tokenizer, []))
    ranks = {tuple(pair): rank for rank, pair in enumerate(model["merges"])}
    row, through = list(piece), {*piece}  # by hand: the lowest rank first, the first of equals
    while len(row) > 1:
        known = [(ranks[pair], at) for at, pair in enumerate(pairwise(row)) if pair in ranks]
        place = min(known)[1]
        row[place : place + 2] = [row[place] + row[place + 1]]
        through.add(row[place])
    assert row == [piece]
    assert made == through
    assert len({"".join(pair) for pair in ranks} & {piece[:n] for n in range(len(piece))}) > 2


def test_characters_of_kept_pieces_stay_and_no_others() -> None:
    for kind in ("wordpiece", "unigram"):
        tokenizer = tokenizer_of(kind)
        piece = tokenizer.convert_tokens_to_ids("sleep" if kind == "wordpiece" else "▁sleep")
        kept = names(tokenizer, closure(tokenizer, [piece]))
        forms = {"s", "l", "e", "p", *(["##s", "##l", "##e", "##p"] if kind == "wordpiece" else [])}
        assert forms & tokenizer.get_vocab().keys() <= kept
        assert not {"न", "##न", "ন"} & kept
        trimmed = trim_tokenizer(tokenizer, closure(tokenizer, [piece]))
        assert trimmed.unk_token not in trimmed.tokenize("pells")


def test_unigram_keeps_the_cost_of_an_unknown_character() -> None:
    """It is 10 below the lowest score, and decides between pieces and an unknown one."""
    pieces = [("ab", -30.0), ("▁", -2.0), ("q", -5.0), ("▁a", -3.0), ("<unk>", 0.0), ("c", -4.0)]
    backend = Tokenizer(models.Unigram(pieces, 4))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")
    kept = closure(tokenizer, [1, 3, 5])
    assert kept == (0, 1, 3, 4, 5)
    trimmed = trim_tokenizer(tokenizer, kept)
    for text in ("▁ab", "▁abc", "▁cb", "▁z"):
        assert trimmed.tokenize(text) == tokenizer.tokenize(text)
        assert trimmed.convert_ids_to_tokens(trimmed(text)["input_ids"]) == (
            tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"])
        )


@pytest.mark.parametrize("kind", [processors.BertProcessing, processors.RobertaProcessing, None])
@pytest.mark.parametrize("nested", [False, True])
def test_templates_around_texts_have_new_ids(kind: Any, nested: bool) -> None:
    """Also where their tokens stand behind the vocabulary."""
    tokenizer = tokenizer_of("byte-level BPE")
    backend = tokenizer.backend_tokenizer
    first, last = ((t, backend.token_to_id(t)) for t in ("<|im_start|>", "<|im_end|>"))
    template = processors.TemplateProcessing(
        single=f"{first[0]} $A {last[0]}", special_tokens=[first, last]
    )
    own = template if kind is None else kind(last, first)
    backend.post_processor = (
        processors.Sequence([processors.ByteLevel(trim_offsets=False), own]) if nested else own
    )
    kept = some(tokenizer, 0.2, 4)
    assert kept[-2:] == (first[1], last[1])
    ids = trim_tokenizer(tokenizer, kept)("the")["input_ids"]
    assert (ids[0], ids[-1]) == (len(kept) - 2, len(kept) - 1)
    assert closure(tokenizer, [])[-2:] == kept[-2:]


def test_tokens_without_a_row_are_left_out() -> None:
    tokenizer = tokenizer_of("byte-level BPE")
    rows = tokenizer.convert_tokens_to_ids("<|im_end|>")
    kept = closure(tokenizer, [300], rows)
    assert kept[-1] == rows - 1
    trimmed = trim_tokenizer(tokenizer, kept, rows)
    assert "<|im_start|>" in trimmed.get_vocab()
    assert "<|im_end|>" not in trimmed.get_vocab()


def test_other_kinds_are_refused() -> None:
    backend = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]")
    with pytest.raises(UserError, match=r"kind WordLevel cannot be trimmed: .* Unigram,"):
        closure(tokenizer, [1])


def test_hashes_tell_vocabularies_and_not_roles() -> None:
    tokenizer, other = tokenizer_of("unigram"), tokenizer_of("unigram")
    other.pad_token = "<mask>"
    other("a b", padding="max_length", truncation=True, max_length=5)
    assert backend_hash(tokenizer) == backend_hash(other)
    assert backend_hash(trim_tokenizer(tokenizer, closure(tokenizer, [9]))) != backend_hash(other)


def test_of_equal_pairs_the_first_is_merged_first_of_equals() -> None:
    """`aaab` is made of `aa` and `ab`; the last two letters first would end as `a`, `aa`, `b`."""
    vocabulary = {"<unk>": 0, "a": 1, "aa": 2, "aaab": 3, "b": 4, "ab": 5, "aab": 6,
                  "c": 7, "ca": 8, "cab": 9}  # fmt: skip
    merges = [("a", "a"), ("a", "b"), ("aa", "ab"), ("a", "ab"), ("aa", "b"),
              ("c", "ab"), ("c", "a"), ("ca", "b")]  # fmt: skip
    backend = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")
    assert tokenizer.tokenize("aaab") == ["aaab"]
    assert closure(tokenizer, [3]) == (0, 1, 2, 3, 4, 5)
    assert closure(tokenizer, [6]) == (0, 1, 2, 4, 6)  # by aa and b, though a and ab would do
    assert closure(tokenizer, [9]) == (0, 1, 4, 5, 7, 9)  # by ab, though ca is in front
    assert trim_tokenizer(tokenizer, (0, 1, 2, 3, 4, 5)).tokenize("aaab") == ["aaab"]
    assert trim_tokenizer(tokenizer, (0, 1, 2, 4, 6)).tokenize("aab") == ["aab"]
