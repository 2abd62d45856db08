"""Recipes: how they are read, when a stage counts as changed, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from lit_distill.errors import UserError
from lit_distill.tools.recipes.recipe import read_recipe

TEXT = """
run_dir: runs/r
variables: {updates: 5, name: a b}
stages:
  teacher:
    command: fit
    config: [part.yaml, sub/other.yaml]
    options:
      trainer: {max_steps: "{variables.updates}", callbacks: [X], logger: null}
      model.dropout: 0.1
      seed_everything: true
  student:
    command: export
    options: {checkpoint: "{stages.teacher}/checkpoints/best.ckpt", name: "{variables.name}"}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "in/sub").mkdir(parents=True)
    (tmp_path / "in/recipe.yaml").write_text(TEXT)
    (tmp_path / "in/part.yaml").write_text("include: inner.yaml\na: 1\n")
    (tmp_path / "in/inner.yaml").write_text("b: 1\n")
    (tmp_path / "in/sub/other.yaml").write_text("c: 1\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_stages_with_everything_filled_in(folder: Path) -> None:
    recipe = read_recipe(Path("in/recipe.yaml"), {"updates": "9"})
    teacher, student = recipe.stages
    assert recipe.run_dir == Path("runs/r")
    assert teacher.args == (
        "--config=in/part.yaml",
        "--config=in/sub/other.yaml",
        "--trainer.max_steps=9",
        '--trainer.callbacks=["X"]',
        "--trainer.logger=null",
        "--model.dropout=0.1",
        "--seed_everything=true",
        "--run_dir=runs/r/teacher",
    )
    assert (teacher.needs, student.needs) == ((), ("teacher",))
    assert student.reads == (Path("runs/r/teacher/checkpoints/best.ckpt"),)
    assert student.command_line() == (
        "python -m lit_distill export --checkpoint=runs/r/teacher/checkpoints/best.ckpt "
        "'--name=a b' --output=runs/r/student"
    )


@pytest.mark.parametrize(
    ("value", "places"),
    [
        ("{stages.a}", ["r/a"]),
        ("{stages.a}/student", ["r/a/student"]),
        ('["{stages.a}/x.jsonl", "{stages.a}/y.jsonl"]', ["r/a/x.jsonl", "r/a/y.jsonl"]),
        ("{stages.a}/texts/{language}.txt", []),  # filled in by the data module
        ("{stages.a}/*.txt", []),
    ],
)
def test_places_that_a_stage_reads(folder: Path, value: str, places: list[str]) -> None:
    stages = {"a": {"command": "export"}, "b": {"command": "fit", "options": {"x": value}}}
    Path("in/places.yaml").write_text(yaml.safe_dump({"run_dir": "r", "stages": stages}))
    assert read_recipe(Path("in/places.yaml"), {}).stages[1].reads == tuple(map(Path, places))


def test_without_a_run_dir_it_is_named_after_the_recipe(folder: Path) -> None:
    Path("in/x.yaml").write_text("stages: {a: {command: export}}\n")
    (stage,) = read_recipe(Path("in/x.yaml"), {}).stages
    assert (stage.folder, stage.args) == (Path("runs/x/a"), ("--output=runs/x/a",))


def test_what_makes_a_stage_another_one(folder: Path) -> None:
    def digests(**variables: str) -> list[str]:
        stages = read_recipe(Path("in/recipe.yaml"), variables).stages
        return [stage.digest({"teacher": "run 1"}) for stage in stages]

    before = digests()
    assert digests() == before
    assert digests(updates="6")[0] != before[0]
    assert digests(updates="6")[1] == before[1]
    Path("in/inner.yaml").write_text("b: 2\n")
    assert digests()[0] != before[0]
    student = read_recipe(Path("in/recipe.yaml"), {}).stages[1]
    assert student.digest({"teacher": "run 1"}) != student.digest({"teacher": "run 2"})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("stages:", "stage:", r"in/recipe\.yaml: stage: .* did you mean 'stages'\?"),
        ("command: fit", "comand: fit", r"stages\.teacher\.comand: .* did you mean 'command'\?"),
        ("command: fit", "command: fti", r"stages\.teacher\.command: 'fti' is none; .*'fit'\?"),
        ("command: fit", "command: run", r"command: 'run' is none"),
        ("part.yaml", "prat.yaml", r"there is no file in/prat\.yaml; did you mean in/part\.yaml"),
        ("{variables.updates}", "{variables.update}", r"no variable 'update'; did you mean"),
        ("{stages.teacher}", "{stages.techer}", r"no earlier stage 'techer'; did you mean"),
        ("{stages.teacher}", "{stages.student}", r"no earlier stage 'student'; there is teacher"),
        ("run_dir: runs/r", "run_dir: [a]", r"run_dir: expected a text, found \['a'\]"),
        ("  student:", "  st/ud:", r"stages\.st/ud: a stage's name is a folder's"),
        (
            "  student:\n    command: export",
            "  student:\n  x:",
            r"stages\.student: expected command",
        ),
        ("command: fit", "command: [", r"recipe\.yaml:\d+:\d+: YAML syntax"),
    ],
)
def test_a_broken_recipe_is_refused_with_the_place(
    folder: Path, old: str, new: str, message: str
) -> None:
    assert old in TEXT
    Path("in/recipe.yaml").write_text(TEXT.replace(old, new, 1))
    with pytest.raises(UserError, match=message):
        read_recipe(Path("in/recipe.yaml"), {})


def test_unknown_variables_and_files_are_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="has no variable 'updatse'; did you mean 'updates'"):
        read_recipe(Path("in/recipe.yaml"), {"updatse": "1"})
    with pytest.raises(UserError, match=r"there is no file in/recpie\.yaml; did you mean"):
        read_recipe(Path("in/recpie.yaml"), {})
    Path("in/none.yaml").write_text("run_dir: x\n")
    with pytest.raises(UserError, match="a recipe needs `stages`"):
        read_recipe(Path("in/none.yaml"), {})
