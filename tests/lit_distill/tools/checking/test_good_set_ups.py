"""Set-ups that are sound: `check` warns of nothing."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import pytest
from checking import Check, decoder, informed, prompts, said
from labelled import classifier, write
from transformers import AutoTokenizer, BertConfig, BertForMaskedLM

from data_modules import PhrasebookCorpus
from lit_distill.__main__ import main

pytestmark = pytest.mark.rotated(4)  # each is a short run


def labelled_texts(folder: Path, model: Path) -> list[str]:
    """Options of fine-tuning a classifier on texts of three labels."""
    things = ["river", "cat", "books"]
    rows = [{"text": f"the {things[i % 3]} and {i}", "label": "abc"[i % 3]} for i in range(200)]
    write(folder / "train.jsonl", rows)
    source = '[{"language": "en", "files": "train.jsonl"}]'
    return [
        *("-c", "methods/fine_tune", "--data=LabelledCorpus", f"--data.sources={source}"),
        *("--data.data_dir", str(folder), "--data.holdout", "2", "--data.batch_tokens", "128"),
        *("--data.cache_dir", str(folder / "cache"), "--data.max_length", "32"),
        *("--model.student", "PretrainedStudent", "--model.student.name", str(model)),
    ]


def is_good(found: dict[str, object]) -> None:
    assert found["code"] == 0, found["findings"]
    assert found["time"]["run"] > 0  # type: ignore[index]
    assert found["samples"]


@pytest.mark.parametrize(
    "more",
    [
        [],
        ["-c", "methods/hidden_states"],
        ["-c", "methods/minilm_v2", "--model.relation_heads", "4",
         "--trainer.accumulate_grad_batches", "2"],
        ["--data.sampler=Temperature", "--data.sampler.temperature=2"],
        ["--trainer.precision", "bf16-mixed"],
        ["--check.updates", "12", "--check.seconds", "0.01"],
    ],
    ids=["masked texts", "hidden states", "relations", "a mixture of languages",
         "mixed precision", "no time for all updates"],
)  # fmt: skip
def test_an_encoder_that_learns_from_its_teacher(more: list[str], check: Check) -> None:
    is_good(check(*more))


def test_a_masked_language_model_alone(check: Check, teacher: Path) -> None:
    own = ["--model.student", "PretrainedStudent", "--model.student.name", str(teacher)]
    is_good(check("-c", "methods/masked_lm", *own))


def test_a_classifier(check: Check, teacher: Path, tmp_path: Path) -> None:
    start = classifier(teacher, tmp_path / "model", ["a", "b", "c"])
    is_good(check(*labelled_texts(tmp_path, start)))


def test_a_decoder_on_its_own_text(check_prompts: Check, writer: Path, tmp_path: Path) -> None:
    is_good(check_prompts())
    small = decoder(tmp_path / "small", n_layer=2)
    saved = ["--model.student", "PretrainedStudent", "--model.student.name", str(small)]
    is_good(check_prompts(*saved, "--model.student.surgeries=[LoRA]"))
    plain = '[{"files": "qa.jsonl", "language": "en", "prompt": "{q}\\n", "response": "{a}"}]'
    options = [*prompts(tmp_path, writer)[:8], "--data.rendering=PlainText"]
    is_good(check_prompts(*options, f"--data.sources={plain}"))


def test_the_quickstart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its teacher, and the student of one that knows its text, on a part of its sentences."""
    few = ["--data.sentences_per_language", "400", "--data.cache_dir", str(tmp_path / "cache")]
    few += ["--data.validation_sentences", "60"]
    corpus, tokenizer = ["-c", "quickstart/corpus", *few], tmp_path / "tokenizer"
    size = ["--vocab_size", "1000", "--output", str(tokenizer)]
    assert main(["train-tokenizer", *corpus, *size]) == 0
    start = ["-c", "trainer/cpu", "-c", "methods/masked_lm", *corpus, "-c", "quickstart/teacher"]
    is_good(said([*start, "--tokenizer", str(tokenizer)], tmp_path / "run", capsys))

    known = AutoTokenizer.from_pretrained(tokenizer)
    shape = json.loads('{"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}')
    model = BertForMaskedLM(BertConfig(vocab_size=len(known), **shape, num_hidden_layers=4))
    model.config.pad_token_id = known.pad_token_id
    model.save_pretrained(tokenizer)
    data = PhrasebookCorpus(tokenizer=str(tokenizer), sentences_per_language=400)
    informed(tokenizer, (str(row) for one in data.texts() for row in islice(_rows(one), 400)))
    student = ["-c", "trainer/cpu", "-c", "methods/triple_loss", *corpus, "-c"]
    student += ["quickstart/student", "--model.teacher.name", str(tokenizer)]
    is_good(said(student, tmp_path / "run", capsys))


def _rows(texts):
    return (row for reader in texts.train for row in reader.rows())
