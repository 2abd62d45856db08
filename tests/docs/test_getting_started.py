"""The pages to begin with: each of their commands is one, with options that there are."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from lit_distill.__main__ import COMMANDS, main
from lit_distill.cli.parsing.options import CACHE, CHECK, TRAINING
from lit_distill.files.shipped_configs import with_paths
from lit_distill.tools.invocation import read
from lit_distill.tools.recipes.recipe import read_recipe

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs/getting_started").glob("*.md"))
KINDS = {"encoder", "decoder", "code_mixed", "co_distillation", "production"}


def commands(text: str) -> Iterator[list[str]]:
    """The commands of a page: lines of its blocks of code, whole."""
    for block in re.findall(r"(?m)(?:^    .*\n)+", text):
        for line in re.sub(r"\\\n\s+", "", block).splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["lit-distill"]:
                yield words[1:]


def parse(command: str, *args: str) -> None:
    """Reads a command line to the end of what can be known without models and data."""
    if command in (*TRAINING, CACHE, CHECK):
        own = re.compile(r"runs/.*/config\.yaml")  # there once the run has been; another whole one
        given = ["experiments/ctcd_phrasebook" if own.fullmatch(arg) else arg for arg in args]
        printed = io.StringIO()
        code = 0
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            try:
                code = main([command, *given, "--print_config"])
            except SystemExit as end:
                code = int(end.code or 0)
        assert code == 0, printed.getvalue()[-1000:]
        assert "class_path:" in printed.getvalue()
    elif command == "run":
        recipe, *options = with_paths(command, args)
        pairs = zip(options[::2], options[1::2], strict=True)
        values = {option.removeprefix("--variables."): value for option, value in pairs}
        assert read_recipe(Path(recipe), values).stages
    else:
        read(command, with_paths(command, args))


def test_there_is_a_page_for_every_kind_of_user() -> None:
    assert {path.stem for path in PAGES} == KINDS
    index = (ROOT / "docs/index.md").read_text("utf-8")
    assert all(f"getting_started/{kind}.md" in index for kind in KINDS)


@pytest.mark.rotated(3)  # each is a command
@pytest.mark.parametrize(
    ("page", "command"),
    [(path.stem, words) for path in PAGES for words in commands(path.read_text("utf-8"))],
    ids=lambda value: value if isinstance(value, str) else " ".join(value)[:60],
)
def test_commands_can_be_parsed(
    page: str, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert command[0] in COMMANDS
    parse(*command)
