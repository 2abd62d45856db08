"""Students come out as folders that load without this project."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from huggingface_hub import ModelCard, ModelCardData
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from safetensors.torch import load_file
from transformers import AutoModelForMaskedLM, AutoTokenizer, BertForMaskedLM

from callbacks import (
    ExportStudent,
    PerLanguage,
    RngState,
    RunCheckpoint,
    TeacherAgreement,
    Throughput,
    facts_of,
    write_student,
)
from callbacks.saving.model_card import Training, model_card
from lit_distill.errors import UserError
from lit_distill.measures import Measurement
from lit_distill.tools.export import export
from lit_distill.training import checkpoints

Fit = Callable[..., tuple[Trainer, Any]]


class Scripted(Callback):
    """Logs given values of `val/scripted`, one at each validation; notes a weight then."""

    def __init__(self, values: list[float]) -> None:
        self.values, self.weights = iter(values), []

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        pl_module.log("val/scripted", next(self.values))
        self.weights.append(next(pl_module.parameters()).detach().clone())


def first_weight(folder: Path) -> torch.Tensor:
    model = AutoModelForMaskedLM.from_pretrained(folder)
    weight = next(model.parameters())
    assert isinstance(weight, torch.Tensor)
    return weight


def report(folder: Path) -> dict[str, Any]:
    loaded = json.loads((folder / "report.json").read_text())
    assert isinstance(loaded, dict)
    return loaded


def test_the_last_student_is_a_plain_folder(fit: Fit, tmp_path: Path, tiny_bert: Path) -> None:
    class HasConfig(Callback):
        def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
            pl_module.config_text = "model: TripleLoss\n"

    _, module = fit(ExportStudent(), HasConfig(), taught=True)
    folder = tmp_path / "student-last"
    model, info = AutoModelForMaskedLM.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert model.dtype == torch.float32
    for name, value in module.student.model.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    theirs, ours = AutoTokenizer.from_pretrained(tiny_bert), AutoTokenizer.from_pretrained(folder)
    assert ours("the river sleeps").input_ids == theirs("the river sleeps").input_ids
    assert (folder / "config.yaml").read_text() == "model: TripleLoss\n"
    card = (folder / "README.md").read_text()
    fingerprint = module.cast.identities["teacher"]["fingerprint"]
    for fact in ("TripleLoss, 16 updates", str(tiny_bert), fingerprint, "xx, yy", "config.yaml"):
        assert fact in card
    loss = module.measurements["student"].languages["yy"]["loss"]
    assert f"| yy | {loss:.4f} |" in card
    assert "language" not in yaml.safe_load(card.split("---")[1])  # a hub refuses such codes
    code = card.split("```python")[1].split("```")[0].replace('"."', repr(str(folder)))
    exec(code, {})  # what the card says works


def test_the_best_student_is_kept(fit: Fit, tmp_path: Path) -> None:
    script = Scripted([3.0, 1.0, math.nan, 2.0])
    _, module = fit(
        script, ExportStudent(monitor="val/scripted"), val_check_interval=2, max_epochs=1
    )
    assert torch.equal(first_weight(tmp_path / "student"), script.weights[1])
    assert torch.equal(first_weight(tmp_path / "student-last"), script.weights[3])
    written = report(tmp_path)
    assert (written["best"]["updates"], written["last"]["updates"]) == (4, 8)
    last = written["last"]["students"]["student"]
    scores = module.measurements["student"].languages
    assert last["languages"]["xx"]["loss"] == scores["xx"]["loss"]
    assert last["mean"]["loss"] == pytest.approx((scores["xx"]["loss"] + scores["yy"]["loss"]) / 2)
    assert last["languages"]["xx"]["agreement"] is None


def test_the_best_is_remembered_over_a_resume(fit: Fit, tmp_path: Path) -> None:
    fit(Scripted([1.0]), ExportStudent(monitor="val/scripted"), RunCheckpoint(), max_epochs=1)
    before = first_weight(tmp_path / "student")
    last = tmp_path / "checkpoints" / "last.ckpt"
    exporter = ExportStudent(monitor="val/scripted")
    fit(Scripted([2.0]), exporter, RunCheckpoint(), max_epochs=2, ckpt_path=last)
    assert torch.equal(first_weight(tmp_path / "student"), before)
    assert report(tmp_path)["best"]["updates"] == 8


def test_the_card_of_a_later_export_tells_the_same(fit: Fit, tmp_path: Path) -> None:
    """The measurement travels in the checkpoint."""
    fit(ExportStudent(), RunCheckpoint(), taught=True)
    export(str(tmp_path / "checkpoints/last.ckpt"), str(tmp_path / "later"))
    card = (tmp_path / "later" / "README.md").read_text()
    assert card == (tmp_path / "student-last" / "README.md").read_text()
    assert "| yy |" in card


def test_without_validation_the_best_is_the_last(fit: Fit, tmp_path: Path) -> None:
    fit(ExportStudent(), limit_val_batches=0)
    assert torch.equal(first_weight(tmp_path / "student"), first_weight(tmp_path / "student-last"))
    assert "## Scores" not in (tmp_path / "student" / "README.md").read_text()


def test_nothing_is_exported_while_trying_out(fit: Fit, tmp_path: Path) -> None:
    fit(ExportStudent(), fast_dev_run=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_and_config_agree_on_the_dtype(fit: Fit, tmp_path: Path, dtype: Any) -> None:
    fit(ExportStudent(dtype=dtype), max_epochs=1, precision="bf16-true")
    weights = load_file(tmp_path / "student" / "model.safetensors")
    assert {value.dtype for value in weights.values()} == {getattr(torch, dtype)}
    loaded = AutoModelForMaskedLM.from_pretrained(tmp_path / "student")
    assert loaded.dtype == getattr(torch, dtype)


def test_a_checkpoint_exports_without_teacher_or_module(
    fit: Fit, tmp_path: Path, tiny_bert: Path
) -> None:
    _, module = fit(RunCheckpoint(), taught=True, max_epochs=1)
    saved = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    prefix = "students.student."
    weights = {
        name.removeprefix(prefix): value
        for name, value in saved["state_dict"].items()
        if name.startswith(prefix)
    }
    moved = tiny_bert.rename(tiny_bert.with_name("gone"))
    try:
        folder = tmp_path / "exported"
        write_student(folder, "student", saved[checkpoints.KEY], weights, Training(updates=8))
    finally:
        moved.rename(tiny_bert)
    assert torch.equal(first_weight(folder), next(module.student.parameters()))


def test_an_export_draws_no_random_numbers(fit: Fit, tmp_path: Path) -> None:
    _, module = fit(max_epochs=1)
    before = torch.get_rng_state()
    weights = module.student.state_dict()
    write_student(tmp_path / "a", "student", module.describe(), weights, Training(updates=8))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("how", ["fails", "killed"])
def test_an_export_cut_short_leaves_the_old_folder(
    fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    _, module = fit(max_epochs=1)
    description, weights = module.describe(), module.student.state_dict()
    folder = tmp_path / "student"

    def write(updates: int) -> None:
        write_student(folder, "student", description, weights, Training(updates=updates))

    write(1)
    real = BertForMaskedLM.save_pretrained

    def half(self: BertForMaskedLM, place: Path, **options: Any) -> None:
        real(self, place, **options)
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(BertForMaskedLM, "save_pretrained", half)
    if how == "fails":
        with pytest.raises(UserError, match=r"No space .* before is untouched"):
            write(2)
        assert not (tmp_path / "student.tmp").exists()
    else:
        child = os.fork()
        if child == 0:
            try:
                write(2)
            finally:
                os._exit(0)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert "1 updates" in (folder / "README.md").read_text()
    assert first_weight(folder).shape
    monkeypatch.undo()
    write(3)
    assert "3 updates" in (folder / "README.md").read_text()
    assert not (tmp_path / "student.tmp").exists()


def test_a_run_killed_while_replacing_a_student_finds_it_again(fit: Fit, tmp_path: Path) -> None:
    fit(ExportStudent(), max_epochs=1)
    (tmp_path / "student").rename(tmp_path / ".student.lit_distill-old")
    shutil.rmtree(tmp_path / "student-last")
    fit(ExportStudent(monitor="never"), max_epochs=1, limit_train_batches=0)
    assert first_weight(tmp_path / "student").shape


def test_several_students_have_a_folder_each(fit: Fit, tmp_path: Path) -> None:
    class Twin(Callback):
        def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
            pl_module.setup(stage)
            pl_module.configure_model()
            pl_module.students["twin"] = pl_module.cast.student_specs["student"].build(None, 100)
            pl_module.students["twin"].requires_grad_(False)

    fit(ExportStudent(), Twin(), max_epochs=1)
    for kind in ("student", "student-last"):
        for name in ("student", "twin"):
            assert first_weight(tmp_path / kind / name).shape
    students = report(tmp_path)["best"]["students"]
    assert set(students) == {"student", "twin"}
    cards = [
        (tmp_path / "student" / name / "README.md").read_text() for name in ("student", "twin")
    ]
    assert ["received no gradient" in card for card in cards] == [False, True]


def test_a_diverged_run_still_has_a_report(fit: Fit, tmp_path: Path) -> None:
    class Diverges(Callback):
        def on_validation_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
            with torch.no_grad():
                next(pl_module.parameters()).fill_(math.nan)

    fit(ExportStudent(), Diverges(), max_epochs=1)
    assert report(tmp_path)["last"]["students"]["student"]["mean"]["loss"] is None
    assert "best" not in report(tmp_path)


def test_the_card_of_a_causal_model_without_teacher() -> None:
    description = {
        "method": "CausalLM",
        "config": "",
        "teachers": {},
        "students": {"student": {"config": {"architectures": ["LlamaForCausalLM"]}}},
    }
    training = Training(5, ["en", "hi-en"], Measurement(mean={"loss": 1.0}), 4)
    card = model_card("student", description, training)
    assert "AutoModelForCausalLM" in card
    assert "teacher: none" in card
    assert yaml.safe_load(card.split("---")[1])["language"] == ["en"]
    assert "config.yaml" not in card


FACTS = {
    "students": {"student": {"architecture": "B", "layers": 2, "parameters": 1_500_000}},
    "teachers": {"teacher": {"name": "owner/teacher", "layers": 4, "parameters": 3_000_000}},
    "data": {
        "origins": [
            {"texts": "owner/texts 1", "dataset": "owner/texts", "licence": "cc-by-4.0"},
            {"texts": "a|b.txt", "dataset": None, "licence": None},
        ]
    },
    "environment": {"python": "3.11.7", "torch": "2.13.0"},
}


def test_a_card_passes_the_hub_library_and_tells_data_cost_and_limits() -> None:
    teacher = {"name": "owner/teacher", "revision": None, "fingerprint": "abc"}
    description = {
        "method": "TripleLoss",
        "config": "",
        "teachers": {"teacher": teacher, "second": {**teacher, "name": "/here/teacher"}},
        "students": {"student": {"config": {"architectures": ["BertForMaskedLM"]}}},
    }
    languages = {"no": {"loss": 2.0}, "hi": {"loss": 3.5}, "en": {"loss": 1.0}, "de": {"loss": 1.5}}
    measured = Measurement.by_language(dict(languages))
    training = Training(5, list(languages), measured, 4, facts=FACTS)
    card = model_card("student", description, training)
    read = ModelCard(card)  # raises where the header is none, or a result in it is not whole
    assert read.data.base_model == ["owner/teacher"]
    assert read.data.datasets == ["owner/texts"]
    assert read.data.language == ["no", "hi", "en", "de"]
    assert read.data.license is None  # none is invented
    (result,) = read.data.eval_results
    assert (result.metric_type, result.metric_value) == ("loss", 2.0)
    assert result.task_type == "fill-mask"
    assert ModelCardData(**{**yaml.safe_load(card.split("---")[1]), "model_name": "student"})
    assert "it is worst in hi (3.5000), no (2.0000), de (1.5000); the mean is 2.0000" in card
    assert "| student | 2 | 1.50 M |" in card
    assert "| owner/texts 1 | those above | cc\\-by\\-4\\.0 |" in card
    assert "| a\\|b\\.txt | those above | not noted |" in card
    assert "python 3.11.7, torch 2.13.0." in card


def test_a_header_has_what_a_hub_takes_as_a_language_and_no_more() -> None:
    names = ["no", "hi-Latn", "hi-en", "yue", "zh-Hant", "xx", "xx-Latn", "English", "hi", "e"]
    config = {"config": {"architectures": ["BertForMaskedLM"]}}
    description = {"method": "M", "config": "", "teachers": {}, "students": {"student": config}}
    card = model_card("student", description, Training(5, names))
    header = yaml.safe_load(card.split("---")[1])
    assert header["language"] == ["no", "hi", "yue", "zh"]
    assert header["language_bcp47"] == ["hi-Latn", "zh-Hant"]


def test_a_student_that_was_saved_before_names_its_base() -> None:
    start = {"kind": "PretrainedStudent", "name": "owner/base", "revision": "abc"}
    teacher = {"name": "owner/teacher", "revision": None, "fingerprint": "1"}
    config = {"config": {"architectures": ["BertForMaskedLM"]}}
    students = {"student": config}
    description = {"method": "M", "config": "", "teachers": {"t": teacher}, "students": students}
    facts = {"students": {"student": {"start": start}}}
    card = model_card("student", description, Training(5, facts=facts))
    assert "- base: owner/base at abc (`PretrainedStudent`)" in card
    read = ModelCard(card).data
    assert read.base_model == ["owner/base", "owner/teacher"]
    assert read.to_dict()["base_model_relation"] == "finetune"  # and not a merge of both


def test_a_run_notes_what_it_is_made_of(fit: Fit, tmp_path: Path, tiny_bert: Path) -> None:
    _, module = fit(ExportStudent(), taught=True, max_epochs=1)
    facts = facts_of(tmp_path)
    assert (
        facts["teachers"]["teacher"]["fingerprint"]
        == (module.cast.identities["teacher"]["fingerprint"])
    )
    assert facts["teachers"]["teacher"]["layers"] == 4
    assert facts["students"]["student"]["start"] == {"kind": "LayerCopyStudent"}
    assert facts["students"]["student"]["parameters"] == sum(
        own.numel() for own in module.student.parameters()
    )
    assert facts["hears"] == module.hears.name.lower()
    assert facts["environment"]["torch"] == torch.__version__
    assert socket.gethostname() not in json.dumps(facts["environment"])
    assert (
        f"{facts['students']['student']['parameters'] / 1e6:,.2f} M"
        in (tmp_path / "student/README.md").read_text()
    )
    (tmp_path / "facts.json").write_text("[")
    assert facts_of(tmp_path) == {}


@pytest.mark.parametrize("every", [1, 5])  # epochs; of the one of this run, it is the end's
def test_two_ranks_with_all_callbacks_write_each_thing_once(
    every: int, fit: Fit, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    everything = [
        PerLanguage(),
        TeacherAgreement(),
        ExportStudent(),
        RngState(),
        Throughput(),
        RunCheckpoint(),
    ]
    options = {"strategy": "ddp_fork", "devices": 2, "ranks": 2, "max_epochs": 1}
    board = TensorBoardLogger(tmp_path, name="tensorboard", version="")
    fit(*everything, logger=board, taught=True, check_val_every_n_epoch=every, **options)
    assert capfd.readouterr().out.count("val after 8 updates") == 1
    assert report(tmp_path)["best"]["updates"] == 8
    assert first_weight(tmp_path / "student").shape
    assert len(list((tmp_path / "tensorboard").glob("events*"))) == 1
