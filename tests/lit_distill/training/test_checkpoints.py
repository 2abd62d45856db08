"""What comes back of a student whose config ties what its file holds apart."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from batches import Served, collate, samples
from lightning.pytorch import Trainer
from safetensors.torch import load_file, save_file
from transformers import AutoModelForMaskedLM

from lit_distill.errors import UserError
from lit_distill.methods import TripleLoss
from lit_distill.models import LayerCopyStudent, TeacherSpec, load_tokenizer
from lit_distill.tools.export import export
from lit_distill.training.checkpoints import KEY

BATCH = collate(samples(6, 100))
HEAD = "cls.predictions.decoder.weight"


def trainer(folder: Path, steps: int) -> Trainer:
    return Trainer(
        accelerator="cpu", max_steps=steps, logger=False, default_root_dir=folder,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        num_sanity_val_steps=0,
    )  # fmt: skip


@pytest.fixture
def merged(tiny_bert: Path, tmp_path: Path) -> Path:
    """A BERT as after merging an adapter into its head: the config still says tied."""
    folder = tmp_path / "merged"
    shutil.copytree(tiny_bert, folder)
    weights = load_file(folder / "model.safetensors")
    weights[HEAD] = weights["bert.embeddings.word_embeddings.weight"] + 0.5
    weights[HEAD][::2] *= -1
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


def still(folder: Path) -> TripleLoss:
    """Carves all layers and learns nothing."""
    method = TripleLoss(
        teacher=TeacherSpec(str(folder)), student=LayerCopyStudent("first", num_layers=4)
    )
    method.optimizer = lambda groups: torch.optim.SGD(groups, lr=0.0)
    return method


def data(folder: Path) -> Served:
    return Served([[BATCH] * 2], [BATCH], load_tokenizer(str(folder)))


@pytest.fixture
def checkpoint(merged: Path, tmp_path: Path) -> Path:
    loop = trainer(tmp_path, 2)
    loop.fit(still(merged), datamodule=data(merged))
    loop.save_checkpoint(tmp_path / "a.ckpt")
    return tmp_path / "a.ckpt"


def test_what_was_measured_is_what_is_exported(
    merged: Path, checkpoint: Path, tmp_path: Path
) -> None:
    """At learning rate 0, all of them are the teacher."""
    method = still(merged)
    trainer(tmp_path, 1).validate(
        method, datamodule=data(merged), ckpt_path=checkpoint, verbose=False
    )
    scores = method.measurements["student"].languages["xx"]
    assert (scores["agreement"], scores["kl"]) == (1, pytest.approx(0, abs=1e-6))
    folder = export(str(checkpoint), str(tmp_path / "student"))["student"]
    inputs = {name: BATCH[name] for name in ("input_ids", "attention_mask")}  # type: ignore[literal-required]
    logits = [
        AutoModelForMaskedLM.from_pretrained(name).eval()(**inputs).logits
        for name in (folder, merged)
    ]
    torch.testing.assert_close(*logits, rtol=0, atol=1e-5)


def test_a_checkpoint_restores_two_tables_without_its_teacher(
    merged: Path, checkpoint: Path, tmp_path: Path
) -> None:
    method = still(tmp_path / "gone")
    trainer(tmp_path, 1).validate(
        method, datamodule=data(merged), ckpt_path=checkpoint, verbose=False
    )
    weights = load_file(merged / "model.safetensors")
    assert torch.equal(method.student.model.get_parameter(HEAD), weights[HEAD])
    assert not torch.equal(method.student.model.get_input_embeddings().weight, weights[HEAD])


@pytest.mark.parametrize("says", [True, False], ids=["this release", "the first release"])
def test_a_merged_head_cannot_be_resumed_as_two(
    merged: Path, checkpoint: Path, tmp_path: Path, says: bool
) -> None:
    saved: dict[str, Any] = torch.load(checkpoint, weights_only=True)
    weights, state = saved["state_dict"], saved[KEY]["students"]["student"]
    assert state["separate"] == [HEAD]
    embeddings = "students.student.model.bert.embeddings.word_embeddings.weight"
    weights[embeddings] = weights[f"students.student.model.{HEAD}"]
    if says:
        state["separate"] = []
    else:
        del state["separate"]
    torch.save(saved, checkpoint)
    with pytest.raises(UserError, match=rf"student has no table apart .* one {HEAD}.*start a new"):
        trainer(tmp_path, 4).fit(still(merged), datamodule=data(merged), ckpt_path=checkpoint)


def test_a_checkpoint_of_the_first_release_goes_on(
    merged: Path, checkpoint: Path, tmp_path: Path
) -> None:
    saved: dict[str, Any] = torch.load(checkpoint, weights_only=True)
    del saved[KEY]["students"]["student"]["separate"]
    torch.save(saved, checkpoint)
    loop = trainer(tmp_path, 4)
    loop.fit(still(merged), datamodule=data(merged), ckpt_path=checkpoint)
    assert loop.global_step == 4
