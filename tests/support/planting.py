"""A process that runs tests on a copy of the project, in children forked from it.

It imports what is slow to import and nothing of ours: classes of the unchanged project that an
earlier test left in the process would be found beside those of the copy.
"""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

OURS = ("lit_distill", "data_modules", "callbacks")


class Planter:
    """The process, seen from the test that plants."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process, self.folder = process, folder

    def run(self, tests: str) -> tuple[int, str]:
        """Runs tests on the copy as it is now.

        Args:
            tests: arguments of pytest.

        Returns:
            pytest's exit status (71: the copy was not what was tested) and what it printed.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(tests, file=self.process.stdin, flush=True)
        code = int(self.process.stdout.readline())
        return code, (self.folder / "output.txt").read_text("utf-8")


@contextmanager
def planter(folder: Path) -> Iterator[Planter]:
    """A planter for a copy of the project, until the context ends."""
    command = [sys.executable, "-P", str(folder / "tests" / "support" / "planting.py")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=folder, stdin=pipe, stdout=pipe, text=True) as process:
        yield Planter(process, folder)
        process.kill()


def _run(folder: Path, tests: str) -> int:
    import pytest

    sys.path[:0] = [str(folder), str(folder / "tests"), str(folder / "tests" / "support")]
    sys.dont_write_bytecode = True
    with open(folder / "output.txt", "w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    options = ["-x", "-q", "--every-day", "-p", "no:cacheprovider", f"--rootdir={folder}"]
    code = int(pytest.main([*options, *tests.split()]))
    files = [str(sys.modules[name].__file__) for name in OURS if name in sys.modules]
    return code if all(file.startswith(f"{folder}/") for file in files) else 71


def _serve() -> None:
    import datasets as _datasets
    import lightning.pytorch.cli as _cli
    import transformers as _transformers

    del _datasets, _cli, _transformers
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            code = 70
            try:
                code = _run(Path.cwd(), line)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    os.environ["HF_HUB_OFFLINE"] = "1"  # before the imports
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # one of them warns of what is imported
    _serve()
