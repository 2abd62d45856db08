"""The interpolated bound against loops, against torch's cross-entropy and the known information."""

from __future__ import annotations

import math

import pytest
import torch
from oracles.information import bound
from oracles.triple_loss import gradient
from torch import Tensor

from lit_distill.losses.information import STEEPEST, interpolated_bounds

ALPHAS = (0.0, 1e-3, 0.3, 1.0)
SIZE = 5


def drawn(seed: int = 0, size: int = SIZE, spread: float = 2.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    scores = spread * torch.randn(size, size, generator=generator, dtype=torch.float64)
    return scores, torch.randn(size, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("texts", [None, [0, 0, 1, 2, 2], [3, 3, 3, 3, 3]])
@pytest.mark.parametrize("alpha", ALPHAS)
def test_values_and_gradients_are_the_oracles(alpha: float, texts: list[int] | None) -> None:
    scores, log_q = drawn()
    scores.requires_grad_()
    log_q.requires_grad_()
    numbers = None if texts is None else torch.tensor(texts)
    found = interpolated_bounds(scores, log_q, alpha, texts=numbers).sum()
    found.backward()
    flat = [*scores.flatten().tolist(), *log_q.tolist()]

    def formula(z: list[complex]) -> complex:
        rows = [z[i : i + SIZE] for i in range(0, SIZE * SIZE, SIZE)]
        return bound(rows, z[SIZE * SIZE :], alpha, texts)

    assert found.item() == pytest.approx(formula(flat).real, rel=1e-12, abs=1e-13)
    wanted = torch.tensor(gradient(formula, flat), dtype=torch.float64)
    assert scores.grad is not None
    own = log_q.grad if log_q.grad is not None else torch.zeros(SIZE, dtype=torch.float64)
    torch.testing.assert_close(
        torch.cat([scores.grad.flatten(), own]), wanted, rtol=1e-12, atol=1e-13
    )


def test_alpha_one_is_infonce_without_each_of_the_others_in_turn() -> None:
    """As torch's cross-entropy says it of K = N - 1 candidates: log K minus it."""
    scores, _ = drawn(3)
    found = interpolated_bounds(scores, None, 1.0)
    for i, value in enumerate(found):
        parts = []
        for left_out in set(range(SIZE)) - {i}:
            heard = [k for k in range(SIZE) if k != left_out]
            missed = torch.nn.functional.cross_entropy(
                scores[i, heard], torch.tensor(heard.index(i))
            )
            parts.append(math.log(SIZE - 1) - missed)
        torch.testing.assert_close(value, torch.stack(parts).mean(), rtol=1e-12, atol=1e-13)


def test_alpha_one_never_exceeds_the_logarithm_of_its_candidates() -> None:
    for seed in range(200):
        size = 2 + seed % 7
        scores, _ = drawn(seed, size, spread=30.0)
        scores.diagonal().add_(seed % 100)
        assert interpolated_bounds(scores, None, 1.0).max() <= math.log(size - 1) + 1e-12


def test_the_order_of_texts_changes_nothing() -> None:
    scores, log_q = drawn(1)
    order = torch.tensor([3, 0, 4, 1, 2])
    for alpha in ALPHAS:
        one = interpolated_bounds(scores, log_q, alpha)
        other = interpolated_bounds(scores[order][:, order], log_q[order], alpha)
        torch.testing.assert_close(one[order], other, rtol=1e-12, atol=1e-13)


def test_anchors_of_one_rank_are_rows_of_the_whole() -> None:
    """Whose texts have the same numbers as another rank's, and are others."""
    scores, log_q = drawn(2)
    for alpha in ALPHAS:
        whole = interpolated_bounds(scores, log_q, alpha, texts=torch.tensor([0, 1, 2, 2, 3]))
        part = interpolated_bounds(scores[2:], log_q[2:], alpha, 2, torch.tensor([0, 0, 1]))
        torch.testing.assert_close(part, whole[2:], rtol=1e-12, atol=1e-13)
        assert len(interpolated_bounds(scores[:0], log_q[:0], alpha, 3)) == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("alpha", [0.0, 1e-30, 0.5, 1.0])
def test_huge_scores_are_finite_and_so_are_their_gradients(
    alpha: float, dtype: torch.dtype
) -> None:
    for size in (1e2, 1e4, 1e20):
        for shift in (0.0, size, -size):
            scores = (size * drawn()[0] + shift).to(dtype).requires_grad_()
            log_q = drawn()[1].to(dtype).requires_grad_()
            found = interpolated_bounds(scores, log_q, alpha)
            grads = torch.autograd.grad(found.sum(), [scores, log_q], allow_unused=True)
            assert found.isfinite().all()
            assert all(grad is None or grad.isfinite().all() for grad in grads)


def test_one_others_score_that_drowns_all_the_rest_cancels_nothing() -> None:
    """Left out, it leaves those that are e^-200 of it: a difference of sums would be 0."""
    scores = torch.tensor([[1.0, 201.0, 2.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    found = interpolated_bounds(scores, None, 1.0)[0].item()
    without_second = 1 - math.log((math.exp(1) + math.exp(2)) / 2)
    without_third = 1 - (201 - math.log(2))
    assert found == pytest.approx((without_second + without_third) / 2, rel=1e-6)


def test_what_is_too_steep_goes_on_as_its_tangent() -> None:
    scores, log_q = torch.zeros(2, 2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    scores[0, 1] = STEEPEST + 3
    found = interpolated_bounds(scores, log_q, 0.0)[0].item()
    assert found == pytest.approx(1 - math.exp(STEEPEST) * 4, rel=1e-12)


def test_an_anchor_without_others_has_the_bound_zero_and_no_gradient() -> None:
    for alpha in ALPHAS:
        scores, log_q = (x[:1].clone().requires_grad_() for x in drawn())
        found = interpolated_bounds(scores[:, :1], log_q, alpha)
        assert found.item() == 0
        found.sum().backward()
        assert scores.grad is not None
        assert scores.grad.abs().sum() == 0


def gaussian(rho: float, width: int, size: int, seed: int) -> Tensor:
    """log p(x_k, y_i) / (p(x_k) p(y_i)) of correlated Gaussians: the critic that is optimal."""
    generator = torch.Generator().manual_seed(seed)
    x, noise = torch.randn(2, size, width, generator=generator, dtype=torch.float64)
    y, rest = rho * x + math.sqrt(1 - rho**2) * noise, 1 - rho**2
    apart = (y.unsqueeze(1) - rho * x).square().sum(-1) / (2 * rest)
    return y.square().sum(-1, keepdim=True) / 2 - apart - width / 2 * math.log(rest)


def test_estimates_stay_below_the_true_information_and_trade_bias_for_variance() -> None:
    """The optimal critic's, with its optimal baseline q = 1 (NWJ's e has the critic one higher)."""
    rho, width, size, batches = 0.7, 4, 16, 400
    truth = -width / 2 * math.log(1 - rho**2)
    means, spreads = [], []
    for alpha in (1.0, 0.3, 0.0):
        found = torch.stack(
            [
                interpolated_bounds(
                    gaussian(rho, width, size, seed), torch.zeros(size).double(), alpha
                ).mean()
                for seed in range(batches)
            ]
        )
        means.append(found.mean().item())
        spreads.append(found.std().item())
        assert means[-1] < truth + 3 * spreads[-1] / math.sqrt(batches), alpha
    assert means[0] < truth - 0.1  # blind near log K
    assert means == sorted(means), "a smaller alpha is less biased"
    assert spreads == sorted(spreads), "and varies more"
