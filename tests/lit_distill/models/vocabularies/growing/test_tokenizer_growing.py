"""Tokenizers with more pieces: whatever has none of them is cut as it was."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from cut_vocabularies import lines, tokenizer_of
from grown import BANGLA, KINDS, OTHERS, english, grown, growth_of, mixed
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from data_modules.text.markers import engine
from lit_distill.errors import UserError
from lit_distill.models.vocabularies.growing.finding import (
    Uses,
    chosen_of,
    cut,
    find_pieces,
    words_of,
)
from lit_distill.models.vocabularies.growing.merging import learn_merges, merged
from lit_distill.models.vocabularies.growing.new_piece import Growth, NewPiece
from lit_distill.models.vocabularies.growing.tokenizer_growing import (
    MARGIN,
    grow_tokenizer,
    growable_parts,
    grown_parts,
)


def parts_of(tokenizer: PreTrainedTokenizerFast) -> dict:
    return json.loads(tokenizer.backend_tokenizer.to_str())


def words_in(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> dict[str, int]:
    return words_of(engine(tokenizer), texts)


@pytest.mark.parametrize("kind", KINDS)
def test_old_ids_stay_and_new_ones_follow(kind: str) -> None:
    old, new, growth = english(kind), grown(kind), growth_of(kind)
    assert len(growth.pieces) == 12
    first = max(old.get_vocab().values()) + 1
    assert old.convert_tokens_to_ids("<|im_end|>") == first - 1  # which would move with the end
    expected = {piece.text: first + place for place, piece in enumerate(growth.pieces)}
    assert new.get_vocab() == {**old.get_vocab(), **expected}
    assert new.special_tokens_map == old.special_tokens_map
    before, after = parts_of(old), parts_of(new)
    assert {**after, "model": None} == {**before, "model": None}
    if kind == "BPE":
        count = len(before["model"]["merges"])
        assert after["model"]["merges"][:count] == before["model"]["merges"]
    if kind == "Unigram":
        count = len(before["model"]["vocab"])
        assert after["model"]["vocab"][:count] == before["model"]["vocab"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("special", [True, False])
def test_texts_without_new_pieces_are_cut_as_before(kind: str, special: bool) -> None:
    old, new = english(kind), grown(kind)
    texts = OTHERS + BANGLA + mixed()
    before, after = (each(texts, add_special_tokens=special)["input_ids"] for each in (old, new))
    without = [max(ids, default=0) < len(old) for ids in after]
    assert sum(without) > 200
    assert sum(without) < len(texts) - 200
    for text, one, other, same in zip(texts, before, after, without, strict=True):
        assert one == other or not same, text
        assert len(other) <= len(one), text


@pytest.mark.parametrize("kind", ["Unigram", "BPE"])
def test_new_pieces_spelt_out_are_the_old_cut(kind: str) -> None:
    """For all texts where merges decide; for Unigram where texts are of the learnt words."""
    old, new, growth = english(kind), grown(kind), growth_of(kind)
    spelt = dict(enumerate((piece.parts for piece in growth.pieces), start=len(old)))
    used = set()
    for text in BANGLA + (OTHERS + mixed() if kind == "BPE" else []):
        ids = new(text)["input_ids"]
        used |= {number for number in ids if number in spelt}
        whole = [part for number in ids for part in spelt.get(number, (number,))]
        assert whole == old(text)["input_ids"], text
    assert len(used) > 6


@pytest.mark.parametrize("kind", KINDS)
def test_every_piece_is_reached_where_it_stands(kind: str) -> None:
    new, old = engine(grown(kind)), english(kind)
    for piece in growth_of(kind).pieces:
        assert piece.text in [text for _, text in cut(new.model, piece.word)]
        assert len(piece.parts) > 1
        assert max(piece.parts) < len(old)
        if not piece.text.startswith("##"):
            assert [text for _, text in cut(new.model, piece.text)] == [piece.text]
            own = [number for number, _ in cut(engine(old).model, piece.text)]
            assert list(piece.parts) == own
        elif piece.word:  # the old cut inside of a word, whose start is one character
            inside = cut(engine(old).model, "t" + piece.text.removeprefix("##"))
            assert list(piece.parts) == [number for number, _ in inside][1:]


@pytest.mark.parametrize("kind", KINDS)
def test_texts_become_shorter_with_more_pieces(kind: str) -> None:
    def length(tokenizer: PreTrainedTokenizerFast) -> int:
        return sum(map(len, tokenizer(lines("bn", 50, seed=9))["input_ids"]))

    few, many = length(grown(kind, 5)), length(grown(kind, 12))
    assert many < few < length(english(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_plain_transformers_reopens_it(kind: str, tmp_path: Path) -> None:
    new = grown(kind)
    new.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    texts = OTHERS + BANGLA + mixed()
    assert again(texts)["input_ids"] == new(texts)["input_ids"]
    assert again.get_vocab() == new.get_vocab()
    assert again.decode(again(BANGLA[0])["input_ids"], skip_special_tokens=True).strip() == (
        english(kind)
        .decode(english(kind)(BANGLA[0])["input_ids"], skip_special_tokens=True)
        .strip()
    )


@pytest.mark.parametrize("kind", KINDS)
def test_it_grows_again(kind: str) -> None:
    """What grew is a tokenizer like any other."""
    first = grown(kind, 5)
    backend = engine(first)
    growth = find_pieces(backend, first.get_vocab(), words_of(backend, BANGLA), 5)
    second = grow_tokenizer(first, growth)
    assert {**second.get_vocab(), **first.get_vocab()} == second.get_vocab()
    assert len(second) == len(first) + 5 == len(english(kind)) + 10


def slow_merges(runs: dict[tuple[str, ...], int], known: set[str], most: int) -> list:
    """Everything counted anew at every step."""
    words, found, made = [(list(run), times) for run, times in runs.items()], [], set()
    while len(found) < most:
        counts: dict[tuple[str, str], int] = {}
        for word, times in words:
            for pair in pairwise(word):
                if pair[0] + pair[1] not in known | made:
                    counts[pair] = counts.get(pair, 0) + times
        pair = min(counts, key=lambda each: (-counts[each], each), default=None)
        if pair is None or counts[pair] < 2:
            break
        found.append(pair)
        made.add(pair[0] + pair[1])
        for word, _ in words:
            place = 0
            while place + 1 < len(word):
                if (word[place], word[place + 1]) == pair:
                    word[place : place + 2] = ["".join(pair)]
                place += 1
    return found


def test_merges_are_those_of_counting_anew() -> None:
    texts = ["aaaa", "abab", "abcabc", "aab", "bca", "cc", "baab", "d", "de", "aaab"]
    runs = {tuple(text): 1 + place % 3 for place, text in enumerate(texts)}
    for known in (set(), {"ab"}, {"aa", "bca"}):
        expected = slow_merges(runs, known, 12)
        assert learn_merges(runs, known, 12) == expected
        assert len(expected) > 4
    tokenizer = english("BPE")
    words = words_in(tokenizer, BANGLA)
    runs = {tuple(t for _, t in cut(engine(tokenizer).model, word)): n for word, n in words.items()}
    known = {*tokenizer.get_vocab()}
    assert list(growth_of("BPE").merges) == slow_merges(runs, known, 12)


def test_a_pair_is_merged_from_the_left() -> None:
    assert merged("aaa", ("a", "a")) == ["aa", "a"]
    assert merged("abaab", ("a", "b")) == ["ab", "a", "ab"]


def test_rare_pairs_are_not_merged() -> None:
    assert learn_merges({("a", "b"): 1, ("c", "d"): 2}, set(), 9) == [("c", "d")]


def unigram(scores: dict[str, float]) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.Unigram([("<unk>", 0.0), *scores.items()], unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


def test_scores_are_those_of_the_replaced_path() -> None:
    old = unigram({"a": -2.0, "b": -3.0, "c": -4.0, "bc": -3.5, "d": -9.0})
    pieces = [("ab", (1, 2)), ("abc", (1, 4)), ("cd", (3, 5)), ("abcd", (1, 4, 5))]
    growth = Growth(tuple(NewPiece(text, parts, text) for text, parts in pieces))
    new = parts_of(grow_tokenizer(old, growth))["model"]["vocab"]
    expected = [-5.0 + MARGIN, -5.5 + MARGIN, -9.0 + MARGIN, -9.0 + 2 * MARGIN]
    assert [score for _, score in new[6:]] == pytest.approx(expected, abs=1e-12)
    assert min(score for _, score in new) == -9.0  # so unknown characters cost what they did


def test_pieces_that_never_win_are_left_out() -> None:
    """Steps of merges that stand in longer pieces alone, of Unigram and WordPiece alike."""
    old = unigram(dict.fromkeys("abcdxyz", -5.0))
    words = {"abcd": 5, "xy": 2}
    growth = find_pieces(engine(old), old.get_vocab(), words, 9)
    assert [piece.text for piece in growth.pieces] == ["abcd", "xy"]
    assert growth.pieces[0].parts == (1, 2, 3, 4)


def word_piece(pieces: list[str]) -> PreTrainedTokenizerFast:
    numbers = {piece: number for number, piece in enumerate(["[UNK]", *pieces])}
    tokenizer = Tokenizer(models.WordPiece(numbers, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]")


def test_word_pieces_that_save_most_come_first() -> None:
    old = word_piece(["a", "b", "ab", *(f"##{letter}" for letter in "abcd"), "##cd", "x"])
    words = {"abcd": 9, "bcd": 4, "xaab": 6, "zz": 50}
    growth = find_pieces(engine(old), old.get_vocab(), words, 2)
    # 6 uses that save 3 tokens; 9 that save 1: its parts are ab and ##cd; zz is unknown
    assert [(piece.text, piece.word) for piece in growth.pieces] == [
        ("xaab", "xaab"),
        ("abcd", "abcd"),
    ]
    names = [old.convert_ids_to_tokens(list(piece.parts)) for piece in growth.pieces]
    assert names == [["x", "##a", "##a", "##b"], ["ab", "##cd"]]


def test_insides_of_words_are_spelt_with_insides() -> None:
    old = word_piece([*"abcuvwxyz", *(f"##{letter}" for letter in "abc"), "ab"])
    words = {start + "abc": 3 for start in "uvwxyz"}
    (piece,) = find_pieces(engine(old), old.get_vocab(), words, 1).pieces
    assert (piece.text, piece.word) == ("##abc", "uabc")
    assert old.convert_ids_to_tokens(list(piece.parts)) == ["##a", "##b", "##c"]


def test_a_piece_that_others_made_possible_goes_with_them() -> None:
    """`##cd` stands behind `ab` alone: without that, `##bc` is before it."""
    old = word_piece(["a", "x", *(f"##{letter}" for letter in "abcd")])
    candidates = [
        NewPiece(text, tuple(old.convert_tokens_to_ids(parts)), text)
        for text, parts in {
            "ab": ["a", "##b"],
            "##cd": ["##c", "##d"],
            "##bc": ["##b", "##c"],
        }.items()
    ]
    words = {"abcd": 5, "xbc": 9}
    uses = Uses(parts_of(old), len(old), words)
    assert uses.of(candidates)[0] == {"ab": 5, "##cd": 5, "##bc": 9}
    chosen = chosen_of(uses, candidates, 2)
    assert [(piece.text, piece.word) for piece in chosen] == [("##bc", "xbc"), ("ab", "abcd")]


def test_nothing_is_found_for_what_is_unknown() -> None:
    for old in (unigram({"a": -1.0}), word_piece(["a"])):
        assert find_pieces(engine(old), old.get_vocab(), {"zz": 50, "a": 9}, 5).pieces == ()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("BPE with ends of words", "its merges are of characters"),
        ("BPE with bytes", "its merges are of characters"),
    ],
)
def test_other_kinds_are_refused(kind: str, said: str) -> None:
    with pytest.raises(UserError, match=rf"No pieces can be added .*{said}.* Use Vocabulary"):
        growable_parts(tokenizer_of(kind))


def test_other_models_are_refused() -> None:
    words = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    with pytest.raises(UserError, match="it is of the kind WordLevel"):
        growable_parts(PreTrainedTokenizerFast(tokenizer_object=words))
    bare = Tokenizer(models.Unigram([("a", -1.0)]))
    with pytest.raises(UserError, match="no pre-tokenizer, so that a whole text is one word"):
        growable_parts(PreTrainedTokenizerFast(tokenizer_object=bare))


def test_a_word_cannot_become_unknown_behind_a_new_piece() -> None:
    """With the piece `ab`, `abc` would be cut into it and a `##c` that is not there."""
    growable_parts(word_piece(["a", "##b", "##bc", "##c", "[unused1]"]))
    old = word_piece(["a", "##b", "##bc"])
    assert old.tokenize("abc") == ["a", "##bc"]
    new = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(
            json.dumps(grown_parts(parts_of(old), Growth((NewPiece("ab", (1, 2), "ab"),)), 4))
        )
    )
    assert new.tokenize("abc") == ["[UNK]"]
    with pytest.raises(UserError, match="'c' stands inside of its pieces and is none of its own"):
        growable_parts(old)
