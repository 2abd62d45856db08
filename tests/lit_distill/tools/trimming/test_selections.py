"""Rules for the pieces that stay, on counts made by hand and on small texts."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from cut_vocabularies import KINDS, TEXTS, WORDS, lines, tokenizer_of

from data_modules import MultilingualCorpus, Source
from lit_distill.errors import UserError
from lit_distill.models import trim_tokenizer
from lit_distill.models.vocabularies.closure import Closing
from lit_distill.tools.trimming.counting import Counts, Language, read, wanted
from lit_distill.tools.trimming.measuring import cut
from lit_distill.tools.trimming.selections import LineFrequency, PieceSelection, TokenFrequency
from lit_distill.tools.trimming.size_budget import SizeBudget

CLOSING = Closing(tokenizer_of("unigram"))


def counts(language: str, texts: int, holding: list[int], times: list[int]) -> Counts:
    return Counts(language, texts, np.array(holding), np.array(times))


def test_pieces_that_enough_texts_of_one_language_hold() -> None:
    found = [
        counts("aa", 1000, [0, 1, 9, 10, 11], [0, 99, 9, 10, 11]),
        counts("bb", 50, [0, 1, 0, 0, 0], [0, 1, 0, 0, 0]),
    ]
    assert LineFrequency(share=0.01).choose(found[:1], CLOSING) == {3, 4}
    assert LineFrequency(share=0.01).choose(found, CLOSING) == {1, 3, 4}  # int(0.5) is none: one
    assert LineFrequency(share=0.0109).choose(found[:1], CLOSING) == {3, 4}  # int(10.9)
    assert LineFrequency(share=0.01101).choose(found[:1], CLOSING) == {4}


def test_pieces_that_are_enough_of_one_languages_tokens() -> None:
    found = [
        counts("aa", 9, [0, 9, 9, 1], [0, 900, 90, 10]),
        counts("bb", 9, [1, 0, 0, 9], [10, 0, 0, 90]),
    ]
    assert TokenFrequency(share=0.09).choose(found, CLOSING) == {0, 1, 2, 3}
    assert TokenFrequency(share=0.11).choose(found, CLOSING) == {1, 3}
    assert TokenFrequency(share=1e-6).choose(found[:1], CLOSING) == {1, 2, 3}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: LineFrequency(share=0.0), "LineFrequency.share is 0.0: use a number in"),
        (lambda: LineFrequency(longer_than=-1), "LineFrequency.longer_than is -1"),
        (lambda: TokenFrequency(share=1.5), "TokenFrequency.share is 1.5"),
        (lambda: SizeBudget(pieces=0), "SizeBudget.pieces is 0"),
        (lambda: SizeBudget(coverage=0), "SizeBudget.coverage is 0"),
    ],
)
def test_numbers_out_of_range_are_refused(make: type[PieceSelection], said: str) -> None:
    with pytest.raises(UserError, match=said):
        make()


def corpus(folder: Path, holdout: int = 10) -> MultilingualCorpus:
    for language in WORDS:
        text = "\n".join(dict.fromkeys(lines(language, 200)))
        (folder / f"{language}.txt").write_text(text + "\nab\n", "utf-8")
    return MultilingualCorpus([Source(files="{language}.txt")], str(folder), holdout=holdout)


def counted(folder: Path, kind: str, longer_than: int = 0) -> list[Language]:
    data = corpus(folder)
    return read(data, wanted(data, None), tokenizer_of(kind), longer_than, 500)


def test_training_texts_are_counted_and_others_held_out(tmp_path: Path) -> None:
    tokenizer = tokenizer_of("unigram")
    for one in counted(tmp_path, "unigram", longer_than=2):
        language = one.counts.language
        everything = {*lines(language, 200)}
        assert 5 < len(one.held_out) < 60
        rest = [text for text in everything if text not in one.held_out]
        assert one.counts.texts == len(rest)  # and not the short one
        ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in rest]
        for number in range(len(tokenizer)):
            assert one.counts.times[number] == sum(each.count(number) for each in ids)
            assert one.counts.holding[number] == sum(number in each for each in ids)


def test_short_texts_are_left_out_by_their_characters(tmp_path: Path) -> None:
    (tmp_path / "xx.txt").write_text("".join(f"abc{n}\n" for n in range(9)) + "abc10\nabc11\n")
    (tmp_path / "dev.txt").write_text("other\n")
    source = Source("xx", files="xx.txt", validation="dev.txt")
    for longer_than, texts in ((3, 11), (4, 2)):
        data = MultilingualCorpus([source], str(tmp_path), holdout=1000)
        found = read(data, wanted(data, None), tokenizer_of("unigram"), longer_than, 5)
        assert found[0].counts.texts == texts


@pytest.mark.parametrize("kind", KINDS)
def test_a_budget_is_spent_and_shared_by_need(kind: str, tmp_path: Path) -> None:
    tokenizer, read_ = tokenizer_of(kind), counted(tmp_path, kind)
    closing, found = Closing(tokenizer), [one.counts for one in read_]
    rule = SizeBudget(pieces=9999, coverage=0.9)
    least = len(closing.of(rule._characters(found, closing)))
    most = len(rule.choose(found, closing))
    growth: list[list[float]] = []
    for pieces in (least + (most - least) // 3, least + 2 * (most - least) // 3):
        kept = SizeBudget(pieces=pieces, coverage=0.9).choose(found, closing)
        assert pieces - 3 <= len(kept) <= pieces
        assert closing.of(kept) == tuple(sorted(kept))
        trimmed = trim_tokenizer(tokenizer, closing.of(kept))
        growth.append([_longer(one.held_out, tokenizer, trimmed) for one in read_])
    assert max(growth[1]) < max(growth[0])
    assert max(growth[1]) - min(growth[1]) < 0.4


def _longer(texts: list[str], old: object, new: object) -> float:
    return cut("", texts, new).report.tokens / cut("", texts, old).report.tokens


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_missing_piece_is_cut_into(kind: str) -> None:
    """Beside the tokenizer that lacks it; a Unigram's path may have more pieces than the fewest."""
    tokenizer = tokenizer_of(kind)
    closing = Closing(tokenizer)
    draw = random.Random(1)
    kept = closing.of(draw.sample(sorted(tokenizer.get_vocab().values()), 120))
    trimmed = trim_tokenizer(tokenizer, kept)
    plain, met = trimmed.backend_tokenizer.model, 0
    for piece, number in tokenizer.get_vocab().items():
        text = piece.removesuffix("</w>")
        whole = tokenizer.backend_tokenizer.model.tokenize(text)
        known = {*closing.numbers_of(closing.spelt(number))} <= {*kept}
        if number in kept or [token.value for token in whole] != [piece] or not known:
            continue
        met += 1
        length = closing.length(number, {*kept})
        found = len(plain.tokenize(text))
        assert length <= found if "unigram" in kind else length == found, piece
    assert met > 10


def test_the_language_in_most_need_comes_first() -> None:
    """Two languages of two words each; one word more has room, then one more."""
    tokenizer = tokenizer_of("unigram")
    closing = Closing(tokenizer)
    words = {
        word: tokenizer.convert_tokens_to_ids(word) for word in ("▁the", "▁old", "▁घर", "▁नदी")
    }
    assert tokenizer.unk_token_id not in words.values()

    def of(language: str, given: dict[str, int]) -> Counts:
        times = np.zeros(len(tokenizer), dtype=np.int64)
        for word, count in given.items():
            times[words[word]] = count
        return Counts(language, 10, times, times)

    found = [of("en", {"▁the": 50, "▁old": 50}), of("hi", {"▁घर": 1, "▁नदी": 2})]
    base = len(
        SizeBudget(pieces=9999, coverage=1.0)._characters(found, closing) | {*closing.of(())}
    )
    order = []
    for more in range(1, 5):
        kept = SizeBudget(pieces=base + more, coverage=1.0).choose(found, closing)
        order.append({word for word, number in words.items() if number in kept})
    # en: 4 and 4 characters: 4.0 times as long; hi: 3 and 4: (3 + 8) / 3 = 3.7 times
    first = min(("▁the", "▁old"), key=words.__getitem__)
    assert order[0] == {first}  # of equals, the first id
    assert order[1] == {first, "▁नदी"}  # en is at 2.5, hi at 3.7
    assert order[2] == {"▁the", "▁नदी", "▁old"}  # en at 2.5, hi at (3 + 2) / 3
    assert order[3] == {*words}


def test_a_budget_below_what_is_needed_is_refused(tmp_path: Path) -> None:
    tokenizer = tokenizer_of("byte-level BPE")
    closing = Closing(tokenizer)
    with pytest.raises(UserError, match=r"pieces is 200, and special .* alphabet alone take 263"):
        SizeBudget(pieces=200).check(closing)
    closing = Closing(tokenizer_of("unigram"))
    found = [one.counts for one in counted(tmp_path, "unigram")]
    SizeBudget(pieces=20).check(closing)
    with pytest.raises(UserError, match=r"characters of 3 languages alone take \d+: raise it, or"):
        SizeBudget(pieces=20).choose(found, closing)


def test_what_a_budget_keeps_shortens_real_texts(tmp_path: Path) -> None:
    tokenizer = tokenizer_of("unigram")
    closing, found = Closing(tokenizer), [one.counts for one in counted(tmp_path, "unigram")]
    lengths = []
    for pieces in (85, 100, 9999):
        kept = closing.of(SizeBudget(pieces=pieces).choose(found, closing))
        lengths.append(cut("", TEXTS, trim_tokenizer(tokenizer, kept)).report.tokens)
    assert lengths[0] > lengths[1] > lengths[2] == cut("", TEXTS, tokenizer).report.tokens
