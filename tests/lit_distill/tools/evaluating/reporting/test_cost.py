"""What models cost: counted by formula, timed in turns, weighed in a process of their own."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, BertModel

from lit_distill.errors import UserError
from lit_distill.models import LanguageModel, TeacherSpec
from lit_distill.tools.evaluating.reporting import cost
from lit_distill.tools.evaluating.reporting.cost import CostSpec, flops_per_token, measure_costs

WIDTH, INNER, LAYERS = 16, 32, 4  # of the tiny models


@pytest.mark.parametrize("family", ["bert", "gpt2"])
@pytest.mark.parametrize("length", [8, 32])
def test_operations_are_those_of_the_formula(
    family: str, length: int, tiny_models: dict[str, Path]
) -> None:
    model = TeacherSpec(str(tiny_models[family])).build()
    inner = 4 * WIDTH if family == "gpt2" else INNER
    matrices = 4 * WIDTH * WIDTH + 2 * WIDTH * inner
    wanted = LAYERS * (2 * matrices + 4 * length * WIDTH)  # scores and sums of values
    assert flops_per_token(model, length) == wanted
    assert model.config._attn_implementation != "eager"  # as it was


def test_any_model_has_its_costs(
    tiny_models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A language model, a decoder, a classifier and a body."""
    monkeypatch.setattr(cost, "peak_memory", lambda folder, spec: (5, None))
    config = BertConfig.from_pretrained(tiny_models["bert"])
    torch.manual_seed(0)
    BertForSequenceClassification(config).save_pretrained(tmp_path / "classifier")
    BertModel(config, add_pooling_layer=False).save_pretrained(tmp_path / "body")
    folders = {**tiny_models, "classifier": tmp_path / "classifier", "body": tmp_path / "body"}
    models = {name: str(folder) for name, folder in folders.items()}
    found = measure_costs(models, CostSpec((4, 16, 64), (1, 3), seconds=1e-3))
    assert list(found) == list(models)
    for own in found.values():
        assert [(t.batch, t.length) for t in own.timings] == [(1, 4), (1, 16), (3, 4), (3, 16)]
        for timing in own.timings:
            assert 0 < timing.low <= timing.median <= timing.high
            tokens = 1e3 * timing.batch * timing.length / timing.median
            assert timing.tokens_per_second == pytest.approx(tokens)
        assert (own.peak_memory, own.peak_gpu_memory) == (5, None)
    body, bert = found["body"], found["bert"]
    tables = sum(p.numel() for n, p in _weights(models["body"]) if "embeddings." in n)
    norm = 2 * WIDTH
    assert body.without_embeddings == body.parameters - tables + norm
    assert bert.parameters > body.parameters  # its head
    head = WIDTH * WIDTH + WIDTH + norm + config.vocab_size  # transform, norm, bias; tied matrix
    assert bert.without_embeddings == body.without_embeddings + head
    assert body.disk == (tmp_path / "body" / "model.safetensors").stat().st_size
    pooler = 2 * WIDTH * WIDTH / 16  # reads one row of a text
    assert found["classifier"].flops_per_token == body.flops_per_token + pooler


def _weights(folder: str) -> list[tuple[str, torch.nn.Parameter]]:
    return list(TeacherSpec(folder).build(needs_head=False).named_parameters())


def test_models_are_timed_in_turns(tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (TeacherSpec(str(tiny_bert)).build() for _ in range(2))
    seen: list[str] = []

    def one(model: LanguageModel, inputs: object) -> float:
        seen.append("first" if model is first else "second")
        return 1.0

    monkeypatch.setattr(cost, "_one", one)
    found = cost._seconds({"first": first, "second": second}, 1, 4, 1e-9)
    assert found == {"first": [1.0] * 5, "second": [1.0] * 5}
    rounds = [tuple(seen[place : place + 2]) for place in range(2, len(seen), 2)]
    assert all(set(each) == {"first", "second"} for each in rounds)
    assert len(set(rounds)) == 2  # nobody is always first


@pytest.mark.rotated(4)  # it starts a process, which imports everything
def test_memory_is_that_of_a_process_of_its_own(tmp_path: Path) -> None:
    config = BertConfig(
        vocab_size=2000,
        hidden_size=512,
        num_hidden_layers=3,
        num_attention_heads=8,
        max_position_embeddings=32,
    )
    model = BertModel(config, add_pooling_layer=False)
    weights = 4 * sum(p.numel() for p in model.parameters())
    model.save_pretrained(tmp_path)
    mine = np.ones(80_000_000)  # 640 MB of this process, which are none of the model's
    peak, on_gpu = cost.peak_memory(str(tmp_path), CostSpec((8,), (2,), device="cpu"))
    del mine
    assert peak is not None
    assert weights < peak < 8 * weights
    assert on_gpu is None


def test_a_process_that_dies_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cost.sys, "executable", shutil.which("false"))
    assert cost.peak_memory("anything", CostSpec(device="cpu")) == (None, None)
    assert "anything is not known: it ended with code 1" in caplog.text


def test_settings_that_cannot_be() -> None:
    with pytest.raises(UserError, match="empty"):
        CostSpec(lengths=())
    with pytest.raises(UserError, match=r"CostSpec\.batches is 0"):
        CostSpec(batches=(0,))
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="sees no GPU"):
            CostSpec(device="cuda")
        assert CostSpec().place == "cpu"
