"""The rules that keep the project small at forty methods."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import yaml
from house_picture import rooms

ROOT = Path(__file__).parents[1]
PACKAGES = ("lit_distill", "data_modules", "callbacks")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
METHODS = sorted(
    p for p in (ROOT / "lit_distill/methods").glob("*/*.py") if not p.stem.startswith("_")
)
FORBIDDEN_NAMES = {"base", "utils", "util", "common", "helpers", "helper", "misc", "tools"}


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(path.read_text("utf-8"))
    return [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]


def public_classes(path: Path) -> list[str]:
    tree = ast.parse(path.read_text("utf-8"))
    return [n.name for n in tree.body if isinstance(n, ast.ClassDef) and n.name[0] != "_"]


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_files_and_functions_stay_small(path: Path) -> None:
    ceiling = 150 if path in METHODS else 300
    assert len(path.read_text("utf-8").splitlines()) <= ceiling
    for function in functions(path):
        length = (function.end_lineno or 0) - function.lineno + 1
        assert length <= 50, f"{function.name} has {length} lines"


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_names_say_what_a_file_is(path: Path) -> None:
    assert path.stem not in FORBIDDEN_NAMES


@pytest.mark.parametrize("path", METHODS, ids=ids)
def test_a_method_is_one_class_with_one_name_everywhere(path: Path) -> None:
    (name,) = public_classes(path)
    assert name.lower() == path.stem.replace("_", "")
    config = yaml.safe_load((ROOT / f"configs/methods/{path.stem}.yaml").read_text("utf-8"))
    assert config["model"]["class_path"] == name
    for place in (
        f"tests/lit_distill/methods/test_{path.stem}.py",
        f"docs/methods/{path.stem}.md",
    ):
        assert (ROOT / place).is_file(), f"{place} is missing"
    assert f"docs/methods/{path.stem}.md" in (ROOT / "README.md").read_text("utf-8")
    listed = (ROOT / "lit_distill/methods/__init__.py").read_text("utf-8")
    assert f" {name} as {name}" in listed


@pytest.mark.parametrize("path", METHODS, ids=ids)
def test_a_method_config_names_every_own_knob(path: Path) -> None:
    """Swapping classes on the command line keeps like-named values unless all are named."""
    config = yaml.safe_load((ROOT / f"configs/methods/{path.stem}.yaml").read_text("utf-8"))
    init = [f for f in functions(path) if f.name == "__init__"]
    knobs = {a.arg for f in init for a in f.args.args + f.args.kwonlyargs} - {"self"}
    assert set(config["model"].get("init_args", {})) == knobs


def test_no_smells() -> None:
    for path in SOURCES:
        text = path.read_text("utf-8")
        for pattern in (r"\bhasattr\(", r"trust_remote_code=True", r"\bTODO\b"):
            assert not re.search(pattern, text), f"{ids(path)}: {pattern}"
        for match in re.finditer(r"torch\.load\(([^)]*)\)", text):
            assert "weights_only=True" in match.group(1), ids(path)


def test_nothing_is_unpickled_but_by_a_table_of_names() -> None:
    for path in SOURCES:
        found = re.findall(r"\bpickle\b(?:\.\w+)?", path.read_text("utf-8"))
        table = ["pickle", "pickle.Unpickler"] if path.name == "sharded_checkpoint.py" else []
        assert found == table, f"{ids(path)}: {found}"


def test_tests_mirror_the_packages_without_init_files() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py"))
    for package in PACKAGES:
        for path in (ROOT / "tests" / package).rglob("test_*.py"):
            mirrored = ROOT / path.parent.relative_to(ROOT / "tests")
            assert mirrored.is_dir(), f"{ids(path)} tests nothing in {ids(mirrored)}"


def test_a_folder_of_machinery_stays_small() -> None:
    """Catalogues are free: there `ls` shows what a user can choose."""
    folders = {path.parent for path in SOURCES} - {ROOT / "data_modules"}
    sizes = {folder.relative_to(ROOT): len(list(folder.glob("*.py"))) for folder in folders}
    assert not {str(folder): size for folder, size in sizes.items() if size > 12}


def test_the_data_modules_that_one_sees_are_those_that_one_can_choose() -> None:
    for path in (ROOT / "data_modules").glob("*.py"):
        if path.stem != "__init__":
            kinds = ("Corpus", "Phrasebook", "Mixture")
            assert any(kind in name for name in public_classes(path) for kind in kinds)


def test_rooms_form_no_circle() -> None:
    TopologicalSorter(rooms()).prepare()  # raises CycleError, with the circle


def test_benchmarks_form_no_circle() -> None:
    folder = ROOT / "benchmarks"
    arrows = {}
    for path in folder.rglob("*.py"):
        found = re.findall(r"^\s*(?:from|import) ([\w.]+)", path.read_text("utf-8"), re.MULTILINE)
        arrows[".".join(path.relative_to(folder).with_suffix("").parts)] = found
    TopologicalSorter(arrows).prepare()


def test_import_floors() -> None:
    result = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout


def test_importing_the_package_imports_nothing() -> None:
    code = "import sys, lit_distill; assert not {'torch', 'lightning'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
