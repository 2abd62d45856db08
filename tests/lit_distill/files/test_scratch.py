"""A full system disk does not stop a run that has room on its own; messages about disks."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from command_line import refused

from lit_distill.cli import training as cli
from lit_distill.cli.checkpoints import tokenizer_at_hand
from lit_distill.errors import UserError
from lit_distill.files.disk_errors import remedy
from lit_distill.files.scratch import in_scratch, kept_scratch
from lit_distill.models import load_tokenizer, tokenizer_files, tokenizer_from_files


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The system's temporary folder, in which nothing can be made."""
    mkdtemp = tempfile.mkdtemp

    def refuse(prefix: str | None = None, dir: Any = None, **more: Any) -> str:
        if dir is None:
            raise OSError(errno.ENOSPC, "No space left on device", "/tmp/x")
        return mkdtemp(prefix=prefix, dir=dir, **more)

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    return tmp_path


def test_a_full_system_disk_is_done_without(full: Path, tiny_bert: Path) -> None:
    tokenizer = load_tokenizer(str(tiny_bert))
    with pytest.raises(OSError, match="No space left"):
        tokenizer_files(tokenizer)
    files = tokenizer_files(tokenizer, full)
    assert "tokenizer.json" in files
    assert tokenizer_from_files(files, full).get_vocab() == tokenizer.get_vocab()
    assert list(full.iterdir()) == []


def test_a_disk_that_fills_up_meanwhile(tmp_path: Path) -> None:
    tried: list[Path] = []

    def write(folder: Path) -> str:
        tried.append(folder)
        (folder / "half").write_text("x")
        if folder.parent != tmp_path:
            raise Exception("No space left on device (os error 28)")  # as tokenizers say it
        return "written"

    assert in_scratch(write, tmp_path) == "written"
    assert len(tried) == 2
    assert not any(folder.exists() for folder in tried)
    with pytest.raises(Exception, match="os error 28"):
        in_scratch(write, tmp_path / "nowhere")


def test_a_tokenizer_out_of_a_checkpoint(full: Path, tiny_bert: Path) -> None:
    import torch

    files = tokenizer_files(load_tokenizer(str(tiny_bert)), full)
    torch.save({"lit_distill": {"tokenizer": files}}, full / "last.ckpt")
    found = tokenizer_at_hand(str(full / "gone"), full / "last.ckpt")
    assert Path(str(found)).parent == full
    assert load_tokenizer(str(found)).get_vocab()
    assert kept_scratch(lambda folder: folder, full).is_dir()


def test_a_run_on_a_full_system_disk(folder: Path, full: Path) -> None:
    cli.run("fit", ["-c", "exp.yaml"])
    assert (folder / "runs/exp/checkpoints/last.ckpt").exists()
    assert not list((folder / "runs/exp").glob(".lit_distill-scratch*"))


@pytest.mark.parametrize(
    ("number", "end"),
    [
        (errno.ENOSPC, "Make room or choose another --run_dir. A run"),
        (errno.EROFS, "Choose another --run_dir, in which you may write. A run"),
        (errno.EIO, "Choose another --run_dir. A run"),
    ],
)
def test_only_a_full_disk_wants_room(
    number: int, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(number, os.strerror(number), "/runs/x/events")

    monkeypatch.setattr(cli, "DistillCLI", refuse)
    with pytest.raises(UserError, match=end):
        cli.run("fit", [])
    assert remedy(OSError("3 requested and 2 written"), "x").startswith("Make room")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--model.teacher.name=", "model.teacher.name is empty: give the folder or the hub name"),
        ("--model.teacher.name= ", "model.teacher.name is empty: give the folder or the hub name"),
        ("--tokenizer=", "tokenizer is empty: give a folder or hub name, or leave it out."),
    ],
)
def test_an_empty_name_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str], option: str, message: str
) -> None:
    assert refused(capsys, "fit", "-c", "exp.yaml", option).startswith(message)
    with pytest.raises(UserError, match="name of a model or tokenizer is empty"):
        load_tokenizer("")
