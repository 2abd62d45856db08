"""Batches made ahead of time by other processes, one of which may be killed at any time."""

from __future__ import annotations

import math
import signal
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from data_modules.feeding.collation import Collate
from lit_distill.batch import Batch
from lit_distill.errors import UserError

Ints = NDArray[np.int64]
Request = tuple[Ints, Ints]  # window numbers, pass numbers
_Packed = tuple[list[Tensor], dict[str, tuple[int, tuple[int, ...]]], dict[str, int]]
PREFETCHED_BATCHES = 8  # per worker: a pool is made in about the time of a few batches
_WORKER_DIED = "DataLoader worker (pid"  # how torch's message begins


@dataclass(frozen=True)
class _Collated(Dataset[Batch]):
    """What workers hold: requests in, batches out. The plan stays in the main process."""

    collate: Collate[Batch]

    def __getitem__(self, request: Request) -> Batch:
        return self.collate(*request)


def prefetched(
    collate: Collate[Batch], requests: Callable[[int], Iterable[Request]], num_workers: int
) -> Iterator[Batch]:
    """Collates requests in their order, ahead of time where there are workers.

    Should a worker be killed, new ones go on with the batch that is due: nothing is lost or seen
    twice.

    Args:
        collate: makes a batch.
        requests: those that are left when so many batches have been handed out.
        num_workers: processes that collate; 0 collates in this one.

    Raises:
        UserError: workers were killed twice at the same batch.
    """
    done, died_at = 0, -1
    while True:
        try:
            for packed in _packed(collate, requests(done), num_workers):
                done += 1
                yield _unpack(packed)
            return
        except (RuntimeError, OSError, EOFError) as error:
            if num_workers == 0 or not _is_death(error):
                raise
            if died_at == done:
                raise UserError(
                    "A process that loads data was killed, and so was the one in its place. The "
                    "system kills processes when memory is short: lower data.init_args.num_workers "
                    "(0: the training process loads), then go on with --ckpt_path last."
                ) from error
            died_at = done
            warnings.warn(
                "A process that loads data was killed; others go on in its place, no batch is lost "
                f"({str(error) or type(error).__name__}).",
                RuntimeWarning,
                stacklevel=2,
            )


def _is_death(error: Exception) -> bool:
    """Whether an iterator's error comes from a worker that is gone, not from its work."""
    text = str(error)
    if isinstance(error, ConnectionError | FileNotFoundError | EOFError):
        return not text.startswith("Caught ")  # its batches are fetched from it when they are due
    return text.startswith(_WORKER_DIED)


def _packed(
    collate: Collate[Batch], requests: Iterable[Request], num_workers: int
) -> Iterator[_Packed]:
    loader = DataLoader(
        _Collated(collate),
        batch_size=None,
        sampler=cast(Any, requests),
        num_workers=num_workers,
        collate_fn=_pack,
        pin_memory=torch.cuda.is_available(),
        prefetch_factor=PREFETCHED_BATCHES if num_workers else None,
        generator=torch.Generator(),  # else every iterator draws from the run's random numbers
    )
    handler = signal.getsignal(signal.SIGCHLD)
    iterator = iter(loader)
    if num_workers and threading.current_thread() is threading.main_thread():
        # With its handler torch raises out of whatever runs when a worker dies: an update, a save.
        # Without it, it finds out when a batch is due, within seconds.
        signal.signal(signal.SIGCHLD, handler)
    return cast(Iterator[_Packed], iterator)


def _pack(batch: Any) -> _Packed:
    """One tensor for all numbers of a kind: each costs a shared memory file between processes."""
    tensors = {name: value for name, value in batch.items() if isinstance(value, Tensor)}
    kinds = list(dict.fromkeys(tensor.dtype for tensor in tensors.values()))
    shapes = {name: (kinds.index(one.dtype), tuple(one.shape)) for name, one in tensors.items()}
    flat = [
        torch.cat([tensor.flatten() for tensor in tensors.values() if tensor.dtype == kind])
        for kind in kinds
    ]
    return flat, shapes, batch["counts"]


def _unpack(packed: _Packed) -> Batch:
    """The batch again, as views."""
    flat, shapes, counts = packed
    tensors: dict[str, Tensor] = {}
    for number, numbers in enumerate(flat):
        own = {name: shape for name, (kind, shape) in shapes.items() if kind == number}
        parts = torch.split(numbers, [math.prod(shape) for shape in own.values()])
        tensors |= {
            name: part.view(shape) for (name, shape), part in zip(own.items(), parts, strict=True)
        }
    return cast(Batch, {**{name: tensors[name] for name in shapes}, "counts": counts})
