"""Intervals: percentile bootstrap for means and their ratios, Wilson for shares.

The bootstrap resamples prompts with replacement and takes percentiles (Efron 1979; Efron and
Tibshirani 1993, chapter 13).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import resampling
from .resampling import Floats, checked_level, finite, resampled_means

LEAST_EFFECT = 0.02
"""The smallest normalised effect that is called one; 1 is the whole of clean minus corrupted."""


@dataclass(frozen=True)
class Interval:
    """An estimate and the interval that holds it.

    Example:
        >>> print(proportion(62, 64))
        0.969 [0.893, 0.991] (95%, n=64)
    """

    estimate: float
    """The number itself, from all prompts."""
    low: float
    """Lower end."""
    high: float
    """Upper end."""
    level: float
    """The confidence level, e.g. 0.95."""
    n: int
    """How many prompts it stands on."""

    def contains(self, value: float) -> bool:
        """Whether `value` lies within the interval, ends included."""
        return self.low <= value <= self.high

    def __str__(self) -> str:
        if self.n == 1 and math.isinf(self.high - self.low):
            return f"{self.estimate:.3f} (one prompt: no interval)"
        return (
            f"{self.estimate:.3f} [{self.low:.3f}, {self.high:.3f}] "
            f"({100 * self.level:g}%, n={self.n})"
        )


def bootstrap_mean(
    values: ArrayLike, seed: int = 0, level: float = 0.95, n_resamples: int = 10_000
) -> Interval:
    """The mean of `values` with its percentile bootstrap interval.

    One value says nothing of how values vary, so its interval is (-inf, inf).

    Args:
        values: [prompt], finite.
        seed: of the resamples; the same seed gives the same interval.
        level: confidence level, between 0 and 1.
        n_resamples: how many resamples.

    Raises:
        ValueError: no values, values that are not finite or not one-dimensional, a bad level.

    Example:
        >>> bootstrap_mean([1.0, 2.0, 3.0]).estimate
        2.0
    """
    array = finite("values", values)
    if array.ndim != 1:
        raise ValueError(f"values must be [prompt], they have the shape {array.shape}.")
    estimate, low, high = bootstrap_means(array, seed, level, n_resamples)
    return Interval(float(estimate), float(low), float(high), level, array.size)


def bootstrap_means(
    values: ArrayLike, seed: int = 0, level: float = 0.95, n_resamples: int = 10_000
) -> tuple[Floats, Floats, Floats]:
    """(mean, low, high) of many rows at once, all from the same resamples of prompts.

    Args:
        values: [..., prompt], finite.
        seed: of the resamples.
        level: confidence level, between 0 and 1.
        n_resamples: how many resamples.

    Returns:
        Three arrays [...].

    Raises:
        ValueError: no values, values that are not finite, a bad level.

    Example:
        >>> bootstrap_means([[1.0, 3.0], [2.0, 2.0]])[0].tolist()
        [2.0, 2.0]
    """
    array = finite("values", values)
    return bootstrap_ratio(array, np.ones(array.shape[-1:]), seed, level, n_resamples)


def bootstrap_ratio(
    numerator: ArrayLike,
    denominator: ArrayLike,
    seed: int = 0,
    level: float = 0.95,
    n_resamples: int = 10_000,
) -> tuple[Floats, Floats, Floats]:
    """Ratios of means, mean(numerator) / mean(denominator), each with its bootstrap interval.

    Numerator and denominator are resampled together, so an uncertain denominator widens the
    interval. Where more than (1 - level) / 2 of the resampled denominators have another sign
    than the mean (or are zero), the ratio is not bounded and the interval is (-inf, inf). It is
    the same for a single prompt, which cannot be resampled.

    Args:
        numerator: [..., prompt], finite.
        denominator: [prompt], finite, of a mean other than zero.
        seed: of the resamples; the same for every ratio.
        level: confidence level, between 0 and 1.
        n_resamples: how many resamples.

    Returns:
        estimate, low, high: each [...].

    Raises:
        ValueError: empty or not finite values, shapes that do not fit, a denominator of mean
            zero, a bad level.

    Example:
        >>> estimate, low, high = bootstrap_ratio([[1.0, 2.0], [3.0, 4.0]], [2.0, 2.0])
        >>> estimate
        array([0.75, 1.75])
    """
    top, bottom = finite("numerator", numerator), finite("denominator", denominator)
    if bottom.ndim != 1 or top.shape[-1] != bottom.size:
        raise ValueError(
            f"numerator {top.shape} and denominator {bottom.shape} must be [..., prompt] and "
            "[prompt] over the same prompts."
        )
    checked_level(level, n_resamples)
    centre = bottom.mean()
    if centre == 0:
        raise ValueError(
            "The mean of the denominator is zero: clean and corrupted do not differ on this "
            "metric, so there is no difference to express effects in."
        )
    rows, shape = top.reshape(-1, bottom.size), top.shape[:-1]
    ends = _ends(rows, bottom, (1 - level) / 2, seed, n_resamples)
    return (rows.mean(-1) / centre).reshape(shape), ends[0].reshape(shape), ends[1].reshape(shape)


def matters(
    effect: ArrayLike, low: ArrayLike, high: ArrayLike, least: float = LEAST_EFFECT
) -> NDArray[np.bool_]:
    """Which normalised effects count as effects: the rule of every report.

    An effect matters if its interval excludes 0 and it is larger than `least` in absolute value.
    The interval alone would let through 1 in 20 of the places that do nothing; the size alone
    would let through noise.

    Args:
        effect: [...], in units of the whole difference between clean and corrupted.
        low: [...], lower ends of the intervals.
        high: [...], upper ends.
        least: the size that an effect must exceed.

    Example:
        >>> matters([0.5, 0.01, 0.5], [0.4, 0.005, -0.1], [0.6, 0.015, 1.1])
        array([ True, False, False])
    """
    clear = (np.asarray(low) > 0) | (np.asarray(high) < 0)
    return np.asarray(clear & (np.abs(np.asarray(effect)) > least))


def proportion(successes: int, n: int, level: float = 0.95) -> Interval:
    """A share with its Wilson score interval (Wilson 1927), which holds for shares near 0 and 1.

    Args:
        successes: how many of the `n` trials succeeded.
        n: how many trials.
        level: confidence level, between 0 and 1.

    Raises:
        ValueError: no trials, or successes outside 0 to n.

    Example:
        >>> proportion(64, 64).low > 0.94
        True
    """
    if n < 1 or not 0 <= successes <= n or not 0 < level < 1:
        raise ValueError(f"There is no share of {successes} in {n} at the level {level}.")
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    # The ends are exactly 0 and 1 at the borders; rounding must not cut them off.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return Interval(share, low, high, level, n)


def difference_of_proportions(first: Interval, second: Interval) -> Interval:
    """One share less another, of two samples (Newcombe 1998, method 10).

    Args:
        first, second: as `proportion` gives them, of the same level.

    Raises:
        ValueError: two levels.

    Example:
        >>> difference_of_proportions(proportion(9, 10), proportion(3, 10)).estimate
        0.6
    """
    if first.level != second.level:
        raise ValueError(f"the shares have intervals of two levels, {first.level}, {second.level}.")
    p, q = first.estimate, second.estimate
    below = math.hypot(p - first.low, second.high - q)
    above = math.hypot(first.high - p, q - second.low)
    return Interval(p - q, p - q - below, p - q + above, first.level, first.n + second.n)


def _ends(rows: Floats, bottom: Floats, tail: float, seed: int, n_resamples: int) -> Floats:
    """Both ends of the interval of every ratio: [2, item]; infinite where nothing bounds it."""
    ends = np.full((2, len(rows)), [[-np.inf], [np.inf]])
    if bottom.size == 1:
        return ends
    divisors = resampled_means(bottom[None], seed, n_resamples)[:, 0]
    if np.mean(divisors * np.sign(bottom.mean()) <= 0) > tail:
        return ends
    divisors[divisors == 0] = np.nan  # rare enough to be left out
    step = max(1, resampling.CELLS // n_resamples)
    for i in range(0, len(rows), step):
        ratios = resampled_means(rows[i : i + step], seed, n_resamples) / divisors[:, None]
        ends[:, i : i + step] = np.nanquantile(ratios, [tail, 1 - tail], axis=0)
    return ends
