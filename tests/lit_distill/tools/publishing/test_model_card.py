"""What an evaluation found, in the card of the model that it is about."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from evaluated import cell, right_share
from huggingface_hub import ModelCard
from model_folders import CARD, evaluation, folder_with

from lit_distill.__main__ import main
from lit_distill.errors import UserError
from lit_distill.tools.evaluating.reporting.report import write_report
from lit_distill.tools.publishing.model_card import BEGIN, END, model_card

Line = dict[str, str]


@pytest.fixture
def folder(tiny_bert: Path, tmp_path: Path) -> Path:
    return folder_with(tiny_bert, tmp_path / "student")


@pytest.fixture
def results(folder: Path, tmp_path: Path) -> Path:
    return evaluation(tmp_path / "topics", str(folder)) / "results.json"


def lines(card: str, *begin: str) -> Line:
    """The line of a table that begins with these cells, by the heading of its columns."""
    rows = [row.split(" | ") for row in card.splitlines() if row.startswith("| ")]
    rows = [[cell.strip("| ") for cell in row] for row in rows]
    for place, row in enumerate(rows):
        if tuple(row[: len(begin)]) == begin:
            heading = next(
                other for other in reversed(rows[:place]) if other[0] in ("task", "") or not other
            )
            return dict(zip(heading, row, strict=True))
    raise AssertionError(begin)


def test_a_card_gets_retention_cost_and_limits(folder: Path, results: Path) -> None:
    assert main(["model-card", str(folder), str(results)]) == 0
    card = (folder / "README.md").read_text("utf-8")
    assert card.startswith(CARD.partition("tags:")[0])
    assert "What I wrote myself." in card
    assert "its teacher, `owner/teacher`" in card
    assert "deviation over seeds (1, 2)" in card
    level = json.loads(results.read_text("utf-8"))["tasks"]["topic"]["metrics"]["accuracy"]

    def percent(of: dict[str, dict[str, float]]) -> str:
        return f"{100 * of['student']['value']:.1f} ["

    row = lines(card, "topic", "accuracy")
    assert row["retention, %"].startswith(percent(level["retention"]))
    assert row["kept, %"].startswith(percent(level["kept"]))
    worst = level["worst"]["student"]
    least = percent(level["languages"][worst]["retention"])
    assert row["worst language, %"].startswith(f"{worst} {least}")
    hindi = lines(card, "topic", "hi")
    assert hindi["examples"] == "296"
    assert hindi["retention, %"].startswith(percent(level["languages"]["hi"]["retention"]))
    why = "not measurable: teacher does not beat"
    assert lines(card, "topic", "bn")["retention, %"].startswith(why)
    assert f"- topic: retention, in %, is lowest in {worst} ({least}" in card
    assert "- topic: not measurable in bn: teacher does not beat" in card
    assert "- topic: beyond the interval it is not better than control, which had no te" in card
    assert "- Without an answer: ner: CUDA out of memory" in card
    assert "- text: not measurable in en: loss has no chance level." in card


def test_cost_stands_beside_the_teachers(folder: Path, results: Path) -> None:
    model_card(str(folder), str(results))
    card = (folder / "README.md").read_text("utf-8")
    for name, parameters, disk, time in (
        ("teacher", "10.0", "40.0", "3.0"),
        ("this model", "5.0", "20.0", "1.5"),
        ("share", "0.50", "0.50", "0.50"),
    ):
        row = lines(card, name)
        assert (row["parameters, million"], row["disk, MB"]) == (parameters, disk)
        assert row["ms, 1 x 32 tokens"] == time
        assert row["peak memory, MB"] == "-"


def test_numbers_are_in_the_header_for_a_hub(folder: Path, results: Path) -> None:
    model_card(str(folder), str(results))
    card = ModelCard.load(folder / "README.md")
    found = {
        (one.dataset_name, one.dataset_config, one.metric_type): one
        for one in card.data.eval_results
    }
    level = json.loads(results.read_text("utf-8"))["tasks"]["topic"]["metrics"]["accuracy"]
    mean = found["topic", None, "retention"]
    assert mean.metric_value == pytest.approx(level["retention"]["student"]["value"], abs=1e-6)
    low, high = mean.metric_args["interval_95"]
    assert low < mean.metric_value < high
    own = level["languages"]["hi"]
    assert found["topic", "hi", "retention"].metric_value == pytest.approx(
        own["retention"]["student"]["value"], abs=1e-6
    )
    assert found["topic", "hi", "accuracy"].task_type == "text-classification"
    assert ("topic", "bn", "retention") not in found
    assert ("topic", "bn", "accuracy") in found
    again = ModelCard(str(card))
    assert again.data.eval_results == card.data.eval_results
    assert again.data.model_name == "student"


def test_a_second_evaluation_takes_the_place_of_the_first(
    folder: Path, results: Path, tmp_path: Path
) -> None:
    card = folder / "README.md"
    theirs = "model-index: [{name: mine, results: [{task: {type: x}, dataset: {type: d, name: d}"
    theirs += ", metrics: [{type: m, value: 1}]}]}]\n"
    card.write_text(CARD.replace("language", f"{theirs}language"))
    model_card(str(folder), str(results))
    first = card.read_text("utf-8")
    model_card(str(folder), str(results))
    assert card.read_text("utf-8") == first
    card.write_text(f"{first}\n## Afterthoughts\n\nMine, too.\n", "utf-8")
    shares = {"teacher": 0.9, "student": 0.9, "majority": 0.5}
    cells = [cell(model, "topic", right_share(share, 400)) for model, share in shares.items()]
    models = {"teacher": "owner/teacher", "student": str(folder)}
    write_report(tmp_path / "new", cells, models=models, reference="teacher", resamples=20)
    model_card(str(folder), str(tmp_path / "new"))
    text = card.read_text("utf-8")
    assert text.count(BEGIN) == text.count(END) == text.count("## What it retains") == 1
    assert text.endswith(f"{END}\n\n## Afterthoughts\n\nMine, too.\n")
    assert "What I wrote myself." in text
    assert lines(text, "topic", "accuracy")["retention, %"].startswith("100.0 [100.0, 100.0]")
    assert "What it costs" not in text
    read = ModelCard.load(card).data
    assert read.model_name == "mine"
    assert {(one.dataset_type, one.dataset_config) for one in read.eval_results} == {
        ("d", None), ("topic", None), ("topic", "en"),
    }  # fmt: skip


def test_the_model_is_that_of_the_folder_or_the_one_that_is_named(
    folder: Path, tmp_path: Path
) -> None:
    moved = evaluation(tmp_path / "moved", "runs/elsewhere/student")
    with pytest.raises(UserError, match=r"does not say which .* --model one of teacher, student"):
        model_card(str(folder), str(moved))
    model_card(str(folder), str(moved), model="student")
    with pytest.raises(UserError, match="teacher is the teacher of"):
        model_card(str(folder), str(moved), model="teacher")
    bystander = {"teacher": "t", "bystander": str(folder)}
    about_others = evaluation(tmp_path / "by", "s", models=bystander)
    with pytest.raises(UserError, match="has no task of which bystander was asked"):
        model_card(str(folder), str(about_others))
    by_seed = evaluation(tmp_path / "seeds", str(folder.parent / "stude{seed}"))
    numbered = folder.rename(folder.with_name("stude2"))
    model_card(str(numbered), str(by_seed))
    assert "(1, 2, each with a model of its own)" in (numbered / "README.md").read_text("utf-8")


def test_numbers_of_other_weights_are_refused(folder: Path, results: Path) -> None:
    before = (folder / "README.md").read_text("utf-8")
    weights = folder / "model.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(UserError, match=r"has changed since .* was written: evaluate it again"):
        model_card(str(folder), str(results))
    assert (folder / "README.md").read_text("utf-8") == before
    weights.write_bytes(data)
    model_card(str(folder), str(results))
    model_card(str(folder), str(results))  # the card is no weight


def test_what_is_no_evaluation_or_no_card_is_refused(
    folder: Path, results: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"There is no .*nowhere"):
        model_card(str(folder), str(tmp_path / "nowhere"))
    (tmp_path / "odd.json").write_text("[1]")
    with pytest.raises(UserError, match="is damaged, or no results"):
        model_card(str(folder), str(tmp_path / "odd.json"))
    card = folder / "README.md"
    card.write_text(f"{CARD}\n{BEGIN}\nhalf")
    with pytest.raises(UserError, match="are not a pair"):
        model_card(str(folder), str(results))
    assert card.read_text() == f"{CARD}\n{BEGIN}\nhalf"
    card.unlink()
    with pytest.raises(UserError, match=r"has no README\.md"):
        model_card(str(folder), str(results))
