"""Where faults are injected, and the table of what they did: `pytest tests/faults --table FILE`."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import torch
import yaml
from faults.report import Outcome, page, table
from faults.runs import Run, settings
from faults.traps import no_number_at

DISK_BYTES = 8 << 20
OUTCOMES = pytest.StashKey[list[Outcome]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--table", help="Write the table of injected faults to this file.")


@pytest.fixture
def outcomes(request: pytest.FixtureRequest) -> list[Outcome]:
    return request.config.stash.setdefault(OUTCOMES, [])


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    outcomes, path = config.stash.get(OUTCOMES, []), config.getoption("--table", None)
    if outcomes and path:
        terminalreporter.write_line("\n".join(table(outcomes)))
        Path(path).write_text(page(outcomes), "utf-8")


Configure = Callable[[str, int, int, Path], Run]


@pytest.fixture(scope="session")
def configured(
    tiny_bert: Path, text_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Configure:
    """Makes a run of a method with so many workers and ranks whose folder will be in another."""
    import lit_distill.cli  # noqa: F401 (once, not in every child)

    place = tmp_path_factory.mktemp("faults")
    count = iter(range(10**6))

    def make(method: str, workers: int, ranks: int, folder: Path) -> Run:
        config = settings(method, workers, ranks, tiny_bert, text_folder, place / "cache")
        path = place / f"{next(count)}.yaml"
        path.write_text(yaml.safe_dump(config))
        return Run(folder / "run", path, ranks)

    return make


@pytest.fixture(scope="session")
def unharmed(
    configured: Configure, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, int, tuple[int, ...]], list[torch.Tensor]]:
    """The end of a run that leaves given updates out and to which nothing else happens."""

    @cache
    def end(method: str, ranks: int, spoilt: tuple[int, ...]) -> list[torch.Tensor]:
        run = configured(method, 0, ranks, tmp_path_factory.mktemp("unharmed"))
        assert not any(run.work(run.fit(), no_number_at(spoilt))), run.output()
        return run.bits()

    return end


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(disk)]
    try:
        subprocess.run(["mount", *options], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"file systems cannot be mounted here: {error}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)
