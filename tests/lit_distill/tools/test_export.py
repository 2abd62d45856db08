"""From a checkpoint to a folder that loads without this project; no teacher is needed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from lit_distill.__main__ import main
from lit_distill.errors import UserError
from lit_distill.models import (
    LanguageModel,
    LayerCopyStudent,
    TeacherSpec,
    load_tokenizer,
    student_state,
    tokenizer_files,
)
from lit_distill.tools.delivering.deliverables.choices import Gate, Int8Spec, OnnxSpec, Request
from lit_distill.tools.export import export
from lit_distill.training.checkpoints import KEY


@pytest.fixture
def student(tiny_bert: Path) -> LanguageModel:
    return LayerCopyStudent(distilbert=True).build(TeacherSpec(str(tiny_bert)).build(), 0)


@pytest.fixture
def run(student: LanguageModel, tiny_bert: Path, tmp_path: Path) -> Path:
    """A run folder with the checkpoint of one student, and `two.ckpt` of two."""
    folder = tmp_path / "run/checkpoints"
    folder.mkdir(parents=True)
    for name, students in (("last", ["student"]), ("two", ["small", "large"])):
        weights = {
            f"students.{s}.{k}": v for s in students for k, v in student.state_dict().items()
        }
        description = {
            "version": 1,
            "method": "TripleLoss",
            "config": "seed_everything: 1\n",
            "students": {s: student_state(student) for s in students},
            "tokenizer": tokenizer_files(load_tokenizer(str(tiny_bert))),
            "teachers": {"teacher": {"name": "gone", "revision": None, "fingerprint": "0" * 64}},
        }
        auxiliary = {"auxiliary.projection.weight": torch.zeros(2, 2)}
        checkpoint = {"state_dict": weights | auxiliary, "global_step": 7, KEY: description}
        torch.save(checkpoint, folder / f"{name}.ckpt")
    return folder.parent


def load(folder: Path) -> Any:
    model, report = AutoModelForMaskedLM.from_pretrained(folder, output_loading_info=True)
    assert not any(report.values())
    return model.eval()


def test_the_folder_loads_and_gives_the_students_logits(
    run: Path, student: LanguageModel, tmp_path: Path
) -> None:
    assert (
        main(["export", str(run / "checkpoints/last.ckpt"), "--output", str(tmp_path / "o")]) == 0
    )
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "o")
    batch = tokenizer(["the cat sleeps", "der fluss"], padding=True, return_tensors="pt")
    batch.pop("token_type_ids", None)
    with torch.no_grad():
        assert torch.equal(load(tmp_path / "o")(**batch).logits, student.model(**batch).logits)
    assert "TripleLoss, 7 updates" in (tmp_path / "o/README.md").read_text()
    assert (tmp_path / "o/config.yaml").read_text() == "seed_everything: 1\n"


def test_a_run_folder_stands_for_its_best_checkpoint_or_else_its_last(run: Path) -> None:
    (run / "checkpoints/two.ckpt").unlink()
    assert export(str(run)) == {"student": run / "student-last"}
    (run / "checkpoints/last.ckpt").rename(run / "checkpoints/best.ckpt")
    assert export(str(run)) == {"student": run / "student-best"}


def test_a_checkpoint_of_deepspeed_is_a_folder(run: Path, student: LanguageModel) -> None:
    saved = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    saved["module"] = saved.pop("state_dict")
    folder = run / "checkpoints/sharded.ckpt"
    (folder / "checkpoint").mkdir(parents=True)
    torch.save(saved, folder / "checkpoint/mp_rank_00_model_states.pt")
    weights = load(export(str(folder))["student"]).state_dict()
    for name, value in student.model.state_dict().items():
        assert torch.equal(weights[name], value)


def test_several_students_are_one_folder_each(run: Path, tmp_path: Path) -> None:
    folders = export(str(run / "checkpoints/two.ckpt"), str(tmp_path / "out"))
    assert folders == {"small": tmp_path / "out/small", "large": tmp_path / "out/large"}
    for folder in folders.values():
        load(folder)


def test_other_precision(run: Path, tmp_path: Path) -> None:
    export(str(run / "checkpoints/last.ckpt"), str(tmp_path / "o"), dtype="bfloat16")
    assert load(tmp_path / "o").dtype == torch.bfloat16


@pytest.fixture
def delivered(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, Path, Request, str]]:
    """What is handed to the room that makes ONNX, which has tests of its own."""
    calls: list[tuple[Path, Path, Request, str]] = []

    def deliver(folder: Path, output: Path, request: Request, called: str) -> None:
        assert load(folder)
        calls.append((folder, output, request, called))

    monkeypatch.setattr("lit_distill.tools.delivering.deliver.deliver", deliver)
    return calls


def test_students_become_onnx_by_way_of_folders_that_are_gone_afterwards(
    run: Path, delivered: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(str(run), format="onnx") == {"student": run / "student-last-onnx"}
    folder, _, request, called = delivered.pop()
    assert request.int8 is None
    assert called == f"student of {run / 'checkpoints/last.ckpt'}"
    assert not folder.exists()
    places = {name: tmp_path / "out" / name for name in ("small", "large")}
    two, out = str(run / "checkpoints/two.ckpt"), str(tmp_path / "out")
    assert export(two, out, format="onnx-int8") == places
    assert [call[1] for call in delivered] == list(places.values())
    assert all(call[2].int8 == Int8Spec() for call in delivered)
    assert str(delivered[0][0]) not in capsys.readouterr().out


def test_any_folder_becomes_onnx(
    tiny_bert: Path, delivered: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["export", str(tiny_bert), "--format=onnx-int8", "--texts.de=a.txt", "--texts.en=b.txt"]
    more = ["--int8.per_channel=false", "--gate.int8_kl=0.5", "--labelled.de=c.jsonl"]
    assert main([*args, *more, "--onnx.pooling=mean"]) == 0
    ((folder, output, request, called),) = delivered
    assert (folder, called) == (tiny_bert, str(tiny_bert))
    assert output == tiny_bert.parent / f"{tiny_bert.name}-onnx-int8"
    assert request == Request(
        Int8Spec(per_channel=False),
        {"de": "a.txt", "en": "b.txt"},
        {"de": "c.jsonl"},
        OnnxSpec(pooling="mean"),
        Gate(int8_kl=0.5),
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"texts": {"de": "x"}}, "--texts and --labelled are read for ONNX alone"),
        ({"format": "onnx", "dtype": "bfloat16"}, "an ONNX file is made of float32"),
    ],
)
def test_options_of_another_format_are_refused(
    options: Any, message: str, run: Path, tiny_bert: Path
) -> None:
    with pytest.raises(UserError, match=message):
        export(str(run), **options)
    with pytest.raises(UserError, match="is a folder, and neither a run folder"):
        export(str(tiny_bert))  # it is what it would become


def test_a_missing_library_is_named_before_anything_is_done(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UserError, match=r"need the package onnxscript, .*lit-distill\[onnx\]"):
        export(str(tiny_bert), str(tmp_path / "out"), format="onnx")
    assert not (tmp_path / "out").exists()


def test_what_is_no_checkpoint(run: Path, tmp_path: Path) -> None:
    broken = run / "checkpoints/broken.ckpt"
    broken.write_bytes((run / "checkpoints/last.ckpt").read_bytes()[:1000])
    torch.save({"state_dict": {}}, run / "checkpoints/other.ckpt")
    (tmp_path / "folder").mkdir()
    for path, message in (
        (run / "none.ckpt", "There is no checkpoint"),
        (broken, "is no checkpoint, or not a whole one"),
        (run / "checkpoints/other.ckpt", "not written by lit_distill"),
        (tmp_path / "folder", "is a folder, and neither a run folder"),
    ):
        with pytest.raises(UserError, match=message):
            export(str(path))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "error: missing checkpoint: add to a file given with --config, or give --checkpoint."),
        (
            ["x", "--dtype=float33"],
            "error: --dtype: expected float32 or bfloat16 or float16, found",
        ),
        (
            ["x", "--outptu=y"],
            "error: --outptu: there is no option 'outptu'; did you mean 'output'?",
        ),
    ],
)
def test_options_are_checked(
    args: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["export", *args])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(message)
