"""Intervals of many rows at once, from the same resamples of prompts."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from ..evidence import Interval, bootstrap_means


def row_means(
    rows: Float[NDArray[np.floating[Any]], "row prompt"], seed: int = 0, level: float = 0.95
) -> list[Interval]:
    """The mean of each row with its bootstrap interval, as `evidence.bootstrap_mean` gives it.

    Example:
        >>> [one.estimate for one in row_means(np.array([[1.0, 3.0], [2.0, 2.0]]))]
        [2.0, 2.0]
    """
    n = rows.shape[1]
    ends = np.stack(bootstrap_means(rows, seed, level), axis=1).tolist()  # [row, 3]
    return [Interval(middle, low, high, level, n) for middle, low, high in ends]
