"""The report of a corpus: counts by hand, shares by the formula, table, JSON and figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import sentences
from lightning.pytorch import Trainer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from data_modules import MultilingualCorpus, Source, Temperature
from data_modules.reading.sources import resolve
from lit_distill.__main__ import main
from lit_distill.models import load_tokenizer
from lit_distill.tools.corpora.corpus_report import draws
from lit_distill.tools.corpora.language_report import LENGTH_EDGES, report_of


def test_counts_are_those_of_the_texts(tiny_bert: Path, tmp_path: Path) -> None:
    lines = ["the river", "the river", "cats sleep", "ক খ", ""]
    (tmp_path / "xx.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (tmp_path / "dev.txt").write_text("long books daily\n", encoding="utf-8")
    (texts,) = resolve([Source("xx", files="xx.txt", validation="dev.txt")], tmp_path)
    tokenizer = load_tokenizer(str(tiny_bert))
    report = report_of(texts, tokenizer)
    kept = [line for line in [*lines, "long books daily"] if line]
    ids = [tokenizer(line, add_special_tokens=False)["input_ids"] for line in kept]
    assert (report.documents, report.broken, report.repeats) == (5, 1, 1)
    assert (report.words, report.characters) == (11, sum(map(len, kept)))
    assert report.tokens == sum(map(len, ids))
    assert report.unknown == 2  # ক and খ
    letters = sum(len("".join(line.split())) for line in kept)
    assert report.lost_rate == pytest.approx(2 / letters)
    assert report.fertility == report.tokens / 11
    assert report.lengths.sum() == 5
    for one in ids:  # every text is in the bin whose edges surround its length
        place = max(i for i, edge in enumerate(LENGTH_EDGES) if edge <= len(one))
        assert report.lengths[place] > 0
    assert set(report.scripts) == {"Latin", "Bengali"}
    assert report.scripts["Bengali"] == 2


def test_letters_that_no_token_stands_for_are_counted(tiny_bert: Path, tmp_path: Path) -> None:
    """BERT's normaliser drops joiners, and no unknown token shows it."""
    (tmp_path / "fa.txt").write_text("the\u200criver\n", encoding="utf-8")
    (texts,) = resolve([Source("fa", files="fa.txt")], tmp_path)
    report = report_of(texts, load_tokenizer(str(tiny_bert)))
    assert report.unknown == 0
    assert report.lost_rate == pytest.approx(1 / 9)


def test_words_without_spaces_have_no_fertility(tiny_bert: Path, tmp_path: Path) -> None:
    (tmp_path / "ja.txt").write_text("日本のカメラ\n", encoding="utf-8")
    (texts,) = resolve([Source("ja", files="ja.txt")], tmp_path)
    assert report_of(texts, load_tokenizer(str(tiny_bert))).fertility is None


def test_mixing_is_told_where_words_have_tags(tiny_bert: Path, tmp_path: Path) -> None:
    rows = [
        {"tokens": ["mera", "phone", ",", "hai"], "lang": ["hi", "en", "other", "hi"]},
        {"tokens": ["the", "river"], "lang": ["en", "en"]},
    ]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (texts,) = resolve([Source("hi-en", files="m.jsonl", tags="lang")], tmp_path)
    mixing = report_of(texts, load_tokenizer(str(tiny_bert))).mixing
    assert mixing.cmi == pytest.approx(100 / 6)
    assert mixing.words == 5  # the comma is no word
    assert mixing.switch_point_fraction == pytest.approx(0.5)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_drawn_shares_are_the_formulas_within_one_percent(
    tiny_bert: Path, tmp_path: Path, temperature: float
) -> None:
    for language, count in (("aa", 800), ("bb", 200), ("cc", 50)):
        lines = sentences("en" if language == "aa" else "de", count, seed=count)
        (tmp_path / f"{language}.txt").write_text("\n".join(lines))
    corpus = MultilingualCorpus(
        [Source(files="{language}.txt")],
        str(tmp_path),
        tokenizer=str(tiny_bert),
        cache_dir=str(tmp_path / "cache"),
        sampler=Temperature(temperature),
        max_length=32,
        batch_tokens=512,
        pool_size=500,
        holdout=10,
    )
    corpus.trainer = Trainer(accelerator="cpu", logger=False)
    corpus.prepare_data()
    corpus.setup("fit")
    tokens = corpus.train.token_counts.sum(1) ** (1 / temperature)
    expected = dict(zip(corpus.languages, tokens / tokens.sum(), strict=True))
    for language, drawn in draws(corpus, updates=600).items():
        assert drawn.share == pytest.approx(expected[language])
        assert drawn.drawn_share == pytest.approx(expected[language], rel=0.01)


def test_the_command_writes_table_numbers_and_figures(
    tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "report"
    options = [
        "--data=PhrasebookCorpus", "--data.languages=[en, hi-en]",
        "--data.sentences_per_language=200", "--data.validation_sentences=20",
        f"--data.tokenizer={tiny_bert}", f"--data.cache_dir={tmp_path / 'cache'}",
        "--data.updates_per_epoch=5",
    ]  # fmt: skip
    assert main(["corpus-report", str(output), *options]) == 0
    shown = capsys.readouterr().out
    assert "hi-en" in shown
    assert "CMI" in shown
    content = json.loads((output / "corpus.json").read_text("utf-8"))
    assert content["en"]["mixing"] is None
    mixed = content["hi-en"]
    assert mixed["documents"] == mixed["tagged_documents"] == 240
    assert 10 < mixed["mixing"]["cmi"] < 50
    assert mixed["sampling"]["tokens"] > 0
    for name in ("overview", "mixing"):
        assert (output / f"corpus-{name}.png").stat().st_size > 10_000
    events = EventAccumulator(str(output / "tensorboard"), size_guidance={"images": 0})
    events.Reload()
    assert events.Tags()["images"] == ["corpus/overview", "corpus/mixing"]


def test_without_a_tokenizer_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["corpus-report", str(tmp_path / "r"), "--data=PhrasebookCorpus"]) == 2
    assert "tokenizer" in capsys.readouterr().err
