"""Grids: which stages a `for` makes, which cell a reference means, and what is refused."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from lit_distill.errors import UserError
from lit_distill.tools.recipes.recipe import Stage, read_recipe

RECIPES = Path(__file__).parents[4] / "configs/recipes"

GRID = {"lr": ["1e-3", 3.0e-4], "seed": [1, 2]}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read(stages: dict[str, Any], /, given: dict[str, str] | None = None, **own: Any) -> list[Stage]:
    """The stages of a recipe in a file of its own."""
    content = {"run_dir": "r", "variables": own, "stages": stages}
    Path("recipe.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return [*read_recipe(Path("recipe.yaml"), given or {}).stages]


def fit(cells: Any = None, controls: Any = None, **options: Any) -> dict[str, Any]:
    stage: dict[str, Any] = {"command": "fit", "options": options}
    return stage | ({"for": cells} if cells else {}) | ({"controls": controls} if controls else {})


def test_a_stage_for_each_combination_of_values() -> None:
    stages = read({"a": fit(GRID, x="{for.lr}", seed_everything="{for.seed}")})
    assert [stage.name for stage in stages] == [
        "a-lr=1e-3-seed=1", "a-lr=1e-3-seed=2", "a-lr=0.0003-seed=1", "a-lr=0.0003-seed=2",
    ]  # fmt: skip
    assert stages[2].args == (
        "--x=0.0003", "--seed_everything=1", "--run_dir=r/a-lr=0.0003-seed=1",
    )  # fmt: skip
    assert {stage.definition for stage in stages} == {"a"}


@pytest.mark.parametrize(
    ("cells", "suffixes"),
    [
        ({"seed": 3}, ["seed=3"]),
        ({"seed": "{variables.seeds}"}, ["seed=4", "seed=5"]),
        ({"m": {"v1": "some/folder", "v2": "{variables.model}"}}, ["m=v1", "m=v2"]),
        ({"m": ["some/folder", "hub name"]}, ["m=some_folder", "m=hub_name"]),
        ([{"m": "a", "s": [1, 2]}, {"s": 3, "m": "b"}], ["m=a-s=1", "m=a-s=2", "m=b-s=3"]),
    ],
)  # fmt: skip
def test_ways_to_write_values(cells: Any, suffixes: list[str]) -> None:
    stages = read({"a": fit(cells)}, seeds=[4, 5], model="hub/m")
    assert [stage.name for stage in stages] == [f"a-{suffix}" for suffix in suffixes]


def test_values_have_names_and_texts() -> None:
    stages = read({"a": fit({"m": {"v1": "some/folder", "v2": "{variables.model}"}}, x="{for.m}")},
                  {"seeds": "[7]"}, model="hub/m", seeds=[1])  # fmt: skip
    assert [stage.args[0] for stage in stages] == ["--x=some/folder", "--x=hub/m"]
    assert [s.name for s in read({"a": fit({"s": "{variables.s}"})}, {"s": "[7, 8]"}, s=[1])] == [
        "a-s=7", "a-s=8",
    ]  # fmt: skip


def test_config_files_can_depend_on_an_axis() -> None:
    for name in ("x", "y"):
        Path(f"{name}_part.yaml").touch()
    stage = fit({"m": ["x", "y"]}) | {"config": ["{for.m}_part.yaml"]}
    assert [s.configs for s in read({"a": stage})] == [
        (Path("x_part.yaml"),),
        (Path("y_part.yaml"),),
    ]


def test_a_cell_reads_the_cell_with_its_own_values() -> None:
    stages = read({"a": fit(GRID), "b": fit(GRID, x="{stages.a}/student"),
                   "c": fit({"seed": [2, 1]}, x="{stages.a[lr=3e-4]}")})  # fmt: skip
    b, c = stages[4:8], stages[8:]
    assert [stage.needs for stage in b] == [(stage.name,) for stage in stages[:4]]
    assert b[1].reads == (Path("r/a-lr=1e-3-seed=2/student"),)
    assert [stage.needs for stage in c] == [("a-lr=0.0003-seed=2",), ("a-lr=0.0003-seed=1",)]


def test_a_choice_of_a_cell_goes_before_its_own_values() -> None:
    stages = read({"a": fit(GRID), "b": fit({"seed": [1]}, x="{stages.a[seed=2, lr=1e-3]}")})
    assert stages[-1].needs == ("a-lr=1e-3-seed=2",)


def test_an_item_of_a_list_becomes_one_for_each_cell() -> None:
    runs = ["{stages.a[lr=1e-3]}", "plain"]
    (stage,) = read({"a": fit(GRID), "t": fit(None, runs=runs)})[4:]
    assert stage.args[0] == '--runs=["r/a-lr=1e-3-seed=1", "r/a-lr=1e-3-seed=2", "plain"]'
    assert stage.needs == ("a-lr=1e-3-seed=1", "a-lr=1e-3-seed=2")


@pytest.mark.parametrize("chosen", ["lr=1e-3", "lr=1e-3,seed={for.seed}"])
def test_an_option_becomes_one_for_each_cell_that_its_name_tells_apart(chosen: str) -> None:
    models = {"student-{for.seed}": f"{{stages.a[{chosen}]}}/student", "other": "x"}
    (stage,) = read({"a": fit(GRID), "t": fit(None, models=models)})[4:]
    assert stage.args[:3] == (
        "--models.student-1=r/a-lr=1e-3-seed=1/student",
        "--models.student-2=r/a-lr=1e-3-seed=2/student",
        "--models.other=x",
    )
    assert stage.reads[1] == Path("r/a-lr=1e-3-seed=2/student")


def test_a_name_knows_the_axes_of_one_cell() -> None:
    """So that a list of one seed needs no other recipe than one of three."""
    models = {"student-{for.seed}": "{stages.a}/student"}
    (stage,) = read({"a": fit({"seed": [3]}), "t": fit(None, models=models)})[1:]
    assert stage.args[:1] == ("--models.student-3=r/a-seed=3/student",)


def test_an_option_with_options_inside_is_repeated_whole() -> None:
    inner = {"folder": "{stages.a}/student", "seed": "{for.seed}"}
    models = {"m{for.lr}-{for.seed}": inner}
    (stage,) = read({"a": fit(GRID), "t": fit(None, models=models)})[4:]
    assert stage.args[6:8] == (  # a point would begin an option inside of it
        "--models.m0_0003-2.folder=r/a-lr=0.0003-seed=2/student", "--models.m0_0003-2.seed=2",
    )  # fmt: skip


def test_the_seed_may_be_left_to_the_command() -> None:
    """`evaluate` fills it in: the stage needs the cells of all seeds, and reads in each."""
    given = {"models": {"s": "{stages.a[lr=1e-3,seed={seed}]}/student"}}
    *_, last = read({"a": fit(GRID), "b": {"command": "evaluate", "options": given}})
    assert "--models.s=r/a-lr=1e-3-seed={seed}/student" in last.args
    assert last.needs == ("a-lr=1e-3-seed=1", "a-lr=1e-3-seed=2")
    assert [*last.reads] == [Path(f"r/a-lr=1e-3-seed={seed}/student") for seed in (1, 2)]
    of_own_rate = fit({"lr": ["3e-4"]}, **{"m": "{stages.a[seed={seed}]}"})
    *_, last = read({"a": fit(GRID), "b": of_own_rate})
    assert last.needs == ("a-lr=0.0003-seed=1", "a-lr=0.0003-seed=2")
    with pytest.raises(UserError, match=r"\{stages.a\} means 4 cells of a grid: choose one"):
        read({"a": fit(GRID), "b": fit(m="{stages.a[seed={seed}]}")})


def test_two_grids_in_one_option_are_matched_by_their_common_axis() -> None:
    pair = {"pair-{for.seed}": "{stages.a} {stages.b}"}
    stages = read({"a": fit({"seed": [1, 2]}), "b": fit({"seed": [2, 1]}), "t": fit(None, x=pair)})
    assert stages[-1].args[:2] == (
        "--x.pair-1=r/a-seed=1 r/b-seed=1", "--x.pair-2=r/a-seed=2 r/b-seed=2",
    )  # fmt: skip


def test_a_cell_is_another_one_by_its_values_alone() -> None:
    few, many = ({s.name: s.digest({}) for s in read({"a": fit(cells, x="{for.seed}")})}
                 for cells in ({"seed": [2]}, {"seed": [1, 2, 3]}))  # fmt: skip
    assert few.items() < many.items()
    assert len({*many.values()}) == 3


def test_controls_are_stages_like_the_one_they_are_of() -> None:
    cells = {"seed": [1, 2]}
    stages = read({"a": fit(cells, ["no_teacher", "truncation"], x="{for.seed}"),
                   "t": fit(None, m=["{stages.a-no_teacher}/student"])})  # fmt: skip
    assert [stage.name for stage in stages] == [
        "a-truncation-seed=1", "a-truncation-seed=2", "a-seed=1", "a-seed=2",
        "a-no_teacher-seed=1", "a-no_teacher-seed=2", "t",
    ]  # fmt: skip
    assert stages[4].args == ("--x=1", "--control=no_teacher", "--run_dir=r/a-no_teacher-seed=1")
    assert stages[0].args == ("--x=1", "--control=truncation", "--run_dir=r/a-truncation-seed=1")
    assert stages[2].args == ("--x=1", "--run_dir=r/a-seed=1")
    assert stages[6].needs == ("a-no_teacher-seed=1", "a-no_teacher-seed=2")


A = {"a": fit(GRID)}


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ({"a": fit({"seed": []})}, r"stages\.a\.for\.seed has no value: give one or more"),
        ({"a": fit({"seed": {}})}, r"stages\.a\.for\.seed has no value"),
        ({"a": fit({"seed": "[]"})}, r"stages\.a\.for\.seed has no value"),
        ({"a": fit({"seed": "[1"})}, r"stages\.a\.for\.seed: \[1 is no list of values"),
        ({"a": fit({"seed": [[1]]})}, r"for\.seed: expected single values, found \[1\]"),
        ({"a": fit({"seed": [None]})}, r"for\.seed: expected single values, found None"),
        ({"a": fit({"a seed": [1]})}, r"an axis is named by letters"),
        ({"a": fit([1, 2])}, r"for: expected axes with values, \{seed: \[1, 2\]\}, found 1"),
        ({"a": fit({"seed": [1, 2, 1]})}, r"for: two cells would be called seed=1: leave one out"),
        ({"a": fit({"m": ["x/y", "x_y"]})}, r"two cells would be called m=x_y: .*name the values"),
        ({"a": fit([{"seed": 1}, {"lr": 1}])}, r"one part has the axes seed and another lr"),
        ({"a": fit({"seed": "{variables.sed}"})}, r"there is no variable 'sed'"),
        ({"a": fit(GRID, x="{for.sed}")}, r"there is no axis 'sed'; did you mean 'seed'\?"),
        ({"a": fit(None, x="{for.seed}")}, r"stages\.a: there is no axis 'seed'"),
        (A | {"b": fit(None, x="{stages.a}")}, r"stages\.b\.options\.x means 4 cells"),
        (A | {"b": fit(None, **{"x-{for.lr}": "{stages.a}"})}, r"x-\{for.lr\} means 4 cells"),
        (A | {"b": fit(None, x="{stages.a[sed=1]}")}, r"stage a has no axis 'sed'; did you mean"),
        (A | {"b": fit(None, x="{stages.a[1]}")}, r"stage a has no axis '1'; there is lr, seed"),
        (A | {"b": fit(None, x="{stages.a[seed=3]}")},
         r"stage a has no cell seed=3; there is a-lr=1e-3-seed=1, a-"),
        ({"a": fit({"seed": [1]}), "b": fit({"seed": [1, 2]}, x="{stages.a}")},
         r"stages\.b: stage a has no cell seed=2; there is a-seed=1"),
        (A | {"b": fit() | {"config": "{stages.a}/x"}}, r"\{stages.a\} means 4 cells of a grid"),
        ({"a": fit(None, ["noteacher"])}, r"controls: 'noteacher' is none; did you mean"),
        ({"a": {"command": "compare", "controls": ["truncation"]}}, r"compare trains nothing"),
        ({"a-no_teacher": fit(), "a": fit(None, ["no_teacher"])},
         r"stages\.a: another stage is called a-no_teacher already"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_one_line_with_the_place(stages: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read(stages)
    assert "\n" not in str(caught.value)


def test_the_recipe_in_the_page_can_be_read() -> None:
    page = (RECIPES.parents[1] / "docs/runs.md").read_text("utf-8")
    (text,) = re.findall(r"```yaml\n(variables:.+?)```", page, re.DOTALL)
    for part in ("experiments", "data"):
        Path(part).symlink_to(RECIPES.parent / part)
    Path("own").mkdir()
    Path("own/recipe.yaml").write_text(text)
    *stages, table = read_recipe(Path("own/recipe.yaml"), {}).stages
    assert len(stages) == 12
    assert len(table.needs) == 6
    assert (
        "--models.control-3=runs/recipe/distilled-no_teacher-lr=1e-3-seed=3/student" in table.args
    )


TABLES = {
    "co_distillation_table": (9, "f9afadc6d8f623ee"),
    "gkd_table": (21, "0782d29bc8cc0dec"),
    "minilm_table": (21, "41235323b394d183"),
    "triple_loss_table": (9, "b71fdb48eed5746d"),
}
"""How many stages, and what hash their commands had when each was written out by hand."""


@pytest.mark.parametrize("table", TABLES)
def test_tables_run_the_commands_that_were_once_written_out(
    table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names of folders aside: a folder is named by the command that fills it."""
    monkeypatch.chdir(RECIPES.parents[1])
    found: dict[str, str] = {}
    for stage in read_recipe(Path(f"configs/recipes/{table}.yaml"), {}).stages:
        known = "|".join(sorted(map(re.escape, found), key=len, reverse=True)) or "$^"
        args = [re.sub(known, lambda name: found[name[0]], arg) for arg in stage.args[:-1]]
        text = json.dumps([stage.command, *sorted(args)])
        found[str(stage.folder)] = hashlib.sha256(text.encode()).hexdigest()[:12]
    whole = hashlib.sha256("".join(sorted(found.values())).encode()).hexdigest()
    assert (len(found), whole[:16]) == TABLES[table]
