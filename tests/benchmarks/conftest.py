"""What benchmarks change for the whole process, and tests may not leave behind."""

import logging
from collections.abc import Iterator

import pytest
from others.torchvision_names import complete_torchvision

from callbacks.watching import run_progress

# Where the extra `bench` is installed beside a CPU build of PyTorch, torchvision needs help.
complete_torchvision()


@pytest.fixture(autouse=True)
def _own_console(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`unseen_bar` puts another one there for good, and steps silence Lightning."""
    monkeypatch.setattr(run_progress, "Console", run_progress.Console)
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    yield
    logger.setLevel(level)
