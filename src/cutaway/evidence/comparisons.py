"""Two conditions compared: how far they differ, between which ends, and whether by chance.

The interval and the p-value are made by different means, resampling and rearranging, and may
disagree at the border: an interval that just excludes 0 beside a p-value just above 0.05 says that
the case is open.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .intervals import Interval, bootstrap_mean
from .permutation import PValues, regroupings, sign_flips
from .resampling import Floats, checked_level, finite, resampled_means


@dataclass(frozen=True)
class Difference:
    """How two conditions differ in their means.

    Example:
        >>> print(paired_difference([3.0, 4.0, 6.0, 5.0], [2.0, 3.0, 3.0, 4.0]))
        1.500 [1.000, 2.500] (95%, n=4), p = 0.125 (exact)
    """

    interval: Interval
    """Mean of the first less mean of the second, with its bootstrap interval."""
    p_value: float
    """Two-sided, of a permutation test that there is no difference."""
    exact: bool
    """The test counted every arrangement; otherwise it drew some."""
    smallest_p_value: float
    """What the p-value could have been at the least, with so many prompts and draws."""

    def __str__(self) -> str:
        how = "exact" if self.exact else f"at least {self.smallest_p_value:.2g}"
        return f"{self.interval}, p = {self.p_value:.3g} ({how})"


def paired_difference(
    first: ArrayLike,
    second: ArrayLike,
    seed: int = 0,
    level: float = 0.95,
    n_resamples: int = 10_000,
) -> Difference:
    """Two conditions on the same prompts: mean difference, bootstrap interval, sign-flip test.

    Pairs make what prompts have in common cancel, so that fewer are needed than of two samples.

    Args:
        first: [prompt], finite.
        second: [prompt], the same prompts in the same order.
        seed: of the resamples and of the signs.
        level: confidence level of the interval, between 0 and 1.
        n_resamples: how many resamples; how many signs are counted at most, or else drawn.

    Raises:
        ValueError: no values, values that are not finite, other shapes, a bad level.

    Example:
        >>> paired_difference([3.0, 4.0, 6.0, 5.0], [2.0, 3.0, 3.0, 4.0]).p_value
        0.125
    """
    a, b = finite("first", first), finite("second", second)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(
            f"first {a.shape} and second {b.shape} must be [prompt] over the same prompts; "
            "two_sample_difference compares samples of different ones."
        )
    interval = bootstrap_mean(a - b, seed, level, n_resamples)
    return _difference(interval, sign_flips(a - b, seed, n_resamples))


def two_sample_difference(
    first: ArrayLike,
    second: ArrayLike,
    seed: int = 0,
    level: float = 0.95,
    n_resamples: int = 10_000,
) -> Difference:
    """Two samples of different prompts: difference of means, bootstrap interval, permutation test.

    Each sample is resampled by itself; a sample of one has no interval. The test's null is that
    both come from one distribution. With samples of different sizes *and* spreads it can find a
    difference of spread in place of one of means (Romano 1990).

    Args:
        first: [prompt], finite.
        second: [other prompt], finite.
        seed: of the resamples and of the groupings.
        level: confidence level of the interval, between 0 and 1.
        n_resamples: how many resamples; how many groupings are counted at most, or else drawn.

    Raises:
        ValueError: no values, values that are not finite or not one-dimensional, a bad level.

    Example:
        >>> two_sample_difference([3.0, 4.0, 5.0], [0.0, 1.0, 2.0]).p_value
        0.1
    """
    test = regroupings(first, second, seed, n_resamples)
    a, b = finite("first", first), finite("second", second)
    checked_level(level, n_resamples)
    low, high = -np.inf, np.inf
    if min(a.size, b.size) > 1:
        # Two seeds from one: with a common one, samples of one size would be resampled alike.
        seeds = np.random.SeedSequence(seed).generate_state(2)
        means = [
            _means(values, int(s), n_resamples) for values, s in zip((a, b), seeds, strict=True)
        ]
        low, high = np.quantile(means[0] - means[1], [(1 - level) / 2, (1 + level) / 2])
    estimate = float(a.mean() - b.mean())
    interval = Interval(estimate, float(low), float(high), level, a.size + b.size)
    return _difference(interval, test)


def _means(values: Floats, seed: int, n_resamples: int) -> Floats:
    return resampled_means(values[None], seed, n_resamples)[:, 0]


def _difference(interval: Interval, test: PValues) -> Difference:
    return Difference(interval, float(test.p), test.exact, test.smallest)
