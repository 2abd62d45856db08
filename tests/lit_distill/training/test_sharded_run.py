"""A run whose weights lie in pieces on two ranks (FSDP2): saved, exported, resumed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from ranks import on_two_ranks
from safetensors.torch import load_file

from lit_distill.__main__ import main

ROOT = Path(__file__).parents[3]
SHARDED = [
    "--trainer.devices=2",
    "--trainer.strategy=ModelParallelStrategy",
    "--trainer.strategy.data_parallel_size=2",
    "--trainer.strategy.tensor_parallel_size=1",
    "--trainer.strategy.save_distributed_checkpoint=false",
    "--trainer.strategy.process_group_backend=gloo",
]
PIECES = [option.replace("checkpoint=false", "checkpoint=true") for option in SHARDED]
Fit = Callable[..., dict[str, torch.Tensor]]


@pytest.fixture
def fit(tiny_bert: Path, tiny_corpus: Path, tmp_path: Path) -> Fit:
    """Trains in a run folder, on one or two ranks; gives the last student's weights."""
    parts = ["trainer/debug", "methods/triple_loss", "models/half", "data/multilingual_folder"]

    def run(
        name: str, updates: int, *options: str, ranks: int = 1, pieces: bool = False
    ) -> dict[str, torch.Tensor]:
        args = ["fit", *(word for part in parts for word in ("-c", f"{ROOT}/configs/{part}.yaml"))]
        args += ["-c", str(tiny_corpus), f"--model.teacher.name={tiny_bert}"]
        args += [f"--run_dir={tmp_path / name}", f"--trainer.max_steps={updates}", *options]
        args += ["--model.dropout=0.0", "--model.schedule=Constant"]
        # AdamW's own 1e-8 would turn rounding in gradients near zero into whole steps
        args += ["--model.optimizer.eps=1e-3"]
        if ranks == 1:
            assert main([*args, "--trainer.accumulate_grad_batches=2"]) == 0
        else:

            def work() -> None:
                assert main([*args, *(PIECES if pieces else SHARDED)]) == 0

            on_two_ranks(work, tmp_path / "log.txt")
        return load_file(tmp_path / name / "student-last/model.safetensors")

    return run


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], within: float) -> bool:
    assert one.keys() == other.keys()
    return all(torch.allclose(one[key], other[key], rtol=0, atol=within) for key in one)


@pytest.mark.rotated(2)  # five launches
@pytest.mark.filterwarnings("ignore:The checkpoint holds random states of")
@pytest.mark.filterwarnings("ignore:Detected an existing checkpoint")
def test_it_learns_what_one_process_learns_and_goes_on(
    fit: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    single = fit("single", 4)
    whole = fit("whole", 4, ranks=2)
    assert same(single, whole, 1e-5)
    half = fit("halves", 2, ranks=2)
    assert not same(half, whole, 1e-4)
    last = tmp_path / "halves/checkpoints/last.ckpt"  # whole, whatever the number of ranks
    assert main(["export", str(last), f"--output={tmp_path / 'out'}"]) == 0
    assert same(load_file(tmp_path / "out/model.safetensors"), half, 0)
    with pytest.raises(AssertionError):
        fit("halves", 4, "--ckpt_path=last")
    assert "world_size was 2 and is now 1" in capsys.readouterr().err
    assert same(fit("halves", 4, "--ckpt_path=last", ranks=2), whole, 0)
    pieces = fit("pieces", 2, ranks=2, pieces=True)
    last = tmp_path / "pieces/checkpoints/last.ckpt"
    assert (last / ".metadata").is_file()
    assert main(["export", str(last), f"--output={tmp_path / 'of pieces'}"]) == 0
    assert same(load_file(tmp_path / "of pieces/model.safetensors"), pieces, 0)
    assert same(pieces, half, 0)
    assert same(fit("pieces", 4, "--ckpt_path=last", ranks=2, pieces=True), whole, 0)
