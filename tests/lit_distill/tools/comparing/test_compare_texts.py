"""Texts of several runs behind the same prompts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lit_distill.__main__ import main
from lit_distill.errors import UserError
from lit_distill.tools.comparing.compare_texts import compare_texts

NAN = float("nan")
Table = dict[str, list[float]]


def saved(folder: Path, exact: Table, step: int = 100, first: int = 0) -> str:
    """A run folder with texts of these exact matches by language; chrF is 100 times as much."""
    rows: list[dict[str, Any]] = [
        {
            "language": language,
            "sample_id": first + number,
            "students": {"student": {"scores": {"exact_match": value, "chrf": 100 * value}}},
        }
        for language, values in exact.items()
        for number, value in enumerate(values)
    ]
    path = folder / f"generations/val-{step:08}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return str(folder)


def test_means_differences_and_intervals(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    plain = [
        saved(tmp_path / "plain-1", {"hi": [0, 0, 0, 1], "bn": [0, 0]}),
        saved(tmp_path / "plain-2", {"hi": [0, 0, 1, 1], "bn": [0, 1]}),
    ]
    saved(tmp_path / "gkd", {"hi": [0] * 4, "bn": [0] * 2}, step=50)  # of an earlier validation
    gkd = [saved(tmp_path / "gkd", {"hi": [1, 1, 1, 1], "bn": [0, 1]})]
    result = compare_texts({"plain": plain, "gkd": gkd}, output=str(tmp_path / "out"))
    exact = result["exact_match"]
    assert exact["plain"]["hi"].value == pytest.approx(3 / 8)
    assert (exact["plain"]["hi"].lowest, exact["plain"]["hi"].highest) == (0.25, 0.5)
    assert exact["plain"]["mean"].value == pytest.approx((3 / 8 + 1 / 4) / 2)
    assert exact["plain"]["mean"].difference is None
    assert exact["gkd"]["hi"].difference == pytest.approx(5 / 8)
    assert exact["gkd"]["mean"].difference == pytest.approx((5 / 8 + 1 / 4) / 2)
    low, high = exact["gkd"]["hi"].interval
    assert low == pytest.approx(0.125, abs=0.13)  # gaps are 1, 1, 1/2 and 0
    assert high == 1
    assert result["chrf"]["gkd"]["hi"].difference == pytest.approx(62.5)
    written = json.loads((tmp_path / "out/compare.json").read_text("utf-8"))
    assert written["exact_match"]["gkd"]["bn"]["value"] == 0.5
    assert "| gkd | 0.750" in (tmp_path / "out/compare.md").read_text("utf-8")
    assert "less plain" in capsys.readouterr().out


def test_equal_texts_differ_by_nothing(tmp_path: Path) -> None:
    one = saved(tmp_path / "a", {"hi": [0, 1, 1]})
    same = compare_texts({"a": [one], "b": [one]})["exact_match"]["b"]["mean"]
    assert (same.difference, same.interval) == (0, (0, 0))


def test_texts_of_the_test_command_are_found(tmp_path: Path) -> None:
    one = saved(tmp_path / "a", {"hi": [0, 1]})
    (tmp_path / "a/generations/val-00000100.jsonl").rename(tmp_path / "a/generations/test.jsonl")
    found = compare_texts({"a": [one]}, stage="test")
    assert found["exact_match"]["a"]["hi"].value == 0.5


def test_what_cannot_be_compared(tmp_path: Path) -> None:
    one = saved(tmp_path / "a", {"hi": [0, 1]})
    other = saved(tmp_path / "b", {"hi": [0, 1]}, first=7)
    with pytest.raises(UserError, match="No runs"):
        compare_texts({})
    with pytest.raises(UserError, match="is none of the methods a"):
        compare_texts({"a": [one]}, baseline="plain")
    with pytest.raises(UserError, match="b answered other prompts"):
        compare_texts({"a": [one], "b": [other]})
    with pytest.raises(UserError, match=r"has no generations/test\*"):
        compare_texts({"a": [one]}, stage="test")
    with pytest.raises(UserError, match="has no texts of 'large'"):
        compare_texts({"a": [one]}, student="large")


def test_prompts_without_a_reference_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of partly labelled prompts those with references are compared."""
    one = saved(tmp_path / "a", {"hi": [0, 1], "bn": [1]})
    alone = {"language": "hi", "sample_id": 9, "reference": None,
             "students": {"student": {"text": "x", "scores": {"repetition": 0.0}}}}  # fmt: skip
    path = tmp_path / "a/generations/val-00000100.jsonl"
    known = path.read_text("utf-8")
    path.write_text(json.dumps(alone) + "\n" + known, "utf-8")
    exact = compare_texts({"a": [one], "b": [one]})["exact_match"]["b"]
    assert (exact["hi"].value, exact["bn"].value) == (0.5, 1)
    assert exact["mean"].difference == 0
    assert f"{one}: 1 of 4 prompts have no reference" in capsys.readouterr().out
    path.write_text(json.dumps(alone), "utf-8")
    with pytest.raises(UserError, match=r"No prompt of .*val-00000100.jsonl has a reference"):
        compare_texts({"a": [one]})


WRITTEN = {"language": "hi", "sample_id": 0, "students": {"student": {"scores": {"chrf": 1.0}}}}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"language": "hi", "samp', "Line 2 of .* is no JSON"),
        ("[" * 5000, "Line 2 of .* is no JSON"),
        ("[1]", "Line 2 of .* is no text of GenerationMetrics"),
        ("3", "is no text of"),
        ('{"prompt": "a", "response": "b"}', "is no text of"),
        (json.dumps({**WRITTEN, "language": 3}), "is no text of"),
        (json.dumps({**WRITTEN, "students": ["student"]}), "is no text of"),
        (json.dumps({**WRITTEN, "students": {"student": "text"}}), "is no text of"),
        (json.dumps({**WRITTEN, "students": {"student": {"text": "x"}}}), "is no text of"),
        (json.dumps({**WRITTEN, "students": {"student": {"scores": {"chrf": "1"}}}}), "is no text"),
        (json.dumps({**WRITTEN, "students": {"student": {"scores": {"chrf": NAN}}}}), "is no text"),
        (json.dumps({**WRITTEN, "students": {}}), "no texts of 'student', or not to every"),
        (json.dumps(WRITTEN), "has a prompt twice"),
    ],
)
def test_broken_and_foreign_files_are_named(tmp_path: Path, line: str, message: str) -> None:
    one = saved(tmp_path / "a", {"hi": [0]})
    path = tmp_path / "a/generations/val-00000100.jsonl"
    path.write_text(f"{path.read_text('utf-8')}{line}\n", "utf-8")
    with pytest.raises(UserError, match=message):
        compare_texts({"a": [one]})


def test_files_that_are_no_text_are_named(tmp_path: Path) -> None:
    one = saved(tmp_path / "a", {"hi": [0]})
    path = tmp_path / "a/generations/val-00000100.jsonl"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"val-00000100.jsonl cannot be read"):
        compare_texts({"a": [one]})
    path.unlink()
    path.mkdir()
    with pytest.raises(UserError, match="cannot be read"):
        compare_texts({"a": [one]})
    path.rmdir()
    path.write_bytes(b"")
    with pytest.raises(UserError, match=r"has no texts of 'student'.*nobody"):
        compare_texts({"a": [one]})


def test_the_command(tmp_path: Path) -> None:
    one = saved(tmp_path / "a", {"hi": [0, 1]})
    assert main(["compare-texts", f"--runs.a=[{one}]", f"--runs.b=[{one}]"]) == 0
