"""What a report is made of: a run that was trained, and an evaluation that was scored."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from evaluated import cell, right_share

from lit_distill.__main__ import main
from lit_distill.tools.evaluating.reporting.cost import Cost, Timing
from lit_distill.tools.evaluating.reporting.report import write_report

SHARES = {"teacher": 0.9, "student": 0.85, "control": 0.6, "majority": 0.5, "bag of words": 0.7}


@pytest.fixture(scope="session")
def trained(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six updates with two validations, of a language and a mix; not to be changed."""
    folder = tmp_path_factory.mktemp("trained")
    run = folder / "distilled"
    data = {
        "languages": "[en,hi-en]", "sentences_per_language": 200, "validation_sentences": 60,
        "max_length": 32, "batch_tokens": 512, "cache_dir": folder / "cache",
    }  # fmt: skip
    options = [f"--data.{name}={value}" for name, value in data.items()]
    trainer = {"max_steps": 6, "val_check_interval": 3, "log_every_n_steps": 1}
    options += [f"--trainer.{name}={value}" for name, value in trainer.items()]
    main([
        "fit", "-c", "trainer/cpu", "-c", "methods/triple_loss", "-c", "models/half",
        "-c", "data/phrasebook", "-c", "optimizers/small_model", *options,
        f"--model.teacher.name={tiny_bert}", f"--run_dir={run}",
    ])  # fmt: skip
    return run


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of it in a folder of its own, without weights."""
    shutil.copytree(
        trained,
        tmp_path / "runs/distilled",
        ignore=shutil.ignore_patterns("*.ckpt", "*.safetensors"),
    )
    return tmp_path / "runs/distilled"


@pytest.fixture
def evaluation(tmp_path: Path) -> Path:
    """What `evaluate` writes about one task in two languages, with costs and a broken cell."""
    folder = tmp_path / "runs/topics"
    cells = []
    for place, (model, share) in enumerate(SHARES.items()):
        own = right_share(share, 200, seed=place)
        own = replace(own, languages=("en", "hi"), language=np.repeat([0, 1], 100))
        cells.append(cell(model, "topic", own, 1))
    cells.append(cell("student", "ner", None, error="CUDA out of memory"))
    costs = {"teacher": _cost(2.0), "student": _cost(1.0), "control": _cost(1.0)}
    write_report(
        folder, cells, models={name: f"runs/{name}/student" for name in costs},
        reference="teacher", control="control", costs=costs, resamples=50,
    )  # fmt: skip
    return folder


def _cost(scale: float) -> Cost:
    timings = tuple(
        Timing(batch, length, scale, 1.5 * scale * length / 32, 2 * scale, 1e4, 5)
        for batch, length in ((1, 32), (1, 128), (32, 128))
    )
    return Cost(int(5e6 * scale), int(2e6 * scale), int(2e7), None, None, 4e6 * scale, timings)
