"""Computing in superposition: more absolute values than neurons.

|x| = ReLU(x) + ReLU(-x) takes two neurons for each feature. Elhage et al. (2022), "Computing with
Superposition", ask whether a hidden layer of m neurons can do it for more than m / 2 features.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ..array_files import Array
from .trained import TrainedToys

COMPUTED = 0.5
"""A feature counts as computed if less than this share of its variance is left."""
MONOSEMANTIC = 0.9
"""A neuron is about one feature if that has at least this share of its squared input weights."""
_LEAST_NEURON = 0.01  # of the largest squared norm: below, a neuron does nothing


def loss_without_superposition(
    importance: Float[Array, " feature"], density: float, n_hidden: int
) -> float:
    """The least loss with neurons that read one feature each.

    The most important m / 2 features are computed exactly, the others are given as their mean. A
    neuron that is left over gives ReLU(x) of the next one, which explains of |x| the share
    rho^2 = cov(|x|, ReLU x)^2 / (Var |x| Var ReLU x).

    Args:
        importance: I.
        density: 1 - S.
        n_hidden: m.

    Example:
        >>> round(loss_without_superposition(np.ones(4), 1.0, 4), 4)  # two of four, 1/12 each
        0.1667
    """
    p = density
    variance = p / 3 - p**2 / 4
    ordered = np.sort(importance)[::-1]
    n_whole, left_over = divmod(n_hidden, 2)
    loss = variance * ordered[n_whole:].sum()
    if left_over and n_whole < len(ordered):
        shared = (p / 6 - p**2 / 8) ** 2 / (p / 6 - p**2 / 16)
        loss -= ordered[n_whole] * shared
    return float(loss)


def n_computed(trained: TrainedToys) -> Int[np.ndarray, "importance density seed"]:
    """How many features each instance computes: less than half of their variance is left.

    Example:
        >>> n_computed(found).shape  # doctest: +SKIP
        (1, 6, 8)
    """
    return np.asarray((trained.unexplained() < COMPUTED).sum(-1))


def monosemantic_share(
    W_in: Float[Array, "*grid hidden feature"],
) -> Float[Array, "*grid"]:
    """The share of neurons that read one feature (nine tenths of the squared weights or more), of
    those that read anything.

    Example:
        >>> float(monosemantic_share(np.array([[1.0, 0.0], [1.0, 1.0]])))
        0.5
    """
    squared: Any = W_in**2
    whole = squared.sum(-1)
    is_used = whole > _LEAST_NEURON * whole.max(-1, keepdims=True)
    is_single = (squared.max(-1) >= MONOSEMANTIC * whole) & is_used
    return np.asarray(is_single.sum(-1) / np.maximum(is_used.sum(-1), 1))
