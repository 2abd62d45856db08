"""Accuracies on labelled texts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lit_distill.errors import UserError
from lit_distill.tools.delivering.deliverables.choices import OnnxSpec
from lit_distill.tools.delivering.deliverables.deliverable import Deliverable, open_deliverable
from lit_distill.tools.delivering.gate.running import TorchRunner
from lit_distill.tools.delivering.gate.scores import labelled_texts, scores


class Always:
    """Decides for one label."""

    def __init__(self, label: int) -> None:
        self.label = label

    def rows(self, examples: Sequence[Any]) -> list[Any]:
        return [np.eye(3, dtype=np.float32)[None, self.label] for _ in examples]


@pytest.fixture
def what(tiny_classifier: Path) -> Deliverable:
    return open_deliverable(tiny_classifier, OnnxSpec(), "it")


def table(path: Path, labels: Sequence[str]) -> str:
    words = ["the cat", "a river", "old houses", "der fluss", "die katzen", "long books"]
    rows = [{"text": t, "label": one} for t, one in zip(words, labels, strict=False)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_accuracies_of_model_and_files(what: Deliverable, tmp_path: Path) -> None:
    path = table(tmp_path / "rows.jsonl", ["good", "bad", "good", "fair", "good"])
    tables = labelled_texts(what, {"en": path})
    assert tables["en"].labels == [2, 0, 2, 1, 2]
    runners: Any = {"float32": Always(2), "int8": Always(0)}
    own = [int(rows.argmax()) for rows in TorchRunner(what).rows(_read(what, tables["en"].texts))]
    found = scores(what, TorchRunner(what), runners, tables)["en"]
    assert found.texts == 5
    assert found.files == {"float32": 3 / 5, "int8": 1 / 5}
    assert found.model == sum(a == b for a, b in zip(own, [2, 0, 2, 1, 2], strict=True)) / 5


def _read(what: Deliverable, texts: Sequence[str]) -> list[Any]:
    from lit_distill.tools.delivering.gate.examples import read

    return read(what, texts)


def test_labels_of_others_are_refused(what: Deliverable, tiny_bert: Path, tmp_path: Path) -> None:
    path = table(tmp_path / "rows.jsonl", ["good", "awful"])
    with pytest.raises(UserError, match="has the label 'awful', and it knows bad, fair, good"):
        labelled_texts(what, {"en": path})
    with pytest.raises(UserError, match="is a BertForMaskedLM, which predicts tokens"):
        labelled_texts(open_deliverable(tiny_bert, OnnxSpec(), "it"), {"en": path})
