"""The page in a headless Chromium: at 400 and 1,400 pixels, light and dark."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import browser, opened

from lit_distill.tools.reporting.report import report

pytestmark = pytest.mark.rotated(4)  # a browser is started

CUT_OFF = """() => {
  const wide = document.documentElement.clientWidth, found = [];
  for (const one of document.querySelectorAll("body *")) {
    const box = one.getBoundingClientRect();
    const inside = one.closest(".scroll, pre") !== null;
    if (!inside && box.width && (box.right > wide + 1 || box.left < -1))
      found.push(one.tagName + " " + one.textContent.slice(0, 40));
    if (one.tagName === "text") {
      const whole = one.closest("svg").getBoundingClientRect();
      if (box.left < whole.left - 3 || box.right > whole.right + 3
          || box.top < whole.top - 3 || box.bottom > whole.bottom + 3)
        found.push("text " + one.textContent);
    }
  }
  if (document.documentElement.scrollWidth > wide) found.push("the page scrolls sideways");
  return found;
}"""
CONTRAST = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
  const linear = (v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const light = (colour) => {
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (one) => {
    for (; one; one = one.parentElement) {
      const colour = getComputedStyle(one).backgroundColor;
      if (!colour.endsWith(", 0)")) return colour;
    }
    return "white";
  };
  let least = 99;
  for (const one of document.querySelectorAll("svg text, p, td, th, dt, dd, h2, summary, li, a")) {
    const style = getComputedStyle(one);
    const colour = one.tagName === "text" ? style.fill : style.color;
    const [high, low] = [light(colour), light(ground(one))].sort((x, y) => y - x);
    least = Math.min(least, (high + 0.05) / (low + 0.05));
  }
  return least;
}"""
"""The smallest contrast of a text with what is behind it, as WCAG defines it; 4.5 is wanted."""
UNFOLD = "() => document.querySelectorAll('details').forEach((one) => (one.open = true))"
LETTERS = """() => Math.min(...[...document.querySelectorAll("svg text")]
  .map((one) => one.getBoundingClientRect().height))"""


@pytest.fixture
def page(run: Path, evaluation: Path) -> Path:
    """Of two runs and an evaluation, with all that unfolds."""
    shutil.copytree(run, run.parent / "control")
    report([str(run.parent)])
    return run.parent / "report.html"


@pytest.fixture(scope="module")
def running() -> Iterator[Any]:
    with browser() as found:
        yield found


@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("dark", [False, True])
def test_nothing_is_cut_off_and_everything_is_legible(
    page: Path, running: Any, width: int, dark: bool
) -> None:
    with opened(running, page, width, dark) as (shown, said):
        shown.evaluate(
            "() => document.querySelectorAll('details').forEach((one) => (one.open = true))"
        )
        assert shown.locator("svg").count() > 10
        assert shown.evaluate(CUT_OFF) == []
        assert shown.evaluate(CONTRAST) > 4.5
        assert shown.evaluate(LETTERS) > 8
        assert said == []


def test_light_and_dark_differ(page: Path, running: Any) -> None:
    grounds = []
    for dark in (False, True):
        with opened(running, page, 400, dark) as (shown, _):
            grounds.append(shown.evaluate("() => getComputedStyle(document.body).backgroundColor"))
    assert grounds[0] != grounds[1]
