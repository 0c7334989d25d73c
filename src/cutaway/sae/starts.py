"""Where training begins: the decoder's bias at the middle of the rows, and the scale of inputs."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from .settings import Start


def geometric_median(
    rows: Float[Tensor, "row width"], tolerance: float = 1e-6, n_steps: int = 1000
) -> Float[Tensor, "width"]:
    """The point with the least sum of distances to all rows, which a few far rows hardly move.

    Weiszfeld's iteration (Weiszfeld 1937): the mean of the rows, each weighed by one over its
    distance. Where the point reaches a row, the step of Vardi and Zhang 2000 is taken, which
    leaves it unless it is the median. Computed in float64.

    Args:
        rows: [row, width].
        tolerance: ends it when a step is shorter than this share of the mean distance.
        n_steps: the most steps.

    Raises:
        ValueError: no rows.

    Example:
        >>> geometric_median(torch.tensor([[0.0], [1.0], [100.0]]))
        tensor([1.])
    """
    if not len(rows):
        raise ValueError("there are no rows to take the median of.")
    x = rows.double()
    at = x.mean(0)
    for _ in range(n_steps):
        away = (x - at).norm(dim=1)  # [row]
        here = away <= 1e-12 * away.mean().clamp(min=1e-300)
        weights = torch.where(here, 0, 1 / away.clamp(min=1e-300))
        if not bool((weights > 0).any()):
            break  # all rows are the same point
        towards = (weights @ x) / weights.sum()
        if bool(here.any()):
            pull = (weights[:, None] * (x - at)).sum(0).norm()  # of all other rows
            stay = min(1.0, float(here.sum() / pull.clamp(min=1e-300)))
            towards = (1 - stay) * towards + stay * at
        step = (towards - at).norm()
        at = towards
        if step <= tolerance * away.mean():
            break
    return at.to(rows.dtype)


def start_of(rows: Float[Tensor, "row width"], kind: Start) -> Float[Tensor, "width"]:
    """The decoder's bias before training, in the rows' units.

    Args:
        rows: some of what is to be reconstructed.
        kind: their mean, their geometric median (Bricken et al. 2023), or zero.
    """
    if kind == "zero":
        return rows.new_zeros(rows.shape[1])
    return rows.mean(0) if kind == "mean" else geometric_median(rows)


def unit_scale(rows: Float[Tensor, "row width"]) -> float:
    """The factor that makes the mean norm of the rows sqrt(width) (Conerly et al. 2024).

    One learning rate and one sparsity coefficient then suit activations of any size.

    Raises:
        ValueError: all rows are zero.

    Example:
        >>> unit_scale(torch.full((5, 4), 10.0))
        0.1
    """
    norm = float(rows.double().norm(dim=1).mean())
    if norm == 0:
        raise ValueError("all rows are zero: there is nothing to learn at this hook.")
    return math.sqrt(rows.shape[1]) / norm
