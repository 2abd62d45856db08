"""Words of scripts without spaces: whole words are masked, not whole sentences."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import sentences
from lightning.pytorch import Trainer
from tokenizers import ByteLevelBPETokenizer, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from data_modules import MaskedTokens, MultilingualCorpus, ParallelCorpus, ParallelSource, Source
from data_modules.storing.corpus_report import FileReport
from data_modules.storing.tokenising import Cutter, Settings, fingerprint
from data_modules.storing.word_breaks import WordBreaks
from data_modules.text.framing import Frame
from lit_distill.errors import UserError

WORDS = {
    "zh": "我们 今天 大学 学校 然后 回家 吃饭 喜欢 朋友 工作 中国 音乐 天气 老师 学生",
    "ja": "昨日 東京 新しい 学校 電車 友達 先生 天気 会社 写真 言葉 日本 旅行 時間",
    "th": "หนังสือ บ้าน ร้าน โรงเรียน อาหาร ประเทศ ภาษา ครู นักเรียน ตลาด ดนตรี รถไฟ",
    "lo": "ປຶ້ມ ຮ້ານ ເຮືອນ ໂຮງຮຽນ ອາຫານ ປະເທດ ພາສາ ຕະຫຼາດ ດົນຕີ ນັກຮຽນ",
    "km": "សៀវភៅ ផ្ទះ ហាង សាលា អាហារ ប្រទេស ភាសា ផ្សារ តន្ត្រី សិស្ស",
    "my": "စာအုပ် ဆိုင် အိမ် ကျောင်း အစားအစာ နိုင်ငံ ဘာသာ ဈေး ဂီတ ကျောင်းသား",
}
ROLES = {"unk_token": "<unk>", "mask_token": "<mask>", "pad_token": "<pad>"}
SPECIALS = list(ROLES.values())


def texts_of(language: str, count: int = 40) -> list[str]:
    draw, words = np.random.default_rng(3), WORDS[language].split()
    return ["".join(draw.choice(words, 40)) for _ in range(count)]


def unigram(lines: list[str]) -> Any:
    core = Tokenizer(models.Unigram())
    core.pre_tokenizer, core.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    core.train_from_iterator(
        lines,
        trainers.UnigramTrainer(
            vocab_size=100, special_tokens=SPECIALS, unk_token="<unk>", show_progress=False
        ),
    )
    return PreTrainedTokenizerFast(tokenizer_object=core, **ROLES)


def byte_level(lines: list[str]) -> Any:
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(lines, vocab_size=290, special_tokens=SPECIALS, show_progress=False)
    return PreTrainedTokenizerFast(tokenizer_object=trained._tokenizer, **ROLES)


def word_piece(lines: list[str]) -> Any:
    core = Tokenizer(models.WordPiece(unk_token="<unk>", max_input_chars_per_word=1000))
    core.pre_tokenizer, core.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
    core.train_from_iterator(
        lines,
        trainers.WordPieceTrainer(vocab_size=200, special_tokens=SPECIALS, show_progress=False),
    )
    return PreTrainedTokenizerFast(tokenizer_object=core, **ROLES)


def corpus_of(folder: Path, tokenizer: Any, language: str, objective: MaskedTokens) -> Any:
    tokenizer.save_pretrained(folder / "tokenizer")
    lines = texts_of(language) if language in WORDS else sentences(language, 60)
    place = folder / f"{language}.txt"
    if not place.exists():  # the same file has the same cache
        place.write_text("\n".join(lines) + "\n", encoding="utf-8")
    corpus = MultilingualCorpus(
        [Source(files="{language}.txt")],
        data_dir=str(folder),
        cache_dir=str(folder / "cache"),
        tokenizer=str(folder / "tokenizer"),
        objective=objective,
        max_length=2048,
        batch_tokens=1 << 16,
        holdout=5,
    )
    corpus.trainer = Trainer(accelerator="cpu", logger=False, max_steps=1)
    corpus.prepare_data()
    corpus.setup("fit")
    return corpus


def share_of(corpus: Any) -> float:
    everything = np.arange(len(corpus.train.lengths))
    counts = corpus.collator()(everything, np.zeros_like(everything))["counts"]
    return counts["masked"] / counts["tokens"]


CASES = [(unigram, name) for name in WORDS] + [(byte_level, name) for name in WORDS]
CASES += [(word_piece, name) for name in ("th", "lo", "km", "my")]


@pytest.mark.parametrize(("build", "language"), CASES)
def test_whole_words_are_masked_and_not_whole_sentences(
    build: Any, language: str, tmp_path: Path
) -> None:
    """The masked share was 1.00 for zh, ja and th; right is 0.15."""
    tokenizer = build(texts_of(language))
    corpus = corpus_of(tmp_path, tokenizer, language, MaskedTokens(whole_word=True))
    wanted = np.ceil(0.15 * corpus.train.lengths - 1e-9).sum() / corpus.train.lengths.sum()
    assert wanted == pytest.approx(0.15, abs=0.04)  # rounded up in every text
    assert share_of(corpus) == pytest.approx(wanted, abs=0.01)
    everything = np.arange(len(corpus.train.lengths))
    batch = corpus.collator()(everything, np.zeros_like(everything))
    shown = batch["input_ids"].clone().flatten()
    shown[batch["rows"]] = batch["targets"]
    hidden = np.zeros(len(shown), dtype=bool)
    hidden[batch["rows"]] = True
    width, longer = batch["input_ids"].shape[1], 0
    engine = tokenizer.backend_tokenizer
    for row, length in enumerate(corpus.train.lengths.tolist()):
        inside = slice(row * width, row * width + length)
        text = tokenizer.decode(shown[inside].tolist()).replace(" ", "")
        encoding = engine.encode(text, add_special_tokens=False)
        assert encoding.ids == shown[inside].tolist()
        for start, stop in segments(text):
            own = [i for i, (a, b) in enumerate(encoding.offsets) if a >= start and b <= stop and b]
            whole = {hidden[inside][i] for i in own}
            longer += len(own) > 1 and whole == {True}
            alone = not any(a < start < b or a < stop < b for a, b in encoding.offsets)
            assert not alone or len(whole) <= 1
    assert longer > 0 or build is not byte_level


def segments(text: str) -> list[tuple[int, int]]:
    from icu4py.breakers import WordBreaker

    return list(WordBreaker(text, "en").segments())


@pytest.mark.parametrize("build", [unigram, byte_level])
def test_without_the_library_pieces_are_masked_and_the_language_is_named(
    build: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WordBreaks, "_icu", None)
    tokenizer, objective = build(texts_of("th")), MaskedTokens(whole_word=True)
    said = (
        r"No word boundaries are known for th \(40 texts\): .* `pip install lit-distill\[words\]`"
    )
    with pytest.warns(UserWarning, match=said):
        corpus = corpus_of(tmp_path, tokenizer, "th", objective)
    assert share_of(corpus) == pytest.approx(0.15, abs=0.02)
    with pytest.warns(UserWarning, match=said):  # also of the cached corpus
        corpus_of(tmp_path, tokenizer, "th", objective)
    state = corpus.train_dataloader().state_dict()
    monkeypatch.undo()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        known = corpus_of(tmp_path, tokenizer, "th", objective)
    assert known.train.folder != corpus.train.folder
    with pytest.raises(UserError, match=r"words was 'pieces' and is now 'ICU \d"):
        known.train_dataloader().load_state_dict(state)


def test_scripts_without_a_dictionary_are_named_too() -> None:
    breaks, report = WordBreaks(), FileReport("file", "nod")
    tai = "ᨲ᩠ᩅᩫᨾᩮᩬᩥᨦ"
    assert not breaks.knows(tai)
    assert breaks.knows("我们 and words")
    tokenizer = byte_level([tai, "我们"])
    Cutter(tokenizer, 99, breaks=breaks).windows([(1, tai), (2, "我们"), (3, "a")], report)
    assert report.unsegmented == 1
    characters = [(i, i + 1) for i in range(len(tai))]
    assert breaks.of_tokens(tai, characters).all()


def test_where_words_begin() -> None:
    breaks = WordBreaks()

    def begun(text: str, *lengths: int) -> list[int]:
        stops = np.cumsum(lengths).tolist()
        return np.flatnonzero(
            breaks.of_tokens(text, [(b - a, b) for a, b in zip(lengths, stops, strict=True)])
        ).tolist()

    assert begun("我们今天去", 1, 1, 2, 1) == [0, 2, 3]
    assert begun("我们今天去", 1, 3, 1) == [0, 2]  # a piece over a border belongs to one word
    assert begun("plain text", 5, 5) == []
    assert begun("在Python写", 1, 3, 3, 1) == [0, 1, 3]
    # ICU counts in units of UTF-16, of which an emoji or a rare ideograph has two.
    assert begun("😀😀我们今天", 1, 1, 2, 2) == [2, 3]
    assert begun("𠀀 我们今天", 1, 1, 1, 1, 2) == [0, 1, 2, 4]
    # the bytes of one character stay together
    offsets = [(0, 1), (0, 1), (1, 2), (1, 2), (2, 3)]
    assert breaks.of_tokens("我们去", offsets).tolist() == [True, False, False, False, True]
    assert breaks.of_tokens("", []).tolist() == []


def test_spaced_scripts_are_what_they_were(tmp_path: Path) -> None:
    """Their batches are the same, bit for bit, and nothing is stored beside their tokens."""
    lines = sentences("en", 60)
    tokenizer = byte_level(lines)
    numbered = list(enumerate(lines, 1))
    cutters = (Cutter(tokenizer, 64), Cutter(tokenizer, 64, breaks=WordBreaks()))
    (a, b), (c, d) = (cutter.windows(numbered, FileReport("file", "en")) for cutter in cutters)
    assert (a == c).all()
    assert (b == d).all()
    assert [cutter.tags for cutter in cutters] == [None, None]
    settings, frame = Settings(64, 50, True), Frame()
    plain = fingerprint([], tokenizer, settings, frame, MaskedTokens().breaks())
    assert plain == fingerprint([], tokenizer, settings)
    asked = MaskedTokens(whole_word=True).breaks()
    assert fingerprint([], tokenizer, settings, frame, asked) != plain


def test_words_of_pairs(tmp_path: Path) -> None:
    tokenizer = unigram([*texts_of("zh"), *texts_of("th")])
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    for language in ("zh", "th"):
        text = "\n".join(texts_of(language)) + "\n"
        (tmp_path / f"p.{language}.txt").write_text(text, encoding="utf-8")
    corpus = ParallelCorpus(
        [ParallelSource("p.{language}.txt")],
        data_dir=str(tmp_path),
        cache_dir=str(tmp_path / "cache"),
        tokenizer=str(tmp_path / "tokenizer"),
        objective=MaskedTokens(whole_word=True),
        max_length=2048,
        batch_tokens=1 << 16,
        holdout=5,
    )
    corpus.prepare_data()
    corpus.setup("fit")
    pairs = np.arange(len(corpus._splits["train"].pair))
    counts = corpus.collator()(pairs, np.zeros_like(pairs))["counts"]
    assert counts["masked"] / counts["tokens"] == pytest.approx(0.15, abs=0.02)
