"""Tables as `compare` writes them under seeds, made by hand: pipelines on data sets."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

PIPELINES: dict[str, dict[str, Any]] = {
    "states": {"method": "HiddenStates", "layers": 6.0, "model.loss": "mse"},
    "logits": {"method": "SupervisedKD", "layers": 6.0, "model.alpha_kd": 0.5},
    "relations": {"method": "MiniLMv2", "layers": 6.0, "model.relation_heads": 12.0},
    "small": {"method": "HiddenStates", "layers": 3.0, "model.loss": "mse"},
}

Gain = Callable[[str, Mapping[str, float]], float]
"""How far a pipeline is below the control, on data of these features."""


def write_table(
    folder: Path,
    data: Mapping[str, float],
    gain: Gain,
    pipelines: Mapping[str, Mapping[str, Any]] | None = None,
    **changed: Any,
) -> str:
    """A folder of `compare` with a teacher, a control and pipelines; teacher 2.0, control 3.0."""
    methods: dict[str, Any] = {
        "teacher": {"parameters": 1000, "loss": {"mean": 2.0}, "pipeline": {}},
        "control": {"parameters": 500, "loss": {"mean": 3.0}, "pipeline": {"method": "MaskedLM"}},
    }
    for name, pipeline in (PIPELINES if pipelines is None else pipelines).items():
        below = gain(name, data)
        methods[name] = {
            "parameters": 500,
            "loss": {"mean": 3.0 - below},
            "less_control": {"value": -below},
            "pipeline": dict(pipeline),
        }
    content = {
        "format": 2, "reference": "teacher", "control": "control", "seeds": [1, 2],
        "data": dict(data), "differences": [], "methods": methods, **changed,
    }  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "compare.json").write_text(json.dumps(content), "utf-8")
    return str(folder)
