"""Folders become ONNX files that compute the same, and damaged files are refused."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from delivered import as_embedder, damaged, delivered, folder_of, made, requested
from labelled import LABELS
from onnx import numpy_helper
from transformers import AutoTokenizer

from lit_distill.__main__ import main
from lit_distill.errors import UserError
from lit_distill.files.output_folders import check_output
from lit_distill.models import ANATOMIES, Anatomy, Predicted
from lit_distill.tools.delivering import deliver as delivering
from lit_distill.tools.delivering.deliver import KIND, measured
from lit_distill.tools.delivering.deliverables.choices import Gate, Int8Spec, OnnxSpec
from lit_distill.tools.delivering.deliverables.deliverable import open_deliverable
from lit_distill.tools.delivering.gate.examples import EDGES, held_texts, read
from lit_distill.tools.delivering.gate.running import TorchRunner
from lit_distill.tools.delivering.gate.scores import Score

pytestmark = pytest.mark.rotated(5)  # an export takes half a minute

Writes = Callable[[Any, Path], None]


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Puts a file in the place of what the exporter would write."""

    def use(path: Path) -> None:
        monkeypatch.setattr(delivering, "write_onnx", lambda what, to: shutil.copy(path, to))

    return use


def options(text_folder: Path) -> list[str]:
    return [f"--texts.{one}={text_folder}/{one}.txt" for one in ("en", "de")] + ["--gate.texts=9"]


def test_a_folder_becomes_onnx_and_int8(
    tiny_bert: Path,
    bert_file: Path,
    text_folder: Path,
    writes: Callable[[Path], None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import onnxruntime

    writes(bert_file)
    out = tmp_path / "out"
    args = ["export", str(tiny_bert), "--output", str(out), *options(text_folder)]
    assert main([*args, "--format", "onnx"]) == 0
    assert main([*args, "--format", "onnx-int8"]) == 0  # replaces its own
    printed = capsys.readouterr().out
    card = (out / "README.md").read_text("utf-8")
    for row in ("| float32 | en | 9 |", "| int8 | de | 9 |", f"| int8 | {EDGES} | 3 |"):
        assert row in printed
        assert row in card
    assert "first 9 texts of each language of files that were given (en: en.txt" in card
    for timed in ("| torch | ", "| float32 | ", "| int8 | "):
        assert f"\n{timed}" in printed.partition("alone")[2]
    numbers = json.loads((out / "parity.json").read_text())
    assert numbers["parities"]["float32"]["en"]["difference"] < 1e-5
    assert 1e-4 < numbers["parities"]["int8"]["en"]["difference"] < 1
    tokenizer, session = (
        AutoTokenizer.from_pretrained(out),
        onnxruntime.InferenceSession(str(out / "model.onnx")),
    )
    read = tokenizer(["the cat"], return_tensors="np")
    (logits,) = session.run(None, {one.name: read[one.name] for one in session.get_inputs()})
    assert logits.shape == (1, read["input_ids"].shape[1], len(tokenizer))
    check_output(out, kind=KIND)
    with pytest.raises(UserError, match="did not write"):
        check_output(out)


@pytest.mark.parametrize("damage", ["swapped head", "transposed weight"])
def test_a_damaged_file_is_refused_with_its_table(
    damage: str,
    tiny_bert: Path,
    bert_file: Path,
    text_folder: Path,
    writes: Callable[[Path], None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    writes(damaged(bert_file, damage, tmp_path / "damaged.onnx"))
    args = ["export", str(tiny_bert), "--format=onnx", *options(text_folder)]
    assert main([*args, "--output", str(tmp_path / "out")]) == 2
    printed = capsys.readouterr()
    assert re.search(r"\| float32 \| en \| 9 \| \d[.\d]* \| [01]\.\d+ \|", printed.out)
    assert "is refused, and nothing was written: float32 en: largest difference" in printed.err
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".*"))
    writes(damaged(bert_file, "nothing", tmp_path / "whole.onnx"))
    assert main([*args, "--output", str(tmp_path / "out")]) == 0


def test_int8_beyond_its_bounds_is_refused_and_told_apart(
    tiny_bert: Path,
    bert_file: Path,
    text_folder: Path,
    writes: Callable[[Path], None],
    tmp_path: Path,
) -> None:
    writes(bert_file)
    strict = ["--gate.int8_worst_kl=1e-9", "--gate.int8_kl=1e-9"]
    args = ["export", str(tiny_bert), f"--output={tmp_path}/out", *options(text_folder), *strict]
    assert main([*args, "--format=onnx"]) == 0
    with pytest.raises(UserError, match=r"int8 en: KL .* Float32 would pass: take --format onnx"):
        delivered(
            tiny_bert,
            tmp_path / "other",
            text_folder,
            int8=Int8Spec(),
            gate=Gate(texts=9, int8_worst_kl=1e-9),
        )
    assert not (tmp_path / "other").exists()


def test_a_length_that_is_written_in_stone_is_refused(
    tiny_bert: Path,
    bert_file: Path,
    text_folder: Path,
    writes: Callable[[Path], None],
    tmp_path: Path,
) -> None:
    model = onnx.load(bert_file)
    for one in model.graph.input:
        one.type.tensor_type.shape.dim[1].dim_value = 7
    onnx.save(model, tmp_path / "stone.onnx")
    writes(tmp_path / "stone.onnx")
    with pytest.raises(UserError, match=r"refused, .*the file cannot be run on input_ids \(4, "):
        delivered(tiny_bert, tmp_path / "out", text_folder)
    assert not (tmp_path / "out").exists()


def test_accuracy_that_is_lost_is_refused(
    tiny_classifier: Path, text_folder: Path, tmp_path: Path
) -> None:
    """The model itself, with another one in the place of its file."""
    path = tmp_path / "rows.jsonl"
    what = open_deliverable(tiny_classifier, OnnxSpec(), "it")
    lines = (text_folder / "de.txt").read_text().splitlines()[:9]
    right = [int(rows.argmax()) for rows in TorchRunner(what).rows(read(what, lines))]
    rows = [{"text": t, "label": LABELS[n]} for t, n in zip(lines, right, strict=True)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    request = requested(text_folder, labelled={"de": str(path)}, gate=Gate(3, 99, 0))
    held = held_texts(request.texts, 3)
    made(tiny_classifier, tmp_path / "model.onnx")
    found = measured(what, {"float32": tmp_path / "model.onnx"}, request, held)
    assert found.scores["de"] == Score(9, 1.0, {"float32": 1.0})
    model = onnx.load(tmp_path / "model.onnx")
    (head,) = (one for one in model.graph.initializer if one.name == "model.classifier.bias")
    head.CopyFrom(numpy_helper.from_array(np.float32([0, 0, 9]), head.name))
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(UserError, match="float32 de: lost accuracy"):
        measured(what, {"float32": tmp_path / "other.onnx"}, request, held)


@pytest.mark.rotated(6)
@pytest.mark.parametrize("pooling", ["mean", "first", "last"])
def test_embedders_pool_inside_and_another_pooling_is_refused(
    pooling: Any, tiny_bert: Path, text_folder: Path, tmp_path: Path
) -> None:
    body = next(row for row in ANATOMIES if row.architecture == "BertModel")
    folder = as_embedder(folder_of(body, tiny_bert, tmp_path / "body"))
    path = tmp_path / "model.onnx"
    made(folder, path, OnnxSpec(pooling=pooling))
    request = requested(text_folder)
    texts = held_texts(request.texts, 9)
    right = open_deliverable(folder, OnnxSpec(pooling=pooling), "it")
    row = measured(right, {"float32": path}, request, texts).parities["float32"]["de"]
    assert row.difference < 1e-5
    assert row.similarity == pytest.approx(1)
    assert row.agreement == 1
    other = "first" if pooling == "mean" else "mean"
    with pytest.raises(UserError, match=r"refused, .*: float32 en: largest difference"):
        measured(
            open_deliverable(folder, OnnxSpec(pooling=other), "it"),  # type: ignore[arg-type]
            {"float32": path},
            request,
            texts,
        )


def row_of(architecture: str, predicts: Predicted = Predicted.TOKENS) -> Anatomy:
    return next(
        row for row in ANATOMIES if (row.architecture, row.predicts) == (architecture, predicts)
    )


HEADS = [
    row_of(name, predicts)
    for name, predicts in (
        ("BertForMaskedLM", Predicted.TOKENS),
        ("DistilBertForMaskedLM", Predicted.TOKENS),
        ("XLMRobertaForMaskedLM", Predicted.TOKENS),
        ("ModernBertForMaskedLM", Predicted.TOKENS),
        ("BertForSequenceClassification", Predicted.TEXT_LABELS),
        ("BertForSequenceClassification", Predicted.TEXT_VALUE),
        ("DistilBertForTokenClassification", Predicted.TOKEN_LABELS),
        ("XLMRobertaForMultipleChoice", Predicted.CHOICES),
        ("BertForQuestionAnswering", Predicted.SPANS),
        ("ModernBertForSequenceClassification", Predicted.TEXT_LABELS),
        ("GPT2LMHeadModel", Predicted.TOKENS),
        ("LlamaForCausalLM", Predicted.TOKENS),
        ("LlamaForSequenceClassification", Predicted.TEXT_LABELS),
        ("T5ForConditionalGeneration", Predicted.TOKENS),
        ("BartForConditionalGeneration", Predicted.TOKENS),
        ("MarianMTModel", Predicted.TOKENS),
    )
]
WRITERS = ["gpt2", "llama", "gemma2", "mistral", "qwen3"]


@pytest.mark.rotated(32)
@pytest.mark.parametrize("row", HEADS, ids=lambda row: f"{row.architecture}-{row.predicts.name}")
def test_heads_of_any_kind_compute_the_same(
    row: Anatomy, tiny_bert: Path, text_folder: Path, tmp_path: Path
) -> None:
    pads = {"pad_token_id": 0} if row.model_type in ("roberta", "xlm-roberta") else {}
    folder = folder_of(row, tiny_bert, tmp_path / "model", **pads)
    found = delivered(folder, tmp_path / "out", text_folder)
    for language, parity in found.parities["float32"].items():
        assert parity.difference < 2e-5, language
        assert parity.agreement in (1, None)
        assert (parity.agreement is None) == (row.predicts == Predicted.TEXT_VALUE)


@pytest.mark.rotated(10)
@pytest.mark.parametrize("kind", WRITERS)
def test_decoders_go_on_from_keys_and_values(
    kind: str, tiny_bert: Path, text_folder: Path, tmp_path: Path
) -> None:
    folder = folder_of(kind, tiny_bert, tmp_path / "model")
    found = delivered(folder, tmp_path / "out", text_folder, onnx=OnnxSpec(cache=True))
    assert max(one.difference for one in found.parities["float32"].values()) < 2e-5
    assert "`present.LAYER.key`" in (tmp_path / "out/README.md").read_text("utf-8")
    assert np.isfinite(found.latencies["float32"].alone)
