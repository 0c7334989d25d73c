"""Resamples of prompts, as matrix products; what all of this package checks of its input.

Row r of a count matrix says how often resample r holds each prompt, so counts @ values / n are the
resampled means, of many rows of values at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats: TypeAlias = NDArray[np.float64]

CELLS = 2_000_000
"""Numbers held at a time, in counts and in resampled means; it changes no result."""


def checked_level(level: float, n_resamples: int) -> None:
    """Refuse a confidence level or a number of resamples that makes no sense."""
    if not 0 < level < 1 or n_resamples < 1:
        raise ValueError(f"level={level} must be between 0 and 1, n_resamples={n_resamples} >= 1.")


def finite(name: str, values: ArrayLike) -> Floats:
    """`values` as float64; refused if there are none, or not all are finite."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 0 or array.size == 0:
        raise ValueError(f"{name} is empty (shape {array.shape}): at least one prompt is needed.")
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise ValueError(f"{bad} of the {array.size} numbers in {name} are not finite.")
    return array


def growing_steps(steps: ArrayLike, fewest: int, of: str) -> Floats:
    """Steps of a training run, [step]; refused if they are too few, not positive, or do not grow.

    Args:
        steps: to be checked.
        fewest: that it takes.
        of: what it takes them for, as "a curve".
    """
    array = finite("steps", steps)
    if array.ndim != 1:
        raise ValueError(f"steps {array.shape} must be [step].")
    if array.size < fewest:
        raise ValueError(f"{array.size} steps are too few for {of}: at least {fewest}.")
    if array[0] <= 0 or (np.diff(array) <= 0).any():
        raise ValueError("steps must be positive and grow; leave step 0 out.")
    return array


def resample_counts(n: int, seed: int, n_resamples: int) -> Iterator[tuple[slice, Floats]]:
    """How often each resample holds each prompt, [resample, prompt], some resamples at a time."""
    rng = np.random.default_rng(seed)
    step = max(1, CELLS // n)
    for start in range(0, n_resamples, step):
        rows = min(step, n_resamples - start)
        drawn = rng.integers(n, size=(rows, n)) + n * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n)
        yield slice(start, start + rows), counts.astype(np.float64)


def resampled_means(values: Floats, seed: int, n_resamples: int) -> Floats:
    """Means of each row of `values` [item, prompt] in every resample: [resample, item]."""
    n = values.shape[-1]
    means = np.empty((n_resamples, len(values)))
    for rows, counts in resample_counts(n, seed, n_resamples):
        means[rows] = counts @ values.T / n
    return means
