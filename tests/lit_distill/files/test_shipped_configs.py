"""Configs that come with the package are found by name, and files of the user come first."""

from __future__ import annotations

from pathlib import Path

import pytest

from lit_distill.cli.parsing.configs import read_config
from lit_distill.errors import UserError
from lit_distill.files.shipped_configs import beside, folder, named, path_of, shipped, with_paths
from lit_distill.tools.recipes.recipe import read_recipe

ROOT = Path(__file__).parents[3]


def test_all_of_the_checkout_are_there() -> None:
    assert folder() == ROOT / "configs"
    assert len(shipped()) == len(list((ROOT / "configs").rglob("*.yaml"))) > 100


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("methods/triple_loss", "methods/triple_loss"),
        ("methods/triple_loss.yaml", "methods/triple_loss"),
        ("configs/methods/triple_loss.yaml", "methods/triple_loss"),
        ("triple_loss", "methods/triple_loss"),
        ("quickstart", "quickstart/recipe"),
        ("configs/quickstart/recipe.yaml", "quickstart/recipe"),
        ("quickstart/student", "quickstart/student"),
        ("nothing", None),
        ("../methods/triple_loss", None),
        ("/methods/triple_loss", None),
        ("", None),
    ],
)
def test_names(typed: str, found: str | None) -> None:
    assert named(typed) == found


def test_a_name_of_several_is_asked_back() -> None:
    with pytest.raises(UserError, match=r"retention: several .*evaluations/retention, recipes/ret"):
        named("retention")
    assert named("retention", "recipes") == "recipes/retention"


def test_files_that_are_there_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert path_of(Path("triple_loss")) == ROOT / "configs/methods/triple_loss.yaml"
    assert path_of(Path("none.yaml")) == Path("none.yaml")
    Path("triple_loss").write_text("model: MaskedLM\n")
    assert path_of(Path("triple_loss")) == Path("triple_loss")


def test_a_command_line_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    root = ROOT / "configs"
    args = ["-c", "trainer/cpu", "--config=triple_loss", "--model.name", "triple_loss", "-c", "x"]
    assert with_paths("fit", args) == [
        *("-c", str(root / "trainer/cpu.yaml"), f"--config={root / 'methods/triple_loss.yaml'}"),
        *("--model.name", "triple_loss", "-c", "x"),
    ]
    assert with_paths("run", ["retention", "--only", "x"])[0] == str(
        root / "recipes/retention.yaml"
    )
    assert with_paths("run", ["--recipe", "x"]) == ["--recipe", "x"]
    assert with_paths("export", ["retention"]) == ["retention"]


def test_files_include_them_by_name(tmp_path: Path) -> None:
    """Unless a file of that name lies beside: what is nearest is meant."""
    own = tmp_path / "own.yaml"
    own.write_text("include: [trainer/cpu, methods/minilm.yaml]\n")
    assert [config.path.name for config in read_config(own)] == [
        "cpu.yaml",
        "minilm.yaml",
        "own.yaml",
    ]
    assert beside(own, "methods/minilm.yaml") == ROOT / "configs/methods/minilm.yaml"
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods/minilm.yaml").write_text("model: MiniLM\n")
    assert beside(own, "methods/minilm.yaml") == tmp_path / "methods/minilm.yaml"
    own.write_text("include: methods/no_such\n")
    with pytest.raises(UserError, match=r"own.yaml:1: include: there is no file .*no_such"):
        read_config(own)


def test_recipes_name_them(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("stages:\n  one:\n    command: fit\n    config: [trainer/cpu, methods/minilm]\n")
    (stage,) = read_recipe(own, {}).stages
    assert [path.name for path in stage.configs] == ["cpu.yaml", "minilm.yaml"]
