"""Outputs of each text, without its padding: of the model alone, of a file in batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from delivered import as_embedder, folder_of
from transformers import AutoModel, AutoModelForMaskedLM

from lit_distill.errors import UserError
from lit_distill.models import ANATOMIES
from lit_distill.tools.delivering.deliverables.choices import OnnxSpec
from lit_distill.tools.delivering.deliverables.deliverable import open_deliverable
from lit_distill.tools.delivering.gate.examples import read
from lit_distill.tools.delivering.gate.running import OnnxRunner, TorchRunner

pytestmark = pytest.mark.rotated(4)  # an export takes half a minute

TEXTS = ["the cat sleeps", "der", "children read long books daily"]


@pytest.mark.parametrize("pooling", ["mean", "first", "last"])
def test_the_model_pools_each_text_alone(pooling: Any, tiny_bert: Path, tmp_path: Path) -> None:
    row = next(row for row in ANATOMIES if row.architecture == "BertModel")
    folder = as_embedder(folder_of(row, tiny_bert, tmp_path / "body"))
    model = AutoModel.from_pretrained(folder)
    for normalized in (True, False):
        spec = OnnxSpec(pooling=pooling, normalized=normalized)
        what = open_deliverable(folder, spec, "it")
        for text, found in zip(TEXTS, TorchRunner(what).rows(read(what, TEXTS)), strict=True):
            with torch.no_grad():
                states = model(**what.tokenizer(text, return_tensors="pt")).last_hidden_state[0]
            right = {"mean": states.mean(0), "first": states[0], "last": states[-1]}[pooling]
            right = right / right.norm() if normalized else right
            assert np.allclose(found, right.numpy()[None], atol=1e-6)


def test_a_file_gives_each_text_its_own_positions(tiny_bert: Path, bert_file: Path) -> None:
    what = open_deliverable(tiny_bert, OnnxSpec(), "it")
    model = AutoModelForMaskedLM.from_pretrained(tiny_bert)
    examples = read(what, TEXTS)
    runners = (TorchRunner(what), OnnxRunner(what, bert_file))
    for text, one, other in zip(TEXTS, *(r.rows(examples) for r in runners), strict=True):
        with torch.no_grad():
            right = model(**what.tokenizer(text, return_tensors="pt")).logits[0].numpy()
        for found in (one, other):
            assert found.shape == right.shape
            assert np.allclose(found, right, atol=1e-5)


def test_a_file_that_does_not_run_is_no_crash(tiny_bert: Path, bert_file: Path) -> None:
    what = open_deliverable(tiny_bert, OnnxSpec(), "it")
    runner = OnnxRunner(what, bert_file)
    (long,) = read(what, [" ".join(["cat"] * 99)])
    long = {name: np.concatenate([values, values]) for name, values in long.items()}
    with pytest.raises(UserError, match=r"cannot be run on input_ids \(1, 64\)"):
        runner.rows([long])  # the model has 32 positions
