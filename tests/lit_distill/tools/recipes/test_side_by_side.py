"""Several stages at once: order, room, failures, logs and stops, with small processes."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lit_distill.errors import UserError
from lit_distill.tools.recipes import processes, side_by_side
from lit_distill.tools.recipes.run import run

RECIPE = """
run_dir: r
stages:
  a: {for: {seed: [1, 2, 3]}, command: corpus-report}
  b: {for: {seed: [1, 2, 3]}, command: export, options: {checkpoint: "{stages.a}/x"}}
  table: {command: compare, options: {models: ["{stages.b}"]}}
"""

Act = Callable[[str], int]
"""What a stage does instead of its command: its exit code, by its name."""


def stand_in(args: list[str], log: Path, act: Act) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    folder = Path(next(a.partition("=")[2] for a in args if a.startswith("--output")))
    folder.mkdir(parents=True, exist_ok=True)
    code = act(folder.name)
    log.write_text(f"this is {folder.name}\n\n")
    if code == 0:
        (folder / "x").touch()
    with Path("ran").open("a") as notes:
        notes.write(f"{folder.name}\n")
    os._exit(code)


@pytest.fixture
def acting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Act], None]:
    monkeypatch.chdir(tmp_path)
    Path("recipe.yaml").write_text(RECIPE)

    def begin(act: Act) -> None:
        def prepared(args: list[str], log: Path, threads: int) -> Any:
            Path("threads").write_text(str(threads))
            return multiprocessing.get_context("fork").Process(
                target=stand_in, args=(args, log, act)
            )

        monkeypatch.setattr(side_by_side, "prepared", prepared)

    return begin


def ran() -> list[str]:
    notes = Path("ran")
    found = notes.read_text().split() if notes.exists() else []
    notes.unlink(missing_ok=True)
    return found


def until(ready: Callable[[], bool], seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while not ready() and time.monotonic() < end:
        time.sleep(0.01)
    return ready()


def test_stages_run_together_as_far_as_their_needs_allow(acting: Callable[[Act], None]) -> None:
    def act(name: str) -> int:
        stage, _, cell = name.partition("-")
        Path(f"began-{name}").touch()
        if name in ("a-seed=1", "a-seed=2"):  # each waits for the other one to have begun
            return int(not until(lambda: Path("began-a-seed=1").exists()
                                 and Path("began-a-seed=2").exists()))  # fmt: skip
        if stage == "b":
            return int(not Path(f"r/a-{cell}/x").exists())
        return 0

    acting(act)
    run("recipe.yaml", jobs=2)
    found = ran()
    assert sorted(found) == [*(f"{n}-seed={s}" for n in "ab" for s in (1, 2, 3)), "table"]
    assert found[-1] == "table"
    run("recipe.yaml", jobs=2)
    assert ran() == []
    assert Path("r/logs/b-seed=2.log").read_text() == "this is b-seed=2\n\n"


def test_no_more_run_at_once_than_there_is_room_for(acting: Callable[[Act], None]) -> None:
    def act(name: str) -> int:
        mine = Path("now") / name
        mine.parent.mkdir(exist_ok=True)
        mine.touch()
        crowded = until(
            lambda: len(list(Path("now").iterdir())) > 2, seconds=1.5 * (name[0] == "a")
        )
        mine.unlink()
        return int(crowded)

    acting(act)
    run("recipe.yaml", jobs=2)
    assert len(ran()) == 7


def test_a_failed_stage_ends_no_other_and_starts_none_that_needs_it(
    acting: Callable[[Act], None], capsys: pytest.CaptureFixture[str]
) -> None:
    acting(lambda name: 3 * (name == "a-seed=2"))
    with pytest.raises(SystemExit, match="1"):
        run("recipe.yaml", jobs=2)
    assert set(ran()) == {"a-seed=1", "a-seed=2", "a-seed=3", "b-seed=1", "b-seed=3"}
    said = capsys.readouterr().err
    log = "r/logs/a-seed=2.log ends with: this is a-seed=2"
    assert f"a-seed=2: failed (exit code 3); {log}" in said
    assert "b-seed=2: not started, because it needs a-seed=2" in said
    assert "table: not started, because it needs b-seed=2" in said
    acting(lambda name: 0)
    run("recipe.yaml", jobs=2)
    assert ran() == ["a-seed=2", "b-seed=2", "table"]


def test_a_stage_that_lacks_what_others_read_has_failed(
    acting: Callable[[Act], None], capsys: pytest.CaptureFixture[str]
) -> None:
    text = RECIPE.replace("{stages.a}/x", "{stages.a}/y")
    Path("recipe.yaml").write_text(text)
    acting(lambda name: 0)
    with pytest.raises(SystemExit, match="1"):
        run("recipe.yaml", jobs=3)
    assert sorted(ran()) == ["a-seed=1", "a-seed=2", "a-seed=3"]
    assert "a-seed=1 has ended without r/a-seed=1/y, which stage b-" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all_and_starts_no_more(acting: Callable[[Act], None], number: int) -> None:
    def act(name: str) -> int:
        Path(f"began-{name}").touch()
        time.sleep(20)
        return 0

    def stop() -> None:
        until(lambda: len(list(Path().glob("began-*"))) == 2)
        if number == signal.SIGINT:  # the terminal sends it to all
            for child in multiprocessing.active_children():
                os.kill(child.pid or 0, signal.SIGTERM)  # stand-ins take no SIGINT
        os.kill(os.getpid(), number)

    acting(act)
    thread = threading.Thread(target=stop)
    thread.start()
    before, began = signal.getsignal(number), time.monotonic()
    with pytest.raises(SystemExit, match="130"):
        run("recipe.yaml", jobs=2)
    thread.join()
    assert time.monotonic() - began < 18
    assert signal.getsignal(number) == before
    assert sorted(p.name for p in Path().glob("began-*")) == ["began-a-seed=1", "began-a-seed=2"]
    record = json.loads(Path("r/.stages/a-seed=1.json").read_text())
    assert record["finished"] is False


@pytest.mark.parametrize(("jobs", "threads"), [(2, 4), (3, 2), (20, 1)])
def test_the_cores_are_shared(
    acting: Callable[[Act], None], monkeypatch: pytest.MonkeyPatch, jobs: int, threads: int
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    acting(lambda name: 0)
    run("recipe.yaml", jobs=jobs)
    assert Path("threads").read_text() == str(threads)


def test_there_has_to_be_room_for_one(acting: Callable[[Act], None]) -> None:
    with pytest.raises(UserError, match=r"run\.jobs is 0: use a whole number of at least 1"):
        run("recipe.yaml", jobs=0)


def test_a_real_command_writes_to_its_log_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "one.log"
    process = processes.prepared(["export", "none.ckpt"], log, 1)
    process.start()
    process.join()
    assert process.exitcode == 2
    assert "error: There is no checkpoint none.ckpt" in log.read_text()
    sys.stderr.flush()
    assert "none.ckpt" not in "".join(capfd.readouterr())
