"""`check` names planted mistakes with their remedies, and has nothing to say of good set-ups."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from checking import Check
from conftest import sentences
from labelled import classifier, write
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
)

from lit_distill.__main__ import main

pytestmark = pytest.mark.rotated(4)  # each is a short run

Planted = Callable[[Path, Path], list[str]]
"""From the good teacher and an empty folder: options that make the mistake."""


def another(teacher: Path, folder: Path, **changed: Any) -> Path:
    """A copy of the teacher with another config, and random weights."""
    shutil.copytree(teacher, folder)
    config = BertConfig.from_pretrained(teacher)
    config.update(changed)
    BertForMaskedLM(config).save_pretrained(folder)
    return folder


def with_tokenizer(teacher: Path, folder: Path, change: Callable[[Any], Any]) -> list[str]:
    """Another tokenizer beside the same vocabulary size or more."""
    tokenizer = AutoTokenizer.from_pretrained(teacher)
    change(tokenizer)
    tokenizer.save_pretrained(folder / "tokenizer")
    return ["--tokenizer", str(folder / "tokenizer")]


def one_special_token(teacher: Path, folder: Path) -> list[str]:
    return with_tokenizer(teacher, folder, lambda t: t.add_special_tokens({"sep_token": "</s>"}))


def short_positions(teacher: Path, folder: Path) -> list[str]:
    short = another(teacher, folder / "short", max_position_embeddings=16)
    return ["--model.teacher.name", str(short)]


def few_rows(teacher: Path, folder: Path) -> list[str]:
    small = another(teacher, folder / "small", vocab_size=60)
    return ["--model.teacher.name", str(small), "--tokenizer", str(teacher)]


def empty_language(teacher: Path, folder: Path) -> list[str]:
    (folder / "en.txt").write_text("the river and children\n" * 3 + "read long books daily\n" * 3)
    (folder / "de.txt").write_text("")
    return ["--data.data_dir", str(folder)]


def broken_rows(teacher: Path, folder: Path) -> list[str]:
    lines = [json.dumps({"body": f"the river {i}"}) for i in range(50)]
    (folder / "en.jsonl").write_text("\n".join(lines))
    source = '[{"language": "en", "files": "en.jsonl"}]'
    return ["--data.data_dir", str(folder), f"--data.sources={source}"]


def long_texts(teacher: Path, folder: Path) -> list[str]:
    words = ["the", "river", "and", "children", "read", "long", "books", "daily", "cats", "sleep"]
    rows = [{"text": " ".join(words * 6) + f" {i}", "label": "ab"[i % 2]} for i in range(120)]
    write(folder / "train.jsonl", rows)
    return [
        *labelled(folder, classifier(teacher, folder / "model", ["a", "b"])),
        "--data.max_length",
        "16",
    ]


def labelled(folder: Path, model: Path, teacher: Path | None = None) -> list[str]:
    """Options of fine-tuning on train.jsonl."""
    source = '[{"language": "en", "files": "train.jsonl"}]'
    made = [
        *("-c", "methods/fine_tune", "--data=LabelledCorpus", f"--data.sources={source}"),
        *("--data.data_dir", str(folder), "--data.holdout", "2", "--data.batch_tokens", "128"),
        *("--data.cache_dir", str(folder / "cache"), "--data.max_length", "32"),
        *("--model.student", "PretrainedStudent", "--model.student.name", str(model)),
    ]
    return made + (["--model.teacher.name", str(teacher)] if teacher else [])


def shifted_labels(teacher: Path, folder: Path) -> list[str]:
    """The teacher is right about every text, and its labels stand one further."""
    tokenizer = AutoTokenizer.from_pretrained(teacher)
    place = classifier(teacher, folder / "model", ["a", "b", "c"])
    model = BertForSequenceClassification.from_pretrained(place).eval()
    texts = list(dict.fromkeys(sentences("en", 200, seed=5)))
    with torch.no_grad():
        read = tokenizer(texts, padding=True, truncation=True, max_length=32, return_tensors="pt")
        model.classifier.bias -= model(**read).logits.mean(0)  # so that it says all three
        chosen = model(**read).logits.argmax(-1).tolist()
    model.save_pretrained(place)
    labels = ["abc"[(one + 1) % 3] for one in chosen]
    rows = [{"text": text, "label": label} for text, label in zip(texts, labels, strict=True)]
    write(folder / "train.jsonl", rows)
    start = classifier(teacher, folder / "start", ["a", "b", "c"], seed=2)
    soft = "{kd: {loss: {class_path: ForwardKL}, weight: 1.0}}"
    return [*labelled(folder, start, place), f"--model.soft={soft}"]


def given(*options: str) -> Planted:
    """A mistake that is typed."""
    return lambda teacher, folder: [*options]


MISTAKES: dict[str, tuple[Planted, str, str]] = {
    "one special token differs": (one_special_token, "error", r"use the tokenizer"),
    "the teacher's positions end earlier": (short_positions, "error", r"max_length.* 16"),
    "a table with too few rows": (few_rows, "error", r"60 vocabulary rows .* use the tokenizer"),
    "no text in one language": (empty_language, "error", r"de.txt|no .*text"),
    "another column": (broken_rows, "error", r"Name one of these in the source"),
    "texts longer than the window": (long_texts, "warning", r"longer than 16 .*--data.max_length"),
    "labels in another order": (shifted_labels, "warning", r"another order: .*a as b"),
    "a teacher that knows nothing": (
        lambda teacher, folder: ["--model.teacher.name", str(another(teacher, folder / "random"))],
        *("warning", r"knows nothing of this text"),
    ),
    "a rate a hundred times too high": (
        given("--model.optimizer.lr", "0.1"),
        *("warning", r"rate is 0.1; .*--model.optimizer"),
    ),
    "a rate a million times too low": (
        given("--model.optimizer.lr", "1e-9"),
        *("warning", r"rate is 1e-09"),
    ),
    "a run that reads its text too often": (
        given("--trainer.max_steps", "100000"),
        *("warning", r"again and again: .*Fewer"),
    ),
    "a run that takes weeks": (
        given("--check.days", "1e-6"),
        *("warning", r"would take .* here. .*cache-teacher"),
    ),
    "more memory than there is": (
        given("--check.memory_gib", "0.2"),
        *("error", r"takes about .* there are 205 MiB"),
    ),
    "a student as large as its teacher": (
        given("--model.student.num_layers", "4"),
        *("warning", r"nothing becomes smaller"),
    ),
    "no such model": (
        lambda teacher, folder: ["--model.teacher.name", str(folder / "none")],
        *("error", r"none"),
    ),
    "an option that there is not": (
        given("--model.temprature", "3"),
        *("error", r"temprature.*did you mean"),
    ),
    "a method of prompts on texts": (
        given("-c", "methods/gkd"),
        *("error", r"GKD reads .*use a PromptCorpus"),
    ),
    "an objective of decoders": (
        given("--data.objective", "NextToken"),
        *("error", r"sees the next token"),
    ),
    "a validation that never comes": (
        given("--trainer.check_val_every_n_epoch", "1"),
        *("error", r"val_check_interval is 20"),
    ),
    "a run without an end": (given("--trainer.max_steps", "-1"), "error", r"has no end"),
}


@pytest.mark.parametrize(("plant", "level", "said"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_planted_mistake_is_named_with_its_remedy(
    plant: Planted, level: str, said: str, check: Check, teacher: Path, tmp_path: Path
) -> None:
    (tmp_path / "planted").mkdir()
    found = check(*plant(teacher, tmp_path / "planted"))
    texts = {f"{one['text']} {one['remedy']}".strip(): one["level"] for one in found["findings"]}
    named = {text: its for text, its in texts.items() if re.search(said, text)}
    assert level in named.values(), texts
    assert found["code"] == max(
        {"error": 2, "warning": 1, "note": 0}[its] for its in texts.values()
    )


def test_the_page_lists_each_of_them() -> None:
    text = (Path(__file__).parents[4] / "docs/check.md").read_text("utf-8")
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \|$", text.partition("of our own making")[2], re.M)
    assert rows == [*MISTAKES]


def test_numbers_are_those_of_the_run(check: Check) -> None:
    """Of the whole run: the rehearsal is shorter."""
    found = check("--trainer.max_steps", "200", "--trainer.val_check_interval", "50")
    assert (found["time"]["updates"], found["time"]["validations"]) == (200, 4)
    weights = found["memory"]["weights"] // 4
    assert found["memory"]["states"] // 8 <= found["memory"]["gradients"] // 4 + 100 < weights
    assert found["disk"]["run_folder"] > 4 * found["disk"]["checkpoint"] > 0


def test_what_ranks_take_is_less_than_one_alone(check: Check) -> None:
    alone = check()["memory"]
    split = check("-c", "trainer/fsdp", "--trainer.devices", "4", "--trainer.accelerator", "cpu")[
        "memory"
    ]
    assert split["states"] == alone["states"] // 4
    assert split["copies"] > 0


def test_people_read_tables_and_sentences(
    check: Check, teacher: Path, tiny_corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["check", "-c", "trainer/cpu", "-c", "methods/triple_loss", "-c", "models/half",
              "-c", "optimizers/small_model", "-c", "data/multilingual_folder",
              "-c", str(tiny_corpus),
              "--model.teacher.name", str(teacher), "--model.optimizer.lr", "0.1",
              "--run_dir", str(tiny_corpus.parent / "run")])  # fmt: skip
    assert end.value.code == 1
    shown = capsys.readouterr().out
    assert "in all, per rank" in shown
    assert "warning learning rate: The highest learning rate is 0.1" in shown
    assert "val after" not in shown
