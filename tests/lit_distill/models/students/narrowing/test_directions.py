"""Principal directions against torch's own singular value decomposition of the whole table."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lit_distill.models.students.narrowing.directions import compressed, principal_directions
from lit_distill.models.students.narrowing.weights import stream_directions

V, D = 50, 12


def table(seed: int = 0) -> Tensor:
    """Columns of unequal size, and rows whose mean is far from 0."""
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.randn(V, D, generator=generator, dtype=torch.float64)
    return numbers * torch.linspace(0.2, 3, D, dtype=torch.float64) + 1.5


def tail(numbers: Tensor, kept: int) -> float:
    """The root of the sum of the squares of the singular values that are not kept."""
    return float(torch.linalg.svdvals(numbers)[kept:].square().sum().sqrt())


@pytest.mark.parametrize("width", [1, 5, 11, 12])
def test_what_a_compressed_table_loses_is_the_tail_of_the_singular_values(width: int) -> None:
    numbers = table()
    directions = principal_directions(numbers, width)
    identity = torch.eye(width, dtype=torch.float64)
    torch.testing.assert_close(directions.T @ directions, identity, rtol=0, atol=1e-12)
    error = float((numbers - numbers @ directions @ directions.T).norm())
    assert error == pytest.approx(tail(numbers, width), abs=1e-10)
    left, values, _ = torch.linalg.svd(numbers, full_matrices=False)
    expected = left[:, :width] * values[:width]  # U_d S_d, up to the sign of each column
    found = compressed(numbers, width, "svd")
    assert found.shape == (V, width)
    signs = (found * expected).sum(0).sign()
    torch.testing.assert_close(found, expected * signs, rtol=0, atol=1e-10)


@pytest.mark.parametrize("width", [3, 12])
def test_principal_components_are_those_of_the_rows_less_their_mean(width: int) -> None:
    numbers = table()
    centred = numbers - numbers.mean(0)
    found = compressed(numbers, width, "pca")
    torch.testing.assert_close(found.mean(0), torch.zeros(width).double(), rtol=0, atol=1e-12)
    left, values, _ = torch.linalg.svd(centred, full_matrices=False)
    expected = left[:, :width] * values[:width]
    signs = (found * expected).sum(0).sign()
    torch.testing.assert_close(found, expected * signs, rtol=0, atol=1e-10)
    lost = centred.norm().square() - found.norm().square()
    assert float(lost.clamp(min=0).sqrt()) == pytest.approx(tail(centred, width), abs=1e-6)


def test_all_directions_keep_every_distance() -> None:
    numbers = table()
    found = compressed(numbers, D, "svd")
    torch.testing.assert_close(
        torch.cdist(found, found), torch.cdist(numbers, numbers), rtol=0, atol=1e-6
    )


def test_parts_of_a_table_are_summed_and_its_type_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = table().float()
    whole = compressed(numbers, 4, "svd"), compressed(numbers, 4, "pca")
    monkeypatch.setattr("lit_distill.models.students.narrowing.directions._ROWS", 7)
    parts = compressed(numbers, 4, "svd"), compressed(numbers, 4, "pca")
    for one, other in zip(whole, parts, strict=True):
        assert one.dtype == other.dtype == torch.float32
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def test_signs_do_not_depend_on_the_table_being_mirrored() -> None:
    numbers = table()
    assert torch.equal(principal_directions(numbers, 5), principal_directions(-numbers, 5))
    columns = principal_directions(numbers, 5)
    assert bool((columns.gather(0, columns.abs().argmax(0, keepdim=True)) > 0).all())


@pytest.mark.parametrize("rows", [V, 6])  # fewer rows than columns: many directions have nothing
@pytest.mark.parametrize("width", [2, 7, D])
def test_a_stream_that_a_layer_norm_reads_has_mean_nothing(width: int, rows: int) -> None:
    numbers = table()[:rows]
    map_Dd = stream_directions(numbers, width, centred=True)
    assert map_Dd.shape == (D, width)
    zeros = torch.zeros(max(D, width), dtype=torch.float64)
    torch.testing.assert_close(map_Dd.sum(0), zeros[:width], rtol=0, atol=1e-12)
    torch.testing.assert_close(map_Dd.sum(1), zeros[:D], rtol=0, atol=1e-12)
    values = torch.linalg.svdvals(map_Dd)
    torch.testing.assert_close(values[:-1], torch.ones(width - 1).double(), rtol=0, atol=1e-12)
    assert float(values[-1]) < 1e-12
    centred = numbers - numbers.mean(1, keepdim=True)
    error = float((centred - centred @ map_Dd @ map_Dd.T).norm())
    assert error == pytest.approx(tail(centred, width - 1), abs=1e-9)
