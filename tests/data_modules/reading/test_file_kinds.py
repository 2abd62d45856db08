"""What a pattern finds and cannot be read is named: no language is missing without a word."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from data_modules.pairing.sources import ParallelSource, resolve_parallel
from data_modules.prompting.sources import PromptSource, resolve_prompts
from data_modules.reading.hub_reader import HubReader
from data_modules.reading.readers import FileReader
from data_modules.reading.sources import Source, resolve
from lit_distill.errors import UserError


def dangling(path: Path) -> None:
    path.symlink_to("nowhere.txt")


def loop(path: Path) -> None:
    path.symlink_to(path)


def unix_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # names of sockets are short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)
    os.chdir(here)


KINDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "dangling link": (dangling, r"is a link to nowhere\.txt, which .*\(No such file"),
    "loop": (loop, r"is a link to .*hi\.txt, which .*\(Too many levels of symbolic links\)"),
    "folder": (Path.mkdir, "is a folder, not a file"),
    "pipe": (os.mkfifo, "is a pipe, which can be read only once"),
    "socket": (unix_socket, "is a socket, not a file"),
    "link to a device": (lambda path: path.symlink_to("/dev/null"), "is a device, not a file"),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "raw").mkdir()
    for language in ("bn", "en"):
        (tmp_path / "raw" / f"{language}.txt").write_text("x\n")
    return tmp_path


@pytest.mark.parametrize("kind", KINDS)
def test_a_language_without_a_readable_file_is_named(root: Path, kind: str) -> None:
    make, message = KINDS[kind]
    make(root / "raw" / "hi.txt")
    whole = rf"raw/hi\.txt {message}"
    for source in (
        Source(files="raw/{language}.txt"),
        Source(files="raw/{language}.txt", languages=["hi", "en"]),
        Source(language="hi", files="raw/hi.txt"),
        Source(language="all", files="raw/*.txt"),
        Source(language="all", files="**/*.txt"),
        Source(language="en", files="raw/en.txt", validation="raw/hi.txt"),
    ):
        with pytest.raises(UserError, match=whole):
            resolve([source], root)
    with pytest.raises(UserError, match=whole):
        resolve_parallel([ParallelSource(files="raw/{language}.txt")], root)
    with pytest.raises(UserError, match=whole):
        resolve_prompts([PromptSource(files="raw/{language}.txt", response=None)], root)


def test_links_and_folders_that_can_be_read_are_no_trouble(root: Path) -> None:
    (root / "raw" / "hi.txt").symlink_to("en.txt")
    (root / "raw" / "old").mkdir()
    (root / "raw" / "old" / "ta.txt").write_text("x\n")
    (root / "linked").symlink_to("raw")
    for files in ("raw/{language}*", "raw/{language}.txt", "linked/{language}.txt"):
        assert [one.language for one in resolve([Source(files=files)], root)] == ["bn", "en", "hi"]
    (found,) = resolve([Source(language="all", files="raw/**")], root)
    assert len(found.train) == 4


def test_a_folder_of_a_language_that_leads_nowhere_is_named(root: Path) -> None:
    for language in ("bn", "en"):
        (root / language).mkdir()
        (root / language / "a.txt").write_text("x\n")
    (root / "hi").symlink_to("gone")
    with pytest.raises(UserError, match=r"/hi is a link to gone, which .*No such file"):
        resolve([Source(files="{language}/*.txt")], root)
    (root / "hi").unlink()
    (root / "hi").symlink_to("hi")
    with pytest.raises(UserError, match=r"/hi is a link to hi, which .*Too many levels"):
        resolve([Source(files="{language}/a.txt")], root)


@pytest.mark.parametrize(
    "files", ["{language}/*.txt", "**/*.txt", "raw/*.txt", "raw/{language}.txt"]
)
def test_folders_that_may_not_be_looked_into(
    root: Path, files: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = str(root / "raw")
    scandir = os.scandir

    def denied(path: str = ".") -> object:
        if os.fspath(path) == closed:
            raise PermissionError(13, "Permission denied", closed)
        return scandir(path)

    (root / "bn").mkdir()
    (root / "bn" / "a.txt").write_text("x\n")
    monkeypatch.setattr(os, "scandir", denied)
    source = Source(language=None if "{" in files else "all", files=files)
    with pytest.raises(UserError, match=f"{closed} cannot be looked into \\(Permission denied\\)"):
        resolve([source], root)


def test_a_file_in_a_folder_that_may_not_be_entered(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(path: object, **options: object) -> object:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "stat", denied)
    with pytest.raises(UserError, match=r"en\.txt cannot be looked at: Permission denied"):
        resolve([Source(language="en", files="raw/en.txt")], root)


def test_datasets_in_folders(root: Path) -> None:
    (root / "raw" / "hi.txt").symlink_to("nowhere.txt")
    with pytest.raises(UserError, match=r"hi\.txt is a link to nowhere\.txt"):
        next(HubReader(str(root / "raw")).rows())
    (root / "set").symlink_to("gone")
    (root / "bn.jsonl").write_text("")
    for name, message in (("set", "is a link to gone"), ("bn.jsonl", "is a file: give it as `f")):
        with pytest.raises(UserError, match=message):
            resolve([Source(language="hi", dataset=name)], root)


def test_other_texts_of_the_same_size_and_time_are_other_texts(tmp_path: Path) -> None:
    path, twin = tmp_path / "a.txt", tmp_path / "b.txt"
    path.write_text("old\n")
    before = FileReader(path).stamp
    dataset = HubReader(str(tmp_path)).stamp
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    path.write_text("new\n")
    os.utime(path, ns=times)
    assert path.stat().st_mtime_ns == times[1]
    rewritten = FileReader(path).stamp
    assert rewritten != before
    assert HubReader(str(tmp_path)).stamp != dataset
    twin.write_text("odd\n")
    os.utime(twin, ns=times)
    twin.replace(path)
    assert FileReader(path).stamp not in (before, rewritten)
