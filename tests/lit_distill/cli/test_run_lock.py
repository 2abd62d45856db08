"""Two trainings never share a run folder."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lit_distill.cli import run_lock
from lit_distill.cli.run_lock import HOLDER, locked
from lit_distill.errors import UserError


@contextmanager
def another_process(folder: Path, worker: bool = False) -> Iterator[int]:
    """A child that holds the folder until it is killed, perhaps with a worker that outlives it."""
    child = os.fork()
    if child == 0:
        with locked(folder):
            if worker and os.fork() == 0:
                time.sleep(3)
                os._exit(0)
            time.sleep(60)
        os._exit(0)
    deadline, holder = time.monotonic() + 20, folder / HOLDER
    while not (holder.exists() and holder.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)
    try:
        yield child
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_second_training_is_refused_at_once_and_named(tmp_path: Path) -> None:
    with another_process(tmp_path) as child:
        began = time.monotonic()
        named = rf"process {child} on {socket.gethostname()}, since"
        with pytest.raises(UserError, match=named), locked(tmp_path):
            raise AssertionError
        assert time.monotonic() - began < 5
    with locked(tmp_path):  # the system freed it
        assert json.loads((tmp_path / HOLDER).read_text())["pid"] == os.getpid()


def test_workers_of_a_killed_training_are_waited_for(tmp_path: Path) -> None:
    with another_process(tmp_path, worker=True):
        pass
    with locked(tmp_path):
        pass


def test_a_folder_is_free_after_a_training_and_for_other_ranks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        with locked(tmp_path):
            monkeypatch.setattr(run_lock.rank_zero_only, "rank", 1, raising=False)
            with locked(tmp_path):  # the second rank of the same run
                pass
            monkeypatch.setattr(run_lock.rank_zero_only, "rank", 0)


@pytest.mark.parametrize(
    "text", ["", "null", "[]", '{"pid": 1}', '{"host": 1, "pid": "x", "since": 2}']
)
def test_a_broken_note_of_the_holder_is_no_traceback(tmp_path: Path, text: str) -> None:
    with another_process(tmp_path):
        (tmp_path / HOLDER).write_text(text)
        with pytest.raises(UserError, match="Another training writes into"), locked(tmp_path):
            raise AssertionError


@pytest.mark.parametrize("name", ["config.yaml", "report.json", "facts.json", "training.json"])
def test_files_of_somebody_else_are_not_written_over(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=f"holds no run, and {name}"), locked(tmp_path):
        raise AssertionError
    assert sorted(tmp_path.rglob("*")) == before
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").touch()  # of the first release
    with locked(tmp_path):
        pass
    (tmp_path / "checkpoints" / "last.ckpt").unlink()
    with locked(tmp_path):  # one that ended before its first save
        pass
