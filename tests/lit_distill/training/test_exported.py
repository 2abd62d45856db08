"""Projections that belong to the exported model: trained beside it, and written with it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from batches import Served, collate, samples, window
from lightning.pytorch import seed_everything
from lightning.pytorch.strategies import ModelParallelStrategy
from ranks import on_two_ranks
from safetensors.torch import load_file
from shipped_methods import quiet_trainer
from torch import nn
from torch.distributed.tensor import DTensor
from transformers import AutoModelForMaskedLM

from callbacks import ExportStudent, RunCheckpoint
from lit_distill.__main__ import main
from lit_distill.batch import Batch
from lit_distill.errors import UserError
from lit_distill.files.checkpoint_description import description_of
from lit_distill.losses import AccumulationWindow, Term
from lit_distill.methods import MaskedLM, MutualLearning
from lit_distill.models import Exported, Hears, LayerCopyStudent, TeacherSpec, load_tokenizer
from lit_distill.schedules import Constant

ROOT = Path(__file__).parents[3]
TEXTS = samples(6, 100)
PARTS = [collate(TEXTS[:2]), collate(TEXTS[2:])]
READS = "mean over a text's tokens of the last hidden states (B, D)"


class Sentences(MaskedLM):
    """Masked words, and a made-up loss on sentence embeddings."""

    hears = Hears.STATES

    def on_models_built(self) -> None:
        self.exported["sentence"] = Exported(nn.Linear(self.student.hidden_size, 8), reads=READS)

    def losses(self, batch: Batch, window: AccumulationWindow) -> dict[str, Term]:
        encoded = self.student.encode(batch)
        mask = encoded.mask[:, :, None]
        means = (encoded.hidden * mask).sum(1) / mask.sum(1)
        spread: Any = self.exported["sentence"](means).sin().sum()
        return {**super().losses(batch, window), "spread": Term(spread, "sequences")}


def method(folder: Path, kind: type[MaskedLM] = Sentences, **options: Any) -> MaskedLM:
    seed_everything(0, verbose=False)
    return kind(
        teacher=TeacherSpec(str(folder)),
        optimizer=lambda groups: torch.optim.SGD(groups, lr=0.1, momentum=0.9),
        schedule=Constant(warmup=0.0),
        dropout=0.0,
        **options,
    )


def fit(
    folder: Path, run: Path, steps: int = 2, ranks: int = 1, start: Path | None = None, **o: Any
) -> Any:
    batches = [[part] * 2 for part in PARTS] if ranks == 2 else [window(PARTS) * 2]  # an epoch
    loop = quiet_trainer(
        default_root_dir=run,
        precision="32-true",
        max_steps=steps,
        max_epochs=-1,
        accumulate_grad_batches=2 // ranks,
        enable_checkpointing=True,
        callbacks=[ExportStudent(), RunCheckpoint()],
        **o,
    )
    module = method(folder)
    loop.fit(module, datamodule=Served(batches, [], load_tokenizer(str(folder))), ckpt_path=start)
    return module


def written(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "projections/sentence.safetensors")


def test_the_export_holds_them_and_plain_torch_loads_them(tiny_bert: Path, tmp_path: Path) -> None:
    module = fit(tiny_bert, tmp_path)
    for name in ("student", "student-last"):
        AutoModelForMaskedLM.from_pretrained(tmp_path / name)
        index = json.loads((tmp_path / name / "projections/projections.json").read_text())
        assert index == {
            "sentence": {
                "reads": READS,
                "modules": ["Linear(in_features=16, out_features=8, bias=True)"],
                "weights": {
                    "0.weight": {"shape": [8, 16], "dtype": "float32"},
                    "0.bias": {"shape": [8], "dtype": "float32"},
                },
            }
        }
    found = written(tmp_path / "student")
    start = fit(tiny_bert, tmp_path / "start", 1).exported["sentence"].state_dict()
    assert not any(torch.equal(found[key], value) for key, value in start.items())
    assert found.keys() == {"0.weight", "0.bias"}
    for key, value in module.exported["sentence"].state_dict().items():
        assert torch.equal(found[key], value)
    assert f"`projections/sentence.safetensors`: reads {READS}" in (
        tmp_path / "student/README.md"
    ).read_text("utf-8")
    (code,) = (ROOT / "docs/students.md").read_text("utf-8").split("```python")[1:]
    names: dict[str, Any] = {}
    exec(
        code.split("```")[0].replace("student/projections", f"{tmp_path}/student/projections"),
        names,
    )
    rows = torch.randn(3, 16)
    assert torch.equal(names["projection"](rows), module.exported["sentence"](rows))


def test_a_checkpoint_is_exported_without_the_method(tiny_bert: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_bert, tmp_path / "teacher")
    fit(folder, tmp_path / "run")
    shutil.rmtree(folder)
    last = str(tmp_path / "run/checkpoints/last.ckpt")
    assert main(["export", last, f"--output={tmp_path / 'out'}", "--dtype=bfloat16"]) == 0
    before, after = written(tmp_path / "run/student-last"), written(tmp_path / "out")
    for key, value in before.items():
        assert torch.equal(after[key], value.bfloat16())
    # measuring goes without the teacher from which the module is made
    (scores,) = quiet_trainer(
        limit_val_batches=1,
        precision="32-true",
        enable_checkpointing=True,
        callbacks=[ExportStudent(), RunCheckpoint()],
    ).validate(method(folder), datamodule=Served([[]], [PARTS[0]]), ckpt_path=last, verbose=False)
    assert scores["val/loss"] > 0


def test_in_pieces_they_are_reduced_saved_and_resumed(tiny_bert: Path, tmp_path: Path) -> None:
    fit(tiny_bert, tmp_path / "one", 4)

    def work() -> None:
        for name, steps, start in (("four", 4, None), ("two", 2, None), ("two", 4, "two")):
            strategy = ModelParallelStrategy(
                data_parallel_size=2,
                tensor_parallel_size=1,
                save_distributed_checkpoint=False,
                process_group_backend="gloo",
            )
            path = None if start is None else tmp_path / start / "checkpoints/last.ckpt"
            module = fit(tiny_bert, tmp_path / name, steps, 2, path, strategy=strategy, devices=2)
            assert all(isinstance(p, DTensor) for p in module.exported.parameters())

    on_two_ranks(work, tmp_path / "log.txt")
    one, four, again = (written(tmp_path / n / "student-last") for n in ("one", "four", "two"))
    for key, value in one.items():
        torch.testing.assert_close(four[key], value, rtol=0, atol=1e-5)
        assert torch.equal(again[key], four[key])


class Silent(Sentences):
    def on_models_built(self) -> None:
        self.exported["sentence"] = nn.Linear(16, 8)  # type: ignore[assignment]


class Shared(MutualLearning):
    def on_models_built(self) -> None:
        self.exported["sentence"] = Exported(nn.Linear(16, 8), reads=READS)


def test_what_cannot_be_exported_is_refused(tiny_bert: Path) -> None:
    data = Served([window(PARTS)])
    with pytest.raises(UserError, match=r"exported.sentence is a Linear, which does not say"):
        quiet_trainer().fit(method(tiny_bert, Silent), datamodule=data)
    pair = {"a": LayerCopyStudent(), "b": LayerCopyStudent()}
    peers = Shared(students=dict(pair), teacher=TeacherSpec(str(tiny_bert)))
    with pytest.raises(UserError, match=r"belongs to one student, and a, b are trained"):
        quiet_trainer().fit(peers, datamodule=data)


@pytest.mark.parametrize("part", [{"reads": "x"}, [], None])
def test_a_damaged_description_is_refused(part: Any, tiny_bert: Path, tmp_path: Path) -> None:
    fit(tiny_bert, tmp_path, 1)
    saved = torch.load(tmp_path / "checkpoints/last.ckpt", weights_only=True)
    saved["lit_distill"]["exported"]["sentence"] = part
    with pytest.raises(UserError, match=r"its projection sentence is"):
        description_of(saved, "x.ckpt")
    saved["lit_distill"]["exported"] = {"../up": {"reads": "", "modules": []}}
    with pytest.raises(UserError, match=r"A projection of x.ckpt"):
        description_of(saved, "x.ckpt")
