"""The table of systems: nothing that is built is left out, and what it says can be followed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml
from test_house import METHODS, SOURCES, public_classes

from lit_distill.__main__ import COMMANDS
from lit_distill.cli.parsing.configs import read_config
from lit_distill.tools.recipes.recipe import read_recipe

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/systems.md"
HEADINGS = [
    "system", "question", "data", "control", "seeds", "answer", "command", "export", "numbers",
]  # fmt: skip
ANSWERS = ("yes", "no", "not measurable", "not yet run")

Row = dict[str, str]


def rows() -> list[Row]:
    """The lines of the table, by heading."""
    lines = PAGE.read_text("utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("| system |"))
    found = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        found.append(dict(zip(HEADINGS, cells, strict=True)))
    return found


ROWS = rows()


def answer(row: Row) -> str:
    match = re.match(r"\*\*(.+?)\*\*", row["answer"])
    return match[1] if match else ""


def name(row: Row) -> str:
    return row["system"].partition(":")[0]


@pytest.mark.parametrize("row", ROWS, ids=name)
def test_every_cell_is_filled_and_answers_are_of_four(row: Row) -> None:
    assert all(row.values())
    assert answer(row) in ANSWERS
    assert int(row["seeds"]) >= (answer(row) != "not yet run")
    assert row["question"].endswith("?")


def test_allowed_answers_are_those_that_the_page_explains() -> None:
    legend, _, _ = PAGE.read_text("utf-8").partition("| system |")
    explained = re.findall(r"^\| ([a-z ]+) \| ", legend, re.MULTILINE)
    assert tuple(explained) == ("answer", *ANSWERS)


@pytest.mark.parametrize("row", ROWS, ids=name)
def test_what_was_measured_has_a_page_with_its_numbers(row: Row) -> None:
    ((path, anchor),) = re.findall(r"\]\(([\w/.]+)#?([\w-]*)\)", row["numbers"])
    text = (PAGE.parent / path).read_text("utf-8")
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    anchors = [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
    assert not anchor or anchor in anchors
    if answer(row) != "not yet run":
        assert re.search(r"^\|.*\d\.\d", text, re.MULTILINE), f"{path} has no table of numbers"


@pytest.mark.parametrize("row", ROWS, ids=name)
def test_commands_can_be_parsed(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    python, module, package, command, *args = shlex.split(row["command"].strip("`"))
    assert (python, module, package) == ("python", "-m", "lit_distill")
    assert command in COMMANDS
    if command == "run":
        pairs = zip(args[1::2], args[2::2], strict=True)
        given = {option.removeprefix("--variables."): value for option, value in pairs}
        assert read_recipe(Path(args[0]), given).stages
    else:
        files = [args[place + 1] for place, option in enumerate(args) if option == "-c"]
        parts = [part for file in files for part in read_config(Path(file))]
        if command == "evaluate":
            assert {"tasks", "probes"} & {
                key for part in parts for key in yaml.safe_load(part.text)
            }
        else:
            assert {"model", "data"} <= {key for part in parts for key in part.classes()}


@pytest.mark.parametrize("method", [n for p in METHODS for n in public_classes(p)])
def test_every_method_has_a_row(method: str) -> None:
    assert any(f"`{method}`" in row["system"] for row in ROWS)


@pytest.mark.parametrize("path", sorted((ROOT / "configs/recipes").glob("*.yaml")), ids=str)
def test_every_recipe_is_in_a_command(path: Path) -> None:
    assert any(str(path.relative_to(ROOT)) in row["command"] for row in ROWS)


@pytest.mark.rotated(3)  # each is a command
@pytest.mark.parametrize("row", ROWS, ids=name)
def test_what_a_row_names_exists(row: Row) -> None:
    known = {*COMMANDS, *(one for path in SOURCES for one in public_classes(path))}
    named = {*re.findall(r"`([\w-]+)`", row["system"])}
    assert named
    assert named <= known
