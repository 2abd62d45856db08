"""Two processes as `torchrun` would start them: for strategies that do not fork by themselves."""

from __future__ import annotations

import os
import socket
import traceback
from collections.abc import Callable
from pathlib import Path


def on_two_ranks(work: Callable[[], None], log: Path) -> None:
    """Runs `work` in two forked processes that find each other; both must end well."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    children = [_child(work, rank, port, log) for rank in range(2)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert codes == [0, 0], log.read_text()


def _child(work: Callable[[], None], rank: int, port: int, log: Path) -> int:
    child = os.fork()
    if child == 0:
        code = 70
        try:
            os.environ |= {
                "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2",
                "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "test",
                "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
            }  # fmt: skip
            work()
            code = 0
        except BaseException:
            with log.open("a") as file:
                file.write(f"rank {rank}\n{traceback.format_exc()}")
        finally:
            os._exit(code)
    return child
