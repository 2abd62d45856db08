"""The model card of an export."""

from __future__ import annotations

from pathlib import Path

import pytest

from lit_distill.tools.delivering.card import Findings, card, latency_table, parity_table
from lit_distill.tools.delivering.deliverables.choices import Int8Spec, OnnxSpec, Request
from lit_distill.tools.delivering.deliverables.deliverable import Deliverable, open_deliverable
from lit_distill.tools.delivering.gate.latency import Latency
from lit_distill.tools.delivering.gate.parity import Parity
from lit_distill.tools.delivering.gate.scores import Score

OWN = """---
library_name: transformers
tags: [lit_distill, knowledge-distillation]
---

# Distilled language model

- method: TripleLoss, 7 updates
- `projections/up.safetensors`: reads layer 2

## Use

```python
model = AutoModelForMaskedLM.from_pretrained(".")
```

## Scores

| language | loss |
"""
ROW = Parity(9, 1.5e-6, 1.0, 2e-14, None)
FINDINGS = Findings(
    {"float32": {"de": ROW}, "int8": {"de": Parity(9, 0.021, 0.9712, 1.23e-3, None)}},
    {"de": Score(7, 0.75, {"float32": 0.75, "int8": 0.5})},
    {name: Latency(2.0, 1.0) for name in ("torch", "float32", "int8")},
    {"torch": 91.0, "float32": 90.5, "int8": 23.04},
)


@pytest.fixture
def what(tiny_bert: Path) -> Deliverable:
    return open_deliverable(tiny_bert, OnnxSpec(), "it")


def test_tables(what: Deliverable) -> None:
    lines = parity_table(FINDINGS).splitlines()
    assert "| float32 | de | 9 | 1.5e-06 | 1.0000 | 2.0e-14 | - |" in lines
    assert "| int8 | de | 9 | 0.021 | 0.9712 | 0.0012 | - |" in lines
    assert lines[-3:] == [
        "| accuracy | texts | torch | float32 | int8 |",
        "| --- | --- | --- | --- | --- |",
        "| de | 7 | 0.7500 | 0.7500 | 0.5000 |",
    ]
    assert "| int8 | 23.0 | 2.00 | 1.00 |" in latency_table(FINDINGS).splitlines()


def test_a_card_of_ours_is_kept_but_for_what_is_no_longer_so(
    what: Deliverable, tiny_bert: Path, tmp_path: Path
) -> None:
    (tmp_path / "README.md").write_text(OWN)
    moved = Deliverable(tmp_path, *(vars(what)[n] for n in list(vars(what))[1:]))
    text = card(moved, Request(Int8Spec()), FINDINGS)
    assert text.startswith("---\nlibrary_name: onnxruntime\n")
    for kept in ("TripleLoss, 7 updates", "| language | loss |", parity_table(FINDINGS)):
        assert kept in text
    for gone in ("AutoModelForMaskedLM.from_pretrained", "projections/"):
        assert gone not in text
    assert "In int8: an agreement below 0.9 (of one language: 0.85)" in text
    assert "is this model in int8" in text


def test_a_card_of_others_is_kept_whole(what: Deliverable, tmp_path: Path) -> None:
    own = OWN.replace("lit_distill", "sentence-transformers")
    (tmp_path / "README.md").write_text(own)
    moved = Deliverable(tmp_path, *(vars(what)[n] for n in list(vars(what))[1:]))
    text = card(moved, Request(), FINDINGS)
    assert text.startswith(own.strip())
    assert "phrasebook's validation sentences" in text
    assert "In int8" not in text
