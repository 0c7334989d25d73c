"""What stands beside a dictionary: random directions and principal components, as sparse as it.

Both are made for the same job as the dictionary: from what is read to what is wanted. Of an
autoencoder that is the same; of a transcoder the best linear map (least squares) leads from one to
the other, and directions and components are those of its output.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .matching import random_directions
from .reconstruction import Reconstructor, SequenceBatch

_RIDGE = 1e-6  # of the mean variance of x: keeps the map of transcoders solvable
_CELLS = 4_000_000  # numbers held at a time while fitting; it changes no result


@dataclass(frozen=True, eq=False)
class Moments:
    """Means and covariances of what is read (x) and what is wanted (y), summed in float64."""

    n: int
    mean_x: Float[Tensor, "d_in"]
    mean_y: Float[Tensor, "d_out"]
    xx: Float[Tensor, "d_in d_in"]
    """Covariance of x."""
    xy: Float[Tensor, "d_in d_out"]
    """Covariance of x with y."""
    is_copy: bool
    """Whether y is x."""


@torch.no_grad()
def moments(batches: Iterable[SequenceBatch]) -> Moments:
    """Run through the rows once.

    Raises:
        ValueError: fewer than two rows.

    Example:
        >>> found = moments(row_batches(x))
    """
    n, is_copy = 0, True
    sums: list[Tensor] = []
    for batch in batches:
        x, y = batch.x[batch.kept].double(), batch.target[batch.kept].double()
        is_copy &= batch.x is batch.target or torch.equal(batch.x, batch.target)
        parts = [x.sum(0), y.sum(0), x.t() @ x, x.t() @ y]
        sums = [a + b for a, b in zip(sums, parts, strict=True)] if sums else parts
        n += len(x)
    if n < 2:
        raise ValueError(f"baselines are fitted on two rows or more, and there are {n}.")
    mean_x, mean_y = sums[0] / n, sums[1] / n
    return Moments(
        n=n,
        mean_x=mean_x,
        mean_y=mean_y,
        xx=sums[2] / n - mean_x[:, None] * mean_x,
        xy=sums[3] / n - mean_x[:, None] * mean_y,
        is_copy=is_copy,
    )


@dataclass(frozen=True, eq=False)
class _Sparse:
    """The `k` largest coefficients on given directions of what the linear map says of a row."""

    k: int
    mean_x: Float[Tensor, "d_in"]
    mean_y: Float[Tensor, "d_out"]
    linear: Float[Tensor, "d_in d_out"] | None
    """From x to y; None is the identity."""
    directions: Float[Tensor, "direction d_out"]
    """Of length 1."""

    def predicted(self, x: Float[Tensor, "row d_in"]) -> Float[Tensor, "row d_out"]:
        """What the linear map says of each row, less the mean."""
        centred = x - self.mean_x
        return centred if self.linear is None else centred @ self.linear

    def decode(
        self,
        features: Float[Tensor, "row direction"],
        x: Float[Tensor, "row d_in"] | None = None,
    ) -> Float[Tensor, "row d_out"]:
        """Coefficients times directions, and the mean."""
        return features @ self.directions + self.mean_y


class PrincipalComponents(_Sparse):
    """The first `k` components of all rows, the same for each: what k numbers can do linearly."""

    def encode(self, x: Float[Tensor, "row d_in"]) -> Float[Tensor, "row direction"]:
        """Coefficients of the first k, 0 of the others."""
        found = self.predicted(x) @ self.directions.t()
        return torch.cat([found[:, : self.k], torch.zeros_like(found[:, self.k :])], dim=1)


class PrincipalTopK(_Sparse):
    """Of all components, each row's own `k` largest: as free in its choice as a dictionary."""

    def encode(self, x: Float[Tensor, "row d_in"]) -> Float[Tensor, "row direction"]:
        """Coefficients of the k largest, 0 of the others."""
        found = self.predicted(x) @ self.directions.t()
        index = found.abs().topk(self.k, dim=1, sorted=False).indices
        return torch.zeros_like(found).scatter(1, index, found.gather(1, index))


class RandomDirections(_Sparse):
    """As many random directions as the dictionary has features, of which each row gets `k`.

    Those that it points along most, with the coefficients that fit it best (least squares): more
    than an encoder could do.
    """

    def encode(self, x: Float[Tensor, "row d_in"]) -> Float[Tensor, "row direction"]:
        """Coefficients of the k chosen, 0 of the others."""
        wanted = self.predicted(x)
        index = (wanted @ self.directions.t()).topk(self.k, dim=1, sorted=False).indices
        at_once = max(1, _CELLS // (self.k * self.directions.shape[1]))
        pairs = zip(wanted.split(at_once), index.split(at_once), strict=True)
        value = torch.cat([self._fitted(some, which) for some, which in pairs])
        found = wanted.new_zeros(len(x), len(self.directions))
        return found.scatter(1, index, value)

    def _fitted(
        self, wanted: Float[Tensor, "row d_out"], index: Int[Tensor, "row k"]
    ) -> Float[Tensor, "row k"]:
        """Least squares on each row's own directions."""
        chosen = self.directions[index].double()  # [row, k, d_out]
        gram = chosen @ chosen.transpose(1, 2)  # [row, k, k]
        gram.diagonal(dim1=1, dim2=2).add_(1e-6)
        value: Tensor = torch.linalg.solve(gram, chosen @ wanted.double()[:, :, None])
        return value[:, :, 0].to(wanted.dtype)


def baselines(
    fitted: Moments,
    l0: float,
    n_directions: int,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> dict[str, Reconstructor]:
    """The baselines of a dictionary: as many active coefficients of a row as it has features.

    Args:
        fitted: of rows of the same kind, best of others than those to be measured on.
        l0: the dictionary's active features of a row; rounded, at least 1, at most the width.
        n_directions: the dictionary's features.
        seed: of the random directions.
        dtype: of the results.

    Returns:
        "random directions", "principal components" (the first k), "largest components" (each
        row's own k).

    Example:
        >>> baselines(moments(row_batches(x)), l0=8.3, n_directions=512)
    """
    d_out = len(fitted.mean_y)
    k = int(min(max(round(l0), 1), d_out, n_directions))
    linear, covariance = None, fitted.xx
    if not fitted.is_copy:
        d_in = len(fitted.mean_x)
        ridge = _RIDGE * float(fitted.xx.diagonal().mean()) + 1e-30
        eye = torch.eye(d_in, dtype=fitted.xx.dtype, device=fitted.xx.device)
        linear = torch.linalg.solve(fitted.xx + ridge * eye, fitted.xy)
        covariance = linear.t() @ fitted.xx @ linear
    components = torch.linalg.eigh(covariance).eigenvectors.flip(1).t()  # largest first
    drawn = random_directions(n_directions, d_out, seed).to(fitted.xx.device)
    shared = (
        k,
        fitted.mean_x.to(dtype),
        fitted.mean_y.to(dtype),
        None if linear is None else linear.to(dtype),
    )
    return {
        "random directions": RandomDirections(*shared, drawn.to(dtype)),
        "principal components": PrincipalComponents(*shared, components.to(dtype)),
        "largest components": PrincipalTopK(*shared, components.to(dtype)),
    }
