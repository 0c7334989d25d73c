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
    def ndim(self) -> int:
        """Number of axes of the product."""
        return len(self.shape)

    @property
    def BA(self) -> Float[Tensor, "... inner inner"]:
        """The product the other way round; its eigenvalues are those of A B that are not 0."""
        self._check_square()
        return self.B @ self.A

    @property
    def pair(self) -> tuple[Tensor, Tensor]:
        """(A, B)."""
        return self.A, self.B

    @property
    def ldim(self) -> int:
        """Rows of the product."""
        return self.A.shape[-2]

    @property
    def rdim(self) -> int:
        """Columns of the product."""
        return self.B.shape[-1]

    @property
    def mdim(self) -> int:
        """The inner width."""
        return self.A.shape[-1]

    def unsqueeze(self, axis: int) -> FactoredMatrix:
        """With a leading axis of length 1 put in."""
        return FactoredMatrix(self.A.unsqueeze(axis), self.B.unsqueeze(axis))

    def _check_square(self) -> None:
        if self.ldim != self.rdim:
            raise ValueError(f"a matrix of shape {tuple(self.shape)} has no eigenvalues.")

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

    def __rmul__(self, scalar: float | Tensor) -> FactoredMatrix:
        return self * scalar

    def __mul__(self, scalar: float | Tensor) -> FactoredMatrix:
        if isinstance(scalar, Tensor) and scalar.numel() != 1:
            raise ValueError(f"* takes one number, not {tuple(scalar.shape)}; use @ for a product.")
        return FactoredMatrix(self.A * scalar, self.B)

    def __getitem__(self, index: Any) -> FactoredMatrix:
        """Index the leading axes (layer, head), then rows and columns of the product.

        A row or column that is named by its number keeps its axis: `matrix[0, 3, 5]` of a matrix
        [layer, head, left, right] has the shape [1, right].
        """
        index = index if isinstance(index, tuple) else (index,)
        n_leading = self.ndim - 2
        n_axes = sum(i is not None for i in index)
        if n_axes > self.ndim:
            raise IndexError(f"{n_axes} indices for a matrix of {self.ndim} axes.")
        if Ellipsis in [i for i in index if not isinstance(i, Tensor)]:
            raise IndexError("write every axis out, or index .AB.")
        batch = self.shape[:-2]
        A, B = self.A.expand(*batch, -1, -1), self.B.expand(*batch, -1, -1)
        if n_axes <= n_leading:
            return FactoredMatrix(A[index], B[index])
        n_inside = n_axes - n_leading
        leading, inside = index[: len(index) - n_inside], index[len(index) - n_inside :]
        rows, *columns = (_keeping_axis(i) for i in inside)
        A, B = A[(*leading, rows)], B[leading] if leading else B
        return FactoredMatrix(A, B[(..., *columns)] if columns else B)

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
        product = self.BA
        if product.dtype in (torch.float16, torch.bfloat16):
            product = product.float()
        values: Tensor = torch.linalg.eigvals(product)
        return values

    @property
    def Vh(self) -> Tensor:
        """The same as `V`, and not its transpose: so the field's own library has it."""
        return self.V

    def make_even(self) -> FactoredMatrix:
        """The same product from factors of equal size, U sqrt(S) and sqrt(S) V^T."""
        root = self.S.sqrt()
        return FactoredMatrix(self.U * root[..., None, :], root[..., :, None] * self.V.mT)

    def collapse_l(self) -> Float[Tensor, "... inner right"]:
        """S V^T: the product without the rotation U on its left, which changes no norm."""
        return self.S[..., :, None] * self.V.mT

    def collapse_r(self) -> Float[Tensor, "... left inner"]:
        """U S: the product without the rotation V^T on its right, which changes no norm."""
        return self.U * self.S[..., None, :]

    def get_corner(self, n: int = 3) -> Tensor:
        """The first n rows and columns of the product (of every axis)."""
        corner = self.A[..., :n, :] @ self.B[..., :, :n]
        return corner[tuple(slice(n) for _ in range(corner.ndim))]

    def norm(self) -> Tensor:
        """Frobenius norm, from the factors' Gram matrices: sqrt(tr(A^T A B B^T))."""
        gram_a = self.A.transpose(-2, -1) @ self.A
        gram_b = self.B @ self.B.transpose(-2, -1)
        return (gram_a * gram_b.transpose(-2, -1)).sum((-2, -1)).clamp(min=0).sqrt()


def composition_scores(
    left: FactoredMatrix, right: FactoredMatrix, broadcast_dims: bool = True
) -> Tensor:
    """|left @ right| / (|left| |right|) in Frobenius norms (Elhage et al. 2021).

    Args:
        left: what writes, [*left, d_model, d_model].
        right: what reads, [*right, d_model, d_model].
        broadcast_dims: every left with every right, [*left, *right]; False pairs them up.
    """
    A = left.collapse_l()  # [*left, inner, d_model]
    B = right.collapse_r()  # [*right, d_model, inner]
    if broadcast_dims:
        return _sizes_of_all(A, B) / _by_all(left.norm(), right.norm())
    sizes: Tensor = torch.linalg.matrix_norm(A @ B)
    return sizes / left.norm() / right.norm()


def _sizes_of_all(A: Tensor, B: Tensor) -> Tensor:
    """|A_i B_j| for every i and j, [*left, *right]."""
    n_right = B.shape[:-2]
    B = B.reshape(-1, *B.shape[-2:])
    side_by_side = B.movedim(0, 1).flatten(1)  # [d_model, right * inner]
    # One i at a time: broadcast, every factor would be copied once for each partner.
    rows = [
        (one @ side_by_side).unflatten(-1, (-1, B.shape[-1])).square().sum((0, 2)).sqrt()
        for one in A.reshape(-1, *A.shape[-2:])
    ]  # [right] each
    return torch.stack(rows).reshape((*A.shape[:-2], *n_right))


def _by_all(left: Tensor, right: Tensor) -> Tensor:
    """Every left number times every right one, [*left, *right]."""
    return left.reshape((*left.shape, *[1] * right.ndim)) * right


def _keeping_axis(index: Any) -> Any:
    """A number as a slice of length 1."""
    if isinstance(index, int):
        return slice(index, index + 1 or None)
    return index
