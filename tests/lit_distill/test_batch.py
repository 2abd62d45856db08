"""Kinds of batches: a method reads the keys of the kind that its signature names, and no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_type_hints

import pytest
import torch
from batches import Served, samples
from labelled import classifier, pairs
from labelled import collate as collate_labelled
from shipped_methods import CASES, METHODS, Shipped, build, quiet_trainer

from lit_distill.batch import (
    IGNORED,
    Batch,
    LabelledBatch,
    PairBatch,
    PromptBatch,
    Reading,
    TextBatch,
    batch_of_labels,
)
from lit_distill.training.distillation import Distillation

IDS = [f"{shipped.name}-{family}" for shipped, family in CASES]
KINDS = (TextBatch, PairBatch, PromptBatch, LabelledBatch)


def kind_of(method: type[Distillation]) -> Any:
    """The kind of batch that a method's signature names."""
    return get_type_hints(method.losses)["batch"]


class Watched(dict[str, Any]):
    """A batch that notes which of its keys are asked for."""

    def __init__(self, batch: Any, asked: set[str]) -> None:
        super().__init__(batch)
        self.asked = asked

    def __getitem__(self, key: str) -> Any:
        self.asked.add(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self.asked.add(key)
        return super().get(key, default)


def keys_read(method: Distillation, data: Served) -> set[str]:
    """The keys that `losses` asks for in one update."""
    asked: set[str] = set()
    own = method.losses
    method.losses = lambda batch, window: own(Watched(batch, asked), window)  # type: ignore[method-assign]
    quiet_trainer(max_steps=1).fit(method, datamodule=data)
    assert asked
    return asked


@pytest.mark.parametrize(("shipped", "family"), CASES, ids=IDS)
def test_a_method_reads_the_keys_of_its_kind(
    shipped: Shipped, family: str, tiny_models: dict[str, Path]
) -> None:
    kind = kind_of(shipped.method)
    made = shipped.batch(samples(4, 100), family)
    asked = keys_read(build(shipped, tiny_models[family]), Served([[made]]))
    assert not asked - {*kind.__annotations__}


@pytest.mark.parametrize("name", METHODS)
def test_methods_of_prompts_alone_name_batches_of_prompts(name: str) -> None:
    method = METHODS[name].method
    assert (kind_of(method) is PromptBatch) == (method.reads == (Reading.RESPONSES,))


def test_a_method_that_reads_labels_reads_what_every_batch_has(
    tiny_bert: Path, tmp_path: Path
) -> None:
    method = build(METHODS["supervised_kd"], classifier(tiny_bert, tmp_path))
    assert Reading.LABELS in method.reads
    asked = keys_read(method, Served([[collate_labelled(pairs(4))]]))
    assert not asked - {*kind_of(type(method)).__annotations__}


def test_every_kind_has_what_every_batch_has() -> None:
    for kind in KINDS:
        assert {*Batch.__annotations__} <= {*kind.__annotations__}
    views = {key for key in PairBatch.__annotations__ if key[:4] in ("src_", "tgt_")}
    assert {key[4:] for key in views} <= {*Batch.__annotations__}
    assert {key[4:] for key in views if key[0] == "s"} == {k[4:] for k in views if k[0] == "t"}


def test_batches_of_transformers_labels_are_batches_of_texts() -> None:
    ids = torch.tensor([[5, 6, 7]])
    labels = torch.tensor([[IGNORED, 9, IGNORED]])
    made = batch_of_labels(ids, torch.ones_like(ids), labels, [0])
    assert {*made} <= {*TextBatch.__annotations__}
    assert made["rows"].tolist() == [1]
    assert made["targets"].tolist() == [9]
