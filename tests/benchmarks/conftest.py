"""What benchmarks change for the whole process, and tests may not leave behind."""

import pytest
from others.torchvision_names import complete_torchvision

from callbacks.watching import run_progress

# Where the extra `bench` is installed beside a CPU build of PyTorch, torchvision needs help.
complete_torchvision()


@pytest.fixture(autouse=True)
def _own_console(monkeypatch: pytest.MonkeyPatch) -> None:
    """`unseen_bar` puts another one there for good."""
    monkeypatch.setattr(run_progress, "Console", run_progress.Console)
