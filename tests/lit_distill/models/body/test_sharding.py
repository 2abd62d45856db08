"""Weights in pieces on two ranks (FSDP2): captures and teachers give what whole weights give."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from ranks import on_two_ranks
from torch import Tensor, distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from lit_distill.batch import Batch
from lit_distill.losses import ForwardKL, linear_losses
from lit_distill.models import Ensemble, LanguageModel, Site, TeacherSpec, shard, teach
from lit_distill.models.body import sharding

NAMES = ("data_parallel", "tensor_parallel")
SITES = {
    "projections alone": [Site("query", 1), Site("value", 1), Site("key", 0)],
    "with a hidden state": [Site("hidden", 2), Site("value", 2)],
    "embeddings and attention": [Site("embeddings"), Site("attention", 1)],
}


def loss(model: LanguageModel, batch: Batch, sites: list[Site]) -> Tensor:
    captured = model.encode(batch, capture=sites).captured
    assert list(captured) == sites
    return torch.stack([captured[site].sin().sum() for site in sites]).sum()


@pytest.mark.parametrize("sites", SITES.values(), ids=SITES)
@pytest.mark.parametrize("family", ["bert", "gpt2", "llama", "albert"])
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
        pieces = LanguageModel(make_model(family))
        shard(pieces, init_device_mesh("cpu", (2, 1), mesh_dim_names=NAMES))
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


def test_teachers_speak_where_their_weights_are_whole(
    make_model: Callable[..., PreTrainedModel],
    make_batch: Callable[..., Batch],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two teachers whose weights are given back after every call, and a student in pieces."""
    ensemble = Ensemble({"wider": TeacherSpec("wider")})

    def models() -> list[LanguageModel]:
        found = [LanguageModel(make_model("bert", hidden_size=w)) for w in (16, 32, 16)]
        for model in found[:2]:
            model.requires_grad_(False)
        return found

    def divergence(models: list[LanguageModel]) -> Tensor:
        *teachers, student = models
        rows = torch.tensor([0, 2, 3])
        states = student.encode(batch).rows(rows)
        (total,) = teach(teachers, ensemble, batch).with_signal(
            lambda signal: student.with_lm_head(
                lambda head: linear_losses([ForwardKL()], head, signal, None, [1.0]), states
            ),
            rows,
        )
        return total

    whole = models()
    batch = make_batch(whole[0])
    expected = divergence(whole)
    expected.backward()

    def work() -> None:
        distributed.init_process_group("gloo")
        monkeypatch.setattr(
            sharding,
            "fully_shard",
            lambda module, mesh, **_: fully_shard(module, mesh=mesh, reshard_after_forward=True),
        )
        pieces = models()
        for model in pieces:
            shard(model, init_device_mesh("cpu", (2, 1), mesh_dim_names=NAMES))
        found = divergence(pieces)
        torch.testing.assert_close(found, expected)
        found.backward()
        pairs = zip(pieces[-1].parameters(), whole[-1].parameters(), strict=True)
        for ours, theirs in pairs:
            assert isinstance(ours, DTensor)
            if theirs.grad is not None and ours.grad is not None:
                grad = ours.grad.full_tensor()  # type: ignore[attr-defined]
                torch.testing.assert_close(grad, theirs.grad, rtol=1e-5, atol=1e-5)
        assert all(isinstance(p, DTensor) for model in pieces for p in model.parameters())
        distributed.destroy_process_group()

    on_two_ranks(work, tmp_path / "log.txt")
