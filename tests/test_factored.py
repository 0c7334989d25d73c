"""`FactoredMatrix` against the product multiplied out."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cutaway.model.factored import FactoredMatrix


def close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)


@settings(max_examples=30)
@given(
    st.lists(st.integers(1, 3), max_size=2),
    st.integers(1, 6),
    st.integers(1, 3),
    st.integers(1, 6),
    st.integers(0, 1000),
)
def test_it_is_the_product(batch: list[int], left: int, inner: int, right: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(*batch, left, inner, generator=generator, dtype=torch.float64)
    b = torch.randn(*batch, inner, right, generator=generator, dtype=torch.float64)
    c = torch.randn(right, 4, generator=generator, dtype=torch.float64)
    matrix, product = FactoredMatrix(a, b), a @ b
    close(matrix.AB, product)
    assert matrix.shape == product.shape
    close(matrix.T.AB, product.mT)
    close((matrix @ c).AB, product @ c)
    close(matrix @ c[:, 0], product @ c[:, 0])
    close(c[:, 0] @ matrix.T, c[:, 0] @ product.mT)
    close((c.mT @ matrix.T).AB, c.mT @ product.mT)
    close((matrix @ FactoredMatrix(c, c.mT)).AB, product @ c @ c.mT)
    close(matrix.norm(), torch.linalg.matrix_norm(product))
    rank = min(left, inner, right)
    close(matrix.S[..., :rank], torch.linalg.svdvals(product)[..., :rank])
    close((matrix.U * matrix.S[..., None, :]) @ matrix.V.mT, product)


def test_eigenvalues_and_single_heads() -> None:
    a, b = torch.randn(2, 3, 6, 2), torch.randn(2, 3, 2, 6)
    matrix = FactoredMatrix(a, b)
    expected = torch.linalg.eigvals(a @ b).abs().sort(descending=True).values[..., :2]
    actual = matrix.eigenvalues.abs().sort(descending=True).values
    torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-3)
    assert torch.equal(matrix[1, 2].AB, a[1, 2] @ b[1, 2])
    assert matrix[1].shape == (3, 6, 6)


def test_what_it_refuses() -> None:
    with pytest.raises(ValueError, match="has no eigenvalues"):
        _ = FactoredMatrix(torch.zeros(3, 2), torch.zeros(2, 4)).eigenvalues
    with pytest.raises(IndexError, match="only the leading axes"):
        FactoredMatrix(torch.zeros(3, 2), torch.zeros(2, 3))[0]
