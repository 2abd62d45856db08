"""Checkpoint files: written whole or not at all, and found again when the newest is broken."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from lit_distill.errors import UserError
from lit_distill.files.atomic_files import replacing

PREFERENCE = ("last.ckpt", "previous.ckpt")
"""Which of several checkpoints of the same update to resume from."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target, waits for the disk, renames; a failed save changes nothing.

    Lightning's own collects the whole file in memory, moves it from the system's temporary folder
    and does not wait for the disk. Loading never runs code (`weights_only`), whatever is asked.
    In a config: `trainer.plugins: [AtomicCheckpointIO]`.
    """

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | Path,
        storage_options: Any | None = None,
    ) -> None:
        """Writes a checkpoint.

        Args:
            checkpoint: plain values and tensors.
            path: a local file.
            storage_options: not used.

        Raises:
            UserError: it could not be written; an older file at `path` is untouched.
        """
        del storage_options
        with replacing(Path(path)) as beside, beside.open("wb") as file:
            torch.save(checkpoint, file)

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Callable[..., Any] | None = lambda storage, _: storage,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Reads a checkpoint.

        Args:
            path: a local file.
            map_location: see `torch.load`.
            weights_only: not used: always true.

        Raises:
            UserError: there is none, or it cannot be read.
        """
        del weights_only
        if Path(path).is_dir():
            raise UserError(
                f"The checkpoint {path} is a folder of weights in pieces: only the strategy that "
                "wrote it reads it (trainer.strategy). `export` makes a student of it, for all."
            )
        if not Path(path).is_file():
            raise UserError(f"There is no checkpoint {path}.")
        try:
            loaded: dict[str, Any] = torch.load(path, map_location=map_location, weights_only=True)
        except Exception as error:  # broken files fail in many ways
            raise UserError(
                f"The checkpoint {path} cannot be read: {_first_line(error)} Resume with "
                "`--ckpt_path last`, which takes the newest one that can."
            ) from error
        return loaded


def newest_readable_checkpoint(folder: str | Path) -> tuple[Path | None, list[str]]:
    """The checkpoint of the most updates that is whole.

    Its checksums are verified, which reads the file once; of the others only the structure.

    Args:
        folder: where the `.ckpt` files (or folders, of sharded strategies) are.

    Returns:
        Its path, or None if there is none; and a line for each that is broken.
    """
    found: list[tuple[int, int, Path]] = []
    broken: list[str] = []
    for path in sorted(Path(folder).glob("*.ckpt")):
        try:
            order = PREFERENCE.index(path.name) if path.name in PREFERENCE else len(PREFERENCE)
            found.append((_updates(path), -order, path))
        except Exception as error:  # broken files fail in many ways
            broken.append(f"{path} cannot be read: {_first_line(error)}")
    for _, _, path in sorted(found, reverse=True):
        if path.is_dir() or (damaged := zipfile.ZipFile(path).testzip()) is None:
            return path, broken
        broken.append(f"{path} cannot be read: the checksum of {damaged} in it is wrong.")
    return None, broken


def _updates(path: Path) -> int:
    """The number of updates a checkpoint was written after; maps the file, reads only its index."""
    return int(read_index(path)["global_step"])


def read_index(path: Path) -> dict[str, Any]:
    """What a checkpoint says beside weights and optimizer states; of a file, they are mapped.

    Args:
        path: a file, or the folder that FSDP2 or DeepSpeed (up to stage 2) writes.

    Raises:
        Exception: of many kinds, if it is not whole.
    """
    if (path / ".metadata").exists():
        # torch's checkpoint folders take a second to import
        from lit_distill.files.sharded_checkpoint import read_sharded_index

        read_sharded_index(path)
    if path.is_dir():  # DeepSpeed's file holds the whole weights too
        deepspeed = path / "checkpoint" / "mp_rank_00_model_states.pt"
        path = deepspeed if deepspeed.exists() else path / "meta.pt"
    index: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    return index


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0].split(". ")[0].rstrip(".") + "."
