"""From a checkpoint to plain Hugging Face folders; no teacher is opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from callbacks import newest_readable_checkpoint, read_index, training_of, write_student
from callbacks.student_folder import Precision
from lit_distill.checkpoints import KEY
from lit_distill.errors import UserError


def export(
    checkpoint: str, output: str | None = None, dtype: Precision = "float32"
) -> dict[str, Path]:
    """Writes the students of a checkpoint as folders that `from_pretrained` loads.

    Each holds weights, config, tokenizer, a model card, and the config of the run.

    Args:
        checkpoint: a .ckpt file, or a run folder: its best checkpoint (of several students, that of
            each), or else its last.
        output: the folder, replaced if it exists; of several students, one folder each inside. By
            default beside the run's `checkpoints/`, named after the checkpoint.
        dtype: of the written weights.

    Returns:
        The folders, by student.

    Raises:
        UserError: there is no such checkpoint, it is broken, or not one of lit_distill.
    """
    given = Path(checkpoint)
    best = sorted((given / "checkpoints").glob("best-*.ckpt"))
    written: dict[str, Path] = {}
    for path in best or [_file(given)]:
        content = _read(path)
        description = content[KEY]
        kind = "best" if best else path.stem
        folder = Path(output) if output else path.absolute().parent.parent / f"student-{kind}"
        state = content["state_dict" if "state_dict" in content else "module"]  # DeepSpeed's name
        for name in description["students"]:
            if best and path.stem != f"best-{name}":
                continue
            prefix = f"students.{name}."
            weights = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
            written[name] = folder if len(description["students"]) == 1 else folder / name
            training = training_of(content, name)
            write_student(written[name], name, description, weights, training, dtype)
            print(f"{path}, {training.updates} updates: {name} written to {written[name]}")
    return written


def _file(path: Path) -> Path:
    """The checkpoint meant by a file or a run folder."""
    folder = path / "checkpoints"
    if folder.is_dir():
        best = folder / "best.ckpt"
        newest = None if best.exists() else newest_readable_checkpoint(folder)[0]
        path = newest or best
    if not path.exists():
        raise UserError(
            f"There is no checkpoint {path}: give a .ckpt file, or a run folder that has "
            "checkpoints/."
        )
    if (path / "meta.pt").exists() or (path.is_dir() and path.suffix != ".ckpt"):
        raise UserError(
            f"{path} is a folder and no run folder. If it is the checkpoint of an FSDP2 run, make "
            "one file of it: python -m lightning.pytorch.utilities.consolidate_checkpoint "
            f"{path} --output_file {path.stem}-whole.ckpt"
        )
    return path


def _read(path: Path) -> dict[str, Any]:
    try:
        content = read_index(path)
    except Exception as error:  # broken files fail in many ways
        raise UserError(
            f"{path} is no checkpoint, or not a whole one: give another of the run's checkpoints/."
        ) from error
    if not isinstance(content, dict) or KEY not in content:
        raise UserError(f"{path} was not written by lit_distill (no student description in it).")
    return content
