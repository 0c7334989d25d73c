"""Correlations over items, and how far they would move with other prompts."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from . import resampling
from .intervals import Interval
from .resampling import Floats, checked_level, finite, resample_counts


def correlation(first: ArrayLike, second: ArrayLike) -> Floats:
    """Pearson's correlation along the last axis; NaN where either side is constant.

    Args:
        first: [..., item].
        second: [..., item].

    Example:
        >>> round(float(correlation([1.0, 2.0, 3.0], [2.0, 4.0, 6.0])), 6)
        1.0
    """
    x, y = (np.asarray(values, dtype=np.float64) for values in (first, second))
    constant = (np.ptp(x, axis=-1) == 0) | (np.ptp(y, axis=-1) == 0)
    x, y = (values - values.mean(-1, keepdims=True) for values in (x, y))
    spread = np.sqrt((x * x).sum(-1)) * np.sqrt((y * y).sum(-1))
    constant |= spread == 0  # too small to be squared
    found = (x * y).sum(-1) / np.where(constant, 1.0, spread)
    return np.where(constant, np.nan, found.clip(-1, 1))


def ranks(values: ArrayLike) -> Floats:
    """The rank of each item along the last axis, from 1 on; ties share their mean rank.

    The correlation of ranks is Spearman's.
    """
    from scipy.stats import rankdata  # loaded only where it is used

    return np.asarray(rankdata(values, axis=-1), dtype=np.float64)


def bootstrap_correlation(
    first: ArrayLike,
    second: ArrayLike,
    ranked: bool = False,
    seed: int = 0,
    level: float = 0.95,
    n_resamples: int = 200,
) -> Interval:
    """The correlation over items of two means over prompts, with its bootstrap interval.

    Prompts are resampled, and not items: the interval says how far the correlation would move
    with other prompts. It is NaN where either side is constant. One prompt cannot be resampled:
    its interval is (-inf, inf).

    Args:
        first: [item, prompt], finite.
        second: [item, prompt], of the same items and prompts.
        ranked: correlate ranks (Spearman) and not values (Pearson).
        seed: of the resamples; both sides hold the same prompts in each.
        level: confidence level, between 0 and 1.
        n_resamples: how many resamples.

    Raises:
        ValueError: empty or not finite values, shapes that do not fit, a bad level.

    Example:
        >>> bootstrap_correlation([[0.0, 1.0], [4.0, 6.0]], [[1.0, 1.0], [2.0, 3.0]]).estimate
        1.0
    """
    a, b = finite("first", first), finite("second", second)
    if a.ndim != 2 or a.shape != b.shape:
        raise ValueError(f"first {a.shape} and second {b.shape} must be [item, prompt] alike.")
    checked_level(level, n_resamples)

    def of_means(x: Floats, y: Floats) -> Floats:
        return correlation(ranks(x), ranks(y)) if ranked else correlation(x, y)

    n = a.shape[1]
    estimate = float(of_means(a.mean(-1), b.mean(-1)))
    if n == 1:
        return Interval(estimate, -math.inf, math.inf, level, n)
    found, step = np.empty(n_resamples), max(1, resampling.CELLS // len(a))
    for rows, counts in resample_counts(n, seed, n_resamples):
        for at in range(0, len(counts), step):
            some = counts[at : at + step] / n
            here = slice(rows.start + at, rows.start + at + len(some))
            found[here] = of_means(some @ a.T, some @ b.T)
    if np.isnan(found).all():
        return Interval(estimate, math.nan, math.nan, level, n)
    low, high = np.nanquantile(found, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high), level, n)
