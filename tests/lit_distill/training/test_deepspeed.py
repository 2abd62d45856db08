"""DeepSpeed on two CPU ranks, where its package (extra `deepspeed`) is installed.

Lightning allows it on GPUs only: its checks of the device are taken away. All else is the real
thing, engine, optimizer in pieces, and checkpoints.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from ranks import on_two_ranks
from safetensors.torch import load_file

from lit_distill.__main__ import main

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.filterwarnings("ignore")  # of a package that is not ours


@pytest.fixture
def deepspeed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    package: Any = pytest.importorskip("deepspeed")
    lightning: Any = importlib.import_module("lightning.pytorch.strategies.deepspeed")
    cpu = importlib.import_module("lightning.pytorch.accelerators").CPUAccelerator
    monkeypatch.setattr(lightning, "CUDAAccelerator", cpu)
    monkeypatch.setattr(lightning, "_validate_device_index_selection", lambda devices: None)
    initialize = package.initialize

    def on_this_rank(args: Any = None, **options: Any) -> Any:
        args.device_rank = int(os.environ["LOCAL_RANK"])
        return initialize(args=args, **options)

    monkeypatch.setattr(package, "initialize", on_this_rank)


def test_it_learns_what_one_process_learns_resumes_and_exports(
    deepspeed: None, tiny_bert: Path, tiny_corpus: Path, tmp_path: Path
) -> None:
    common = ["methods/triple_loss", "models/half", "data/multilingual_folder"]

    def fit(name: str, trainer: str, updates: int, *options: str) -> dict[str, torch.Tensor]:
        parts = [f"{ROOT}/configs/{part}.yaml" for part in (f"trainer/{trainer}", *common)]
        args = ["fit", *(w for part in (*parts, tiny_corpus) for w in ("-c", str(part)))]
        args += [
            f"--model.teacher.name={tiny_bert}",
            "--model.dropout=0",
            f"--run_dir={tmp_path / name}",
        ]
        args += [
            "--model.schedule=Constant",
            "--model.optimizer.eps=1e-3",
            f"--trainer.max_steps={updates}",
        ]
        if trainer == "debug":
            assert main([*args, "--trainer.accumulate_grad_batches=4", *options]) == 0
        else:
            args += [
                "--trainer.accelerator=cpu",
                "--trainer.devices=2",
                "--trainer.precision=32-true",
            ]
            args += ["--trainer.strategy=DeepSpeedStrategy", "--trainer.strategy.stage=2"]
            args += ["--trainer.strategy.process_group_backend=gloo", *options]
            args += ["--trainer.accumulate_grad_batches=2", "--trainer.gradient_clip_val=null"]
            args += ["--trainer.val_check_interval=2"]

            def work() -> None:
                assert main(args) == 0

            on_two_ranks(work, tmp_path / "log.txt")
        return load_file(tmp_path / name / "student-last/model.safetensors")

    single = fit("single", "debug", 4, "--trainer.gradient_clip_val=null")
    ranks = fit("ranks", "deepspeed", 4)
    for name, value in single.items():
        torch.testing.assert_close(ranks[name], value, rtol=0, atol=1e-5)
    fit("halves", "deepspeed", 2)
    resumed = fit("halves", "deepspeed", 4, "--ckpt_path=last")
    assert all(torch.equal(resumed[name], value) for name, value in ranks.items())
    last = tmp_path / "ranks/checkpoints/last.ckpt"
    assert main(["export", str(last), f"--output={tmp_path / 'out'}"]) == 0
    exported = load_file(tmp_path / "out/model.safetensors")
    assert all(torch.equal(exported[name], value) for name, value in ranks.items())
