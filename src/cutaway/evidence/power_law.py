"""Power laws: by what power of some factors a quantity grows, with Student's intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from .intervals import Interval
from .resampling import finite


@dataclass(frozen=True)
class PowerLaw:
    """y = constant * product of x_k ** exponent_k, fitted by least squares of the logarithms.

    Example:
        >>> law = power_law([1.0, 2.1, 3.9, 8.2], {"x": [1, 2, 4, 8]})
        >>> round(law.exponents["x"].estimate, 1)
        1.0
    """

    exponents: dict[str, Interval]
    """By the name of the factor."""
    constant: float
    r_squared: float
    """Of ln y."""

    def doubled(self, name: str) -> Interval:
        """By what y is multiplied when a factor is doubled."""
        one = self.exponents[name]
        return Interval(2**one.estimate, 2**one.low, 2**one.high, one.level, one.n)


def power_law(y: ArrayLike, factors: Mapping[str, ArrayLike], level: float = 0.95) -> PowerLaw:
    """Fit ln y = ln constant + sum of exponent_k ln x_k.

    The intervals take the residuals for independent and equally large on the logarithmic scale.

    Args:
        y: [observation], positive.
        factors: name -> [observation], positive, each of at least two values.
        level: confidence level.

    Raises:
        ValueError: numbers that are not positive, fewer observations than it takes, factors that
            cannot be told apart.

    Example:
        >>> power_law(midpoints, {"batch": batches, "context": contexts}).doubled("batch")
    """
    values = finite("y", y)
    columns = [finite(name, x) for name, x in factors.items()]
    if any(column.shape != values.shape for column in columns):
        raise ValueError("y and every factor must be [observation] over the same observations.")
    if (values <= 0).any() or any((column <= 0).any() for column in columns):
        raise ValueError("a power law takes positive numbers only.")
    design = np.stack([np.ones(values.size), *map(np.log, columns)], axis=1)
    free = values.size - design.shape[1]
    if free < 1 or np.linalg.matrix_rank(design) < design.shape[1]:
        raise ValueError(
            f"{values.size} observations do not tell {len(columns)} exponents and a constant "
            "apart: take more, or factors that do not change together."
        )
    logs = np.log(values)
    coefficients, *_ = np.linalg.lstsq(design, logs, rcond=None)
    left: NDArray[np.float64] = logs - design @ coefficients
    spread = (left @ left) / free
    errors = np.sqrt(np.diag(np.linalg.inv(design.T @ design)) * spread)
    half = stats.t.ppf((1 + level) / 2, free) * errors
    exponents = {
        name: Interval(float(c), float(c - h), float(c + h), level, values.size)
        for name, c, h in zip(factors, coefficients[1:], half[1:], strict=True)
    }
    whole = ((logs - logs.mean()) ** 2).sum()
    r_squared = float(1 - (left @ left) / whole) if whole > 0 else 1.0
    return PowerLaw(exponents, math.exp(coefficients[0]), r_squared)
