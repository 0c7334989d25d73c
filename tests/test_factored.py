"""`FactoredMatrix` against the product multiplied out."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cutaway.model.factored import FactoredMatrix, composition_scores


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
    with pytest.raises(IndexError, match="3 indices for a matrix of 2 axes"):
        FactoredMatrix(torch.zeros(3, 2), torch.zeros(2, 3))[0, 0, 0]
    with pytest.raises(ValueError, match="takes one number"):
        FactoredMatrix(torch.zeros(3, 2), torch.zeros(2, 3)) * torch.ones(3)


def test_rows_and_columns_can_be_taken_and_keep_their_axis() -> None:
    a, b = torch.randn(2, 1, 6, 2), torch.randn(3, 2, 5)  # broadcast to [2, 3, 6, 5]
    matrix, product = FactoredMatrix(a, b), a @ b
    assert matrix.ndim == 4 and matrix.shape == (2, 3, 6, 5)
    assert (matrix.ldim, matrix.mdim, matrix.rdim) == (6, 2, 5)
    torch.testing.assert_close(matrix[1, 2].AB, product[1, 2])
    torch.testing.assert_close(matrix[1, 2, 3].AB, product[1, 2, 3:4])
    torch.testing.assert_close(matrix[1, 2, -1].AB, product[1, 2, -1:])
    torch.testing.assert_close(matrix[1, 2, 3, -1].AB, product[1, 2, 3:4, -1:])
    torch.testing.assert_close(matrix[:, 0, :4, 1:3].AB, product[:, 0, :4, 1:3])
    torch.testing.assert_close(matrix[0, 0, [1, 4]].AB, product[0, 0, [1, 4]])
    torch.testing.assert_close(matrix[1, 1][2, 3].AB, product[1, 1, 2:3, 3:4])
    torch.testing.assert_close(matrix.get_corner(2), product[:2, :2, :2, :2])
    torch.testing.assert_close((2 * matrix).AB, 2 * product)


def test_other_forms_of_the_same_product() -> None:
    a, b = torch.randn(3, 6, 2), torch.randn(3, 2, 6)
    matrix, product = FactoredMatrix(a, b), a @ b
    even = matrix.make_even()
    torch.testing.assert_close(even.AB, product)
    torch.testing.assert_close(even.A.norm(dim=-2), even.B.norm(dim=-1))
    torch.testing.assert_close(matrix.U @ matrix.collapse_l(), product)
    torch.testing.assert_close(matrix.collapse_r() @ matrix.V.mT, product)
    torch.testing.assert_close(matrix.BA, b @ a)
    assert torch.equal(matrix.Vh, matrix.V)
    assert matrix.unsqueeze(0).shape == (1, 3, 6, 6)
    scores = composition_scores(matrix, matrix.T)
    assert scores.shape == (3, 3)
    expected = torch.linalg.matrix_norm(product[:, None] @ product.mT[None])
    norms = torch.linalg.matrix_norm(product)
    torch.testing.assert_close(scores, expected / norms[:, None] / norms)
