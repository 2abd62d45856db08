"""Losses at switch points and by mixing, against the plain formula on hand-made batches."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from batches import Served, collate, samples
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from callbacks import CodeMixing
from callbacks.reports.code_mixing import level_figure, switch_figure
from lit_distill.batch import Batch, row_languages
from lit_distill.methods import MaskedLM
from lit_distill.models import FreshStudent, load_tokenizer

SHAPE = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 32, "max_position_embeddings": 32,
}  # fmt: skip


def tagged(batch: Batch) -> Batch:
    """With invented tags: targets in no language, elsewhere, and at switch points in turn."""
    count = len(batch["targets"])
    flags = torch.arange(count) % 3 - 1
    mixing = torch.tensor([-1, 5, 10, 25, 50, 33, 0, 19])[: len(batch["language"])]
    return Batch(**batch, target_switched=flags, target_languages=flags + 1, mixing=mixing)


def run(folder: Path, tokenizer: Path, batches: list[Batch], callback: CodeMixing) -> Any:
    loggers = [
        TensorBoardLogger(folder, name="tensorboard", version=""),
        CSVLogger(folder, name="csv", version=""),
    ]
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, callbacks=[callback], logger=loggers,
        default_root_dir=folder, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=1, log_every_n_steps=1,
    )  # fmt: skip
    module = MaskedLM(student=FreshStudent("bert", SHAPE))
    data = Served([[batches[0]]], batches, load_tokenizer(str(tokenizer)))
    trainer.fit(module, datamodule=data)
    return module


def test_losses_by_group_equal_the_formula(
    tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    batches = [tagged(collate(samples(8, 100, seed=seed))) for seed in range(2)]
    module = run(tmp_path, tiny_bert, batches, CodeMixing([0, 10, 20, 30]))
    module.eval()
    losses, languages, flags, mixing = [], [], [], []
    with torch.no_grad():
        for batch in batches:
            logits = module.student.logits(module.student.encode(batch).rows(batch["rows"]))
            rows = logits.log_softmax(-1)
            losses.append(-rows[range(len(rows)), batch["targets"]])
            languages.append(row_languages(batch))
            flags.append(batch["target_switched"])
            mixing.append(batch["mixing"][batch["rows"] // batch["input_ids"].shape[1]])
    loss, language, flag, mix = map(torch.cat, (losses, languages, flags, mixing))
    expected = {}
    for number, name in enumerate(("xx", "yy")):
        own = language == number
        expected[f"val/{name}/switch_points_loss"] = loss[own & (flag == 1)].mean()
        expected[f"val/{name}/elsewhere_loss"] = loss[own & (flag == 0)].mean()
        for low, high in ((0, 10), (10, 20), (20, 30), (30, 101)):
            chosen = own & (mix >= low) & (mix < high)
            if chosen.any():
                expected[f"val/{name}/cmi_{low}_loss"] = loss[chosen].mean()
    with (tmp_path / "csv" / "metrics.csv").open() as file:
        found = {k: float(v) for row in csv.DictReader(file) for k, v in row.items() if v}
    measured = {key for key in found if "cmi_" in key or "switch" in key or "elsewhere" in key}
    assert measured == set(expected)
    for key, value in expected.items():
        assert found[key] == pytest.approx(float(value), rel=1e-5)
    shown = capsys.readouterr().out
    assert shown.count("loss on code-mixed text") == 1  # not while validation is tried out
    events = EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"images": 0})
    events.Reload()
    assert set(events.Tags()["images"]) == {"val/switch_points", "val/mixing_levels"}


def test_text_without_tags_is_passed_over(
    tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = run(tmp_path, tiny_bert, [collate(samples(8, 100))], CodeMixing())
    assert module.measurements["student"]
    assert "code-mixed" not in capsys.readouterr().out
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert not [tag for tag in events.Tags()["scalars"] if "cmi" in tag or "switch" in tag]


def test_figures_have_a_mark_for_every_number() -> None:
    at = {"hi-en": {"switch_points": 3.0, "elsewhere": 3.0}, "bn-en": {"elsewhere": 3.0}}
    (axis,) = switch_figure(at).axes
    assert sorted(len(line.get_xdata()) for line in axis.lines) == [1, 2]
    (axis,) = level_figure({"hi-en": {"cmi_0": 3.0, "cmi_20": 3.0}}, [0, 10, 20]).axes
    assert list(axis.lines[0].get_xdata()) == [0, 20]
