"""Means over languages, and a measure that a user writes."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from batches import Served, collate, samples
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from own_methods import ConfidentMLM

from callbacks import (
    AtomicCheckpointIO,
    CodeMixing,
    ExportStudent,
    MaskedSamples,
    PerLanguage,
    RunCheckpoint,
    TeacherAgreement,
)
from lit_distill.batch import row_languages
from lit_distill.errors import UserError
from lit_distill.measures.measure import Measurement, mean_over_languages
from lit_distill.models import FreshStudent, load_tokenizer
from lit_distill.tools.export import export

SHAPE = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 32, "max_position_embeddings": 32,
}  # fmt: skip
BATCH = collate(samples(8, 100))
Run = Callable[..., tuple[Trainer, ConfidentMLM]]


def test_every_language_counts_the_same() -> None:
    scores = {"large": {"rows": 1000, "loss": 1.0, "kl": None}, "small": {"loss": 3.0, "kl": 1.0}}
    measured = Measurement.by_language(scores)
    assert measured.mean["loss"] == 2.0
    assert measured.mean["kl"] is None
    assert mean_over_languages({}) == {}


@pytest.fixture
def run(tiny_bert: Path, tmp_path: Path) -> Run:
    def fit(*callbacks: Callback, **options: Any) -> tuple[Trainer, ConfidentMLM]:
        module = ConfidentMLM(student=FreshStudent("bert", SHAPE))
        saves = any(isinstance(callback, RunCheckpoint) for callback in callbacks)
        trainer = Trainer(
            accelerator="cpu", max_steps=2, callbacks=list(callbacks), default_root_dir=tmp_path,
            plugins=[AtomicCheckpointIO()], logger=CSVLogger(tmp_path, "csv", ""),
            log_every_n_steps=1, enable_checkpointing=saves, enable_progress_bar=False,
            enable_model_summary=False, **options,
        )  # fmt: skip
        data = Served([[BATCH] * 2], [BATCH], load_tokenizer(str(tiny_bert)))
        trainer.fit(module, datamodule=data)
        return trainer, module

    return fit


def test_callbacks_report_and_card_show_a_users_measure(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best = {"monitor": "val/confidence", "mode": "max"}
    watchers = [PerLanguage(), TeacherAgreement(), CodeMixing(), MaskedSamples()]
    _, module = run(*watchers, ExportStudent(**best), RunCheckpoint(**best))
    module.eval()
    with torch.no_grad():
        logits = module.student.logits(module.student.encode(BATCH).rows(BATCH["rows"]))
    sure, languages = logits.softmax(-1).amax(-1), row_languages(BATCH)
    expected = {name: float(sure[languages == n].mean()) for n, name in enumerate(("xx", "yy"))}
    mean = sum(expected.values()) / 2
    with (tmp_path / "csv/metrics.csv").open() as file:
        found = {k: float(v) for row in csv.DictReader(file) for k, v in row.items() if v}
    assert found["val/confidence"] == pytest.approx(mean, rel=1e-5)
    for name, value in expected.items():
        assert found[f"val/{name}/confidence"] == pytest.approx(value, rel=1e-5)
    assert not [key for key in found if "loss" in key and key.startswith("val")]
    assert capsys.readouterr().out.splitlines()[-1].split() == ["mean", "of", "2", f"{mean:.3f}"]
    last = json.loads((tmp_path / "report.json").read_text())["last"]["students"]["student"]
    assert last["languages"] == {k: {"confidence": pytest.approx(v)} for k, v in expected.items()}
    card = (tmp_path / "student-last/README.md").read_text()
    assert "Held-out text after 2 updates: mean probability of the likeliest token." in card
    assert "| language | confidence |" in card
    assert f"| mean | {last['mean']['confidence']:.4f} |" in card
    assert (tmp_path / "csv/figures/val/confidence_by_language/00000002.png").exists()
    assert not (tmp_path / "csv/texts").exists()  # its outputs may be no tokens
    export(str(tmp_path / "checkpoints/last.ckpt"), str(tmp_path / "later"))
    assert (tmp_path / "later/README.md").read_text() == card


@pytest.mark.parametrize("callback", [ExportStudent, RunCheckpoint])
def test_the_worst_is_not_kept_for_the_best(run: Run, callback: type) -> None:
    with pytest.raises(UserError, match="val/confidence with mode min, which is the worst"):
        run(callback(monitor="val/confidence", mode="min"))


def test_every_callback_finds_the_measurement_of_this_validation(run: Run) -> None:
    """Also the first one, and in the trial of the validation."""
    seen = []

    class Reader(Callback):
        def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            seen.append(pl_module.measurements["student"].mean["confidence"])

    _, module = run(Reader(), PerLanguage(), val_check_interval=1, num_sanity_val_steps=1)
    assert len(seen) == len({*seen}) == 3
    assert seen[-1] == module.measurements["student"].mean["confidence"]


def test_measurements_are_computed_once_in_a_validation(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    own = ConfidentMLM.measured_by
    real = own.compute
    monkeypatch.setattr(own, "compute", lambda self: (calls.append(1), real(self))[1])
    trainer, module = run(
        PerLanguage(), TeacherAgreement(), ExportStudent(monitor="val/confidence", mode="max")
    )
    before = len(calls)
    trainer.validate(module, datamodule=trainer.datamodule, verbose=False)
    assert len(calls) == before + 1
