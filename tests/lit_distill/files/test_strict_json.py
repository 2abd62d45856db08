"""Reports are JSON for every reader."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

import pytest

from lit_distill.files import strict_json


def refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


@pytest.mark.parametrize("indent", [None, 1])
def test_numbers_that_json_lacks_become_null(indent: int | None) -> None:
    value: dict[str, Any] = {"ভাষা": [1, math.nan, {"loss": math.inf}], "low": (-math.inf, 0.1)}
    text = strict_json.dumps(value, indent)
    assert "ভাষা" in text
    read = json.loads(text, parse_constant=refuse)
    assert read == {"ভাষা": [1, None, {"loss": None}], "low": [None, 0.1]}
