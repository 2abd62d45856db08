"""Where faults are injected, and the table of what they did: `pytest tests/faults --table FILE`."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml
from faults.configs import Places, settings
from faults.remains import Remains
from faults.report import Chain, Outcome, chain_table, page, table
from faults.runs import Run
from faults.traps import no_number_at
from faults.writer import write_model, write_prompts

DISK_BYTES = 8 << 20
OUTCOMES = pytest.StashKey[list[Outcome]]()
CHAINS = pytest.StashKey[list[Chain]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--table", help="Write the table of injected faults to this file.")


@pytest.fixture
def outcomes(request: pytest.FixtureRequest) -> list[Outcome]:
    return request.config.stash.setdefault(OUTCOMES, [])


@pytest.fixture
def chains(request: pytest.FixtureRequest) -> list[Chain]:
    return request.config.stash.setdefault(CHAINS, [])


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    outcomes, chains = config.stash.get(OUTCOMES, []), config.stash.get(CHAINS, [])
    path = config.getoption("--table", None)
    if path and (outcomes or chains):
        terminalreporter.write_line("\n".join([*chain_table(chains), *table(outcomes)]))
        Path(path).write_text(page(outcomes, chains), "utf-8")


Configure = Callable[[str, int, int, Path], Run]
Unharmed = Callable[..., Remains]


@pytest.fixture(scope="session")
def places(
    tiny_models: dict[str, Path], text_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Places:
    """Where configurations find models and texts."""
    folder = tmp_path_factory.mktemp("faults")
    writer = write_model(folder / "writer")
    write_prompts(folder)
    return Places({**tiny_models, "gpt2": writer}, text_folder, folder, folder / "cache")


@pytest.fixture(scope="session")
def configured(places: Places) -> Configure:
    """Makes a run of a method with so many workers and ranks whose folder will be in another."""
    import lit_distill.cli.training  # noqa: F401 (once, not in every child)

    count = iter(range(10**6))

    def make(method: str, workers: int, ranks: int, folder: Path) -> Run:
        path = places.cache.with_name(f"{next(count)}.yaml")
        path.write_text(yaml.safe_dump(settings(method, workers, ranks, places)))
        return Run(folder / "run", path, ranks)

    return make


@pytest.fixture(scope="session")
def unharmed(configured: Configure, tmp_path_factory: pytest.TempPathFactory) -> Unharmed:
    """What is left by a run that leaves given updates out and to which nothing else happens."""

    @cache
    def end(method: str, ranks: int, spoilt: tuple[int, ...] = ()) -> Remains:
        run = configured(method, 0, ranks, tmp_path_factory.mktemp("unharmed"))
        assert not any(run.work(run.fit(), no_number_at(spoilt))), run.output()
        return run.remains()

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
