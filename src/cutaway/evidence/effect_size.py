"""Effect sizes: differences in units of their spread, or by order alone, with intervals.

A p-value says whether a difference could be chance, and shrinks with every further prompt. An
effect size says how large it is, and does not.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from .intervals import Interval
from .resampling import Floats, checked_level, finite, resample_counts


def cohens_d_z(
    differences: ArrayLike, seed: int = 0, level: float = 0.95, n_resamples: int = 10_000
) -> Interval:
    """Cohen's d of paired values: mean over standard deviation (n - 1) of the differences.

    It is the d_z of Cohen (1988) and Lakens (2013), with a percentile bootstrap interval. Few
    prompts make it too large on average, by about 3 / (4n) of itself. Where so many resamples hold
    a single value that an end is not determined, the interval is (-inf, inf).

    Args:
        differences: [prompt], finite, at least two, not all alike.
        seed: of the resamples.
        level: confidence level, between 0 and 1.
        n_resamples: how many resamples.

    Raises:
        ValueError: fewer than two values, values that are alike, not finite or not
            one-dimensional, a bad level.

    Example:
        >>> round(cohens_d_z([1.0, 2.0, 3.0]).estimate, 6)
        2.0
    """
    x = finite("differences", differences)
    checked_level(level, n_resamples)
    if x.ndim != 1 or x.size < 2:
        raise ValueError(f"differences {x.shape} must be [prompt], of at least two prompts.")
    if np.ptp(x) == 0:
        raise ValueError(
            f"All {x.size} differences are {x[0]:g}: without spread there is no effect size."
        )
    n = x.size
    estimate = float(x.mean() / x.std(ddof=1))
    found = np.empty(n_resamples)
    centred = x - x.mean()  # or rounding would eat a small spread beside a large mean
    for rows, counts in resample_counts(n, seed, n_resamples):
        shift = counts @ centred / n
        variance = np.maximum(counts @ centred**2 / n - shift**2, 0.0) * n / (n - 1)
        variance[(counts == n).any(-1)] = 0.0
        spread = np.sqrt(variance)
        found[rows] = np.where(
            spread > 0, (x.mean() + shift) / np.where(spread > 0, spread, 1), np.nan
        )
    tail = (1 - level) / 2
    if np.isnan(found).mean() > tail:
        return Interval(estimate, -math.inf, math.inf, level, n)
    low, high = np.nanquantile(found, [tail, 1 - tail])
    return Interval(estimate, float(low), float(high), level, n)


def cliffs_delta(
    first: ArrayLike,
    second: ArrayLike,
    seed: int = 0,
    level: float = 0.95,
    n_resamples: int = 10_000,
) -> Interval:
    """Cliff's delta of two samples: P(first > second) - P(first < second) (Cliff 1993).

    1 if every value of the first exceeds every one of the second, -1 the other way round, 0 if
    neither is larger as a rule. It is the rank-biserial correlation of two groups, and depends on
    order alone. The interval is a percentile bootstrap of both samples. If they do not overlap no
    resample does either; the inner end is then Wilson's for a share of 1 in the smaller sample,
    (n - z²) / (n + z²), as Feng and Cliff (2004) propose.

    Args:
        first: [prompt], finite.
        second: [other prompt], finite.
        seed: of the resamples.
        level: confidence level, between 0 and 1.
        n_resamples: how many resamples.

    Raises:
        ValueError: no values, values that are not finite or not one-dimensional, a bad level.

    Example:
        >>> cliffs_delta([2.0, 3.0], [1.0, 2.0]).estimate
        0.75
    """
    a, b = finite("first", first), finite("second", second)
    checked_level(level, n_resamples)
    if a.ndim != 1 or b.ndim != 1:
        raise ValueError(f"first {a.shape} and second {b.shape} must be [prompt] each.")
    above = np.sign(a[:, None] - b[None, :])  # [first, second]
    estimate, n = float(above.mean()), a.size + b.size
    if abs(estimate) == 1:
        least = min(a.size, b.size)
        z2 = NormalDist().inv_cdf((1 + level) / 2) ** 2
        inner = (least - z2) / (least + z2)
        ends = (inner, 1.0) if estimate > 0 else (-1.0, -inner)
        return Interval(estimate, *ends, level, n)
    if min(a.size, b.size) == 1:
        return Interval(estimate, -1.0, 1.0, level, n)
    low, high = np.quantile(
        _resampled_deltas(above, seed, n_resamples), [(1 - level) / 2, (1 + level) / 2]
    )
    return Interval(estimate, float(low), float(high), level, n)


def auroc(
    positive: ArrayLike,
    negative: ArrayLike,
    seed: int = 0,
    level: float = 0.95,
    n_resamples: int = 10_000,
) -> Interval:
    """The area under the ROC curve: P(positive > negative), ties counted half.

    It is (1 + Cliff's delta) / 2, and so is its interval; arguments and errors are those of
    `cliffs_delta`.

    Example:
        >>> auroc([2.0, 3.0], [1.0, 2.0]).estimate
        0.875
    """
    delta = cliffs_delta(positive, negative, seed, level, n_resamples)
    low, middle, high = ((1 + x) / 2 for x in (delta.low, delta.estimate, delta.high))
    return Interval(middle, low, high, delta.level, delta.n)


def _resampled_deltas(above: Floats, seed: int, n_resamples: int) -> Floats:
    """The delta of every pair of resamples: [resample]."""
    size_a, size_b = above.shape
    seeds = np.random.SeedSequence(seed).generate_state(2)
    half = np.empty((n_resamples, size_b))
    for rows, counts in resample_counts(size_a, int(seeds[0]), n_resamples):
        half[rows] = counts @ above / size_a
    found = np.empty(n_resamples)
    for rows, counts in resample_counts(size_b, int(seeds[1]), n_resamples):
        found[rows] = (half[rows] * counts).sum(-1) / size_b
    return found
