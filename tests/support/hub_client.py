"""Programs that use a hub: its address, the cache and the token are in their environment.

The libraries read their environment once, when they are imported, which takes seconds: one process
imports them, and every program runs in a fork of it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
TIMEOUT = 2
"""Seconds until a silent server is given up."""

LOOP = """
import json, os, sys, traceback
import lit_distill.cli.training, datasets, torch
from data_modules.reading.hub_reader import HubReader
from lit_distill.__main__ import main
from lit_distill.errors import UserError
from lit_distill.models import PretrainedStudent, TeacherSpec, fingerprint, load_tokenizer

def run(program):
    try:
        exec(program["code"], globals())
    except UserError as error:
        print("error:", error, file=sys.stderr)
        return 2
    except SystemExit as stop:
        return stop.code or 0
    except BaseException:
        traceback.print_exc()
        return 1
    return 0

torch.set_num_threads(1)
for line in sys.stdin:
    program = json.loads(line)
    child = os.fork()
    if not child:
        out = os.open(program["output"], os.O_WRONLY)
        os.dup2(out, 1), os.dup2(out, 2)
        os.environ.update(program["environment"])
        code = run(program)
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@dataclass(frozen=True)
class Outcome:
    """How a program ended.

    Attributes:
        code: its exit code; 2 after a `UserError`.
        output: what it wrote.
        seconds: that it took.
    """

    code: int
    output: str
    seconds: float

    @property
    def error(self) -> str:
        """The one line with which it was refused."""
        lines = [line for line in self.output.splitlines() if line.startswith("error: ")]
        assert (self.code, len(lines)) == (2, 1), self.output
        assert "Traceback" not in self.output
        return lines[0].removeprefix("error: ")

    @property
    def printed(self) -> str:
        """The last line of a program that ended well."""
        assert self.code == 0, self.output
        return self.output.splitlines()[-1]


class HubClient:
    """Runs programs, which find `main`, `HubReader`, `TeacherSpec` ... imported.

    Args:
        loop: the process that forks for them.
        home: where it keeps what was downloaded.
    """

    def __init__(self, loop: subprocess.Popen[str], home: Path) -> None:
        self._loop, self.home = loop, home

    def run(self, code: str, **environment: str) -> Outcome:
        """Runs a program to its end."""
        assert self._loop.stdin is not None
        assert self._loop.stdout is not None
        with tempfile.NamedTemporaryFile("r", encoding="utf-8") as output:
            program = {"code": code, "environment": environment, "output": output.name}
            started = time.monotonic()
            print(json.dumps(program), file=self._loop.stdin, flush=True)
            ended = self._loop.stdout.readline()
            return Outcome(int(ended), output.read(), time.monotonic() - started)


def environment(endpoint: str, home: Path, **more: str) -> dict[str, str]:
    """Of a user of the hub at `endpoint`, who has no token and an own cache.

    Args:
        endpoint: the address.
        home: where the cache is.
        more: further variables.
    """
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
    own = {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home),
        "HF_HUB_DOWNLOAD_TIMEOUT": str(TIMEOUT),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_XET": "1",  # the hub of the tests has no such storage
        "PYTHONPATH": str(ROOT),
        "no_proxy": "127.0.0.1",
    }
    return {**kept, **own, **more}


@contextmanager
def client(endpoint: str, home: Path) -> Iterator[HubClient]:
    """A process that runs programs, one at a time."""
    with subprocess.Popen(
        [sys.executable, "-c", LOOP],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=home,
        env=environment(endpoint, home),
    ) as loop:
        yield HubClient(loop, home)  # leaving closes its input, at which it ends
