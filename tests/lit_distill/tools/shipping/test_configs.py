"""The list of configs that come with the package."""

from __future__ import annotations

import pytest

from lit_distill.__main__ import main
from lit_distill.files.shipped_configs import shipped


def test_every_config_has_a_name_and_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["configs"]) == 0
    shown = capsys.readouterr().out
    for name, path in shipped().items():
        assert name in shown
        assert path.read_text("utf-8").startswith("# "), f"{name} says nothing of itself"


def test_a_text_narrows_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["configs", "minilm"]) == 0
    shown = capsys.readouterr().out
    assert "methods/minilm_v2" in shown
    assert "methods/gkd" not in shown
    assert main(["configs", "no such thing"]) == 2
    assert "no config has 'no such thing'" in capsys.readouterr().err
