"""Two machines, started by `torchrun` on each or by SLURM's `srun`: here, two processes on one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from ranks import on_two_ranks
from safetensors.torch import load_file

from lit_distill.__main__ import main

ROOT = Path(__file__).parents[3]
TWO_NODES = ["--trainer.strategy=ddp", "--trainer.devices=1", "--trainer.num_nodes=2"]


@pytest.fixture
def arguments(tiny_bert: Path, tiny_corpus: Path, tmp_path: Path) -> Callable[[str], list[str]]:
    """Four updates in a run folder."""

    def make(name: str) -> list[str]:
        parts = ("trainer/debug", "methods/triple_loss", "models/half", "data/multilingual_folder")
        files = [*(f"{ROOT}/configs/{part}.yaml" for part in parts), str(tiny_corpus)]
        return [
            "fit", *(word for file in files for word in ("-c", file)),
            f"--model.teacher.name={tiny_bert}", "--model.dropout=0", "--trainer.max_steps=4",
            "--model.optimizer.eps=1e-3", f"--run_dir={tmp_path / name}",
        ]  # fmt: skip

    return make


def by_torchrun(arguments: Sequence[str], folder: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    agents = []
    for node in range(2):
        command = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--nnodes=2",
            "--nproc-per-node=1",
        ]
        command += [f"--node-rank={node}", "--master-addr=127.0.0.1", f"--master-port={port}"]
        with (folder / f"node{node}.txt").open("wb") as log:
            agents.append(
                subprocess.Popen(
                    [*command, "-m", "lit_distill", *arguments, *TWO_NODES], stdout=log, stderr=log
                )
            )
    codes = [agent.wait(120) for agent in agents]
    assert codes == [0, 0], "".join((folder / f"node{node}.txt").read_text() for node in range(2))


def by_slurm(arguments: Sequence[str], folder: Path) -> None:
    def task() -> None:
        rank, port = os.environ["RANK"], os.environ["MASTER_PORT"]
        for name in [name for name in os.environ if "TORCHELASTIC" in name or "RANK" in name]:
            del os.environ[name]
        del os.environ["WORLD_SIZE"]
        os.environ |= {
            "SLURM_NTASKS": "2", "SLURM_JOB_NAME": "distil", "SLURM_JOB_ID": str(port),
            "SLURM_PROCID": rank, "SLURM_LOCALID": "0", "SLURM_NODEID": rank,
            "SLURM_NTASKS_PER_NODE": "1", "SLURM_NODELIST": "127.0.0.1",
        }  # fmt: skip
        assert main([*arguments, *TWO_NODES]) == 0

    on_two_ranks(task, folder / "log.txt")


@pytest.mark.filterwarnings("ignore:The `srun` command is available")
@pytest.mark.rotated(2)
@pytest.mark.parametrize("launch", [by_torchrun, by_slurm])
def test_two_nodes_learn_what_one_process_learns(
    launch: Callable[[Sequence[str], Path], None],
    arguments: Callable[[str], list[str]],
    tmp_path: Path,
) -> None:
    assert main([*arguments("one"), "--trainer.accumulate_grad_batches=2"]) == 0
    launch(arguments("two"), tmp_path)
    one, two = (
        load_file(tmp_path / run / "student-last/model.safetensors") for run in ("one", "two")
    )
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=0, atol=1e-5)
