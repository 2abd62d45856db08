"""RunCheckpoint files are whole or not there, and the newest whole one is found."""

from __future__ import annotations

import errno
import os
import resource
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from callbacks import AtomicCheckpointIO, newest_readable_checkpoint
from lit_distill.errors import UserError
from lit_distill.files.atomic_files import keep_as, recover, replacing

MEGABYTE = 1 << 20


def checkpoint(updates: int) -> dict[str, Any]:
    return {"global_step": updates, "state_dict": {"w": torch.full((MEGABYTE // 4,), updates)}}


def save(folder: Path, name: str, updates: int) -> Path:
    AtomicCheckpointIO().save_checkpoint(checkpoint(updates), folder / name)
    return folder / name


@pytest.fixture
def no_large_files() -> Any:
    """The system refuses files over half a megabyte, as a full disk would."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MEGABYTE // 2, old[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, old)
    signal.signal(signal.SIGXFSZ, handler)


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    path = save(tmp_path / "new" / "folder", "last.ckpt", 7)
    loaded = AtomicCheckpointIO().load_checkpoint(path)
    assert loaded["global_step"] == 7
    assert torch.equal(loaded["state_dict"]["w"], checkpoint(7)["state_dict"]["w"])
    assert [file.name for file in path.parent.iterdir()] == ["last.ckpt"]


@pytest.mark.usefixtures("no_large_files")
def test_a_write_that_fails_in_the_middle_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "last.ckpt"
    torch.save({"global_step": 1}, target)
    with pytest.raises(UserError, match=r"could not be written: File too large \(.* MiB free"):
        AtomicCheckpointIO().save_checkpoint(checkpoint(2), target)
    assert AtomicCheckpointIO().load_checkpoint(target) == {"global_step": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


@pytest.mark.usefixtures("no_large_files")
def test_weights_that_cannot_be_written_are_refused_alike(tmp_path: Path) -> None:
    """safetensors has an error of its own for it."""
    old = tmp_path / "model"
    old.write_text("old")
    with pytest.raises(UserError, match=r"model could not be written: .*File too large.*MiB free"):  # noqa: SIM117
        with replacing(old) as beside:
            save_file({"w": torch.zeros(MEGABYTE)}, beside)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("model", "old")]


def test_a_bug_is_not_reported_as_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="pickle") as caught:
        AtomicCheckpointIO().save_checkpoint({"f": lambda: None}, tmp_path / "a.ckpt")
    assert not isinstance(caught.value, UserError)
    assert not list(tmp_path.iterdir())


def test_a_kill_during_a_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = save(tmp_path, "last.ckpt", 1)
    child = os.fork()
    if child == 0:
        with replacing(path) as beside:
            beside.write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert newest_readable_checkpoint(tmp_path) == (path, [])
    save(tmp_path, "last.ckpt", 2)  # the next write clears away what was left
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_the_disk_is_waited_for_before_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = []
    monkeypatch.setattr(os, "fsync", lambda _: order.append("sync"))
    real = os.replace
    monkeypatch.setattr(os, "replace", lambda *a: (order.append("rename"), real(*a)))
    save(tmp_path, "last.ckpt", 1)
    assert order == ["sync", "rename", "sync"]  # the file, its name, the folder


@pytest.mark.parametrize("damage", ["truncated", "empty", "garbage", "flipped", "no update number"])
def test_a_broken_newest_falls_back_and_says_so(tmp_path: Path, damage: str) -> None:
    previous, last = save(tmp_path, "previous.ckpt", 1), save(tmp_path, "last.ckpt", 2)
    content = bytearray(last.read_bytes())
    if damage == "truncated":
        last.write_bytes(content[: len(content) // 2])
    elif damage == "empty":
        last.write_bytes(b"")
    elif damage == "garbage":
        last.write_bytes(b"x" * 1000)
    elif damage == "flipped":
        content[len(content) // 2] ^= 1
        last.write_bytes(content)
    else:
        torch.save({}, last)
    found, broken = newest_readable_checkpoint(tmp_path)
    assert found == previous
    (line,) = broken
    assert line.startswith(f"{last} cannot be read: ")
    assert "\n" not in line


def test_the_most_updates_win_and_last_wins_a_tie(tmp_path: Path) -> None:
    assert newest_readable_checkpoint(tmp_path) == (None, [])
    assert newest_readable_checkpoint(tmp_path / "nowhere") == (None, [])
    best = save(tmp_path, "best.ckpt", 5)
    assert newest_readable_checkpoint(tmp_path)[0] == best
    previous = save(tmp_path, "previous.ckpt", 5)
    assert newest_readable_checkpoint(tmp_path)[0] == previous
    last = save(tmp_path, "last.ckpt", 5)
    assert newest_readable_checkpoint(tmp_path)[0] == last
    further = save(tmp_path, "best.ckpt", 6)  # resumed from an older one, then killed
    assert newest_readable_checkpoint(tmp_path)[0] == further


def test_a_sharded_checkpoint_is_whole_when_its_index_is(tmp_path: Path) -> None:
    folder = tmp_path / "last.ckpt"
    folder.mkdir()
    assert newest_readable_checkpoint(tmp_path)[0] is None
    torch.save({"global_step": 3}, folder / "meta.pt")
    assert newest_readable_checkpoint(tmp_path) == (folder, [])


def test_a_checkpoint_of_deepspeed_is_whole_when_its_weights_are(tmp_path: Path) -> None:
    folder = tmp_path / "last.ckpt"
    (folder / "checkpoint").mkdir(parents=True)
    assert newest_readable_checkpoint(tmp_path)[0] is None
    torch.save({"global_step": 3}, folder / "checkpoint/mp_rank_00_model_states.pt")
    assert newest_readable_checkpoint(tmp_path) == (folder, [])


def test_nothing_but_plain_values_is_loaded(tmp_path: Path) -> None:
    class Anything:
        pass

    globals()["Anything"] = Anything
    Anything.__qualname__ = "Anything"
    torch.save({"global_step": 1, "evil": Anything()}, tmp_path / "last.ckpt")
    with pytest.raises(UserError, match="cannot be read"):
        AtomicCheckpointIO().load_checkpoint(tmp_path / "last.ckpt", weights_only=False)
    assert newest_readable_checkpoint(tmp_path)[0] is None


def test_a_missing_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no checkpoint .*/a\.ckpt"):
        AtomicCheckpointIO().load_checkpoint(tmp_path / "a.ckpt")
    (tmp_path / "pieces.ckpt").mkdir()
    with pytest.raises(UserError, match=r"is a folder of weights in pieces.*`export`"):
        AtomicCheckpointIO().load_checkpoint(tmp_path / "pieces.ckpt")


def test_a_kept_file_outlives_its_replacement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last, previous = tmp_path / "last", tmp_path / "previous"
    keep_as(last, previous)  # nothing yet
    last.write_text("1")
    keep_as(last, previous)
    keep_as(last, previous)  # the same file already
    with replacing(last) as beside:
        beside.write_text("2")
    assert (last.read_text(), previous.read_text()) == ("2", "1")

    def refuse(*_: Any) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    keep_as(last, previous)
    assert previous.read_text() == "2"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["last", "previous"]


def test_a_folder_is_replaced_or_put_back(tmp_path: Path) -> None:
    place = tmp_path / "student"
    for text in ("1", "2"):
        with replacing(place) as beside:
            beside.mkdir()
            (beside / "file").write_text(text)
    assert (place / "file").read_text() == "2"
    assert [file.name for file in tmp_path.iterdir()] == ["student"]
    place.rename(tmp_path / ".student.lit_distill-old")  # killed between the two renames
    recover(place)
    assert (place / "file").read_text() == "2"
