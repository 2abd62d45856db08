"""Single training steps out of loops that own their loop, so that they can be timed between others.

A Trainer runs in a thread of its own that waits in the loader until a step is asked for. Never do
two threads work at the same time. A step lasts from the moment when the loader hands out a batch to
the moment when the loop asks for the next one.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

STEPS = 10**6  # the run is stopped long before

BatchT = TypeVar("BatchT")


class Over(Exception):
    """No more steps are wanted."""


class Requests(Generic[BatchT]):
    """A loader of the same batch again and again, each time when `go` is released.

    Args:
        batch: what every step gets.
    """

    def __init__(self, batch: BatchT) -> None:
        self.batch = batch
        self.go, self.ready = threading.Semaphore(0), threading.Semaphore(0)
        self.over = False

    def __len__(self) -> int:
        return STEPS

    def __iter__(self) -> Requests[BatchT]:
        return self

    def __next__(self) -> BatchT:
        self.ready.release()
        self.go.acquire()
        if self.over:
            raise Over
        return self.batch


class LoopSteps(Generic[BatchT]):
    """A run that advances by one step per call.

    Args:
        requests: the loader that the run reads.
        run: the whole training; it is left by an exception.
        latest: the loss of the step before.
    """

    def __init__(
        self, requests: Requests[BatchT], run: Callable[[], object], latest: Callable[[], float]
    ) -> None:
        self._requests, self._run, self._latest = requests, run, latest
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._guarded, daemon=True)
        out, err = sys.stdout, sys.stderr
        self._thread.start()
        self._wait()
        sys.stdout, sys.stderr = out, err  # a progress bar took them, to print above itself

    def __call__(self) -> float:
        """One step; its loss."""
        self._requests.go.release()
        self._wait()
        return self._latest()

    def feed(self, batch: BatchT) -> None:
        """Gives every following step another batch."""
        self._requests.batch = batch

    def close(self) -> None:
        """Ends the run."""
        self._requests.over = True
        self._requests.go.release()
        self._thread.join()

    def _wait(self) -> None:
        self._requests.ready.acquire()
        if self._error is not None:
            raise self._error

    def _guarded(self) -> None:
        try:
            self._run()
        except Over:
            pass
        except BaseException as error:  # to be raised where the step was asked for
            self._error = error
            self._requests.ready.release()
