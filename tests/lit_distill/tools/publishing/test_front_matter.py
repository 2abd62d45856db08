"""Headers of cards, changed where they have to be and nowhere else."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from lit_distill.errors import UserError
from lit_distill.tools.publishing.front_matter import header_of, with_results

RESULT = {"task": {"type": "fill-mask"}, "metrics": [{"type": "loss", "value": 1e-05}]}
BLOCK = """model-index:
- name: theirs
  results:
  - task: {type: other}
    metrics:
    - {type: x, value: 1}
# a comment of mine
"""


def changed(card: str, *results: dict[str, Any]) -> str:
    return with_results(card, "model", results, lambda one: one == RESULT, "the card")


@pytest.mark.parametrize("index", ["", BLOCK, "model-index: []\n", "model-index: null\n"])
@pytest.mark.parametrize("after", ["", "license: mit\n"])
def test_everything_else_stays(index: str, after: str) -> None:
    before = f"---\nlanguage: [no] # Norwegian?\n{index}{after}---\n\nmodel-index: text\n"
    card = changed(before, RESULT)
    first = "---\nlanguage: [no] # Norwegian?\n"
    assert card.startswith(f"{first}model-index: [{{" if index else f"{first}{after}model-index")
    assert card.endswith(f"{after if index else ''}---\n\nmodel-index: text\n")
    assert ("# a comment of mine" in card) == (index == BLOCK)
    (model,) = yaml.safe_load(card.split("---")[1])["model-index"]
    assert model["name"] == ("theirs" if index == BLOCK else "model")
    assert model["results"][-1] == RESULT
    assert type(model["results"][-1]["metrics"][0]["value"]) is float
    assert len(model["results"]) == (2 if index == BLOCK else 1)
    assert changed(card, RESULT) == card
    assert changed(card).count("fill-mask") == 0


def test_a_card_without_a_header_gets_one() -> None:
    card = changed("# Mine\n\n---\n\nmore\n", RESULT)
    assert card.endswith("---\n\n# Mine\n\n---\n\nmore\n")
    assert header_of(card, "it")["model-index"][0]["results"] == [RESULT]


def test_line_ends_of_windows_stay() -> None:
    card = changed("---\r\nlicense: mit\r\n---\r\ntext\r\n", RESULT)
    assert card.startswith("---\r\nlicense: mit")
    assert card.endswith("\r\n---\r\ntext\r\n")
    assert {*header_of(card, "it")} == {"license", "model-index"}


@pytest.mark.parametrize("header", ["[a: b", "- a\n- b", "just text"])
def test_what_is_no_header_is_refused(header: str) -> None:
    with pytest.raises(UserError, match="The header of the card"):
        changed(f"---\n{header}\n---\n", RESULT)
