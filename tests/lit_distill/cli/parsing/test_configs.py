"""Config files: includes, lines of keys, and what is wrong with a file."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from lit_distill.cli.parsing.configs import read_config
from lit_distill.errors import UserError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def test_includes_come_first_and_are_relative_to_their_file(folder: Path) -> None:
    write(
        folder,
        top="include: [parts/one.yaml, two.yaml]\na: 1e-3\n",
        parts__one="include: ../three.yaml\nb: '1e-3'\n",
        two="c: 2\n",
        three="",
    )
    configs = read_config(Path("top.yaml"))
    names = ["three.yaml", "parts/one.yaml", "two.yaml", "top.yaml"]
    assert [str(config.path) for config in configs] == names
    # numbers and quotes stay as they are spelled
    assert [config.text for config in configs] == ["{}\n", "b: '1e-3'\n", "c: 2\n", "a: 1e-3\n"]


def test_lines_of_keys(folder: Path) -> None:
    write(
        folder,
        a="model:\n  class_path: X\n  init_args:\n    t: 1\n    list:\n    - {t: 2}\n"
        "    - {u: 3}\n",
    )
    (config,) = read_config(Path("a.yaml"))
    assert config.find(["model", "t"]) == 4
    assert config.find(["model", "list", "u"]) == 7
    assert config.find(["model", "list", "t"], "2") == 6
    assert config.find(["model"], "X") == 2
    assert config.find(["model", "v"]) is None
    assert config.find(["model", "t"], "7") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1\nb: 2\n", r"a\.yaml:2:2: YAML syntax: "),
        ("a: *b\n", r"a\.yaml:1:4: YAML syntax: found undefined alias"),
        ("- 1\n", r"a\.yaml: expected keys with values, found a list"),
        ("text\n", r"a\.yaml: expected keys with values, found a single value"),
        ("a: 1\nb: {c: 1, c: 2}\n", r"a\.yaml:2: b\.c: this key stands on line 2 already"),
        ("a: {1: 2}\n", r"a\.yaml:1: a key must be a text, and 1 reads as int: put it in quotes"),
        ("no: 2\n", r"a\.yaml:1: a key must be a text, and no reads as bool"),
        ("include: [x.yaml]\n", r"a\.yaml:1: include: there is no file x\.yaml"),
        ("include: aa.yaml\n", r"a\.yaml:1: include: .* did you mean a\.yaml\?"),
        ("include: {x: 1}\n", r"a\.yaml:1: include: expected a file or a list of files"),
        ("include: a.yaml\n", r"a\.yaml includes a\.yaml: a config cannot include itself"),
        ("include: b.yaml\n", r"a\.yaml includes b\.yaml includes a\.yaml: "),
        (
            "m:\n  class_path: X\n  init_arg: {}\n",
            r"a\.yaml:3: m\.init_arg: beside class_path .* did you mean 'init_args'\?",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(folder: Path, text: str, message: str) -> None:
    write(folder, a=text, b="include: [a.yaml]\n")
    with pytest.raises(UserError, match=message):
        read_config(Path("a.yaml"))


def test_a_file_that_is_no_text(folder: Path) -> None:
    (folder / "a.yaml").write_bytes(b"a: \xff\n")
    with pytest.raises(UserError, match=r"a\.yaml is not UTF-8 text: invalid start byte at byte 3"):
        read_config(Path("a.yaml"))


def test_every_shipped_config_can_be_read() -> None:
    for path in (Path(__file__).parents[4] / "configs").rglob("*.yaml"):
        for config in read_config(path):
            assert isinstance(yaml.safe_load(config.text), dict)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in pairwise("abcdefghijkl")
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, r"a\.yaml:\d+: its aliases .* stand for more than 100,000 values"),
        ("a: &a\n  b: *a\n", r"a\.yaml:\d+: an alias .* a value that contains it"),
        ("a: &a [1, *a]\n", "a value that contains it"),
        ("a: " + "[" * 3000 + "]" * 3000 + "\n", "nested too deeply|levels deep"),
        ("a: " + "{b: " * 100 + "1" + "}" * 100 + "\n", "nested more than 50 levels deep"),
    ],
    ids=["bomb", "recursive mapping", "recursive list", "very deep", "deep"],
)
def test_a_small_file_that_stands_for_a_huge_one_is_refused_at_once(
    folder: Path, text: str, message: str
) -> None:
    write(folder, a=text)
    start = time.process_time()
    with pytest.raises(UserError, match=message):
        read_config(Path("a.yaml"))
    assert time.process_time() - start < 20  # all that a bomb stands for would take hours


def test_aliases_within_bounds_are_read(folder: Path) -> None:
    write(folder, a="a: &a {b: 1}\nc: *a\nd: {<<: *a, e: 2}\n")
    (config,) = read_config(Path("a.yaml"))
    assert yaml.safe_load(config.text) == {"a": {"b": 1}, "c": {"b": 1}, "d": {"b": 1, "e": 2}}
