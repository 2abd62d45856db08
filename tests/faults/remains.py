"""What a run leaves behind, and in how much of it two runs differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.util.tensor_util import make_ndarray

UNEQUAL_TAGS = ("epoch",)
"""Lightning's count of epochs is ahead where a validation of an epoch's end is made up for."""
WEIGHTS = "model.safetensors"

Scalar = tuple[str, int]
"""Tag and step."""


@dataclass(frozen=True)
class Remains:
    """What a user finds in the folder of a finished run.

    Attributes:
        last: bytes of weights, optimizer state and number of updates of `last.ckpt`, by name.
        best: the same of the best checkpoints, of each student's where there are several.
        students: bytes of the files of all student folders, and of the report.
        scalars: what was logged, in the order of time.
    """

    last: Mapping[str, bytes]
    best: Mapping[str, bytes]
    students: Mapping[str, bytes]
    scalars: Mapping[Scalar, list[float]]

    @classmethod
    def of(cls, folder: Path) -> Remains:
        """Reads a run folder; everything that is to be compared must be there."""
        checkpoints = folder / "checkpoints"
        best = {}
        for path in sorted(checkpoints.glob("best*.ckpt")):
            best |= {f"{path.name}/{name}": raw for name, raw in _tensors(path).items()}
        kinds = ("student", "student-last")
        for kind in kinds:
            assert list((folder / kind).rglob(WEIGHTS)), f"{folder / kind} is missing"
        paths = [path for kind in kinds for path in (folder / kind).rglob("*") if path.is_file()]
        paths = [path for path in paths if path.name != "config.yaml"]  # names its folder
        students = {
            str(path.relative_to(folder)): path.read_bytes()
            for path in (*paths, folder / "report.json")
        }
        scalars = _scalars(folder / "tensorboard")
        assert best, f"{checkpoints} has no best"
        for kind in ("train/", "val/"):
            assert any(tag.startswith(kind) for tag, _ in scalars), f"no {kind} was logged"
        return cls(_tensors(checkpoints / "last.ckpt"), best, students, scalars)

    def contradictions(self, *, but: frozenset[Scalar] | set[Scalar] = frozenset()) -> list[Scalar]:
        """Scalars that were logged twice, before and after a stop, with different values.

        Args:
            but: scalars of which the later value counts.
        """
        return [
            one
            for one, values in self.scalars.items()
            if one not in but and len({value.hex() for value in values}) > 1
        ]


@dataclass(frozen=True)
class Differences:
    """In how much two runs differ: bits of last, best and students; scalars."""

    last: int
    best: int
    students: int
    scalars: int

    def __bool__(self) -> bool:
        return any((self.last, self.best, self.students, self.scalars))


def differences(one: Remains, other: Remains, spoilt: tuple[int, ...] = ()) -> Differences:
    """In how much two runs differ.

    Args:
        one: a run with faults. What it logged twice must agree, or counts as different.
        other: one without.
        spoilt: updates of which the first run logged other values before it stopped.
    """
    again = {(tag, step) for tag, step in one.scalars if step + 1 in spoilt}
    scalars = len(one.contradictions(but=again))
    for key in one.scalars.keys() | other.scalars.keys():
        values = [run.scalars.get(key, [None])[-1] for run in (one, other)]
        left_out = key in again and key[0] == "train/skipped"  # of an update that was then made
        scalars += not left_out and repr(values[0]) != repr(values[1])
    return Differences(
        differing_bits(one.last, other.last),
        differing_bits(one.best, other.best),
        differing_bits(one.students, other.students),
        scalars,
    )


def differing_bits(one: Mapping[str, bytes], other: Mapping[str, bytes]) -> int:
    """In how many bits values of equal names differ; all bits of what only one of them has."""
    count = 0
    for name in one.keys() | other.keys():
        pair = [np.frombuffer(run.get(name, b""), np.uint8) for run in (one, other)]
        shared = min(map(len, pair))
        count += int(np.unpackbits(pair[0][:shared] ^ pair[1][:shared]).sum())
        count += 8 * (max(map(len, pair)) - shared)
    return count


def _tensors(path: Path) -> dict[str, bytes]:
    """Weights and optimizer states of a checkpoint, and after how many updates they were."""
    checkpoint = torch.load(path, weights_only=True)
    named: dict[str, Any] = {**checkpoint["state_dict"]}
    for number, optimizer in enumerate(checkpoint["optimizer_states"]):
        for index, state in optimizer["state"].items():
            named |= {f"optimizer {number}/{index}/{key}": value for key, value in state.items()}
    named["updates"] = torch.tensor(checkpoint["global_step"])
    return {
        name: value.contiguous().flatten().view(torch.uint8).numpy().tobytes()
        for name, value in named.items()
    }


def _scalars(folder: Path) -> dict[Scalar, list[float]]:
    found: dict[Scalar, list[float]] = {}
    for _, tag, step, value in sorted(_events(folder)):
        if tag not in UNEQUAL_TAGS:
            found.setdefault((tag, step), []).append(value)
    return found


def _events(folder: Path) -> Iterator[tuple[float, str, int, float]]:
    """Wall time, tag, step and value; a file that a kill cut ends where it is cut."""
    for path in folder.glob("events.out.tfevents.*"):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name == "scalars":
                    yield event.wall_time, value.tag, event.step, float(make_ndarray(value.tensor))
