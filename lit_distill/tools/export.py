"""From a checkpoint to plain Hugging Face folders; no teacher is opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from callbacks import newest_readable_checkpoint, read_index, training_of, write_student
from callbacks.saving.student_folder import Precision
from lit_distill.errors import UserError
from lit_distill.files.checkpoint_description import description_of
from lit_distill.files.output_folders import check_output


def export(
    checkpoint: str, output: str | None = None, dtype: Precision = "float32"
) -> dict[str, Path]:
    """Writes the students of a checkpoint as folders that `from_pretrained` loads.

    Each holds weights, config, tokenizer, a model card, and the config of the run.

    Args:
        checkpoint: a .ckpt file (or folder, of weights in pieces), or a run folder: its best
            checkpoint (of several students, that of each), or else its last.
        output: the folder; an earlier export there is replaced, and nothing else. Of several
            students, one folder each inside. By default beside the run's `checkpoints/`, named
            after the checkpoint.
        dtype: of the written weights.

    Returns:
        The folders, by student.

    Raises:
        UserError: there is no such checkpoint, it is broken, or not one of lit_distill; or the
            output would replace what is not an export.
    """
    given = Path(checkpoint)
    best = sorted((given / "checkpoints").glob("best-*.ckpt"))
    written: dict[str, Path] = {}
    for path in best or [_file(given)]:
        content = _read(path)
        description = description_of(content, str(path))
        kind = "best" if best else path.stem
        folder = Path(output) if output else path.absolute().parent.parent / f"student-{kind}"
        several = len(description["students"]) > 1
        names = [n for n in description["students"] if not best or path.stem == f"best-{n}"]
        places = {name: folder / name if several else folder for name in names}
        for place in places.values():
            check_output(place)
        for name, place in places.items():
            with _sound(path):
                training = training_of(content, name)
                weights = _weights(content, f"students.{name}.")
                exported = _weights(content, "exported.")
                write_student(place, name, description, weights, training, dtype, exported)
            print(f"{path}, {training.updates} updates: {name} written to {place}")
        written |= places
    return written


def _weights(content: dict[str, Any], prefix: str) -> dict[str, Tensor]:
    """The state dict of a part of the run, as of one student, in a checkpoint."""
    state = content["state_dict" if "state_dict" in content else "module"]  # DeepSpeed's name
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


@contextmanager
def _sound(path: Path) -> Iterator[None]:
    """Says in one line that a checkpoint does not hold what it should."""
    try:
        yield
    except UserError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"{path} is damaged, or was not written by lit_distill ({type(error).__name__}: "
            f"{reason[:200]}): give another of the run's checkpoints/."
        ) from error


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
    if path.is_dir() and path.suffix != ".ckpt" and not (path / "meta.pt").exists():
        raise UserError(
            f"{path} is a folder, and neither a run folder (with checkpoints/) nor the checkpoint "
            "of weights in pieces (with meta.pt): give one of these, or a .ckpt file."
        )
    return path


def _read(path: Path) -> dict[str, Any]:
    try:
        content = read_index(path)
        if isinstance(content, dict) and (path / ".metadata").exists():
            # torch's checkpoint folders take a second to import
            from lit_distill.files.sharded_checkpoint import sharded_weights

            content["state_dict"] = sharded_weights(path, "state_dict.")
    except UserError:
        raise
    except Exception as error:  # broken files fail in many ways
        raise UserError(
            f"{path} is no checkpoint, or not a whole one: give another of the run's checkpoints/."
        ) from error
    return dict(content) if isinstance(content, dict) else {}
