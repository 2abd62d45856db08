"""`--ckpt_path`: finding the checkpoint, and saying where its run was configured differently."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from lightning_utilities.core.rank_zero import rank_zero_info

from callbacks import newest_readable_checkpoint, read_index
from lit_distill.errors import UserError
from lit_distill.files.scratch import kept_scratch
from lit_distill.models import load_tokenizer, write_tokenizer_files
from lit_distill.training.checkpoints import KEY

MEASURING = ("validate", "test")
"""Commands that train nothing."""
START = "start"
"""Stands for no checkpoint where one is looked for."""
SHOWN = 8
"""How many differences are listed."""


def checkpoint_for(command: str, name: str | None, run_dir: Path) -> Path | None:
    """The checkpoint that a command begins with; None if it begins with fresh models.

    Args:
        command: validate and test measure the best of the run by default.
        name: as typed: see `find_checkpoint`; or `start`, to measure students before any training.
        run_dir: the run folder.

    Raises:
        UserError: there is none.
    """
    if command not in MEASURING:
        if name == START:
            raise UserError(f"--ckpt_path {START} is for validate and test; {command} needs none.")
        return find_checkpoint(name, run_dir) if name is not None else None
    if name == START:
        rank_zero_info("The students are measured as they start, before any training.")
        return None
    path = find_checkpoint(name if name is not None else "best", run_dir)
    if name is None:
        updates = _read(path).get("global_step")
        after = f", after {updates} updates" if updates is not None else ""
        rank_zero_info(f"The best of the run is measured: {path}{after}.")
    return path


def check_unused(run_dir: Path) -> None:
    """Refuses to begin a run in the folder of another.

    Args:
        run_dir: the run folder.

    Raises:
        UserError: checkpoints are there, or the students of a run without checkpoints.
    """
    folder = run_dir / "checkpoints"
    if any(folder.glob("*.ckpt")):
        raise UserError(
            f"{run_dir} holds the checkpoints of an earlier run, which this one would replace. Go "
            "on with it (--ckpt_path last), choose another folder (--run_dir), or remove "
            f"{folder}."
        )
    students = [run_dir / kind for kind in ("student", "student-last")]
    if not folder.is_dir() and any(path.exists() for path in students):
        raise UserError(
            f"{run_dir} holds the students of an earlier run, which this one would replace. Choose "
            "another folder (--run_dir), or move them away."
        )


def find_checkpoint(name: str, run_dir: Path) -> Path:
    """The file (or folder, of a sharded strategy) to load.

    Args:
        name: a path; or `last`, the newest of the run folder that can be read; or `best`; or
            another name in its `checkpoints/`, as `best-small`.
        run_dir: the run folder.

    Raises:
        UserError: there is none, or several students have a best each.
    """
    folder = run_dir / "checkpoints"
    if name == "last":
        path, broken = newest_readable_checkpoint(folder)
        if path is None:
            found = " ".join(broken) or f"{folder} holds none."
            raise UserError(
                f"--ckpt_path last: there is no checkpoint to go on from. {found} Leave "
                "--ckpt_path out to start, or name the run with --run_dir."
            )
        for line in broken:
            rank_zero_info(f"{line} Going on from {path}.")
        return path
    if name == "best":
        return _best(folder)
    path, inside = Path(name), folder / f"{name}.ckpt"
    if not path.exists() and inside.parent == folder and inside.exists():
        return inside
    if not path.exists():
        near = list(path.parent.glob("*.ckpt"))
        close = get_close_matches(path.name, [other.name for other in near], 1, cutoff=0.0)
        hint = f"did you mean {path.parent / close[0]}?" if close else "`last` and `best` work too."
        raise UserError(f"--ckpt_path: there is no checkpoint {path}; {hint}")
    return path


def _best(folder: Path) -> Path:
    path, own = folder / "best.ckpt", sorted(folder.glob("best-*.ckpt"))
    if path.exists():
        return path
    if own:
        names = " or ".join(f"--ckpt_path {path.stem}" for path in own)
        raise UserError(
            f"The students of {folder.parent} have a best checkpoint each, and each holds them "
            f"all: give {names}."
        )
    there = ", ".join(sorted(path.name for path in folder.glob("*.ckpt")))
    raise UserError(
        f"There is no best checkpoint in {folder} (there is {there or 'none at all'}). Name the "
        "run with --run_dir, or give --ckpt_path: `last`, a file, or for validate and test "
        f"`{START}`, which measures students before any training."
    )


def tokenizer_at_hand(name: str | None, checkpoint: Path) -> str | None:
    """The tokenizer by name, or, where that is gone, the checkpoint's own in a temporary folder.

    Measuring needs no teacher, and so not its folder for the sake of the tokenizer either.

    Args:
        name: as configured.
        checkpoint: of the student that is measured.
    """
    if name is None:
        return None
    try:
        load_tokenizer(name)
        return name
    except UserError as error:
        files = _read(checkpoint).get(KEY, {}).get("tokenizer")
        if not files:
            raise
        folder = kept_scratch(lambda empty: write_tokenizer_files(empty, files), checkpoint.parent)
        rank_zero_info(f"{error} The tokenizer comes from the checkpoint.")
        return str(folder)


def report_differences(path: Path, text: str) -> None:
    """Says where the present configuration is not the checkpoint's; the present one is used.

    Args:
        path: of the checkpoint.
        text: the present configuration as YAML.

    Raises:
        UserError: the checkpoint cannot be read.
    """
    found = differences(_recorded(path), text)
    if found:
        more = [f"... and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
        listed = "".join(f"\n  {line}" for line in [*found[:SHOWN], *more])
        rank_zero_info(f"{path} was written with another configuration. This one is used:{listed}")


def _recorded(path: Path) -> str:
    """The configuration in a checkpoint; empty if there is none."""
    return str(_read(path).get(KEY, {}).get("config", ""))


def _read(path: Path) -> dict[str, Any]:
    """The content of a checkpoint; weights are not read before they are used.

    Raises:
        UserError: it cannot be read.
    """
    try:
        found = read_index(path)
        return found if isinstance(found, dict) else {}
    except UserError:
        raise
    except Exception as error:  # broken files fail in many ways
        raise UserError(
            f"--ckpt_path: {path} is no checkpoint, or not a whole one. `--ckpt_path last` takes "
            "the newest of the run that can be read."
        ) from error


def differences(then: str, now: str) -> list[str]:
    """Lines `key: old -> new` for every value that differs; none if nothing was recorded."""
    before, after = (dict(_flat("", yaml.safe_load(text) or {})) for text in (then, now))
    if not before:
        return []
    keys = [key for key in {**after, **before} if key not in ("run_dir", "ckpt_path")]
    return [
        f"{key}: {_shown(before, key)} -> {_shown(after, key)}"
        for key in keys
        if before.get(key) != after.get(key)
    ]


def _flat(prefix: str, value: Any) -> list[tuple[str, Any]]:
    inner = value.items() if isinstance(value, dict) else []
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        inner = [(str(index), item) for index, item in enumerate(value)]
    if not inner:
        return [(prefix, value)]
    return [pair for key, item in inner for pair in _flat(f"{prefix}.{key}".strip("."), item)]


def _shown(values: dict[str, Any], key: str) -> str:
    text = repr(values[key]) if key in values else "absent"
    return text if len(text) <= 60 else f"{text[:57]}..."
