"""Squared differences of relations against the scalar-loop oracle; what must not change them."""

from __future__ import annotations

from typing import Any, Literal

import pytest
import torch
from heads import Spy
from oracles.relations import Side
from oracles.relations import relation_mse as by_oracle
from oracles.triple_loss import gradient
from torch import Tensor

from lit_distill.losses import Relation, Visible, relation_mse

B, T, W, WIDE, HEADS = 2, 4, 4, 8, 2
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
SEGMENTS = torch.tensor([[1, 1, 2, 2], [1, 2, 0, 0]])
SIGHTS = {
    "padded": Visible(MASK),
    "packed": Visible(MASK, SEGMENTS),
    "causal": Visible(MASK, causal=True),
    "packed causal": Visible(MASK, SEGMENTS, causal=True),
}
BLOCKS = (1, 150, 400, 10**9)
Of = Literal["scores", "probabilities"]
EVERY_KIND = pytest.mark.parametrize("of", ["scores", "probabilities"])


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def sides() -> tuple[Relation, Relation]:
    """A student that wants gradients, and a wider teacher."""
    ours = [normal(B, T, W, seed=s).requires_grad_() for s in (1, 2)]
    return Relation(*ours), Relation(*(normal(B, T, WIDE, seed=s) for s in (3, 4)))


def nested(values: list[Any]) -> list[Any]:
    rows = [values[i : i + W] for i in range(0, len(values), W)]
    return [rows[i : i + T] for i in range(0, len(rows), T)]


@EVERY_KIND
@pytest.mark.parametrize("visible", SIGHTS.values(), ids=SIGHTS)
def test_values_and_gradients_equal_the_oracle_in_blocks_of_any_size(
    visible: Visible, of: Of
) -> None:
    student, teacher = sides()
    fixed = Side(*(x.tolist() for x in teacher), HEADS, HEADS)
    segments = None if visible.segments is None else visible.segments.tolist()
    sight = visible.mask.tolist(), segments, visible.causal

    def total(point: list[Any]) -> complex:
        parts = [nested(point[: B * T * W]), nested(point[B * T * W :])]
        return by_oracle(Side(*parts, HEADS, HEADS), fixed, HEADS, of, *sight)

    point = torch.cat([x.detach().flatten() for x in student if x is not None]).tolist()
    slopes = torch.tensor(gradient(total, point), dtype=torch.float64)
    wanted = total(point).real
    assert wanted > 0.01
    for block in BLOCKS:
        value = relation_mse(student, teacher, HEADS, visible, of, block)
        assert value.item() == pytest.approx(wanted, rel=1e-12)
        found = torch.cat([g.flatten() for g in torch.autograd.grad(value, list(student))])
        assert (found - slopes).norm() <= 1e-12 * slopes.norm()


@EVERY_KIND
def test_padding_is_no_query_and_no_key(of: Of) -> None:
    """Neither what stands there nor how much there is of it; a text of padding alone has no nan."""
    student, teacher = sides()
    value = relation_mse(student, teacher, HEADS, SIGHTS["padded"], of)
    slopes = torch.autograd.grad(value, list(student))
    longer = []
    for side in (student, teacher):
        real = [x.detach() * MASK.unsqueeze(-1) + 1e3 * (1 - MASK.unsqueeze(-1)) for x in side]
        more = [torch.cat([x, normal(B, 3, x.shape[-1])], 1) for x in real]
        longer.append([torch.cat([x, normal(1, T + 3, x.shape[-1])]) for x in more])
    mask = torch.zeros(B + 1, T + 3, dtype=torch.int64)
    mask[:B, :T] = MASK
    ours = Relation(*(x.requires_grad_() for x in longer[0]))
    for causal in (False, True):
        sight = Visible(mask, causal=causal)
        padded = relation_mse(ours, Relation(*longer[1]), HEADS, sight, of)
        found = torch.autograd.grad(padded, list(ours))
        assert not any(slope[sight.mask == 0].any() for slope in found)
        if not causal:
            assert padded.item() == pytest.approx(value.item(), rel=1e-12)
            for one, other in zip(found, slopes, strict=True):
                assert torch.allclose(one[:B, :T], other, rtol=1e-12, atol=1e-14)


@EVERY_KIND
@pytest.mark.parametrize("visible", SIGHTS.values(), ids=SIGHTS)
def test_a_student_equal_to_the_teacher_has_nothing_to_learn(visible: Visible, of: Of) -> None:
    teacher = Relation(normal(B, T, W), normal(B, T, W, seed=1))
    student = Relation(*(x.clone().requires_grad_() for x in teacher if x is not None))
    value = relation_mse(student, teacher, HEADS, visible, of)
    assert value == 0
    assert not any(g.any() for g in torch.autograd.grad(value, list(student)))


@EVERY_KIND
def test_texts_of_one_length_weigh_all_their_pairs_alike(of: Of) -> None:
    """It is then the plain mean of the papers, times the number of positions."""
    student, teacher = sides()
    sight = Visible(torch.ones_like(MASK))
    split = [[x.unflatten(-1, (HEADS, -1)).transpose(1, 2) for x in s] for s in (student, teacher)]
    whole = [q @ k.mT / q.shape[-1] ** 0.5 for q, k in split]
    if of == "probabilities":
        whole = [x.softmax(-1) for x in whole]
    mean = torch.nn.functional.mse_loss(*whole)
    found = relation_mse(student, teacher, HEADS, sight, of)
    assert found.item() == pytest.approx(mean.item() * B * T, rel=1e-12)


@EVERY_KIND
def test_low_precision_is_compared_in_float32(of: Of) -> None:
    student, teacher = sides()
    low = [Relation(*(x.detach().bfloat16() for x in side)) for side in (student, teacher)]
    with torch.autocast("cpu", torch.bfloat16):
        value = relation_mse(*low, HEADS, SIGHTS["packed"], of)
    assert value.dtype == torch.float32
    wide = [Relation(*(x.double() for x in side)) for side in low]
    exact = relation_mse(*wide, HEADS, SIGHTS["packed"], of)
    assert value.item() == pytest.approx(exact.item(), rel=1e-5)


@EVERY_KIND
def test_nothing_larger_than_a_block_is_made(of: Of) -> None:
    """Of 12 heads and 64 positions: all relations take 2.3 MiB, a block 64 KiB."""
    x = torch.randn(6, 64, 24, requires_grad=True)
    teacher = Relation(torch.randn(6, 64, 24))
    block = 2**16
    with Spy() as spy:
        relation_mse(Relation(x), teacher, 12, Visible(torch.ones(6, 64)), of, block).backward()
    assert spy.largest <= max(block, x.numel() * 4)
