"""Two features in one dimension: what is best, by theory, for each importance and density.

Elhage et al. (2022), "Superposition as a Phase Change": ignore the second feature, ignore the
first, or keep both as an antipodal pair. The losses follow from the moments of a uniform number.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike, NDArray

from ..array_files import Array

Phase = Literal["first", "second", "both"]
PHASES: tuple[Phase, ...] = get_args(Phase)


def phase_losses(importance: ArrayLike, density: ArrayLike) -> dict[Phase, Float[Array, "*grid"]]:
    """The expected loss of each solution.

    With the importances 1 and I, the density p, and x uniform where it is there:

    - "first": W = (1, 0), the second is given as its mean: I (p/3 - p^2/4);
    - "second": W = (0, 1): p/3 - p^2/4;
    - "both": W = (1, -1), b = 0. One feature alone is given exactly; where both are there, each is
      off by the smaller of the two: (1 + I) p^2 / 6.

    Args:
        importance: I, of the second feature; that of the first is 1. Broadcasts with `density`.
        density: p = 1 - S.

    Example:
        >>> losses = phase_losses(1.0, 0.1)
        >>> min(losses, key=losses.get)
        'both'
    """
    weight, p = np.broadcast_arrays(np.asarray(importance, float), np.asarray(density, float))
    variance = p / 3 - p**2 / 4
    return {
        "first": np.asarray(weight * variance),
        "second": np.asarray(variance),
        "both": np.asarray((1 + weight) * p**2 / 6),
    }


def predicted_phase(importance: ArrayLike, density: ArrayLike) -> NDArray[np.str_]:
    """The solution of least expected loss.

    Example:
        >>> predicted_phase([0.1, 1.0, 10.0], [0.9, 0.1, 0.9]).tolist()
        ['first', 'both', 'second']
    """
    losses = phase_losses(importance, density)
    best = np.argmin(np.stack([losses[name] for name in PHASES]), axis=0)
    return np.asarray(np.array(PHASES)[best])


def least_density_of_both(importance: ArrayLike) -> Float[Array, "*grid"]:
    """The density at which keeping both begins to cost more than keeping one.

    (1 + I) p / 6 = min(1, I) (1/3 - p/4) solved for p; at most 1.

    Example:
        >>> least_density_of_both([1.0, 0.1]).round(3).tolist()
        [0.571, 0.16]
    """
    weight = np.asarray(importance, float)
    less = np.minimum(1.0, weight)
    return np.asarray(np.minimum(1.0, less / 3 / ((1 + weight) / 6 + less / 4)))


def measured_phase(W: Float[Array, "*grid hidden feature"], least: float = 0.5) -> NDArray[np.str_]:
    """Which solution a trained model of two features in one dimension has.

    A feature is kept if its norm is above `least`; two of one sign are "same side", none is
    "neither".

    Raises:
        ValueError: another number of features or dimensions.

    Example:
        >>> measured_phase(np.array([[1.0, -1.0]])).item()
        'both'
    """
    if W.shape[-2:] != (1, 2):
        raise ValueError(f"W is {W.shape[-2:]}; phases are those of 2 features in 1 dimension.")
    first, second = W[..., 0, 0], W[..., 0, 1]
    has_first, has_second = np.abs(first) > least, np.abs(second) > least
    kept = np.select(
        [has_first & has_second & (first * second < 0), has_first & has_second, has_first],
        ["both", "same side", "first"],
        default="neither",
    )
    return np.asarray(np.where(has_second & ~has_first, "second", kept))
