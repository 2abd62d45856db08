"""`fit` says before its first step what can be seen without one."""

from __future__ import annotations

import json
from collections import namedtuple
from pathlib import Path

import pytest
from checking import decoder, prompts
from transformers import BertConfig

from lit_distill.__main__ import main
from lit_distill.cli.preflight import disk, preflight

SHORT = ("--trainer.max_steps", "2", "--trainer.val_check_interval", "2")
SHORT += ("--trainer.logger", "false", "--export_student", "false")
Usage = namedtuple("Usage", ["total", "used", "free"])


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    messages = (one.getMessage() for one in caplog.records)
    return [text for text in messages if text.startswith(("warning, ", "error, "))]


@pytest.fixture
def options(tiny_bert: Path, tiny_corpus: Path, tmp_path: Path) -> list[str]:
    """Of a run that nothing is to be said of."""
    parts = ("trainer/cpu", "methods/triple_loss", "models/half", "optimizers/small_model")
    parts = (*parts, "data/multilingual_folder", str(tiny_corpus))
    args = [arg for part in parts for arg in ("-c", part)]
    args += ["--model.teacher.name", str(tiny_bert), "--run_dir", str(tmp_path / "run")]
    return ["fit", *args, *SHORT]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            ["--model.optimizer.lr", "0.05"],
            "warning, learning rate: The highest learning rate is 0.05",
        ),
        (["--model.student.num_layers", "4"], "warning, size: student has"),
        (["--trainer.precision", "bf16-true"], "warning, precision: The students' weights are in"),
        ([], ""),
    ],
)
def test_fit_says_it_once_and_goes_on(
    more: list[str], said: str, options: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert main([*options, *more]) == 0
    found = warnings_of(caplog)
    assert len(found) == bool(said)
    assert all(said in one for one in found)


@pytest.mark.run
@pytest.mark.parametrize("kind", ["pairs", "lists"])
def test_pairs_and_lists_are_looked_at_like_texts(
    kind: str, tiny_bert: Path, tmp_path: Path
) -> None:
    """Their languages are no texts' languages: two pairs of three, or those of queries alone."""
    rows = ({tag: f"{word} {n} cat house" for tag, word in TAGS.items()} for n in range(60))
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pairs = {
        "class_path": "ParallelCorpus",
        "init_args": {
            "sources": [{"files": "rows.jsonl", "columns": {tag: tag for tag in TAGS}}],
            "data_dir": str(tmp_path), "src_languages": ["aa"], "objective": "NoTargets",
            "holdout": 4, "batch_tokens": 128,
        },
    }  # fmt: skip
    (tmp_path / "pairs.yaml").write_text(json.dumps({"data": pairs}))
    data = str(tmp_path / "pairs.yaml") if kind == "pairs" else "data/phrasebook_retrieval"
    parts = ("trainer/cpu", "methods/embedding_kd", "models/half", "optimizers/small_model", data)
    args = [arg for part in parts for arg in ("-c", part)]
    args += ["--model.teacher.name", str(tiny_bert), "--run_dir", str(tmp_path / "run")]
    args += ["--data.max_length", "24", "--data.updates_per_epoch", "2"]
    assert main(["fit", *args, *SHORT]) == 0


TAGS = {"aa": "the", "bb": "der", "cc": "long"}


def test_a_teacher_that_is_too_large_is_said_before_it_is_loaded(
    options: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    large = BertConfig(hidden_size=98304, num_hidden_layers=200, architectures=["BertForMaskedLM"])
    large.save_pretrained(tmp_path / "large")
    tokenizer = options[options.index("--model.teacher.name") + 1]
    name = ["--model.teacher.name", str(tmp_path / "large"), "--tokenizer", tokenizer]
    assert main([*options, *name]) == 2  # its weights are not even there
    (said,) = warnings_of(caplog)
    assert said.startswith("error, teacher: Weights of teachers take ")


@pytest.mark.rotated(4)
def test_a_full_disk_is_said_before_anything_is_written(
    options: list[str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usage = Usage(1 << 40, 0, 300_000)
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda folder: usage)
    monkeypatch.setattr(preflight, "available", lambda device: 1 << 40)
    assert main(options) == 0
    (said,) = warnings_of(caplog)
    assert said.startswith("error, disk: Checkpoints and students of this run take up to ")
    caplog.clear()
    assert (
        main(
            [*options, "--trainer.enable_checkpointing", "false", "--run_dir", str(tmp_path / "x")]
        )
        == 0
    )
    assert warnings_of(caplog) == []


@pytest.mark.rotated(4)
def test_prompts_that_are_read_amiss(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    writer = decoder(tmp_path / "gpt2")
    twice = '[{"files": "qa.jsonl", "language": "en", "prompt": "<s>{q}", "response": "{a}"}]'
    run = ["fit", *prompts(tmp_path, writer), *SHORT]
    assert main([*run, "--run_dir", "good"]) == 0
    assert warnings_of(caplog) == []
    assert main([*run, "--run_dir", "unended", "--data.stop_tokens=[]"]) == 0
    (said,) = warnings_of(caplog)
    assert "ends an answer with '<|stop|>'" in said
    caplog.clear()
    plain = ["--data.rendering=PlainText", f"--data.sources={twice}"]
    assert main([*run, "--run_dir", "twice", *plain]) == 0
    (said,) = warnings_of(caplog)
    assert "Texts begin with '<s>' twice (en)" in said
