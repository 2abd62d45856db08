"""`--control`: what a distilled student is compared with begins and reads as it does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer

from lit_distill.__main__ import main
from lit_distill.batch import Batch
from lit_distill.cli.control import _alone as alone
from lit_distill.methods import FineTune, MaskedLM, SupervisedKD, TripleLoss

MINILM = ["--model=MiniLM", "--data.objective=NoTargets"]


def fit(folder: Path, name: str, *args: str) -> dict[str, Any]:
    """Runs the experiment; what it wrote down of its configuration."""
    own = [f"--model.teacher.name={teacher(folder)}", "--model.dropout=0", f"--run_dir={name}"]
    assert main(["fit", "-c", "exp.yaml", *own, *args]) == 0
    return dict(yaml.safe_load((folder / name / "config.yaml").read_text())["model"])


def teacher(folder: Path) -> str:
    found = yaml.safe_load((folder / "exp.yaml").read_text())
    return str(found["model"]["init_args"]["teacher"]["name"])


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "student/model.safetensors")


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What each update began with: weights of its student, its texts and its learning rates."""
    seen: list[tuple[Any, ...]] = []

    def prepare(module: Any, batches: list[Batch]) -> list[Batch]:
        state = {name: value.clone() for name, value in module.student.state_dict().items()}
        rates = [group["lr"] for group in module.trainer.optimizers[0].param_groups]
        seen.append((state, [batch["input_ids"] for batch in batches], rates))
        return batches

    for kind in (TripleLoss, SupervisedKD, MaskedLM):
        monkeypatch.setattr(kind, "prepare", prepare)
    return seen


def test_without_a_teacher_start_texts_and_rates_are_the_same(
    folder: Path, watched: list[tuple[Any, ...]]
) -> None:
    fit(folder, "distilled", "--model=TripleLoss")
    distilled = [*watched]
    watched.clear()
    model = fit(folder, "alone", "--model=TripleLoss", "--model.temperature=3",
                "--control=no_teacher")  # fmt: skip
    assert model["class_path"] == "lit_distill.methods.SupervisedKD"
    assert (model["init_args"]["alpha_kd"], model["init_args"]["alpha_hard"]) == (0, 1)
    assert len(watched) == len(distilled) > 1
    for (_, texts, rates), (_, own, own_rates) in zip(distilled, watched, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(texts, own, strict=True))
        assert rates == own_rates
    assert all(torch.equal(value, watched[0][0][name]) for name, value in distilled[0][0].items())
    after, alone = weights(folder / "distilled"), weights(folder / "alone")
    assert any(not torch.equal(after[name], alone[name]) for name in after)
    assert (
        "the no-teacher control of a run of TripleLoss"
        in (folder / "alone/student/README.md").read_text()
    )


def test_the_control_learns_as_masked_lm_does(folder: Path) -> None:
    fit(folder, "alone", "--model=TripleLoss", "--control=no_teacher")
    fit(folder, "masked", "--model=MaskedLM")
    alone, masked = weights(folder / "alone"), weights(folder / "masked")
    assert all(torch.equal(alone[name], masked[name]) for name in masked)


def test_the_control_of_a_method_without_targets_gets_some(folder: Path) -> None:
    fit(folder, "alone", *MINILM, "--control=no_teacher")
    fit(folder, "masked", "--model=MaskedLM")
    alone, masked = weights(folder / "alone"), weights(folder / "masked")
    assert all(torch.equal(alone[name], masked[name]) for name in masked)


@pytest.mark.parametrize("method", [["--model=TripleLoss"], MINILM])
def test_truncation_exports_the_start(folder: Path, method: list[str]) -> None:
    model = fit(folder, "cut", *method, "--model.student.layers=[0, 2]", "--control=truncation")
    assert model["class_path"].endswith(method[0].partition("=")[2])
    own, his = weights(folder / "cut"), load_file(Path(teacher(folder)) / "model.safetensors")
    for name, value in own.items():
        theirs = name.replace("layer.1.", "layer.2.")
        assert torch.equal(value, his[theirs]), name
    assert sum("attention.self.query.weight" in name for name in own) == 2
    AutoModelForMaskedLM.from_pretrained(folder / "cut/student")
    report = json.loads((folder / "cut/report.json").read_text())
    assert (report["updates"], report["best"]["updates"]) == (0, 0)
    assert "nothing was trained" in (folder / "cut/student/README.md").read_text()
    assert (folder / "cut/checkpoints/last.ckpt").exists()


def test_a_method_of_tasks_is_its_own_control() -> None:
    """Numbers, choices and answers have no other one."""
    control = alone("lit_distill.methods.FineTune")
    assert control["class_path"] == "lit_distill.methods.FineTune"
    method = FineTune(
        **{k: v for k, v in control["init_args"].items() if k in ("soft", "alpha_hard")}
    )
    assert method.hears is None
    assert (method.soft, method.terms.alpha_hard) == ({}, 1.0)


def test_a_control_can_be_measured_as_any_run(folder: Path) -> None:
    for control in ("no_teacher", "truncation"):
        fit(folder, control, "--model=TripleLoss", f"--control={control}")
        assert main(["validate", "--config", f"{control}/config.yaml"]) == 0
        assert main(["export", control, "--output", f"{control}/again"]) == 0


@pytest.mark.rotated(3)  # whole runs
def test_a_control_has_a_folder_of_its_own(folder: Path) -> None:
    args = ["-c", "exp.yaml", "--model=TripleLoss", f"--model.teacher.name={teacher(folder)}"]
    assert main(["fit", *args]) == 0
    assert main(["fit", *args, "--control=no_teacher"]) == 0
    assert (folder / "runs/exp-no_teacher/student/model.safetensors").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--control=no-teacher"], "--control: 'no-teacher' is none: did you mean no_teacher?"),
        (["--control=x"], "--control: 'x' is none: use no_teacher or truncation."),
        (["--model=MaskedLM", "--control=no_teacher"], "MaskedLM hears no teacher, so there is no"),
        (["--model=MutualLearning", "--control=no_teacher"], "train each alone."),
        (
            ["--model.student=FreshStudent", "--control=truncation"],
            "a FreshStudent starts from random numbers",
        ),
    ],
)
def test_a_control_that_cannot_be_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], args: list[str], message: str
) -> None:
    assert main(["fit", "-c", "exp.yaml", *args]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (folder / "runs").exists()


def test_the_control_of_a_teacher_without_a_head_begins_with_one(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sentence encoders are bodies alone; what predicts tokens starts anew, and nothing else."""
    body = folder / "body"
    model = AutoModel.from_pretrained(teacher(folder), add_pooling_layer=False)
    model.save_pretrained(body)
    AutoTokenizer.from_pretrained(teacher(folder)).save_pretrained(body)
    given = [*MINILM, f"--model.teacher.name={body}", "--trainer.max_steps=1"]
    still = ["--model.optimizer.lr=0", "--model.optimizer.weight_decay=0"]
    for name in ("one", "two"):
        fit(
            folder,
            name,
            *given,
            *still,
            "--control=no_teacher",
            "--trainer.callbacks+=MaskedSamples",
        )
    fit(folder, "cut", *given, "--control=truncation")
    own, start = weights(folder / "one"), weights(folder / "cut")
    assert {name for name in own if not name.startswith("cls.")} == {f"bert.{n}" for n in start}
    assert all(torch.equal(own[f"bert.{name}"], value) for name, value in start.items())
    assert any(name.startswith("cls.predictions.transform") for name in own)
    assert "cls.predictions.decoder.weight" not in own  # it is the embeddings
    again = weights(folder / "two")
    assert all(torch.equal(again[name], value) for name, value in own.items())
    _, said = AutoModelForMaskedLM.from_pretrained(folder / "one/student", output_loading_info=True)
    assert not said["missing_keys"]
    report = json.loads((folder / "one/report.json").read_text())
    measured = report["last"]["students"]["student"]["mean"]
    assert measured["agreement"] is None
    assert measured["loss"] > 0
    heard = ["--model=TripleLoss", f"--model.teacher.name={body}", "--run_dir=heard"]
    capsys.readouterr()
    assert main(["fit", "-c", "exp.yaml", *heard, "--model.student.fresh_head=true"]) == 2
    assert "body has no language-model head" in capsys.readouterr().err
