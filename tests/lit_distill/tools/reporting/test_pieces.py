"""Curves, samples and drawings, one by one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from torch.utils.tensorboard import SummaryWriter

from callbacks.reports.boards import markdown
from callbacks.reports.markdown import escaped
from lit_distill.tools.reporting.curves import curves_of
from lit_distill.tools.reporting.drawing import POINTS, bars, lines, thinned
from lit_distill.tools.reporting.parts import Piece, finite, number
from lit_distill.tools.reporting.samples import pieces, table_of


def test_a_run_that_went_on_has_one_curve(tmp_path: Path) -> None:
    """What was logged again after a resume replaces what the broken part had logged."""
    for first, value in ((0, 1.0), (2, 5.0)):
        with SummaryWriter(str(tmp_path / "tensorboard"), filename_suffix=f".{first}") as board:
            for step in range(first, first + 4):
                board.add_scalar("train/loss", value + step, step)
            board.add_scalar("train/loss", float("nan"), 9)
            board.add_text("val/samples", f"| a |\n|---|\n| {value} |", first)
    problems = list[str]()
    found = curves_of(tmp_path, problems)
    points = dict(found.points("train/loss"))
    assert set(points) == {0.0, 1.0, 2.0, 3.0, 4.0, 5.0}  # no NaN
    assert points[1] == 2.0
    assert points[5] == 10.0
    assert points[2] == 7.0
    assert "5.0" in found.tables["val/samples"]
    assert not problems


def test_files_of_a_csv_logger_are_read_likewise(tmp_path: Path) -> None:
    folder = tmp_path / "csv"
    (folder / "texts/val/samples").mkdir(parents=True)
    (folder / "metrics.csv").write_text("epoch,step,val/en/loss\n0,5,2.5\n0,10,\n1,15,2.0\n")
    for step in (5, 15):
        (folder / f"texts/val/samples/{step:08}.md").write_text(f"of {step}")
    problems = list[str]()
    found = curves_of(tmp_path, problems)
    assert found.points("val/en/loss") == [(5, 2.5), (15, 2.0)]
    assert found.tags("val", "loss") == {"en": "val/en/loss"}
    assert found.tables == {"val/samples": "of 15"}
    (folder / "metrics.csv").write_text("step,val/loss\nx,y\n")
    curves_of(tmp_path, problems)
    assert problems == ["metrics.csv has a row that is no numbers."]


def test_damaged_events_are_a_sentence_or_a_shorter_curve(tmp_path: Path) -> None:
    (tmp_path / "events.out.tfevents.1").write_bytes(b"no events at all" * 9)
    assert curves_of(tmp_path, []).numbers == {}


@pytest.mark.parametrize(
    "text", ["a|b", "**x**", "<b>&amp;", "back\\slash", "a_b* `c` [d](e)", "#1."]
)
def test_cells_come_back_as_they_were_written(text: str) -> None:
    heading = ["language", "text"]
    rows = [[escaped("hi|en"), f"{escaped(text)} **{escaped(text)}**"]]
    found = table_of("t", markdown(heading, rows))
    assert found is not None
    assert found.heading == heading
    assert list(found.rows[0][0]) == [Piece("hi|en")]
    assert list(found.rows[0][1]) == [Piece(f"{text} "), Piece(text, strong=True)]


def test_stars_that_are_not_closed_are_no_text() -> None:
    assert pieces("a **b") == [Piece("a "), Piece("b", strong=True)]
    assert table_of("t", "no table") is None


def test_every_colour_is_the_page_s() -> None:
    values = {f"s{n}": {"en": 1.0 + n, "hi": 2.0} for n in range(8)}
    svg = bars("loss", values, True).svg
    assert not re.findall(r"#0[a0][0-9a-f]{4}", svg)
    assert all(f"var(--s{place})" in svg for place in range(1, 9))
    assert "currentColor" in svg
    assert "#000000" not in svg
    assert not re.search(r"https?://(?!www\.w3\.org)", svg)


def test_a_bar_begins_at_zero_and_has_its_number() -> None:
    svg = bars("loss", {"student": {"en": 4.0, "hi": 5.0}}, True).svg
    assert ">4<" in svg
    assert ">5<" in svg
    assert re.search(r">0<", svg)


def test_of_many_languages_the_worst_are_drawn() -> None:
    values = {"s": {f"l{n:02}": float(n) for n in range(100)}}
    worst, best = bars("loss", values, True), bars("accuracy", values, False)
    assert "the 40 worst of 100" in worst.title
    assert ">l99<" in worst.svg
    assert ">l00<" not in worst.svg
    assert ">l00<" in best.svg
    assert ">l99<" not in best.svg


def test_names_with_dollars_and_lines_are_names() -> None:
    svg = lines("$x$", {"$a_1$": [(1, 1.0), (2, 2.0)], "_b": [(1, 2.0), (2, 1.0)]}).svg
    assert "$a_1$" in svg
    assert "_b" in svg


def test_a_thinned_curve_keeps_its_ends() -> None:
    points = [(float(n), float(n)) for n in range(10_000)]
    some = thinned(points)
    assert len(some) == POINTS
    assert some[0] == points[0]
    assert some[-1] == points[-1]
    assert thinned(points[:5]) == points[:5]


def test_numbers() -> None:
    assert [number(one) for one in (0.123456, 1234.0, 1e-9, True, "1", None, float("nan"))] == [
        "0.1235", "1,234", "1e-09", "", "", "", "",
    ]  # fmt: skip
    assert finite(10**400) is None
