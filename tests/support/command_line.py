"""What a command line prints, and how it is refused."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

import lit_distill.cli.training  # noqa: F401 (Lightning's logger keeps the stream of its first import)
from lit_distill.__main__ import main


def merged(capsys: pytest.CaptureFixture[str], *args: str) -> dict[str, Any]:
    """What --print_config shows."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(["fit", *args, "--print_config"])
    assert not stop.value.code
    config: dict[str, Any] = yaml.safe_load(capsys.readouterr().out)
    return config


def refused(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    """The one line with which a command line is refused."""
    capsys.readouterr()
    try:
        code: Any = main(list(args))
    except SystemExit as stop:
        code = stop.code
    lines = [line for line in capsys.readouterr().err.splitlines() if line != "Seed set to 1"]
    assert (code, len(lines)) == (2, 1), lines
    assert lines[0].startswith("error: ")
    return lines[0].removeprefix("error: ")
