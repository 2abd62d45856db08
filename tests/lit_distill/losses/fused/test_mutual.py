"""The pass over several models' logits against loops over numbers, and what must not depend."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from heads import Spy
from oracles import mutual as oracle
from oracles.triple_loss import gradient, project
from torch import Tensor

from lit_distill.losses import (
    CrossEntropy,
    ForwardKL,
    Head,
    JensenShannon,
    PeerLosses,
    RowLoss,
    linear_losses,
    mutual_losses,
)

IGNORED, ROWS, VOCABULARY = -100, 6, 9
WIDTHS = (3, 5, 4)
FACTORS = (0.7, 0.3, 0.9, 1.9, 0.5, 0.2)


def draw(
    count: int, dtype: torch.dtype = torch.float64, cap: float | None = None
) -> tuple[list[Head], Tensor]:
    """Heads of different widths that want gradients, and targets."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        drawn = torch.randn(*shape, generator=generator, dtype=torch.float64)
        return drawn.to(dtype).requires_grad_()

    heads = [
        Head(normal(ROWS, width), normal(VOCABULARY, width), normal(VOCABULARY), cap)
        for width in WIDTHS[:count]
    ]
    targets = torch.randint(VOCABULARY, (ROWS,), generator=generator)
    targets[::3] = IGNORED
    return heads, targets


def learn(*temperatures: float, to_mean: bool = False) -> list[PeerLosses]:
    return [PeerLosses((CrossEntropy(), ForwardKL(t)), to_mean) for t in temperatures]


def parts(head: Head) -> list[Tensor]:
    assert head.bias is not None
    return [head.rows, head.weight, head.bias]


def run(
    models: Sequence[PeerLosses],
    heads: Sequence[Head],
    targets: Tensor,
    promised: bool = True,
    tile_bytes: int = 2**20,
) -> tuple[Tensor, list[list[Tensor]]]:
    """Values, and gradients of the weighted total by head."""
    count = sum(len(model.losses) for model in models)
    factors = FACTORS[:count] if promised else None
    sums = mutual_losses(models, heads, targets, factors, tile_bytes)
    total = torch.stack([f * s for f, s in zip(FACTORS, sums, strict=False)]).sum()
    flat = torch.autograd.grad(total, [part for head in heads for part in parts(head)])
    return torch.stack(sums).detach(), [list(flat[3 * k : 3 * k + 3]) for k in range(len(heads))]


def close(one: Sequence[Tensor], other: Sequence[Tensor], relative: float) -> None:
    first, second = (torch.cat([g.flatten().double() for g in gs]) for gs in (one, other))
    assert first.norm() > 0
    assert (first - second).norm() <= relative * first.norm()


@pytest.mark.parametrize("promised", [True, False], ids=["coefficients", "none"])
@pytest.mark.parametrize("cap", [None, 1.5])
@pytest.mark.parametrize(
    ("temperatures", "to_mean"), [((2.0, 3.0), False), ((1.0,) * 3, False), ((1.5,) * 3, True)]
)
def test_values_and_gradients_are_those_of_the_loops(
    temperatures: tuple[float, ...], to_mean: bool, cap: float | None, promised: bool
) -> None:
    heads, targets = draw(len(temperatures), cap=cap)
    models = learn(*temperatures, to_mean=to_mean)
    values, gradients = run(models, heads, targets, promised)
    plain = [[part.detach() for part in parts(head)] for head in heads]
    logits = [
        [
            [z.real for z in project(row, weight.tolist(), bias.tolist(), cap)]
            for row in rows.tolist()
        ]
        for rows, weight, bias in plain
    ]
    expected: list[float] = []
    for k, (rows, weight, bias) in enumerate(plain):
        target = [*logits[:k], *logits[k + 1 :]]
        sizes = [rows.numel(), weight.numel(), bias.numel()]

        def total(
            point: Sequence[complex],
            sizes: list[int] = sizes,
            target: list[list[list[float]]] = target,
            k: int = k,
        ) -> complex:
            width = sizes[0] // ROWS
            first, second = sizes[0], sizes[0] + sizes[1]
            r = [point[width * n : width * (n + 1)] for n in range(ROWS)]
            w = [point[first + width * v : first + width * (v + 1)] for v in range(VOCABULARY)]
            own = [project(row, w, point[second:], cap) for row in r]
            hard, soft = oracle.one_model(own, target, targets.tolist(), temperatures[k], to_mean)
            return FACTORS[2 * k] * hard + FACTORS[2 * k + 1] * soft

        hard, soft = oracle.one_model(logits[k], target, targets.tolist(), temperatures[k], to_mean)
        expected += [hard.real, soft.real]
        point = torch.cat([rows.flatten(), weight.flatten(), bias]).tolist()
        close([torch.tensor(gradient(total, point), dtype=torch.float64)], [
            torch.cat([g.flatten() for g in gradients[k]])
        ], 1e-12)  # fmt: skip
    torch.testing.assert_close(
        values, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=0
    )


def test_nobody_is_pulled_towards_who_learns_from_him() -> None:
    heads, targets = draw(2)
    for k in (0, 1):
        alone: list[PeerLosses] = [PeerLosses(), PeerLosses()]
        alone[k] = learn(2.0)[0]
        (hard, soft) = mutual_losses(alone, heads, targets, (1.0, 1.0))
        own, other = parts(heads[k]), parts(heads[1 - k])
        gradients = torch.autograd.grad(hard + soft, [*own, *other])
        assert all(g.norm() > 0 for g in gradients[:3])
        assert all((g == 0).all() for g in gradients[3:])


def test_equal_models_have_no_divergence_and_the_gradient_of_their_targets() -> None:
    (head, _), targets = draw(2)
    twin = Head(*(part.detach().clone().requires_grad_() for part in parts(head)))
    values, (one, other) = run(learn(2.0, 2.0), [head, twin], targets)
    assert values[1].abs() < 1e-12 > values[3].abs()
    (hard,) = linear_losses([CrossEntropy()], head, targets=targets)
    alone = torch.autograd.grad(hard, parts(head))
    close([0.7 * g for g in alone], one, 1e-12)
    close([0.9 * g for g in alone], other, 1e-12)


def test_a_pair_is_two_linear_losses() -> None:
    """Each with the other as its teacher; any divergence goes."""
    heads, targets = draw(2)
    losses: list[tuple[RowLoss, ...]] = [(CrossEntropy(), JensenShannon()), (ForwardKL(3.0),)]
    values, gradients = run([PeerLosses(own) for own in losses], heads, targets)
    factors = iter(FACTORS)
    for k in (0, 1):
        sums = linear_losses(losses[k], heads[k], heads[1 - k], targets)
        total = torch.stack([next(factors) * s for s in sums]).sum()
        close(torch.autograd.grad(total, parts(heads[k])), gradients[k], 1e-12)
        at = slice(0, 2) if k == 0 else slice(2, 3)
        torch.testing.assert_close(values[at], torch.stack(sums).detach(), rtol=1e-12, atol=0)


@pytest.mark.parametrize(("dtype", "relative"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_nothing_depends_on_tiles_or_the_order_of_rows(
    dtype: torch.dtype, relative: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads, targets = draw(3, dtype)
    models = learn(1.0, 2.0, 1.0, to_mean=True)
    values, gradients = run(models, heads, targets)
    ways = [run(models, heads, targets, tile_bytes=1)]
    monkeypatch.setattr("lit_distill.losses.fused.tiles._BLOCK_BYTES", 2 * VOCABULARY * 8)
    ways.append(run(models, heads, targets))
    for others, theirs in ways:
        torch.testing.assert_close(values, others, rtol=relative, atol=0)
        for one, other in zip(gradients, theirs, strict=True):
            close(one, other, relative)
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(1))
    turned = [Head(h.rows[order].detach().requires_grad_(), h.weight, h.bias) for h in heads]
    _, theirs = run(models, turned, targets[order])
    for one, other in zip(gradients, theirs, strict=True):
        close([one[0][order], *one[1:]], other, relative)


def test_who_only_speaks_gets_no_gradient() -> None:
    (head, other), targets = draw(2)
    speaker = Head(*(part.detach() for part in parts(other)))
    hard, soft = mutual_losses([learn(1.0)[0], PeerLosses()], [head, speaker], targets, (1.0, 2.0))
    (hard + 2 * soft).backward()
    assert head.weight.grad is not None
    assert speaker.weight.grad is None


def test_no_tensor_of_rows_times_vocabulary_is_made() -> None:
    generator = torch.Generator().manual_seed(0)
    heads = [
        Head(
            torch.randn(512, 4, generator=generator, requires_grad=True),
            torch.randn(300, 4, generator=generator, requires_grad=True),
        )
        for _ in range(2)
    ]
    targets = torch.randint(300, (512,), generator=generator)
    with Spy() as spy:
        sums = mutual_losses(learn(2.0, 2.0), heads, targets, (1.0,) * 4, tile_bytes=2**16)
        torch.stack(sums).sum().backward()
    assert spy.largest < 512 * 300 * 4 / 8
    # three products per model and tile: logits, rows, weight
    tiles = -(-512 // (2**16 // (300 * 8)))
    assert len(spy.products) == 2 * 3 * tiles


def test_what_cannot_be_computed_is_refused() -> None:
    heads, targets = draw(2)
    short = Head(heads[1].rows[:2], heads[1].weight)
    for models, given, message in (
        (learn(1.0), heads, "1 models and 2 heads"),
        (learn(1.0), heads[:1], "there is only one"),
        (learn(1.0, 1.0), [heads[0], short], "entry by entry"),
    ):
        with pytest.raises(ValueError, match=message):
            mutual_losses(models, given, targets)
    with pytest.raises(ValueError, match="none were given"):
        mutual_losses(learn(1.0, 1.0), heads)
    with pytest.raises(ValueError, match="Targets of shape"):
        mutual_losses(learn(1.0, 1.0), heads, targets[:2])
    with pytest.raises(ValueError, match="3 coefficients for 4"):
        mutual_losses(learn(1.0, 1.0), heads, targets, (1.0,) * 3)
    sums = mutual_losses(learn(1.0, 1.0), heads, targets, (1.0,) * 4)
    with pytest.raises(RuntimeError, match="not multiplied with"):
        (sums[0] + 2 * sums[1]).backward()
