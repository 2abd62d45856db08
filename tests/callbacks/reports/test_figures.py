"""Figures are readable with three languages and with a hundred."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from callbacks.reports.figures import dots, lines


def losses(count: int) -> dict[str, float]:
    return {f"{n:03d}-en": 2 + 3 * math.sin(n) ** 2 for n in range(count)}


def drawn(figure: Figure) -> Figure:
    FigureCanvasAgg(figure).draw()
    return figure


def overlaps(texts: list[Text]) -> int:
    boxes = [text.get_window_extent() for text in texts if text.get_text()]
    return sum(a.overlaps(b) for n, a in enumerate(boxes) for b in boxes[:n])


@pytest.mark.parametrize("count", [1, 3, 27, 104])
def test_names_do_not_overlap_and_none_is_cut_off(count: int) -> None:
    figure = drawn(dots("loss, nats", losses(count), losses(count)))
    names = [text for axis in figure.axes for text in axis.get_yticklabels()]
    assert len(names) == count
    assert overlaps(names) == 0
    assert all(text.get_window_extent().x0 >= 0 for text in names)
    assert max(figure.get_size_inches()) <= 12


def test_dots_are_in_order_and_show_what_was() -> None:
    figure = dots("loss", {"b": 2.0, "a": 1.0, "broken": math.nan}, {"a": 1.5})
    (axis,) = figure.axes
    assert [text.get_text() for text in axis.get_yticklabels()] == ["a", "b"]
    before, now = axis.get_lines()[1:]
    assert list(now.get_xdata()) == [1.0, 2.0]
    assert before.get_xdata()[0] == 1.5
    assert math.isnan(before.get_xdata()[1])
    drawn(figure)


def test_nothing_measured_is_an_empty_figure() -> None:
    drawn(dots("loss", {"a": math.inf}))


@pytest.mark.parametrize(("count", "named"), [(3, 4), (8, 9), (104, 9)])
def test_lines_name_a_few_without_overlap(count: int, named: int) -> None:
    steps = [0, 100, 200]
    history = {k: [v + 1, v, math.nan if k == "001-en" else v] for k, v in losses(count).items()}
    figure = drawn(lines("loss, nats", steps, history))
    (axis,) = figure.axes
    texts = [t for t in axis.texts if t.get_text()]
    assert named - 1 <= len(texts) <= named  # the mean, and not a line without an end
    assert "mean" in {t.get_text() for t in texts}
    bottoms = sorted(t.get_window_extent().y0 for t in texts)
    assert all(b - a > 8 for a, b in pairwise(bottoms))
    assert len(axis.get_lines()) == count + 1
