"""Completion as a shell runs it."""

from __future__ import annotations

import builtins
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lit_distill.__main__ import COMMANDS, main
from lit_distill.errors import UserError
from lit_distill.tools.shipping.completion import completion


def completed(script: Path, *words: str) -> list[str]:
    """What bash offers where the last of these words has been begun."""
    before = ("lit-distill", *words)[-2]
    listed = " ".join(f"'{word}'" for word in ("lit-distill", *words))
    code = f"""
        source {script}
        COMP_WORDS=({listed}); COMP_CWORD={len(words)}
        name=$(complete -p lit-distill | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
        $name lit-distill '{words[-1]}' '{before}' 2> /dev/null
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "--norc", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=script.parent,
    )
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_commands_options_and_configs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "completion.sh"
    script.write_text(capsys.readouterr().out)
    (tmp_path / "mine.yaml").write_text("")
    assert set(completed(script, "")) >= set(COMMANDS)
    assert completed(script, "ex") == ["export"]
    assert completed(script, "fit", "--run") == ["--run_dir"]
    assert "--trainer.max_steps" in completed(script, "fit", "--trainer.")
    assert completed(script, "fit", "-c", "methods/tri") == ["methods/triple_loss"]
    assert "mine.yaml" in completed(script, "fit", "-c", "m")
    assert "quickstart/recipe" in completed(script, "run", "quick")
    assert completed(script, "check", "--js") == ["--json"]
    assert completed(script, "evaluate", "--repo") == ["--report_only"]


@pytest.mark.parametrize("shell", ["zsh", "tcsh"])
def test_other_shells_have_every_command(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    completion(shell)
    shown = capsys.readouterr().out
    assert all(command in shown for command in COMMANDS)
    if shell == "zsh" and shutil.which("zsh"):
        subprocess.run(["zsh", "-n"], input=shown, text=True, check=True)


def test_without_shtab_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    own = builtins.__import__

    def without(name: str, *rest: Any, **options: Any) -> Any:
        if name == "shtab":
            raise ImportError(name)
        return own(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"pip install lit-distill\[completion\]"):
        completion("bash")
