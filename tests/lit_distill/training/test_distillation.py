"""The base of all methods: modes, optimizer groups, logged means, checkpoints, refusals."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from batches import Served, collate, samples, window
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.demos.boring_classes import BoringModel
from lightning.pytorch.loggers import CSVLogger
from transformers import BertForMaskedLM

from lit_distill.errors import UserError
from lit_distill.methods import MaskedLM, TripleLoss
from lit_distill.models import LayerCopyStudent, TeacherSpec, load_tokenizer
from lit_distill.schedules import Constant
from lit_distill.training.distillation import Distillation

BATCH = collate(samples(6, 100))


def trainer(folder: Path, **options: Any) -> Trainer:
    defaults = {
        "accelerator": "cpu",
        "max_steps": 2,
        "max_epochs": 1,
        "logger": False,
        "default_root_dir": folder,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 1,
    }
    return Trainer(**{**defaults, **options})


def data(tiny_bert: Path, count: int = 2) -> Served:
    return Served([[BATCH] * count], [BATCH], load_tokenizer(str(tiny_bert)))


def module(tiny_bert: Path, **options: Any) -> TripleLoss:
    return TripleLoss(teacher=TeacherSpec(str(tiny_bert)), **options)


@pytest.fixture
def checkpoint(tiny_bert: Path, tmp_path: Path) -> Path:
    loop = trainer(tmp_path)
    loop.fit(module(tiny_bert), datamodule=data(tiny_bert))
    loop.save_checkpoint(tmp_path / "a.ckpt")
    return tmp_path / "a.ckpt"


class Modes(Callback):
    """Notes who is in training mode while a batch is trained on."""

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, Distillation)
        self.student = {part.training for part in pl_module.student.modules()}
        self.teacher = {part.training for part in pl_module.teacher.modules()}


def test_the_student_trains_and_the_teacher_never_does(tiny_bert: Path, tmp_path: Path) -> None:
    modes, method = Modes(), module(tiny_bert)
    assert method.train() is method
    loop = trainer(tmp_path, callbacks=[modes])
    loop.fit(method, datamodule=data(tiny_bert))
    assert modes.student == {True}
    assert modes.teacher == {False}
    saved = BertForMaskedLM.from_pretrained(tiny_bert).state_dict()
    for name, value in method.teacher.model.state_dict().items():
        assert torch.equal(value, saved[name]), name
    assert not any(p.requires_grad for p in method.teacher.parameters())
    optimised = {id(p) for g in loop.optimizers[0].param_groups for p in g["params"]}
    assert optimised == {id(p) for p in method.student.parameters()}


def test_biases_and_norms_do_not_decay(tiny_bert: Path, tmp_path: Path) -> None:
    loop = trainer(tmp_path)
    loop.fit(module(tiny_bert), datamodule=data(tiny_bert))
    decay, none = loop.optimizers[0].param_groups
    assert decay["weight_decay"] > 0 == none["weight_decay"]
    assert {p.ndim for p in decay["params"]} == {2}
    assert {p.ndim for p in none["params"]} == {1}


def test_logged_terms_are_unweighted_means_over_the_window(tiny_bert: Path, tmp_path: Path) -> None:
    texts = samples(6, 100)
    parts = [collate(texts[:1]), collate(texts[1:])]
    logged = []
    for batches, accumulate in (([collate(texts)], 1), (window(parts), 2)):
        logger = CSVLogger(tmp_path / str(accumulate), name="", version="")
        loop = trainer(tmp_path, max_steps=1, accumulate_grad_batches=accumulate, logger=logger)
        method = module(tiny_bert, alpha_kd=3.0, alpha_mlm=0.5, dropout=0.0)
        loop.fit(method, datamodule=Served([batches]))
        with (tmp_path / str(accumulate) / "metrics.csv").open() as file:
            (row,) = csv.DictReader(file)
        assert row.pop("step") == "0"
        logged.append({name: float(value) for name, value in row.items()})
        assert {f"train/{name}": value for name, value in method.logged.items()} == logged[-1]
    assert logged[0].keys() == {"train/kd", "train/mlm", "train/cos", "train/loss"}
    for name, value in logged[0].items():
        assert logged[1][name] == pytest.approx(value, rel=1e-5)
    weighted = 3.0 * logged[0]["train/kd"] + 0.5 * logged[0]["train/mlm"] + logged[0]["train/cos"]
    assert logged[0]["train/loss"] == pytest.approx(weighted, rel=1e-5)


def test_a_checkpoint_holds_no_teacher_and_resumes_strictly(
    tiny_bert: Path, checkpoint: Path, tmp_path: Path
) -> None:
    saved = torch.load(checkpoint, weights_only=True)
    assert not [name for name in saved["state_dict"] if name.startswith("teachers")]
    assert any(name.startswith("students.student.model.") for name in saved["state_dict"])
    method = module(tiny_bert)
    trainer(tmp_path, max_steps=3, max_epochs=2).fit(
        method, datamodule=data(tiny_bert), ckpt_path=checkpoint
    )
    assert method.teachers
    del saved["state_dict"][next(iter(saved["state_dict"]))]
    torch.save(saved, tmp_path / "short.ckpt")
    with pytest.raises(RuntimeError, match="Missing key"):
        trainer(tmp_path, max_steps=3).fit(
            module(tiny_bert), datamodule=data(tiny_bert), ckpt_path=tmp_path / "short.ckpt"
        )


def test_validation_needs_no_teacher(tiny_bert: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_bert, tmp_path / "teacher")
    given = TripleLoss(teacher=TeacherSpec(str(tmp_path / "teacher")))
    loop = trainer(tmp_path)
    loop.fit(given, datamodule=data(tiny_bert))
    loop.save_checkpoint(tmp_path / "a.ckpt")
    (with_teacher,) = loop.validate(given, datamodule=data(tiny_bert), verbose=False)
    shutil.rmtree(tmp_path / "teacher")
    alone = TripleLoss(teacher=TeacherSpec(str(tmp_path / "teacher")))
    (scores,) = trainer(tmp_path).validate(
        alone, datamodule=data(tiny_bert), ckpt_path=tmp_path / "a.ckpt", verbose=False
    )
    assert scores["val/loss"] == pytest.approx(with_teacher["val/loss"], rel=1e-6)
    assert alone.measurements["student"].languages["xx"]["agreement"] is None
    assert given.measurements["student"].languages["xx"]["agreement"] is not None


def test_another_teacher_is_refused_on_resume(
    tiny_bert: Path, checkpoint: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(tiny_bert, other)
    model = BertForMaskedLM.from_pretrained(other)
    with torch.no_grad():
        model.cls.predictions.bias.add_(1.0)
    model.save_pretrained(other)
    with pytest.raises(UserError, match="other weights"):
        trainer(tmp_path, max_steps=3).fit(
            module(other), datamodule=data(tiny_bert), ckpt_path=checkpoint
        )


@pytest.mark.parametrize("precision", ["64-true", "bf16-true"])
def test_the_same_teacher_is_known_again_in_another_precision(
    tiny_bert: Path, tmp_path: Path, precision: Any
) -> None:
    """It is converted after a resumed run restores, and before any run saves."""
    loop = trainer(tmp_path, precision=precision)
    loop.fit(module(tiny_bert), datamodule=data(tiny_bert))
    loop.save_checkpoint(tmp_path / "a.ckpt")
    resumed = trainer(tmp_path, precision=precision, max_epochs=2)
    resumed.fit(module(tiny_bert), datamodule=data(tiny_bert), ckpt_path=tmp_path / "a.ckpt")
    assert resumed.global_step == 2  # and no refusal of "another" teacher


@pytest.mark.parametrize("precision", ["64-true", "bf16-true", "32-true"])
def test_a_resumed_run_has_the_very_weights_that_were_saved(
    precision: str, tiny_bert: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"precision": precision, "max_epochs": -1}
    weights = []
    for pieces in ((4,), (2, 4)):
        torch.manual_seed(0)
        path = None
        for steps in pieces:
            method = module(tiny_bert, dropout=0.0, schedule=Constant(warmup=0.0))
            run = trainer(tmp_path, max_steps=steps, **options)
            run.fit(method, datamodule=data(tiny_bert), ckpt_path=path)
            path = tmp_path / f"{steps}.ckpt"
            run.save_checkpoint(path)
        weights.append(torch.cat([p.detach().flatten() for p in method.student.parameters()]))
    assert torch.equal(*weights)
    saved = torch.load(tmp_path / "4.ckpt", weights_only=True)["state_dict"]
    restored = module(tiny_bert)
    trainer(tmp_path, precision=precision).validate(
        restored, datamodule=data(tiny_bert), ckpt_path=tmp_path / "4.ckpt", verbose=False
    )
    for name, value in restored.students.state_dict(prefix="students.").items():
        assert torch.equal(value, saved[name]), name


def test_another_student_is_refused_on_resume(
    tiny_bert: Path, checkpoint: Path, tmp_path: Path
) -> None:
    three = module(tiny_bert, student=LayerCopyStudent(num_layers=3))
    with pytest.raises(UserError, match="num_hidden_layers: 2 saved, 3 now"):
        trainer(tmp_path, max_steps=3).fit(three, datamodule=data(tiny_bert), ckpt_path=checkpoint)


def test_a_foreign_checkpoint_is_refused(tiny_bert: Path, checkpoint: Path, tmp_path: Path) -> None:
    saved = torch.load(checkpoint, weights_only=True)
    del saved["lit_distill"]
    torch.save(saved, tmp_path / "foreign.ckpt")
    with pytest.raises(UserError, match="not written by lit_distill"):
        trainer(tmp_path).validate(
            module(tiny_bert), datamodule=data(tiny_bert), ckpt_path=tmp_path / "foreign.ckpt"
        )


def test_wrong_set_ups_are_refused_before_the_first_step(tiny_bert: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"learns from a teacher and none is given"):
        TripleLoss()
    with pytest.raises(UserError, match="window holds 1"):
        trainer(tmp_path, accumulate_grad_batches=2).fit(
            module(tiny_bert), datamodule=data(tiny_bert)
        )
    with pytest.raises(UserError, match="no end"):
        trainer(tmp_path, max_steps=-1, max_epochs=-1).fit(
            module(tiny_bert), datamodule=data(tiny_bert)
        )
    with pytest.raises(UserError, match="takes its layers from a teacher"):
        trainer(tmp_path).fit(MaskedLM(), datamodule=data(tiny_bert))


def test_callbacks_know_whom_they_read() -> None:
    with pytest.raises(UserError, match="callbacks of distillation, and trains a BoringModel"):
        Distillation.of(BoringModel())
    method = MaskedLM()
    assert Distillation.of(method) is method


def test_a_student_that_is_no_language_model_is_not_passed_over() -> None:
    method = MaskedLM()
    method.cast.students["student"] = torch.nn.Linear(2, 2)
    with pytest.raises(AssertionError, match="are LanguageModels"):
        _ = method.student
