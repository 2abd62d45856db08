"""The files of an evaluation, and what is printed."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from evaluated import cell, predictions, right_share

from lit_distill.tools.evaluating.cells.cell import CellResult
from lit_distill.tools.evaluating.cells.predictions import Kind, Predictions
from lit_distill.tools.evaluating.reporting.cost import Cost, Timing
from lit_distill.tools.evaluating.reporting.report import write_report
from lit_distill.tools.evaluating.reporting.tables import Table

MODELS = {"teacher": "runs/t", "student": "runs/s", "plain|one": "runs/c"}
SHARES = {"teacher": 0.9, "student": 0.85, "plain|one": 0.7, "majority": 0.5, "bag of words": 0.6}


def two_languages(share: float, seed: int) -> Predictions:
    own = right_share(share, 200, seed=seed)
    return replace(own, languages=("en", "hi"), language=np.repeat([0, 1], 100))


def cells() -> list[CellResult]:
    found = []
    for place, (model, share) in enumerate(SHARES.items()):
        for task in ("topic", "nli"):
            for seed in (1, 2):
                found.append(cell(model, task, two_languages(share, 10 * place + seed), seed))
    return [*found, cell("student", "ner", None, error="CUDA out of memory")]


def price(scale: float) -> Cost:
    timings = tuple(
        Timing(batch, 32, *(scale * n for n in (1, 2, 3)), 1000 / scale, 7) for batch in (1, 32)
    )
    return Cost(int(2e6 * scale), int(1e6 * scale), 8_000_000, 9_000_000, None, 1e6, timings)


def report(output: Path, found: list[CellResult], **more: Any) -> dict[str, Any]:
    options = {"models": MODELS, "reference": "teacher", "control": "plain|one", **more}
    write_report(output, found, resamples=100, **options)
    results: dict[str, Any] = json.loads((output / "results.json").read_text("utf-8"))
    return results


def everything(output: Path, found: list[CellResult]) -> dict[str, Any]:
    costs = {"teacher": price(2), "student": price(1), "plain|one": price(1)}
    probes = {"pronouns": {"teacher": {"mean": 0.25, "x": None}, "student": {"mean": 0.5}}}
    return report(output, found, costs=costs, probes=probes, metrics={"nli": ["macro_f1"]})


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    (folder / "cells").mkdir()
    (folder / "cells" / "one").write_text("kept")
    (folder / "report.md").write_text("of an earlier run")
    everything(folder, cells())
    return folder


def test_results_hold_everything(written: Path) -> None:
    found = json.loads((written / "results.json").read_text("utf-8"))
    topic = found["tasks"]["topic"]
    level = topic["metrics"]["accuracy"]
    assert topic["metric"] == "accuracy"
    assert level["scores"]["student"]["value"] == pytest.approx(0.85)
    assert level["scores"]["student"]["seeds"] == 2
    assert level["kept"]["student"]["value"] == pytest.approx(0.85 / 0.9)
    assert level["retention"]["student"]["value"] == pytest.approx(0.35 / 0.4, abs=0.03)
    low, high = (level["over_control"]["student"][end] for end in ("low", "high"))
    assert 0 < low < 0.15 < high
    assert set(level["languages"]) == {"en", "hi"}
    english = level["languages"]["en"]
    assert english["examples"] == 100
    assert english["chance"]["value"] == english["scores"]["majority"]["value"]
    assert level["worst"]["student"] in ("en", "hi")
    assert level["gap"]["student"] >= 0
    assert list(found["tasks"]["nli"]["metrics"]) == ["macro_f1"]
    assert found["mean"]["kept"]["student"]["value"] == pytest.approx(0.945, abs=0.01)
    assert topic["loyalty"]["student"]["hi"]["label_loyalty"] > 0.6
    assert found["cost"]["student"]["timings"][0]["median"] == 2
    assert found["probes"]["pronouns"]["teacher"]["mean"] == 0.25
    (broken,) = found["broken"]
    assert broken == {
        "model": "student", "task": "ner", "seed": 1, "error": "CUDA out of memory"
    }  # fmt: skip
    assert len(found["cells"]) == 20


def test_the_page_says_it_in_tables(written: Path) -> None:
    page = (written / "report.md").read_text("utf-8")
    for title in (
        *("All tasks", "Scores, means over languages", "Retention by task", "Cost"),
        *("Retention by language", "Loyalty to the teacher", "Probe: pronouns", "Broken cells"),
    ):
        assert f"## {title}\n" in page
    assert "![retention](retention.png)" in page
    assert r"plain\|one \(control\)" in page
    widths: set[int] = set()
    for line in page.splitlines():
        if line.startswith("|"):
            widths.add(line.replace(r"\|", "").count("|"))
        elif widths:
            assert len(widths) == 1  # every row of a table has its columns
            widths.clear()


def test_figures_show_something(written: Path) -> None:
    for name in ("retention.png", "quality.png"):
        image = matplotlib.image.imread(written / name)
        assert image.std() > 0.02
        assert min(image.shape[:2]) > 100


def test_the_order_of_cells_changes_nothing(
    written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    everything(tmp_path, random.Random(0).sample(cells(), len(cells())))
    for name in ("results.json", "report.md", "retention.png", "quality.png"):
        assert (tmp_path / name).read_bytes() == (written / name).read_bytes()
    printed = capsys.readouterr().out
    assert "Retention by task" in printed
    assert "CUDA out of memory" in printed


def test_losses_have_a_column_beside_the_mean(tmp_path: Path) -> None:
    """They are in no mean over tasks, and a reader of that line wants them all the same."""
    units = np.full(20, 2.0)
    losses = {"teacher": 1.0, "student": 1.5, "plain|one": 3.0}
    asked = [
        cell(model, "text", predictions(Kind.LOSSES, units, np.full((20, 1), 2 * loss)))
        for model, loss in losses.items()
    ]
    found = report(tmp_path, [*cells(), *asked], costs={"student": price(1)})
    assert found["mean"]["scores"]["teacher"]["value"] > 0.85
    overview = (tmp_path / "report.md").read_text("utf-8").partition("## All tasks")[2]
    heading, _, *lines = [line for line in overview.splitlines() if line.startswith("|")][:5]
    assert heading.endswith("| over control | text, loss | M parameters | ms per text |")
    shown = [line.split(" | ")[5].split()[0] for line in lines]
    assert shown == ["1.000", "1.500", "3.000"]


def test_what_is_not_measurable_is_said(tmp_path: Path) -> None:
    weak = [
        replace(own, predictions=two_languages(0.55, 3))
        for own in cells()
        if own.model in ("teacher", "student")
    ]
    found = report(tmp_path, weak)
    why = "teacher does not beat chance beyond the interval"
    assert found["tasks"]["topic"]["metrics"]["accuracy"]["not_measurable"] == why
    assert found["mean"]["retention"] == {}
    assert why in (tmp_path / "report.md").read_text("utf-8")
    assert (tmp_path / "retention.png").stat().st_size > 1000


@pytest.mark.parametrize("there", [[], [cell("student", "topic", right_share(0.9, 20))]])
def test_a_report_of_nothing(tmp_path: Path, there: list[CellResult]) -> None:
    """The teacher's cells are yet to come."""
    found = report(tmp_path, there)
    assert (found["tasks"], found["mean"]) == ({}, None)
    assert (tmp_path / "quality.png").is_file()


def test_examples_that_do_not_pair_are_told(tmp_path: Path, capsys: Any) -> None:
    """As after an evaluation of other versions of the data: else its tables are just empty."""
    asked = two_languages(0.8, 1)
    others = replace(asked, examples=asked.examples + np.uint64(1_000_000))
    found = [cell("teacher", "topic", asked, 1), cell("student", "topic", others, 1)]
    report(tmp_path, found, control=None)
    said = "| topic | en | 100 |\n| topic | hi | 100 |"
    assert said in (tmp_path / "report.md").read_text("utf-8")
    assert "Left out: examples" in capsys.readouterr().out


def test_what_lies_beside_the_report_stays(written: Path) -> None:
    names = {path.name for path in written.iterdir()}
    assert names == {"cells", "results.json", "report.md", "retention.png", "quality.png"}
    assert (written / "cells" / "one").read_text() == "kept"


def test_a_table_is_markdown_whatever_its_names_are() -> None:
    own = Table("T", ["", "a|b"], [["x*y", "<b>"], ["[a](b)", "1.50 [1.2, -3] ±0.1"]])
    assert own.markdown.splitlines()[2:] == [
        r"|  | a\|b |",
        "|---|---:|",
        r"| x\*y | &lt;b&gt; |",
        r"| \[a\]\(b\) | 1.50 [1.2, -3] ±0.1 |",
    ]
