"""Pseudo-labels: what is written, what is dropped, and that a corpus reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import prompted
import pytest
import torch
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

from lit_distill.__main__ import main
from lit_distill.tools.pseudo_label import word_error_rate


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    """Of a corpus of two languages and a random teacher with its tokenizer."""
    for language, offset in (("xx", 0), ("yy", 1000)):
        prompted.write(tmp_path / f"qa.{language}.jsonl", prompted.rows(20, offset))
    teacher = prompted.tokenizer(tmp_path / "teacher")
    torch.manual_seed(0)
    model = GPT2LMHeadModel(
        GPT2Config(vocab_size=300, n_embd=16, n_layer=2, n_head=2, n_positions=64,
                   bos_token_id=1, eos_token_id=2)
    )  # fmt: skip
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
        model.transformer.wte.weight[:2] = 0  # <pad> and <s> are not text
    model.save_pretrained(teacher)
    source = {"files": "qa.{language}.jsonl", "prompt": "{q}", "response": "{a}"}
    data = {"sources": [source], "data_dir": str(tmp_path), "tokenizer": teacher, "max_length": 60}
    config = tmp_path / "data.yaml"
    config.write_text(json.dumps({"data": {"class_path": "PromptCorpus", "init_args": data}}))
    return [
        "pseudo-label", str(tmp_path / "labels.jsonl"), "--config", str(config),
        f"--teacher.name={teacher}", "--sampling.max_new_tokens=9", "--sampling.temperature=1.0",
        "--keep.max_repetition=1",
    ]  # fmt: skip


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_what_the_teacher_writes_becomes_a_corpus(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*options, "--keep.ended=false"]) == 0
    found = lines(tmp_path / "labels.jsonl")
    assert {line["language"] for line in found} == {"xx", "yy"}
    assert {line["prompt"] for line in found} <= {
        row["q"] for offset in (0, 1000) for row in prompted.rows(20, offset)
    }
    assert all(line["response"] and line["sureness"] < 0 <= line["wer"] for line in found)
    printed = capsys.readouterr().out
    assert f"kept {sum(line['language'] == 'xx' for line in found)}" in printed
    data = {"class_path": "PromptCorpus", "init_args": {
        "sources": [{"files": "labels.jsonl", "language_column": "language"}],
        "data_dir": str(tmp_path), "tokenizer": str(tmp_path / "teacher"),
    }}  # fmt: skip
    (tmp_path / "read.yaml").write_text(json.dumps({"data": data}))
    assert main(["preview", "--config", str(tmp_path / "read.yaml"), "--examples=1"]) == 0
    assert found[0]["response"] in capsys.readouterr().out


def test_filters_drop_what_they_say(options: list[str], tmp_path: Path) -> None:
    assert main([*options, "--keep.ended=false"]) == 0
    every = lines(tmp_path / "labels.jsonl")
    middle = sorted(line["chrf"] for line in every)[len(every) // 2]
    assert main([*options, "--keep.ended=false", f"--select.min_chrf={middle}"]) == 0
    assert lines(tmp_path / "labels.jsonl") == [line for line in every if line["chrf"] >= middle]
    wer = sorted(line["wer"] for line in every)[len(every) // 2]
    assert main([*options, "--keep.ended=false", f"--select.max_wer={wer}"]) == 0
    assert lines(tmp_path / "labels.jsonl") == [line for line in every if line["wer"] <= wer]
    assert main([*options, "--keep.ended=false", "--select.best_share=0.25"]) == 0
    best = lines(tmp_path / "labels.jsonl")
    for language in ("xx", "yy"):
        own = sorted(l["sureness"] for l in every if l["language"] == language)  # noqa: E741
        kept = sorted(l["sureness"] for l in best if l["language"] == language)  # noqa: E741
        assert kept == own[-len(kept) :]
        assert len(kept) == -(-len(own) // 4)


def test_how_sure_the_teacher_was_is_the_mean_over_its_tokens(
    options: list[str], tmp_path: Path
) -> None:
    assert main([*options, "--sampling.max_new_tokens=1", "--sampling.temperature=0",
                 "--keep.ended=false"]) == 0  # fmt: skip
    model = GPT2LMHeadModel.from_pretrained(tmp_path / "teacher").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "teacher")
    for line in lines(tmp_path / "labels.jsonl")[:5]:
        ids = tokenizer(line["prompt"], return_tensors="pt")["input_ids"]
        with torch.no_grad():
            best = model(ids).logits[0, -1].log_softmax(-1).max().item()
        assert line["sureness"] == pytest.approx(best, abs=1e-4)


def test_nothing_left_is_said_and_the_old_file_stays(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "labels.jsonl").write_text("old")
    assert main([*options, "--keep.ended=false", "--select.min_chrf=100"]) == 2
    assert "No text is left of" in capsys.readouterr().err
    assert (tmp_path / "labels.jsonl").read_text() == "old"


def test_word_error_rate() -> None:
    wanted = ["the", "old", "river", "runs"]
    for words, rate in (
        ("the old river runs", 0), ("the river runs", 0.25), ("the old old river runs", 0.25),
        ("a new river", 0.75), ("", 1), ("a b c d e f", 1.5),
    ):  # fmt: skip
        assert word_error_rate(words.split(), wanted) == rate
