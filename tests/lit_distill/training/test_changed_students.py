"""Runs of students whose modules were changed, or whose weights are frozen in part."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from batches import Served, collate, samples, window
from lightning.pytorch import seed_everything
from lightning.pytorch.strategies import ModelParallelStrategy
from own_surgeries import Gates
from ranks import on_two_ranks
from safetensors.torch import load_file
from shipped_methods import PRECISIONS, Keep, quiet_trainer, read
from transformers import AutoModelForMaskedLM

from lit_distill.__main__ import main
from lit_distill.errors import UserError
from lit_distill.methods import MaskedLM
from lit_distill.models import Execution, LayerCopyStudent, LoRA, PretrainedStudent, TeacherSpec
from lit_distill.schedules import Constant

ROOT = Path(__file__).parents[3]
Fit = Callable[..., dict[str, torch.Tensor]]
CHANGED = ["--model.student.surgeries+=LoRA", "--model.student.surgeries.rank=2"]


@pytest.fixture
def fit(tiny_bert: Path, tiny_corpus: Path, tmp_path: Path) -> Fit:
    """Trains a whole copy of `tiny_bert` in a run folder; gives the last student's weights."""
    parts = ["trainer/debug", "methods/triple_loss", "data/multilingual_folder"]

    def run(name: str, updates: int, *options: str) -> dict[str, torch.Tensor]:
        args = ["fit", *(word for part in parts for word in ("-c", f"{ROOT}/configs/{part}.yaml"))]
        args += ["-c", str(tiny_corpus), f"--model.teacher.name={tiny_bert}"]
        args += ["--model.student=PretrainedStudent", f"--model.student.name={tiny_bert}"]
        args += [f"--run_dir={tmp_path / name}", f"--trainer.max_steps={updates}"]
        args += ["--model.schedule=Constant", *options]
        assert main(args) == 0
        return load_file(tmp_path / name / "student-last/model.safetensors")

    return run


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")  # by peft
def test_lora_from_fit_to_export(fit: Fit, tiny_bert: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    whole, run = fit("whole", 4, *CHANGED), tmp_path / "whole"
    start = load_file(tiny_bert / "model.safetensors")
    assert whole.keys() == start.keys()
    moved = {key for key in start if not torch.equal(start[key], whole[key])}
    assert moved == {
        key for key in start if key.endswith(("query.weight", "key.weight", "value.weight"))
    }
    saved = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    (state,) = (one["state"] for one in saved["optimizer_states"])
    assert len(state) == 2 * 3 * 4  # A and B beside three projections of four layers, nothing else
    assert {tuple(s["exp_avg"].shape) for s in state.values()} == {(2, 16), (16, 2)}
    card = (run / "student/README.md").read_text()
    assert "LoRA(rank=2, alpha=16" in card
    assert "768 of " in card
    assert "no gradient" not in card

    model, info = AutoModelForMaskedLM.from_pretrained(
        run / "student-last", output_loading_info=True
    )
    assert not any(info.values())
    base = AutoModelForMaskedLM.from_pretrained(tiny_bert)
    adapted = peft.PeftModel.from_pretrained(base, run / "student-last/adapter").eval()
    ids = torch.arange(5, 25).reshape(2, 10)
    with torch.no_grad():
        ours, theirs = model.eval()(ids).logits, adapted(ids).logits
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)

    last = run / "checkpoints/last.ckpt"
    assert main(["export", str(last), f"--output={tmp_path / 'out'}"]) == 0
    for name in ("model.safetensors", "adapter/adapter_model.safetensors"):
        one, other = (load_file(f / name) for f in (tmp_path / "out", run / "student-last"))
        assert same(one, other)

    half = fit("halves", 2, *CHANGED)
    assert not same(half, whole)
    assert same(fit("halves", 4, *CHANGED, "--ckpt_path=last"), whole)


def test_another_surgery_does_not_go_on(
    fit: Fit, capsys: pytest.CaptureFixture[str], tiny_bert: Path
) -> None:
    pytest.importorskip("peft")
    fit("run", 1, *CHANGED)
    for other in (CHANGED[:1], []):
        with pytest.raises(AssertionError):
            fit("run", 2, *other, "--ckpt_path=last")
        assert "is not the configured one (surgeries:" in capsys.readouterr().err


def test_a_surgery_of_a_users_own(
    fit: Fit, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a module that the command line permits, without which a checkpoint gives nothing."""
    own = ["--allow-module=own_surgeries", "--model.student.surgeries+=own_surgeries.Gates"]
    weights, run = fit("own", 3, *own, "--model.student.freeze=[embeddings]"), tmp_path / "own"
    start = load_file(tiny_bert / "model.safetensors")
    assert weights.keys() == start.keys()
    assert not torch.equal(
        weights["bert.encoder.layer.0.intermediate.dense.weight"],
        start["bert.encoder.layer.0.intermediate.dense.weight"],
    )
    for key in start:
        assert torch.equal(start[key], weights[key]) or "embeddings" not in key, key
    card = (run / "student/README.md").read_text()
    assert "frozen: embeddings: " in card
    arguments = ["validate", "-c", str(run / "config.yaml"), "--ckpt_path=last"]
    assert main([*arguments, "--allow-module=own_surgeries"]) == 0


def steps(
    folder: Path, path: Path, student: Any, ranks: int = 1, execution: Any = None, **options: Any
) -> None:
    """Writes the change of all that trains in two updates on two uneven micro-batches."""
    texts = samples(6, 100)
    parts = [collate(texts[:2]), collate(texts[2:])]
    seed_everything(0, verbose=False)
    module = MaskedLM(
        student=student,
        teacher=TeacherSpec(str(folder)),
        optimizer=lambda groups: torch.optim.SGD(groups, lr=1.0),
        schedule=Constant(warmup=0.0),
        dropout=0.0,
        execution=execution or Execution(),
    )
    batches = [[part] * 2 for part in parts] if ranks == 2 else [window(parts) * 2]
    loop = quiet_trainer(
        max_steps=2, accumulate_grad_batches=2 // ranks, callbacks=[Keep(path)], **options
    )
    loop.fit(module, datamodule=Served(batches))


@pytest.mark.parametrize("how", ["lora", "gates", "frozen"])
def test_two_ranks_are_one(how: str, tiny_bert: Path, tmp_path: Path) -> None:
    if how == "lora":
        pytest.importorskip("peft")
    student = {
        "lora": PretrainedStudent(str(tiny_bert), surgeries=[LoRA(rank=2)]),
        "gates": LayerCopyStudent(surgeries=[Gates()]),
        "frozen": LayerCopyStudent(freeze=["embeddings", "encoder.layer.0"]),
    }[how]
    steps(tiny_bert, tmp_path / "one.pt", student)
    steps(tiny_bert, tmp_path / "two.pt", student, 2, strategy="ddp_fork", devices=2)
    one, two = read(tmp_path / "one.pt"), read(tmp_path / "two.pt")
    assert one.norm() > 1e-4
    assert (one - two).norm() < PRECISIONS["64-true"] * one.norm()

    def work() -> None:
        strategy = ModelParallelStrategy(
            data_parallel_size=2,
            tensor_parallel_size=1,
            save_distributed_checkpoint=False,
            process_group_backend="gloo",
        )
        options = {"strategy": strategy, "devices": 2, "precision": "32-true"}
        steps(tiny_bert, tmp_path / "pieces.pt", student, 2, **options)

    on_two_ranks(work, tmp_path / "log.txt")
    pieces = read(tmp_path / "pieces.pt")
    assert (one - pieces).norm() < PRECISIONS["32-true"] * one.norm()


def test_a_pattern_that_names_nothing_stops_the_run(tiny_bert: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"freeze: .* 'embedings': did you mean 'embeddings'"):
        steps(tiny_bert, tmp_path / "x", LayerCopyStudent(freeze=["embedings"]))
