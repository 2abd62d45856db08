"""The table of several models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from data_modules import MultilingualCorpus, Source
from lit_distill.errors import UserError
from lit_distill.models import LayerCopyStudent, TeacherSpec
from lit_distill.tools.comparing.compare import compare
from lit_distill.tools.comparing.less_control import Difference


@pytest.fixture
def corpus(tiny_bert: Path, text_folder: Path, tmp_path: Path) -> MultilingualCorpus:
    return MultilingualCorpus(
        [Source(files="{language}.txt")], str(text_folder), tokenizer=str(tiny_bert),
        max_length=16, batch_tokens=256, holdout=5, cache_dir=str(tmp_path / "cache"),
    )  # fmt: skip


def test_models_side_by_side(
    corpus: MultilingualCorpus, tiny_bert: Path, tmp_path: Path, capsys: Any
) -> None:
    half = LayerCopyStudent().build(TeacherSpec(str(tiny_bert)).build(), 0)
    half.model.save_pretrained(tmp_path / "half")
    models = {"teacher": str(tiny_bert), "half": str(tmp_path / "half")}
    rows = compare(models, corpus, output=str(tmp_path / "out"))
    assert rows["half"].parameters < rows["teacher"].parameters
    assert 0 < rows["half"].disk < rows["teacher"].disk
    assert all(row.sentences_per_second > 0 for row in rows.values())
    same = rows["teacher"].scores["en"]
    assert (same["agreement"], same["kl"]) == (1.0, pytest.approx(0.0, abs=1e-9))
    assert rows["half"].scores["en"]["agreement"] < 1
    assert rows["half"].scores["en"]["teacher_loss"] == pytest.approx(same["loss"])
    written = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert written["half"]["scores"]["de"]["rows"] == rows["half"].scores["de"]["rows"]
    shown = capsys.readouterr().out
    for text in ("agreement with teacher", "loss (perplexity)", "sentences/s"):
        assert text in shown


def test_the_difference_from_the_control_has_an_interval(
    corpus: MultilingualCorpus, tiny_bert: Path, tmp_path: Path, capsys: Any
) -> None:
    half = LayerCopyStudent().build(TeacherSpec(str(tiny_bert)).build(), 0)
    half.model.save_pretrained(tmp_path / "half")
    models = {"half": str(tmp_path / "half"), "twin": str(tiny_bert), "control": str(tiny_bert)}
    rows = compare(models, corpus, output=str(tmp_path / "out"))
    assert rows["control"].less_control is None
    assert rows["twin"].less_control == Difference(0.0, 0.0, 0.0)
    found, by_language = rows["half"].less_control, rows["half"].languages_less_control
    assert found is not None
    assert by_language is not None
    for language, gap in by_language.items():
        losses = [rows[name].scores[language]["loss"] or 0 for name in ("half", "control")]
        assert gap.value == pytest.approx(losses[0] - losses[1], abs=1e-12)
        assert gap.low < gap.value < gap.high
    assert found.value == pytest.approx(sum(g.value for g in by_language.values()) / 2, abs=1e-12)
    written = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert written["half"]["less_control"]["low"] == found.low
    shown = capsys.readouterr().out
    assert f"less control's │ {found.value:+.3f}" in " ".join(shown.split())
    assert f"{found.low:+.3f} to {found.high:+.3f}" in shown


def test_what_cannot_be_compared(corpus: MultilingualCorpus, tiny_bert: Path) -> None:
    with pytest.raises(UserError, match="No models"):
        compare({}, corpus)
    with pytest.raises(UserError, match="none of the models"):
        compare({"a": str(tiny_bert)}, corpus, reference="b")
    with pytest.raises(UserError, match="The control 'b' is none of the models a"):
        compare({"a": str(tiny_bert)}, corpus, control="b")
    without = MultilingualCorpus(corpus.sources, str(corpus.data_dir))
    with pytest.raises(UserError, match=r"give --data\.tokenizer the folder of one of the models"):
        compare({"a": str(tiny_bert)}, without)


def test_other_tokens_cannot_be_compared(
    corpus: MultilingualCorpus, tiny_bert: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_bert, tmp_path / "other")
    text = (tmp_path / "other/tokenizer.json").read_text("utf-8")
    (tmp_path / "other/tokenizer.json").write_text(text.replace('"the"', '"thee"'), "utf-8")
    with pytest.raises(UserError, match="other has another vocabulary"):
        compare({"teacher": str(tiny_bert), "other": str(tmp_path / "other")}, corpus)
