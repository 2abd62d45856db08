"""Folders of tiny models that are exported, and damage to what was made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from architectures import random_model
from onnx import numpy_helper
from transformers import AutoTokenizer

from lit_distill.models import Anatomy
from lit_distill.tools.delivering.deliver import deliver
from lit_distill.tools.delivering.deliverables.choices import Gate, Request
from lit_distill.tools.delivering.deliverables.deliverable import (
    Deliverable,
    OnnxSpec,
    open_deliverable,
)
from lit_distill.tools.delivering.making.onnx_export import write_onnx


def folder_of(kind: str | Anatomy, tokenizer: Path, folder: Path, **changes: Any) -> Path:
    """Saves a random model that reads the tokens of a tokenizer, which lies beside it."""
    opened = AutoTokenizer.from_pretrained(tokenizer)
    opened.save_pretrained(folder)
    model = random_model(kind, **{"vocab_size": len(opened), **changes})
    if model.config.pad_token_id is None:  # by which decoders find the last token
        model.config.pad_token_id = opened.pad_token_id
    model.save_pretrained(folder)
    return folder


def as_embedder(folder: Path, pooling: str = "mean_tokens", normalized: bool = True) -> Path:
    """Writes what sentence-transformers writes beside a body."""
    kinds = ["Transformer", "Pooling", *(["Normalize"] if normalized else [])]
    modules = [
        {"idx": n, "name": str(n), "path": f"{n}_{kind}" if n else "", "type": f"st.models.{kind}"}
        for n, kind in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    flags = {f"pooling_mode_{one}": one == pooling for one in ("mean_tokens", "cls_token")}
    (folder / "1_Pooling/config.json").write_text(json.dumps(flags))
    return folder


def requested(text_folder: Path, **more: Any) -> Request:
    """An export that is compared on a few texts of two languages."""
    files = {language: str(text_folder / f"{language}.txt") for language in ("en", "de")}
    return Request(**{"texts": files, "gate": Gate(texts=9), **more})


def made(folder: Path, path: Path, spec: OnnxSpec = OnnxSpec()) -> Deliverable:  # noqa: B008
    """Writes the ONNX file of a folder; the model as it is opened afterwards."""
    write_onnx(open_deliverable(folder, spec, "it"), path)
    return open_deliverable(folder, spec, "it")


def damaged(path: Path, damage: str, place: Path) -> Path:
    """A file of tiny BERT in which the head is another one, a matrix transposed, or both whole."""
    model = onnx.load(path)
    weights = {one.name: one for one in model.graph.initializer}
    products = [n for n in model.graph.node if n.op_type == "MatMul" and n.input[1] in weights]
    number = {"swapped head": -1, "transposed weight": 0, "nothing": 0}[damage]
    found = weights[products[number].input[1]]
    value = numpy_helper.to_array(found)
    changed = {"swapped head": np.roll(value, 1, 1), "transposed weight": value.T}
    new = numpy_helper.from_array(np.ascontiguousarray(changed.get(damage, value)), found.name)
    found.CopyFrom(new)
    onnx.save(model, place)
    return place


def delivered(folder: Path, output: Path, text_folder: Path, **more: Any) -> Any:
    """What was measured of an export that the gate lets through."""
    return deliver(folder, output, requested(text_folder, **more), "it")
