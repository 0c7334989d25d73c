"""A product of two thin matrices, kept as its factors (Elhage et al. 2021: QK and OV circuits)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class FactoredMatrix:
    """A @ B for A [..., left, inner] and B [..., inner, right], never multiplied out unasked.

    Norms, products, eigenvalues and singular values cost what the inner width costs.

    Example:
        >>> ov = model.OV[9, 9]  # one head
        >>> ov.shape, ov.norm()
    """

    A: Float[Tensor, "... left inner"]
    B: Float[Tensor, "... inner right"]

    def __post_init__(self) -> None:
        if self.A.shape[-1] != self.B.shape[-2]:
            raise ValueError(
                f"the inner widths differ: A is {tuple(self.A.shape)}, B {tuple(self.B.shape)}."
            )

    @property
    def AB(self) -> Float[Tensor, "... left right"]:
        """The product, multiplied out."""
        return self.A @ self.B

    @property
    def shape(self) -> torch.Size:
        """Of the product."""
        batch = torch.broadcast_shapes(self.A.shape[:-2], self.B.shape[:-2])
        return torch.Size([*batch, self.A.shape[-2], self.B.shape[-1]])

    @property
    def T(self) -> FactoredMatrix:
        """The transpose."""
        return FactoredMatrix(self.B.transpose(-2, -1), self.A.transpose(-2, -1))

    def __matmul__(self, other: Tensor | FactoredMatrix) -> FactoredMatrix | Tensor:
        if isinstance(other, FactoredMatrix):
            return FactoredMatrix(self.A, (self.B @ other.A) @ other.B)
        if other.ndim == 1:
            return (self.A @ (self.B @ other)[..., None])[..., 0]  # [..., left]
        return FactoredMatrix(self.A, self.B @ other)

    def __rmatmul__(self, other: Tensor) -> FactoredMatrix | Tensor:
        if other.ndim == 1:
            return ((other @ self.A)[..., None, :] @ self.B)[..., 0, :]  # [..., right]
        return FactoredMatrix(other @ self.A, self.B)

    def __getitem__(self, index: Any) -> FactoredMatrix:
        """Index the leading axes (layer, head)."""
        index = index if isinstance(index, tuple) else (index,)
        if len(index) > self.A.ndim - 2:
            raise IndexError("only the leading axes can be indexed; use .AB for single entries.")
        return FactoredMatrix(self.A[index], self.B[index])

    @cached_property
    def _svd(self) -> tuple[Tensor, Tensor, Tensor]:
        u_a, s_a, vh_a = torch.linalg.svd(self.A, full_matrices=False)
        u_b, s_b, vh_b = torch.linalg.svd(self.B, full_matrices=False)
        middle = s_a[..., :, None] * (vh_a @ u_b) * s_b[..., None, :]  # [..., inner, inner]
        u, s, vh = torch.linalg.svd(middle, full_matrices=False)
        return u_a @ u, s, (vh @ vh_b).transpose(-2, -1)

    def svd(self) -> tuple[Tensor, Tensor, Tensor]:
        """(U, S, V) with A B = U diag(S) V^T; U [..., left, inner], V [..., right, inner]."""
        return self._svd

    @property
    def U(self) -> Tensor:
        """Left singular vectors, [..., left, inner]."""
        return self._svd[0]

    @property
    def S(self) -> Tensor:
        """Singular values, [..., inner]."""
        return self._svd[1]

    @property
    def V(self) -> Tensor:
        """Right singular vectors as columns, [..., right, inner]."""
        return self._svd[2]

    @property
    def eigenvalues(self) -> Tensor:
        """The eigenvalues of a square A B that can differ from 0: those of B A, [..., inner]."""
        if self.A.shape[-2] != self.B.shape[-1]:
            raise ValueError(f"a matrix of shape {tuple(self.shape)} has no eigenvalues.")
        values: Tensor = torch.linalg.eigvals(self.B @ self.A)
        return values

    def norm(self) -> Tensor:
        """Frobenius norm, from the factors' Gram matrices: sqrt(tr(A^T A B B^T))."""
        gram_a = self.A.transpose(-2, -1) @ self.A
        gram_b = self.B @ self.B.transpose(-2, -1)
        return (gram_a * gram_b.transpose(-2, -1)).sum((-2, -1)).clamp(min=0).sqrt()
