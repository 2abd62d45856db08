"""Relations against the scalar-loop oracle, and what must not change them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from heads import Spy
from oracles.relations import Side
from oracles.relations import relation_kl as by_oracle
from oracles.triple_loss import gradient
from torch import Tensor

from lit_distill.losses import Relation, Visible, relation_kl

B, T, W, WIDE = 3, 4, 6, 12
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]])
SEGMENTS = torch.tensor([[1, 1, 2, 2], [1, 1, 0, 0], [1, 2, 2, 0]])
SIGHTS = {
    "padded": Visible(MASK),
    "packed": Visible(MASK, SEGMENTS),
    "causal": Visible(MASK, causal=True),
    "packed causal": Visible(MASK, SEGMENTS, causal=True),
}
EVERY_SIGHT = pytest.mark.parametrize("visible", SIGHTS.values(), ids=SIGHTS)
BLOCKS = (1, 40, 150, 400, 1000, 2000, 10**9)
"""From one query to everything at once (a sequence with 2 heads takes 512 bytes of float64)."""


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def sides(self_relation: bool) -> tuple[Relation, Relation]:
    """A student that wants gradients, and a wider teacher."""
    ours = [normal(B, T, W, seed=s).requires_grad_() for s in (1, 2)]
    theirs = [normal(B, T, WIDE, seed=s) for s in (3, 4)]
    if self_relation:
        return Relation(ours[0]), Relation(theirs[0])
    return Relation(*ours), Relation(*theirs)


def side(queries: Any, keys: Any, heads: int) -> Side:
    return Side(queries, keys, heads, heads)


def expected(
    student: Relation, teacher: Relation, heads: int, visible: Visible
) -> tuple[float, list[Tensor]]:
    """Value and gradients by the oracle and the complex step."""
    count = len([x for x in student if x is not None])
    theirs = teacher.queries if teacher.keys is None else teacher.keys
    fixed = side(teacher.queries.tolist(), theirs.tolist(), heads)
    segments = None if visible.segments is None else visible.segments.tolist()

    def total(point: list[Any]) -> complex:
        size = B * T * W
        parts = [nested(point[i * size : (i + 1) * size]) for i in range(count)]
        ours = side(parts[0], parts[-1], heads)
        return by_oracle(ours, fixed, heads, visible.mask.tolist(), segments, visible.causal)

    point = torch.cat([x.detach().flatten() for x in student if x is not None]).tolist()
    slopes = torch.tensor(gradient(total, point), dtype=torch.float64).split(B * T * W)
    return total(point).real, [slope.view(B, T, W) for slope in slopes]


def nested(values: list[Any]) -> list[Any]:
    rows = [values[i : i + W] for i in range(0, len(values), W)]
    return [rows[i : i + T] for i in range(0, len(rows), T)]


def ours(
    student: Relation, teacher: Relation, heads: int, visible: Visible, block: int | None = None
) -> tuple[float, list[Tensor]]:
    value = relation_kl(student, teacher, heads, visible, block)
    wanted = [x for x in student if x is not None]
    return value.item(), list(torch.autograd.grad(value, wanted))


@EVERY_SIGHT
@pytest.mark.parametrize("self_relation", [True, False], ids=["X-X", "Q-K"])
@pytest.mark.parametrize("heads", [1, 2, 6])
def test_values_and_gradients_equal_the_oracle_in_blocks_of_any_size(
    heads: int, self_relation: bool, visible: Visible
) -> None:
    student, teacher = sides(self_relation)
    value, slopes = expected(student, teacher, heads, visible)
    assert value > 0.01
    for block in BLOCKS:
        found, gradients = ours(student, teacher, heads, visible, block)
        assert found == pytest.approx(value, rel=1e-12)
        one, other = torch.cat(gradients), torch.cat(slopes)
        assert (one - other).norm() <= 1e-12 * other.norm()


def test_the_value_is_the_same_without_gradients() -> None:
    student, teacher = sides(True)
    value = relation_kl(student, teacher, 2, SIGHTS["packed"])
    with torch.no_grad():
        assert torch.equal(value, relation_kl(student, teacher, 2, SIGHTS["packed"]))
    assert not relation_kl(student.detach(), teacher, 2, SIGHTS["packed"]).requires_grad


@EVERY_SIGHT
def test_a_student_equal_to_the_teacher_has_nothing_to_learn(visible: Visible) -> None:
    teacher = normal(B, T, WIDE)
    student = teacher.clone().requires_grad_()
    value, (slope,) = ours(Relation(student), Relation(teacher), 3, visible)
    assert value == 0
    assert not slope.any()


def test_a_common_permutation_of_positions_changes_nothing() -> None:
    """It does where a reshape mixes positions with features, as in a replication's first code."""
    student, teacher = sides(True)
    order = torch.tensor([2, 0, 3, 1])
    shuffled = [Relation(x.queries[:, order]) for x in (student, teacher)]
    visible = Visible(MASK[:, order], SEGMENTS[:, order])
    value = relation_kl(student, teacher, 2, SIGHTS["packed"])
    assert relation_kl(*shuffled, 2, visible).item() == pytest.approx(value.item(), rel=1e-12)
    moved = [Relation(student.queries[:, order]), teacher]
    assert relation_kl(*moved, 2, visible).item() != pytest.approx(value.item(), rel=1e-3)


def test_a_rotation_inside_each_relation_head_changes_nothing() -> None:
    student, teacher = sides(True)
    heads = 2
    turns = torch.block_diag(*(torch.linalg.qr(normal(3, 3, seed=s))[0] for s in range(heads)))
    value = relation_kl(student, teacher, heads, SIGHTS["padded"]).item()
    rotated = Relation(student.queries @ turns)
    assert relation_kl(rotated, teacher, heads, SIGHTS["padded"]).item() == pytest.approx(value)
    across = torch.linalg.qr(normal(W, W, seed=9))[0]
    mixed = Relation(student.queries @ across)
    assert relation_kl(mixed, teacher, heads, SIGHTS["padded"]).item() != pytest.approx(value)


def test_each_model_divides_by_the_root_of_its_own_width() -> None:
    """A wider student that encodes the same relations is at zero only then."""
    teacher = normal(B, T, W)
    wide = torch.cat([teacher, teacher], -1).requires_grad_()  # one head: dot products double
    value = relation_kl(Relation(wide * 2**-0.25), Relation(teacher), 1, SIGHTS["padded"])
    assert value.item() == pytest.approx(0, abs=1e-14)


def test_padding_is_no_query_and_no_key() -> None:
    student, teacher = sides(False)
    value, slopes = ours(student, teacher, 2, SIGHTS["padded"])
    hidden = (MASK == 0).unsqueeze(-1)
    for slope in slopes:
        assert not slope.masked_select(hidden).any()
    loud = [Relation(*(x.detach().masked_fill(hidden, 1e3) for x in s)) for s in (student, teacher)]
    assert relation_kl(*loud, 2, SIGHTS["padded"]).item() == pytest.approx(value, rel=1e-14)
    longer = [
        Relation(*(torch.cat([x.detach(), normal(B, 3, x.shape[-1])], 1) for x in s))
        for s in (student, teacher)
    ]
    visible = Visible(torch.cat([MASK, torch.zeros(B, 3, dtype=torch.int64)], 1))
    assert relation_kl(*longer, 2, visible).item() == pytest.approx(value, rel=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_low_precision_is_compared_in_float32(dtype: torch.dtype) -> None:
    student, teacher = sides(True)
    low = Relation(student.queries.detach().to(dtype).requires_grad_())
    with torch.autocast("cpu", torch.bfloat16):
        value = relation_kl(low, Relation(teacher.queries.to(dtype)), 2, SIGHTS["packed"])
    assert value.dtype == torch.float32
    rounded = Relation(low.queries.detach().double().requires_grad_())
    wide = Relation(teacher.queries.to(dtype).double())
    exact, (slope,) = ours(rounded, wide, 2, SIGHTS["packed"])
    assert value.item() == pytest.approx(exact, rel=1e-5)
    (found,) = torch.autograd.grad(value, [low.queries])
    assert found.dtype == dtype
    tolerance = 1e-5 if dtype == torch.float32 else 1e-2
    assert (found.double() - slope).norm() <= tolerance * slope.norm()


def test_a_bfloat16_teacher_leaves_the_student_in_float32() -> None:
    student, teacher = sides(True)
    single = Relation(student.queries.detach().float().requires_grad_())
    value = relation_kl(single, Relation(teacher.queries.bfloat16()), 2, SIGHTS["padded"])
    (slope,) = torch.autograd.grad(value, [single.queries])
    assert value.dtype == slope.dtype == torch.float32
    exact = relation_kl(student, teacher, 2, SIGHTS["padded"])
    assert value.item() == pytest.approx(exact.item(), rel=1e-2)


def test_scores_too_large_for_an_exponential_are_no_problem() -> None:
    student, teacher = normal(B, T, W).mul(100).requires_grad_(), normal(B, T, W, seed=1).mul(100)
    value, (slope,) = ours(Relation(student), Relation(teacher), 2, SIGHTS["packed causal"])
    assert value > 0
    assert slope.isfinite().all()


def test_it_is_differentiable_once() -> None:
    student, teacher = sides(True)
    value = relation_kl(student, teacher, 2, SIGHTS["padded"])
    with pytest.raises(RuntimeError, match="differentiable once"):
        torch.autograd.grad(value, [student.queries], create_graph=True)


def test_nothing_larger_than_a_block_is_made() -> None:
    """Of 12 heads and 64 positions: all relations take 2.3 MiB, a block 64 KiB."""
    x = torch.randn(6, 64, 24, requires_grad=True)
    teacher = Relation(torch.randn(6, 64, 24))
    block = 2**16
    with Spy() as spy:
        relation_kl(Relation(x), teacher, 12, Visible(torch.ones(6, 64)), block).backward()
    assert spy.largest <= max(block, x.numel() * 4)


def test_what_cannot_be_compared_is_refused_with_numbers() -> None:
    student, teacher = sides(False)
    with pytest.raises(ValueError, match=r"student's width 6 is not divisible by 4"):
        relation_kl(student, teacher, 4, SIGHTS["padded"])
    with pytest.raises(ValueError, match=r"teacher has \(3, 3\).*mask \(3, 4\)"):
        relation_kl(student, Relation(teacher.queries[:, :3]), 2, SIGHTS["padded"])
    shared = Relation(student.queries, student.queries[..., :2])
    with pytest.raises(ValueError, match=r"\(3, 4, 6\).*\(3, 4, 2\): repeat the heads"):
        relation_kl(shared, teacher, 2, SIGHTS["padded"])
