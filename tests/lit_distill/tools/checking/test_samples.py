"""Samples of every language as they are read, and teachers that are too large for this machine."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from checking import STOPS, Check, said
from transformers import AutoTokenizer

from lit_distill.__main__ import main

pytestmark = pytest.mark.rotated(4)  # each is a short run


def test_a_text_of_every_language_as_both_read_it(check: Check, teacher: Path) -> None:
    found = check()
    tokenizer = AutoTokenizer.from_pretrained(teacher)
    assert [one["language"] for one in found["samples"]] == ["de", "en"]
    for one in found["samples"]:
        assert tokenizer.decode(one["ids"]) == one["text"]
        assert one["text"].startswith("[CLS] ")
        assert one["teacher"] == {"ids": one["ids"], "text": one["text"]}


def test_a_prompt_as_the_templates_render_it(
    check_prompts: Check, writer: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(writer, other, ignore=shutil.ignore_patterns("*.jinja"))
    tokenizer = AutoTokenizer.from_pretrained(writer, padding_side="left")
    tokenizer.chat_template = tokenizer.chat_template.replace("<|user|>", "<|user|>Q: ")
    tokenizer.save_pretrained(other)
    found = check_prompts("--model.teacher.name", str(other), "--tokenizer", str(writer), STOPS)
    (sample,) = found["samples"]
    assert sample["text"] == "<s><|user|>what is 0 plus 0?<|bot|>0<|stop|>"
    assert sample["teacher"]["text"] == "<s><|user|>Q: what is 0 plus 0?<|bot|>0<|stop|>"
    said = {one["about"]: one for one in found["findings"]}
    assert "from character 11 on" in said["samples"]["text"]
    assert said["padding"]["level"] == "note"
    assert "student's on the right, teacher's on the left" in said["padding"]["text"]


def test_tokenizers_that_are_refused_are_shown_beside_it(
    check: Check, teacher: Path, tmp_path: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(teacher, do_lower_case=False)
    tokenizer.save_pretrained(tmp_path / "cased")
    (tmp_path / "en.txt").write_text("The River and Children\n" * 3)
    options = ["--data.data_dir", str(tmp_path), "--tokenizer", str(tmp_path / "cased")]
    found = check(*options)
    assert {one["about"] for one in found["findings"]} >= {"refused", "samples"}
    (sample,) = found["samples"]
    assert sample["ids"] != sample["teacher"]["ids"]


def test_a_teacher_for_another_machine_is_not_loaded(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lit_distill.tools.checking.check_cli.available", lambda device: 1000)
    found = check("--check.memory_gib", "8")
    (one,) = found["findings"]
    assert (found["code"], one["about"]) == (1, "teacher")
    assert "Teachers fit there and not here" in one["text"]
    assert "time" not in found
    (one,) = check()["findings"]
    assert (one["level"], "bfloat16 takes half, which would still" in one["remedy"]) == (
        "error",
        True,
    )


def test_a_cache_that_the_run_reads_is_counted(
    teacher: Path, tiny_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = ("trainer/cpu", "methods/triple_loss", "models/half", "optimizers/small_model")
    parts = (*parts, "data/multilingual_folder", str(tiny_corpus))
    run = [arg for part in parts for arg in ("-c", part)]
    run += ["--model.teacher.name", str(teacher), "--data.mask_variants", "2"]
    assert main(["cache-teacher", *run, "--output", str(tmp_path / "answers")]) == 0
    alpha = ["--model.alpha_cos", "0", "--model.restrict_kd_to_mask", "true"]
    live = said([*run, *alpha], tmp_path / "run", capsys)
    cached = said(
        [*run, *alpha, "--model.teacher_cache", str(tmp_path / "answers")], tmp_path / "run", capsys
    )
    written = sum(path.stat().st_size for path in (tmp_path / "answers").iterdir())
    assert cached["disk"]["teacher_cache"] == written
    assert live["disk"]["teacher_cache_if_written"] == pytest.approx(written / 2, rel=0.3)
    assert cached["code"] == live["code"] == 0
