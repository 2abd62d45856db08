"""Made code-mixed text: wished mixing, units, levels, and what cannot be reached."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer

from data_modules import CodeMixedCorpus, Curriculum, Mix, NoTargets, ParallelSource, Source
from data_modules.code_mixing.mixer import Mixer
from data_modules.code_mixing.switch_points import Frame, Unit, mixed_frame, split_words, units_of
from data_modules.phrasebook_text.sentences import Phrasebook
from data_modules.reading.tagged_text import TaggedText
from data_modules.text.code_mixing_statistics import MixingStatistics
from lit_distill.batch import TextBatch
from lit_distill.errors import UserError

SENTENCES = 300
MIXES = {"hi-en": ("hi", ["en"]), "bn-en": ("bn", ["en"]), "bn-hi-en": ("bn", ["hi", "en"])}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`p.<language>.txt`, line-aligned sentences of the phrasebook."""
    place = tmp_path_factory.mktemp("parallel")
    book = Phrasebook(0)
    for language in ("en", "hi", "bn"):
        lines = [sentence.text for sentence in book.sentences(language, "train", SENTENCES)]
        (place / f"p.{language}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (place / "en-hi.txt").write_text("the\tवह\nis\tहै\ngood\tअच्छा\ntoday\tआज\n", "utf-8")
    return place


def mixer(folder: Path, name: str = "hi-en", **options: Any) -> Mixer:
    matrix, embedded = MIXES[name]
    source = ParallelSource("p.{language}.txt", languages=[matrix, *embedded])
    settings: dict[str, Any] = {"parallel": [source], "unit": "phrase", "romanise": False}
    return Mixer(Mix(name, matrix, embedded, **{**settings, **options}), folder, 0, 20)


def statistics(texts: list[TaggedText]) -> MixingStatistics:
    result = MixingStatistics()
    for text in texts:
        result.add(text.word_tags)
    return result


@pytest.mark.parametrize("name", ["hi-en", "bn-en", "bn-hi-en"])
def test_the_mean_is_what_was_asked_for(folder: Path, name: str) -> None:
    maker = mixer(folder, name)
    for cmi in (10.0, 25.0, 40.0):
        found = statistics(maker.made(cmi, validation=False))
        assert found.cmi == pytest.approx(cmi, rel=0.05)
        assert set(found.languages) == {MIXES[name][0], *MIXES[name][1]}
        assert found.languages.most_common(1)[0][0] == MIXES[name][0]


def test_tags_stand_at_their_words_and_say_their_script(folder: Path) -> None:
    texts = mixer(folder).made(30.0, validation=False)
    for text in texts:
        for start, end, tag in text.words:
            word = text[start:end]
            assert word.strip() == word != ""
            if tag == "en":
                assert word.isascii()
            if tag == "hi":
                assert any("\u0900" <= character <= "\u097f" for character in word)
        assert "  " not in text


def test_the_same_seed_gives_the_same_text(folder: Path) -> None:
    first, again = (mixer(folder).made(20.0, validation=False) for _ in range(2))
    assert first == again
    other = Mixer(mixer(folder).mix, folder, 1, 20).made(20.0, validation=False)
    assert first != other


def test_rows_are_in_one_split_at_every_level(folder: Path) -> None:
    maker = mixer(folder)
    train, validation = maker.frames(False), maker.frames(True)
    assert not {frame.words for frame in train} & {frame.words for frame in validation}
    assert len(train) + len(validation) == SENTENCES
    assert 0 < len(validation) < SENTENCES / 10


def test_switches_are_met_or_refused_with_what_can_be(folder: Path) -> None:
    free = statistics(mixer(folder).made(25.0, validation=False)).switch_point_fraction
    wanted = round(0.93 * free, 3)
    found = statistics(mixer(folder, switches=wanted).made(25.0, validation=False))
    assert found.switch_point_fraction == pytest.approx(wanted, rel=0.05)
    assert found.cmi == pytest.approx(25.0, rel=0.05)
    with pytest.raises(UserError, match=r"switch-point fraction of 0\.95 .* the nearest .* is 0\."):
        mixer(folder, switches=0.95).made(25.0, validation=False)


def test_what_cannot_be_reached_is_refused_with_the_maximum(folder: Path) -> None:
    maker = mixer(folder, unit="word")
    most = maker.reachable()
    assert 0 < most < 50
    with pytest.raises(UserError, match=rf"CMI of 49\.9: .* reaches {most:.1f}"):
        maker.made(49.9, validation=False)


def test_lexicons_instead_of_parallel_text(folder: Path) -> None:
    options = {"texts": "p.en.txt", "lexicons": {"hi": "en-hi.txt"}, "romanise": False}
    maker = Mixer(Mix("en-hi", "en", ["hi"], cmi=[8.0], **options), folder, 0, 20)
    texts = maker.made(8.0, validation=False)
    found = statistics(texts)
    assert found.cmi == pytest.approx(8.0, rel=0.05)
    hindi = {text[a:b] for text in texts for a, b, tag in text.words if tag == "hi"}
    assert hindi <= {"वह", "है", "अच्छा", "आज"}
    (folder / "bad.txt").write_text("tea चाय\n", "utf-8")
    wrong = Mix("en-hi", "en", ["hi"], **{**options, "lexicons": {"hi": "bad.txt"}})
    with pytest.raises(UserError, match="line 1: a lexicon has a word, a tab"):
        Mixer(wrong, folder, 0, 20).made(5.0, validation=False)


def test_romanised_text_is_latin_and_names_are_english(folder: Path) -> None:
    pytest.importorskip("indic_transliteration")
    texts = mixer(folder, romanise=True, spelling=0.3).made(20.0, validation=False)
    assert all(text.isascii() for text in texts)
    plain = mixer(folder, romanise=True, spelling=0.0).made(20.0, validation=False)
    assert [text.tags for text in plain] == [text.tags for text in texts]
    assert texts != plain


def test_units_are_stretches_no_link_leaves() -> None:
    matrix, other = ["a", "b", "c", ",", "d", "e", "f", "g"], ["A", "B", "C", "D", "E", "F", "G"]
    links = [(0, 0), (1, 2), (2, 1), (4, 3), (5, 4), (6, 5), (7, 6)]
    words = units_of("word", matrix, other, links, "xx")
    assert {(u.start, u.stop) for u in words} == {(i, i + 1) for i, _ in links}
    phrases = {(u.start, u.stop): u.words for u in units_of("phrase", matrix, other, links, "xx")}
    assert phrases[1, 3] == ("B", "C")  # crossed inside
    assert (0, 2) not in phrases  # its counterpart A B C reaches to the word of c
    assert (2, 5) not in phrases  # a comma is inside
    clauses = {(u.start, u.stop): u.words for u in units_of("clause", matrix, other, links, "xx")}
    assert clauses[4, 8] == ("D", "E", "F", "G")


def test_the_matrix_keeps_the_majority() -> None:
    words, glued = split_words("a b, c d")
    assert words == ("a", "b", ",", "c", "d")
    assert glued == (False, False, True, False, False)
    units = tuple(Unit(i, i + 1, "xx", (words[i].upper(),)) for i in (0, 1, 3, 4))
    mixed = mixed_frame(Frame(words, glued, "yy", {}, units, 4), 100.0, None, random.Random(0))
    assert mixed.cmi == 50.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embedded": []}, "no embedded language"),
        ({"embedded": ["hi"]}, "its matrix language embedded"),
        ({"parallel": []}, "neither or both"),
        ({"cmi": [60.0]}, r"a cmi outside \(0, 50\]"),
        ({"cmi": [10.0, 10.0]}, "one twice"),
        ({"spelling": 2.0}, "Mix.spelling is"),
        ({"switches": 0.0}, "Mix.switches is"),
        ({"matrix": "de", "embedded": ["en"], "romanise": True}, "no language to romanise"),
    ],
)
def test_contradictions_are_refused(folder: Path, changes: dict[str, Any], message: str) -> None:
    source = ParallelSource("p.{language}.txt", languages=["hi", "en"])
    settings = {"matrix": "hi", "embedded": ["en"], "parallel": [source], **changes}
    with pytest.raises(UserError, match=message):
        Mixer(Mix("mix", **settings), folder, 0, 20)


# -- the corpus -------------------------------------------------------------------------------

Make = Callable[..., CodeMixedCorpus]


@pytest.fixture
def make(folder: Path, tiny_bert: Path, tmp_path: Path) -> Make:
    def build(
        mixes: list[Mix], sources: list[Source] | None = None, **options: Any
    ) -> CodeMixedCorpus:
        settings: dict[str, Any] = {
            "tokenizer": str(tiny_bert), "data_dir": str(folder), "cache_dir": str(tmp_path / "c"),
            "max_length": 64, "batch_tokens": 512, "updates_per_epoch": 4, "holdout": 10,
        }  # fmt: skip
        corpus = CodeMixedCorpus(mixes, sources or [], **{**settings, **options})
        corpus.trainer = Trainer(accelerator="cpu", logger=False, max_steps=1)
        corpus.prepare_data()
        corpus.setup("fit")
        return corpus

    return build


def english(cmi: list[float], **options: Any) -> Mix:
    """English with Hindi words, so that the tiny tokenizer knows most of it."""
    source = ParallelSource("p.{language}.txt", languages=["en", "hi"])
    return Mix("en-hi", "en", ["hi"], [source], cmi=cmi, romanise=False, unit="phrase", **options)


def test_languages_of_words_travel_in_the_batch(make: Make) -> None:
    corpus = make([english([30.0])], [Source("en", files="p.en.txt")], objective=NoTargets())
    assert corpus.languages == ["en", "en-hi"]
    assert sorted(corpus.token_languages) == ["en", "hi"]
    texts = {str(t): t for t in corpus._mixers[0].made(30.0, validation=False)}
    seen = 0
    names = ["", *corpus.token_languages]
    for batch in corpus.train_dataloader():
        assert {*batch} <= {*TextBatch.__annotations__}
        assert batch["token_language"].shape == batch["input_ids"].shape
        assert not batch["token_language"][batch["attention_mask"] == 0].any()
        for row, number in enumerate(batch["language"].tolist()):
            tags = batch["token_language"][row]
            if corpus.languages[number] == "en":
                assert not tags.any()
                assert batch["mixing"][row] == -1
                continue
            seen += 1
            ids = batch["input_ids"][row].tolist()
            pieces = corpus.tokenizer.convert_ids_to_tokens(ids)
            for piece, tag in zip(pieces, tags.tolist(), strict=True):
                if piece.startswith("[") and piece != "[UNK]":
                    assert tag == 0
                elif piece.isalpha() and names[tag]:
                    assert names[tag] == "en" or not piece.isascii()
            assert 0 <= batch["mixing"][row] <= 50
    assert seen > 5
    assert texts


def test_targets_know_whether_they_are_at_a_switch(make: Make) -> None:
    corpus = make([english([30.0])])
    (loader,) = corpus.val_dataloader()
    flags = torch.cat([batch["target_switched"] for batch in loader])
    languages = torch.cat([batch["target_languages"] for batch in loader])
    assert {0, 1} <= set(flags.tolist()) <= {-1, 0, 1}
    assert torch.equal(flags == -1, languages == 0)
    for batch in loader:
        own = batch["token_language"].flatten()[batch["rows"]]
        assert torch.equal(own, batch["target_languages"])


def test_levels_are_languages_and_a_curriculum_climbs_them(make: Make) -> None:
    mixes = [english([30.0, 10.0, 20.0])]
    plain = [Source("en", files="p.en.txt")]
    corpus = make(mixes, plain, pool_size=100, updates_per_epoch=60)
    assert corpus.languages == ["en", "en-hi@10", "en-hi@20", "en-hi@30"]
    climbing = make(mixes, plain, pool_size=100, curriculum=Curriculum(updates=60))
    plan, store = climbing.plan(), climbing.train

    def mix_of(start: int, stop: int) -> np.ndarray[Any, Any]:
        windows = np.concatenate([plan.batch(position)[0] for position in range(start, stop)])
        tokens = np.bincount(store.language[windows], store.lengths[windows], minlength=4)
        return np.asarray(tokens / tokens.sum())

    start, middle, end = mix_of(0, 8), mix_of(26, 34), mix_of(80, 110)
    expected = climbing.shares()
    for part in (start, middle, end):  # the plain language keeps its share
        assert part[0] == pytest.approx(expected[0], abs=0.06)
    assert start[1] > 0.7 * (1 - start[0])
    assert middle[2] > 0.5 * (1 - middle[0])
    assert end[3] == pytest.approx(1 - end[0], abs=1e-6)


def test_a_curriculum_resumes_exactly(make: Make) -> None:
    options = {"pool_size": 50, "curriculum": Curriculum(updates=40), "updates_per_epoch": 20}
    corpus = make([english([10.0, 30.0])], **options)
    stream = iter(corpus.train_dataloader())
    for _ in range(9):
        next(stream)
    state = corpus.state_dict()
    rest = [next(stream)["sample_id"].tolist() for _ in range(5)]
    again = make([english([10.0, 30.0])], **options)
    again.load_state_dict(state)
    resumed = iter(again.train_dataloader())
    assert [next(resumed)["sample_id"].tolist() for _ in range(5)] == rest
    other = make([english([10.0, 30.0])], **{**options, "curriculum": Curriculum(updates=30)})
    other.load_state_dict(state)
    with pytest.raises(UserError, match="cannot be resumed"):
        other.train_dataloader()


def test_needless_settings_are_refused(make: Make) -> None:
    with pytest.raises(UserError, match="neither mixes nor sources"):
        make([])
    with pytest.raises(UserError, match="one name"):
        make([english([10.0]), english([20.0])])
    with pytest.raises(UserError, match="none has several"):
        make([english([10.0])], curriculum=Curriculum(updates=10))
    with pytest.raises(UserError, match="hold"):
        Curriculum(updates=10, hold=10)


def test_real_and_made_text_of_one_name_are_one_language(make: Make, tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("a real चाय\nthe river चाय\n", "utf-8")
    corpus = make([english([20.0])], [Source("en-hi", files=str(tmp_path / "real.txt"))])
    assert corpus.languages == ["en-hi"]
    names = [report.name for report in corpus.report]
    assert any("made, training" in name for name in names)
    assert any(name.endswith("real.txt") for name in names)


def test_rows_that_cannot_be_mixed_are_counted(make: Make, folder: Path, tmp_path: Path) -> None:
    for language in ("en", "hi"):
        lines = (folder / f"p.{language}.txt").read_text("utf-8").splitlines()
        lines[7 if language == "hi" else 9] = ""
        (tmp_path / f"p.{language}.txt").write_text("\n".join(lines), "utf-8")
    corpus = make([english([20.0])], data_dir=str(tmp_path))
    made = {report.name: report for report in corpus.report}
    assert made["en-hi, made, training"].broken == 2
    assert made["en-hi, made, validation"].broken == 0
    with pytest.raises(UserError, match=r"2 of \d+ rows are broken"):
        make([english([20.0])], data_dir=str(tmp_path), max_broken=0.001)
