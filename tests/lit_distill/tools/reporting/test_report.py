"""The command: what is in a page, where it goes, and what is said where something is missing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from command_line import refused

from lit_distill.__main__ import main
from lit_distill.tools.reporting import report as module
from lit_distill.tools.reporting.report import page_of, report, write_recipe_report


def texts(page: Any) -> str:
    """All that a page says in tables and sentences."""
    return repr(page)


def edited(path: Path, *keys: str, value: Any) -> None:
    """Changes a number in a JSON file."""
    content = json.loads(path.read_text())
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    path.write_text(json.dumps(content))


def table(page: Any, title: str) -> list[list[str]]:
    """The rows of a table, with its heading."""
    sections = [*page.sections, *(part for one in page.sections for part in one.inner)]
    sections += [inner for one in sections for inner in one.inner]
    found = [
        block
        for section in sections
        for block in section.blocks
        if block.kind == "table" and block.title.startswith(title)
    ]
    return [list(found[0].heading), *map(list, found[0].rows)]


def test_a_run_is_told_from_what_to_environment(run: Path, tiny_bert: Path) -> None:
    page = page_of([run])
    assert page.lead[0].startswith("TripleLoss distilled BertForMaskedLM of 2 layers (")
    assert "from BertForMaskedLM of 4 layers" in page.lead[0]
    assert str(tiny_bert) in page.lead[0]
    assert [section.title for section in page.sections] == [
        "What was distilled, and how", "Curves", "By language", "Code-mixed text",
        "Agreement with the teacher", "Samples side by side", "Data and licences",
        "Configuration", "Environment",
    ]  # fmt: skip
    assert table(page, "Where texts come from")[1][2:] == [
        "PhrasebookCorpus", "en, hi-en", "apache-2.0",
    ]  # fmt: skip
    versions = {row[0]: row[1] for row in table(page, "Versions and machine")}
    assert versions["torch"]
    assert versions["device"] == "CPU"


def test_the_scores_by_language_are_those_of_the_best(run: Path) -> None:
    best = json.loads((run / "report.json").read_text())["best"]["students"]["student"]
    page = page_of([run])
    heading, *rows = table(page, "Held-out text, student after")
    assert heading == ["", "loss", "perplexity", "accuracy"]
    assert [row[0] for row in rows] == ["en", "hi-en", "mean"]
    assert float(rows[0][1]) == pytest.approx(best["languages"]["en"]["loss"], rel=1e-3)
    assert float(rows[2][1]) == pytest.approx(best["mean"]["loss"], rel=1e-3)
    agreement = next(one for one in page.sections if one.title.startswith("Agreement"))
    heading, *rows = [agreement.blocks[-1].heading, *agreement.blocks[-1].rows]
    assert heading == ["", "agreement", "KL", "teacher loss"]
    assert float(rows[1][2]) == pytest.approx(best["languages"]["hi-en"]["kl"], rel=1e-3)


def test_the_ends_of_the_curves_are_those_of_the_events(run: Path) -> None:
    rows = {row[0]: row[1:] for row in table(page_of([run]), "Ends of the curves")}
    assert {"train/kd", "train/mlm", "train/cos", "train/loss", "val/loss"} <= set(rows)
    last = json.loads((run / "report.json").read_text())["last"]["students"]["student"]["mean"]
    assert float(rows["val/loss"][3]) == pytest.approx(last["loss"], rel=1e-3)


def test_pages_lie_where_they_belong(run: Path, evaluation: Path, tmp_path: Path) -> None:
    own = (evaluation / "report.md").read_text()
    report([str(run)])
    report([str(evaluation)])
    assert (run / "report.html").is_file()
    assert (run / "report.md").is_file()
    assert (evaluation / "evaluation.html").is_file()
    assert (evaluation / "report.md").read_text() == own  # which `evaluate` wrote
    report([str(run), str(evaluation)], str(tmp_path / "both.html"))
    assert "topics" in (tmp_path / "both.md").read_text()
    report([str(run)])  # again, over its own


def test_the_same_files_give_the_same_page(run: Path, tmp_path: Path) -> None:
    for name in ("one.html", "two.html"):
        report([str(run)], str(tmp_path / name))
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


def test_what_cannot_work_is_refused_in_a_line(
    run: Path, evaluation: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "is no folder" in refused(capsys, "report", str(tmp_path / "nothing"))
    (tmp_path / "empty").mkdir()
    assert "there is no run" in refused(capsys, "report", str(tmp_path / "empty"))
    assert "Of several folders" in refused(capsys, "report", str(run), str(evaluation))
    assert "does not end in .html" in refused(capsys, "report", str(run), "--output", "x.pdf")
    (run / "report.md").write_text("mine")
    assert "did not write it" in refused(capsys, "report", str(run))
    assert (run / "report.md").read_text() == "mine"
    assert not (run / "report.html").exists()


def test_a_folder_of_runs_and_the_file_of_a_recipe(
    run: Path, evaluation: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(run, run.parent / "control")
    monkeypatch.chdir(tmp_path)
    Path("recipe.yaml").write_text("run_dir: runs\nstages: {}\n")
    assert main(["report", "recipe.yaml"]) == 0
    page = (tmp_path / "runs/report.md").read_text()
    for name in ("distilled", "control", "topics"):
        assert name in page
    assert "## Runs side by side" in page
    heading, *rows = table(page_of([run, run.parent / "control"]), "Runs")
    assert heading[:3] == ["run", "method", "teacher"]
    assert [row[0] for row in rows] == ["distilled", "control"]


def test_what_is_missing_is_said_and_leaves_no_frame(run: Path) -> None:
    shutil.rmtree(run / "tensorboard")
    (run / "facts.json").unlink()
    page = page_of([run])
    titles = [section.title for section in page.sections]
    assert "Samples side by side" not in titles
    assert "Code-mixed text" not in titles
    assert "Nothing was logged in this folder" in texts(page)
    assert "did not note where they ran" in texts(page)
    assert any("facts.json is missing" in one for one in page.warnings)
    (run / "report.json").write_text("{")
    assert any("report.json is damaged" in one for one in page_of([run]).warnings)
    (run / "report.json").unlink()
    warned = page_of([run]).warnings
    assert any("there is no report.json" in one for one in warned)


def test_a_worse_end_and_unknown_licences_are_warned_of(run: Path) -> None:
    assert not [one for one in page_of([run]).warnings if "licence" in one]
    edited(run / "report.json", "last", "students", "student", "mean", "loss", value=9.5)
    edited(run / "facts.json", "data", "origins", value=[{"texts": "a/b", "licence": None}])
    warned = page_of([run]).warnings
    assert any("student was best after" in one and "9.5 at the end" in one for one in warned)
    assert any("no licence is noted for a/b" in one for one in warned)
    assert table(page_of([run]), "Where texts come from")[1][-1] == "not noted"


def test_a_teacher_that_was_not_heard_has_distilled_nothing(run: Path) -> None:
    edited(run / "facts.json", "hears", value=None)
    page = page_of([run])
    assert " trained BertForMaskedLM of 2 layers" in page.lead[0]
    assert "without a teacher in 6 updates, compared with" in page.lead[0]


def test_an_evaluation_is_told_with_its_intervals(evaluation: Path) -> None:
    results = json.loads((evaluation / "results.json").read_text())
    page = page_of([evaluation])
    _, *rows = table(page, "All tasks")
    told = {row[0]: row for row in rows}
    mean = results["mean"]["retention"]["student"]
    shown = f"{100 * mean['value']:.1f} [{100 * mean['low']:.1f}, {100 * mean['high']:.1f}]"
    assert told["student"][3] == shown
    heading, *rows = table(page, "accuracy, by language")
    assert heading[:4] == ["", "examples", "teacher", "student"]
    assert [row[0] for row in rows] == ["en", "hi", "mean"]
    english = results["tasks"]["topic"]["metrics"]["accuracy"]["languages"]["en"]
    assert rows[0][2].startswith(f"{english['scores']['teacher']['value']:.3f} [")
    _, *rows = table(page, "Cost")
    assert rows[0][0] == "teacher"
    assert rows[0][2] == "10.00 M"
    assert float(rows[0][-1]) == 12.0  # of the longest text alone
    assert any("bag of words did better than control" in one for one in page.warnings)
    assert any("CUDA out of memory" in one for one in page.warnings)


def test_a_loss_is_better_where_it_is_smaller(evaluation: Path) -> None:
    """Scores 0.9, 0.85 and 0.6 against the bag's 0.7: as accuracies the last one is below it."""
    own = evaluation / "results.json"
    levels = json.loads(own.read_text())["tasks"]["topic"]["metrics"]
    assert not any(
        "student is not better than its c" in one for one in page_of([evaluation]).warnings
    )
    edited(own, "tasks", "topic", "metrics", value={"loss": levels["accuracy"]})
    edited(own, "tasks", "topic", "metric", value="loss")
    warned = page_of([evaluation]).warnings
    assert any("bag of words did better than student" in one for one in warned)
    assert not any("bag of words did better than control" in one for one in warned)
    assert any("student is not better than its control" in one for one in warned)


def test_a_comparison_is_told(tmp_path: Path) -> None:
    scores = {"en": {"loss": 2.0, "accuracy": 0.5}, "hi": {"loss": 3.0, "accuracy": 0.25}}
    row = {"parameters": 2_000_000, "disk": 8_000_000, "sentences_per_second": 50.0}
    content = {
        "teacher": {**row, "scores": scores, "less_control": None},
        "student": {
            **row, "scores": {"en": {"loss": 2.5}, "hi": {"loss": None}},
            "less_control": {"value": -0.1, "low": -0.2, "high": -0.05},
        },
    }  # fmt: skip
    (tmp_path / "table").mkdir()
    (tmp_path / "table/compare.json").write_text(json.dumps(content))
    page = page_of([tmp_path / "table"])
    _, teacher, student = table(page, "Means over languages")
    assert teacher[:3] == ["teacher", "2.5", "0.375"]
    assert student == ["student", "", "", "", "", "-0.100 [-0.200, -0.050]"]
    _, *rows = table(page, "Size and speed")
    assert rows[0][1:4] == ["2.00 M", "8.0", "50"]


def test_a_recipe_reports_at_its_end_and_fails_by_nothing_there(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_recipe_report(run.parent, ["distilled", "not there"])
    assert f"The report is in {run.parent / 'report.html'}." in capsys.readouterr().out
    assert (run.parent / "report.md").is_file()

    def broken(folders: Any) -> Any:
        raise ZeroDivisionError("of a chart")

    monkeypatch.setattr(module, "page_of", broken)
    write_recipe_report(run.parent, ["distilled"])
    assert capsys.readouterr().out == "No report was written: of a chart\n"
    (run.parent / "report.md").write_text("mine")
    write_recipe_report(run.parent, ["distilled"])
    assert "did not write it" in capsys.readouterr().out
    assert (run.parent / "report.md").read_text() == "mine"
