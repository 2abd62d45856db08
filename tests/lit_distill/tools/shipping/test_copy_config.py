"""A copied config means what the package's own does, wherever it lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from lit_distill.__main__ import main
from lit_distill.cli.parsing.configs import read_config
from lit_distill.errors import UserError
from lit_distill.files.shipped_configs import shipped
from lit_distill.tools.recipes.recipe import read_recipe
from lit_distill.tools.shipping.copy_config import copy_config

RECIPES = [name for name in shipped() if name.startswith("recipes/") or name.endswith("/recipe")]
INCLUDING = [name for name, path in shipped().items() if "\ninclude:" in path.read_text("utf-8")]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", INCLUDING)
def test_includes_are_kept(name: str) -> None:
    copy_config(name, "own.yaml")
    ours, theirs = (read_config(path) for path in (Path("own.yaml"), shipped()[name]))
    assert [c.path.resolve() for c in ours[:-1]] == [c.path.resolve() for c in theirs[:-1]]
    assert [config.text for config in ours] == [config.text for config in theirs]


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_have_the_same_stages(name: str) -> None:
    copy_config(name, "own.yaml")
    ours, theirs = (read_recipe(path, {}).stages for path in (Path("own.yaml"), shipped()[name]))
    needs = {stage.name: "" for stage in theirs}
    for own, other in zip(ours, theirs, strict=True):
        assert [path.resolve() for path in own.configs] == [
            path.resolve() for path in other.configs
        ]
        assert (own.name, own.command, own.needs) == (other.name, other.command, other.needs)
        of_files = len(own.configs)
        assert own.args[of_files:] == other.args[of_files:]
    assert needs


def test_comments_stay_and_names_are_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["copy-config", "quickstart"]) == 0
    text = Path("quickstart.yaml").read_text("utf-8")
    assert (
        capsys.readouterr().out == "quickstart.yaml (python -m lit_distill run quickstart.yaml)\n"
    )
    original = shipped()["quickstart/recipe"].read_text("utf-8")
    assert text.splitlines()[0] == original.splitlines()[0]
    assert "[trainer/cpu.yaml, methods/masked_lm.yaml, quickstart/corpus.yaml" in text
    assert main(["copy-config", "methods/minilm"]) == 0
    assert "fit -c minilm.yaml" in capsys.readouterr().out


def test_nothing_of_the_users_is_overwritten() -> None:
    Path("minilm.yaml").write_text("mine")
    with pytest.raises(UserError, match=r"minilm.yaml is there already, and is kept"):
        copy_config("methods/minilm")
    assert Path("minilm.yaml").read_text() == "mine"
    with pytest.raises(UserError, match=r"no config 'minilm9' in the package"):
        copy_config("minilm9")
    with pytest.raises(UserError, match=r"no/x.yaml cannot be written"):
        copy_config("methods/minilm", "no/x.yaml")
