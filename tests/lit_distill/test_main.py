"""The program's entry: help and mistakes at once, errors in one line."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from lit_distill import __main__ as entry
from lit_distill import __version__
from lit_distill.__main__ import COMMANDS, main
from lit_distill.errors import UserError


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == main([]) == main(["-h"]) == 0
    shown = capsys.readouterr().out
    for command, text in COMMANDS.items():
        assert f"  {command:16} {text}\n" in shown


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"{__version__}\n"


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("fti", "did you mean 'fit'?"),
        ("exprot", "did you mean 'export'?"),
        ("train_tokenizer", "did you mean 'train-tokenizer'?"),
        ("quantify", "there are fit, validate, test, "),
    ],
)
def test_an_unknown_command_is_answered_with_a_suggestion(
    typed: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([typed]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: there is no command {typed!r}: {hint}")


def test_errors_of_the_user_are_one_line_and_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(command: str, args: list[str]) -> None:
        raise UserError("first\n   second")

    monkeypatch.setattr(entry, "_run", refuse)
    assert main(["fit"]) == 2
    assert capsys.readouterr().err == "error: first second\n"


def test_an_interruption_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(command: str, args: list[str]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(entry, "_run", interrupt)
    assert main(["fit"]) == 130


@pytest.mark.parametrize(("typed", "code"), [("--help", 0), ("fti", 2)])
def test_help_and_mistakes_answer_in_half_a_second(typed: str, code: int) -> None:
    """Of the process's own time: a busy machine takes longer."""
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-m", "lit_distill", typed], capture_output=True, check=False
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert done.returncode == code
    assert min(seconds) < 0.5


def test_nothing_heavy_is_imported_for_help() -> None:
    code = (
        "import sys; from lit_distill.__main__ import main; main(['--help']); main(['fti']);"
        "assert not {'torch', 'lightning', 'transformers', 'jsonargparse'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
