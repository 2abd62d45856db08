"""Weights in pieces on two ranks (FSDP2): captured projections give what whole weights give."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from ranks import on_two_ranks
from torch import Tensor, distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from lit_distill.batch import Batch
from lit_distill.models import LanguageModel, Site, shard

SITES = {
    "projections alone": [Site("query", 1), Site("value", 1), Site("key", 0)],
    "with a hidden state": [Site("hidden", 2), Site("value", 2)],
}


def loss(model: LanguageModel, batch: Batch, sites: list[Site]) -> Tensor:
    captured = model.encode(batch, capture=sites).captured
    assert list(captured) == sites
    return torch.stack([captured[site].sin().sum() for site in sites]).sum()


@pytest.mark.parametrize("sites", SITES.values(), ids=SITES)
@pytest.mark.parametrize("family", ["bert", "gpt2", "llama"])
def test_captures_have_the_gradients_of_whole_weights(
    family: str,
    sites: list[Site],
    make_model: Callable[..., PreTrainedModel],
    make_batch: Callable[..., Batch],
    tmp_path: Path,
) -> None:
    whole = LanguageModel(make_model(family))
    batch = make_batch(whole)
    expected = loss(whole, batch, sites)
    expected.backward()

    def work() -> None:
        distributed.init_process_group("gloo")
        names = ("data_parallel", "tensor_parallel")
        pieces = LanguageModel(make_model(family))
        shard(pieces, init_device_mesh("cpu", (2, 1), mesh_dim_names=names))
        found = loss(pieces, batch, sites)
        torch.testing.assert_close(found, expected)
        found.backward()
        for (name, ours), theirs in zip(pieces.named_parameters(), whole.parameters(), strict=True):
            grad = ours.grad.full_tensor() if isinstance(ours.grad, DTensor) else ours.grad
            wanted = None if theirs.grad is None else theirs.grad
            if wanted is None:
                assert grad is None or not grad.any(), name
            else:
                assert grad is not None, name
                torch.testing.assert_close(grad, wanted, rtol=1e-5, atol=1e-5, msg=name)
        distributed.destroy_process_group()

    on_two_ranks(work, tmp_path / "log.txt")
