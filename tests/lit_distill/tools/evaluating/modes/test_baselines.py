"""Baselines of every kind of task, where what they can know decides it all."""

from __future__ import annotations

import numpy as np
import pytest

from data_modules.tasks.rows import LabelledText
from lit_distill.models import Predicted, TaskHead
from lit_distill.tools.evaluating.cells.predictions import Kind
from lit_distill.tools.evaluating.cells.reading import Texts
from lit_distill.tools.evaluating.modes import BagOfWords, Majority


def texts(predicts: Predicted, rows: list[LabelledText], labels: tuple[str, ...] = ()) -> Texts:
    return Texts(rows, np.zeros(len(rows), dtype=np.int64), ["en"], TaskHead(predicts, labels))


def classes(count: int) -> Texts:
    """Two thirds are `no`; `not` is in those texts alone."""
    rows = [
        LabelledText(f"it is {'' if n % 3 == 0 else 'not '}so {n}", None, "no" if n % 3 else "aye")
        for n in range(count)
    ]
    return texts(Predicted.TEXT_LABELS, rows, ("no", "aye"))


def test_classes() -> None:
    train, test = classes(30), classes(9)
    scores = Majority().scores(train, test)
    assert np.allclose(scores, np.log([[2 / 3, 1 / 3]] * 9))
    found = test.predictions(BagOfWords().scores(train, test))
    assert (found.chosen == found.targets).all()
    assert (found.kind, found.labels) == (Kind.CLASSES, ("no", "aye"))
    assert found.targets.tolist() == [1, 0, 0] * 3


def test_a_label_that_no_training_text_has_is_rare_and_not_impossible() -> None:
    train = texts(Predicted.TEXT_LABELS, classes(30).rows, ("no", "aye", "never"))
    for baseline in (Majority(), BagOfWords()):
        scores = baseline.scores(train, train)
        assert np.isfinite(scores).all()
        assert (scores.argmin(1) == 2).all()


def test_labels_of_words() -> None:
    def sentence(n: int) -> LabelledText:
        text = f"Ann saw {'Bob' if n % 2 else 'them'}"
        ends = [0, 3, 4, 7, 8, len(text)]
        tags = ["B-PER", "O", "B-PER" if n % 2 else "O"]
        return LabelledText(
            text, None, "", words=list(zip(ends[::2], ends[1::2], strict=True)), tags=tags
        )

    made = texts(Predicted.TOKEN_LABELS, [sentence(n) for n in range(20)], ("B-PER", "O"))
    assert made.decisions.tolist() == [3] * 20
    assert np.allclose(np.exp(Majority().scores(made, made)), 0.5)
    found = made.predictions(BagOfWords().scores(made, made))
    assert found.kind is Kind.TAGS
    assert (found.chosen == found.targets).all()
    assert len(found.starts) == 20 or len({*found.examples.tolist()}) == 2  # two texts, by turns
    assert found.targets[:6].tolist() == [0, 1, 1, 0, 1, 0]


def test_numbers() -> None:
    rows = [LabelledText("good " * (n % 4) + "film", None, repr(float(n % 4))) for n in range(40)]
    made = texts(Predicted.TEXT_VALUE, rows)
    assert np.allclose(Majority().scores(made, made), 1.5)
    found = made.predictions(BagOfWords(inverse_penalty=100).scores(made, made))
    assert found.kind is Kind.VALUES
    assert found.scores.shape == (40, 1)
    assert np.corrcoef(found.scores[:, 0], found.targets)[0, 1] > 0.7


def test_choices() -> None:
    rows = []
    for n in range(30):
        options = ["it rained", "it was bread"]
        right = n % 2
        rows.append(
            LabelledText("the street is wet", None, str(right), choices=options[:: 1 - 2 * right])
        )
    made = texts(Predicted.CHOICES, rows)
    found = made.predictions(BagOfWords().scores(made, made), ["0", "1"])
    assert (found.chosen == found.targets).all()
    assert np.allclose(np.exp(found.scores).sum(1), 1)
    assert np.allclose(Majority().scores(made, made), np.log(0.5))


def test_data_may_number_its_labels() -> None:
    made = texts(
        Predicted.TEXT_LABELS,
        [LabelledText("a", None, "1"), LabelledText("b", None, "0")],
        ("x", "y"),
    )
    assert made.targets.tolist() == [1, 0]
    assert made.predictions(np.zeros((2, 2))).labels == ("x", "y")


@pytest.mark.parametrize("kind", [Predicted.SPANS])
def test_answers_in_texts_have_no_kind(kind: Predicted) -> None:
    with pytest.raises(KeyError):
        texts(kind, []).predictions(np.zeros((0, 1)))
