"""Files that anybody wrote: nothing in them is markup, loads anything, or stops a report."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from torch.utils.tensorboard import SummaryWriter

from callbacks.reports.markdown import escaped
from lit_distill.tools.reporting.rendering import html_of, markdown_of
from lit_distill.tools.reporting.report import page_of

pytestmark = pytest.mark.rotated(3)  # each makes a page with its charts

BAD = (
    "</td></pre></svg><script>alert(1)</script><img src=http://x.invalid/a onerror=alert(2)>"
    "\"'|`$x_1$*a*"
)
EVENT = re.compile(r"on\w+")


class Read(HTMLParser):
    """Counts what a browser would make of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.ids, self.loads = Counter[str](), Counter[str](), list[str]()
        self.wrong, self.text = list[str](), ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        for name, value in attrs:
            if name == "id":
                self.ids[value or ""] += 1
            if name in ("src", "href", "xlink:href", "action", "data", "srcset"):
                self.loads.append(value or "")
            if EVENT.fullmatch(name):
                self.wrong.append(name)

    def handle_data(self, data: str) -> None:
        self.text += data


def spoilt(content: Any) -> Any:
    """The same, with something bad behind every text and every key that nothing looks up."""
    if isinstance(content, dict):
        return {key: spoilt(value) for key, value in content.items()}
    if isinstance(content, list):
        return [spoilt(value) for value in content]
    return f"{content}{BAD}" if isinstance(content, str) else content


def spoil_languages(scores: dict[str, Any]) -> None:
    for kind in ("best", "last"):
        own = scores[kind]["students"]["student"]["languages"]
        own[f"en{BAD}"] = own.pop("en")


@pytest.fixture
def hostile(run: Path, evaluation: Path) -> list[Path]:
    scores = json.loads((run / "report.json").read_text())
    spoil_languages(scores)
    (run / "report.json").write_text(json.dumps(spoilt(scores)))
    facts = json.loads((run / "facts.json").read_text())
    names = [metric["name"] for metric in facts["metrics"]]
    facts = spoilt(facts)
    for metric, name in zip(facts["metrics"], names, strict=True):
        metric["name"] = name
    (run / "facts.json").write_text(json.dumps(facts))
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(f"{config}note: |\n  {BAD}\n  ```\n")
    results = json.loads((evaluation / "results.json").read_text())
    topic = results["tasks"]["topic"]
    results["tasks"] = {f"topic{BAD}": topic}
    (evaluation / "results.json").write_text(json.dumps(spoilt(results)))
    with SummaryWriter(str(run / "tensorboard")) as board:
        board.add_scalar(f"train/{BAD}", 1.0, 1)
        board.add_scalar(f"train/{BAD}", 2.0, 2)
        row = f"| {escaped(BAD)} | **{escaped(BAD)}** | <script>alert(3)</script> | x |"
        heading = "| language | text | student | teacher |\n| --- | --- | --- | --- |"
        board.add_text("val/samples", f"{heading}\n{row}", 99)
    return [run, evaluation]


def test_nothing_of_a_file_is_markup(hostile: list[Path]) -> None:
    page = page_of(hostile)
    read = Read(html_of(page))
    assert read.tags["script"] == read.tags["img"] == 0
    assert not read.wrong
    assert read.text.count("<script>alert(1)</script>") > 10  # there, as text
    assert "<script>alert(3)</script>" in read.text
    markdown = markdown_of(page, "report.html")
    fence = "````"
    outside = "".join(markdown.split(fence)[::2])
    assert fence in markdown  # around a configuration that has a fence of three itself
    assert "<script" not in outside
    assert "<img" not in outside


def test_a_page_loads_nothing_and_no_name_stands_twice(hostile: list[Path]) -> None:
    read = Read(html_of(page_of(hostile)))
    assert read.loads
    assert not [one for one in read.loads if one[:1] != "#" and not one.startswith("data:,")]
    assert max(read.ids.values()) == 1
    assert {one[1:] for one in read.loads if one[:1] == "#"} <= set(read.ids)


JUNK: list[Any] = [
    *(None, True, -1, 1e308, float("nan"), 10**400, "", "\ud800", "_x"),
    *([], [[]], {}, {"a": []}, "x" * 5000),
]


def mutated(content: Any, draw: random.Random, share: float) -> Any:
    """The same with some values, at any depth, replaced by what nobody expects."""
    if draw.random() < share:
        return draw.choice(JUNK)
    if isinstance(content, dict):
        return {
            (draw.choice(["_y", "", "\udc00"]) if draw.random() < share / 4 else key): mutated(
                value, draw, share
            )
            for key, value in content.items()
        }
    if isinstance(content, list):
        return [mutated(value, draw, share) for value in content]
    return content


@pytest.mark.parametrize("seed", range(3))
def test_junk_in_any_place_stops_no_report(run: Path, evaluation: Path, seed: int) -> None:
    files = (run / "report.json", run / "facts.json", evaluation / "results.json")
    originals = [json.loads(path.read_text()) for path in files]
    draw = random.Random(seed)
    for number in range(2):
        for path, original in zip(files, originals, strict=True):
            path.write_text(json.dumps(mutated(original, draw, (0.01, 0.04)[number % 2])))
        page = page_of([run, evaluation])
        assert html_of(page).encode("utf-8", "replace")
        assert markdown_of(page, "report.html")


def test_a_small_file_that_stands_for_a_huge_one_is_read_in_part(run: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    (run / "config.yaml").write_text("\n".join(lines))
    assert page_of([run]).sections
