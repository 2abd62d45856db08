"""What is found out of a folder before anything is exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from delivered import as_embedder, folder_of

from lit_distill.errors import UserError
from lit_distill.models import ANATOMIES
from lit_distill.tools.delivering.deliverables.choices import OnnxSpec
from lit_distill.tools.delivering.deliverables.deliverable import (
    Deliverable,
    Embedding,
    open_deliverable,
)


@pytest.fixture
def body(tiny_bert: Path, tmp_path: Path) -> Path:
    """The folder of a BERT without a head."""
    row = next(row for row in ANATOMIES if row.architecture == "BertModel")
    return folder_of(row, tiny_bert, tmp_path / "body")


def opened(folder: Path, **spec: Any) -> Deliverable:
    return open_deliverable(folder, OnnxSpec(**spec), "it")


def test_sentence_transformers_say_how_they_pool(body: Path) -> None:
    assert opened(as_embedder(body)).embedding == Embedding("mean", True)
    assert opened(as_embedder(body, "cls_token", False)).embedding == Embedding("first", False)
    assert opened(body, pooling="last").embedding == Embedding("last", False)
    assert opened(body, normalized=True).embedding == Embedding("first", True)
    pooling = body / "1_Pooling/config.json"
    pooling.write_text(json.dumps({"pooling_mode": "lasttoken"}))
    assert opened(body).embedding == Embedding("last", False)
    assert opened(body).outputs == ["sentence_embedding"]


def test_pooling_that_cannot_be_made_is_refused(body: Path) -> None:
    as_embedder(body)
    pooling = body / "1_Pooling/config.json"
    for told in (
        {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True},
        {"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True},
        {"pooling_mode_max_tokens": True},
        {"pooling_mode": "max"},
        {},
    ):
        pooling.write_text(json.dumps(told))
        with pytest.raises(UserError, match="pools by"):
            opened(body)
    pooling.unlink()
    with pytest.raises(UserError, match=r"modules.json says of pooling cannot be read"):
        opened(body)
    (body / "modules.json").write_text(json.dumps([{"type": "x.Transformer", "path": ""}] * 2))
    with pytest.raises(UserError, match="lists Transformer, Transformer"):
        opened(body)


def test_pooling_is_never_guessed(body: Path) -> None:
    with pytest.raises(UserError, match=r"give --onnx\.pooling mean, first or last"):
        opened(body)
    assert opened(body, pooling="mean").embedding == Embedding("mean", True)


def test_a_model_with_a_head_can_be_an_embedder(tiny_bert: Path) -> None:
    assert opened(tiny_bert).outputs == ["logits"]
    assert opened(tiny_bert, pooling="mean").outputs == ["sentence_embedding"]


def test_keys_and_values_are_of_decoders(tiny_bert: Path, tiny_gpt2: Path) -> None:
    with pytest.raises(UserError, match="only decoders with a language-model head"):
        opened(tiny_bert, cache=True)
    names = opened(tiny_gpt2, cache=True).cached_names
    assert names[:3] == ["0.key", "0.value", "1.key"]
    assert len(names) == 8
    assert not opened(tiny_gpt2).cached_names


def test_an_encoder_decoder_makes_no_vectors(tiny_bert: Path, tmp_path: Path) -> None:
    folder = folder_of("t5", tiny_bert, tmp_path / "t5")
    assert opened(folder).inputs == ["input_ids", "attention_mask", "decoder_input_ids"]
    with pytest.raises(UserError, match="makes no vectors"):
        opened(folder, pooling="mean")
