"""A classifier from the command line: from labelled files to a folder that loads elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import labelled
import pytest
import torch
from conftest import WORDS
from labelled import LABELS
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from lit_distill.__main__ import main
from lit_distill.training.distillation import Distillation

ROOT = Path(__file__).parents[3]
OUTSIDE = """
import sys, torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
folder = sys.argv[1]
model, report = AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True)
assert not any(report.values()), report
said = model(**AutoTokenizer.from_pretrained(folder)("the river runs", return_tensors="pt")).logits
print(model.config.id2label, tuple(said.shape), "lit_distill" in sys.modules)
"""


@pytest.fixture
def fit(tiny_bert: Path, tmp_path: Path) -> list[str]:
    """The command line of a short fit on `labelled/en.jsonl` and `de.jsonl`, without --run_dir."""
    (tmp_path / "labelled").mkdir()
    for language in ("en", "de"):
        rows = labelled.rows(80, WORDS[language], second=True)
        labelled.write(tmp_path / f"labelled/{language}.jsonl", rows)
    labelled.classifier(tiny_bert, tmp_path / "teacher")
    shutil.copytree(tiny_bert, tmp_path / "mlm")
    options: dict[str, Any] = {
        "sources": [{"files": "labelled/{language}.jsonl", "second": "other"}],
        "max_length": 32, "batch_tokens": 128, "updates_per_epoch": 3, "holdout": 5,
        "data_dir": str(tmp_path), "cache_dir": str(tmp_path / "cache"),
    }  # fmt: skip
    (tmp_path / "data.yaml").write_text(json.dumps({"data": {"init_args": options}}))
    parts = ["trainer/debug", "data/labelled_folder", "methods/supervised_kd"]
    words = [word for part in parts for word in ("-c", f"{ROOT}/configs/{part}.yaml")]
    return [
        "fit", *words, "-c", str(tmp_path / "data.yaml"), "--model.alpha_hard=0.5",
        "--model.student=LayerCopyStudent", "--trainer.max_steps=6",
    ]  # fmt: skip


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load_file(folder / "student-last/model.safetensors")
    return found


def killed(arguments: list[str], at: int) -> int:
    """The signal that ended a run: it kills itself in this micro-batch."""
    child = os.fork()
    if child == 0:
        real, calls = Distillation.training_step, iter(range(10**6))

        def trapped(*given: Any) -> Any:
            if next(calls) == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*given)

        Distillation.training_step = trapped  # type: ignore[method-assign]
        os._exit(main(arguments))
    return os.WTERMSIG(os.waitpid(child, 0)[1])


@pytest.mark.rotated(2)  # whole runs
def test_from_labelled_files_to_a_folder_that_loads_elsewhere(
    fit: list[str], tmp_path: Path
) -> None:
    """Dropout is the models' own: a resumed run draws what the whole one drew."""
    (tmp_path / "save.yaml").write_text(
        "trainer: {val_check_interval: 3, callbacks: [ExportStudent, RngState, NonFiniteLoss, "
        "{class_path: RunCheckpoint, init_args: {every_n_updates: 2}}]}"
    )
    fit = [*fit, "-c", str(tmp_path / "save.yaml"), f"--model.teacher.name={tmp_path / 'teacher'}"]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert main([*fit, f"--run_dir={whole}"]) == 0
    assert killed([*fit, f"--run_dir={stopped}"], at=5) == signal.SIGKILL
    assert main([*fit, f"--run_dir={stopped}", "--ckpt_path=last"]) == 0
    expected, before = weights(whole), load_file(tmp_path / "teacher/model.safetensors")
    for name, value in weights(stopped).items():
        assert torch.equal(value, expected[name]), name
    assert not torch.equal(expected["classifier.weight"], before["classifier.weight"])
    shutil.rmtree(tmp_path / "teacher")
    assert main(["export", str(whole), f"--output={tmp_path / 'out'}"]) == 0
    for folder in (tmp_path / "out", whole / "student"):
        told = subprocess.run(
            [sys.executable, "-c", OUTSIDE, str(folder)],
            capture_output=True, text=True, check=True, cwd=tmp_path,
        )  # fmt: skip
        assert told.stdout.strip() == f"{dict(enumerate(LABELS))} (1, 3) False"
    report = json.loads((whole / "report.json").read_text())
    measured = report["last"]["students"]["student"]["languages"]
    assert measured.keys() == {"de", "en"}
    assert {"accuracy", "macro_f1", "label_loyalty"} <= measured["de"].keys()
    assert "| language | loss | accuracy | macro F1 | ECE | loyalty | p-loyalty | KL |" in (
        whole / "student/README.md"
    ).read_text("utf-8")


def test_a_language_model_is_fine_tuned(fit: list[str], tmp_path: Path) -> None:
    """Without a teacher; then it is one."""
    labels = json.dumps(LABELS)
    tuned = [
        *fit, "--model.alpha_kd=0", "--model.alpha_hard=1", "--model.student=PretrainedStudent",
        f"--model.student.name={tmp_path / 'mlm'}", f"--model.student.labels={labels}",
        f"--tokenizer={tmp_path / 'mlm'}", f"--run_dir={tmp_path / 'tuned'}",
    ]  # fmt: skip
    assert main(tuned) == 0
    student = tmp_path / "tuned/student"
    assert json.loads((student / "config.json").read_text())["id2label"] == {
        str(number): label for number, label in enumerate(LABELS)
    }
    taught = [*fit, f"--model.teacher.name={student}", f"--run_dir={tmp_path / 'taught'}"]
    assert main(taught) == 0


def test_a_decoder_is_fine_tuned_and_loads_elsewhere(
    fit: list[str], tmp_path: Path, tiny_gpt2: Path
) -> None:
    """Plain Transformers finds the last token of every text of a padded batch."""
    labels = json.dumps(LABELS)
    tuned = [
        *fit, "--model.alpha_kd=0", "--model.alpha_hard=1", "--model.student=PretrainedStudent",
        f"--model.student.name={tiny_gpt2}", "--model.student.head.predicts=TEXT_LABELS",
        f"--model.student.head.labels={labels}", f"--tokenizer={tiny_gpt2}",
        f"--run_dir={tmp_path / 'tuned'}",
    ]  # fmt: skip
    assert main(tuned) == 0
    folder = tmp_path / "tuned/student"
    assert "AutoModelForSequenceClassification" in (folder / "README.md").read_text("utf-8")
    model, report = AutoModelForSequenceClassification.from_pretrained(
        folder, output_loading_info=True
    )
    assert not any(report.values())
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert model.config.pad_token_id == tokenizer.pad_token_id
    texts = ["the river runs", "cats sleep and children read long books"]
    with torch.no_grad():
        together = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits
        alone = [model(**tokenizer(text, return_tensors="pt")).logits for text in texts]
    torch.testing.assert_close(together, torch.cat(alone))


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["bad", "fair", "fine"], "says nothing about good: leave these out"),
        (["no", "yes"], "says nothing about bad, fair, good: leave these out"),
    ],
)
def test_labels_that_the_model_does_not_know_are_told_at_start(
    fit: list[str], tmp_path: Path, tiny_bert: Path, labels: list[str], said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    labelled.classifier(tiny_bert, tmp_path / "other", labels)
    given = [f"--model.teacher.name={tmp_path / 'other'}", f"--run_dir={tmp_path / 'run'}"]
    assert main([*fit, *given]) == 2
    assert said in capsys.readouterr().err


def test_a_head_of_another_task_is_told_at_start(
    fit: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = [
        *fit, "--model.alpha_kd=0", "--model.student=PretrainedStudent",
        f"--model.student.name={tmp_path / 'mlm'}", f"--tokenizer={tmp_path / 'mlm'}",
        f"--run_dir={tmp_path / 'run'}",
    ]  # fmt: skip
    assert main([*start, "--model.student.head.predicts=TEXT_VALUE"]) == 2
    told = capsys.readouterr().err
    assert "which predicts a number for each text, and the data has labels of texts" in told
    assert main([*start, "--model.student.head.predicts=TEXT_LABELS"]) == 2
    assert "name two or more, each once" in capsys.readouterr().err


def test_a_language_model_on_labels_is_told_what_to_do(
    fit: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [f"--model.teacher.name={tmp_path / 'mlm'}", f"--run_dir={tmp_path / 'run'}"]
    assert main([*fit, *given]) == 2
    told = capsys.readouterr().err
    assert "is a BertForMaskedLM, which predicts tokens, and the data has labels of texts" in told
