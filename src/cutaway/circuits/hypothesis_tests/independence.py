"""Independence: with the circuit knocked out, does what is left still follow the task?"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from ...evidence import Interval, correlation
from .base import Floats, HypothesisTest, paired


def hsic(first: ArrayLike, second: ArrayLike) -> tuple[float, Floats, Floats]:
    """The Hilbert-Schmidt independence criterion of two scores: 0 if they are independent.

    trace(K H L H) / (n - 1)^2 (Gretton et al. 2005, definition 2), K and L Gaussian kernels, each
    as wide as the median distance between its own values, and H the centring.

    Returns:
        the criterion, and both kernels, centred: [prompt, prompt].
    """
    left, right = (_centred(_kernel(values)) for values in paired(first, second))
    return float((left * right).sum()) / (len(left) - 1) ** 2, left, right


def independence_test(
    complement: ArrayLike,
    model: ArrayLike,
    control: ArrayLike | None = None,
    n_permutations: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> HypothesisTest:
    """Test that the scores of the circuit's complement are independent of the model's.

    A permutation test on `hsic` (Gretton et al. 2007), as in Shi et al. (2024). Unlike theirs the
    kernel of each score has the median of its own distances, not one width for both from the
    distances between the two, and the observed order counts among the permutations, so that p is
    never 0.

    Args:
        complement: [prompt], scores with the circuit knocked out.
        model: [prompt], scores of the whole model.
        control: [prompt], scores with everything knocked out: what stands in may follow the task as
            well.
        n_permutations: how many are drawn.
        seed: of the permutations.
        level: of the interval of the correlation.

    Raises:
        ValueError: scores that do not fit, fewer than 4 prompts, no permutations.
    """
    first, second = paired(complement, model)
    if len(first) < 4 or n_permutations < 1:
        raise ValueError(
            f"{len(first)} prompts and {n_permutations} permutations: at least 4 prompts and 1 "
            "permutation are needed to test independence."
        )
    statistic, p = _permuted(first, second, n_permutations, seed)
    controls = {}
    if control is not None:
        controls["p with everything knocked out"] = _permuted(
            paired(control, model)[0], second, n_permutations, seed
        )[1]
    return HypothesisTest(
        name="independence",
        null="with the circuit knocked out, the scores are independent of the model's",
        rejection_means="what is outside the circuit (or stands in for it) still follows the task",
        for_the_circuit=False,
        statistic=statistic,
        statistic_is="HSIC",
        p_value=p,
        interval=_correlation(first, second, seed, level),
        interval_of="Pearson's correlation of the two scores",
        n=len(first),
        n_of="prompts",
        seed=seed,
        controls=controls,
    )


def _kernel(values: Floats) -> Floats:
    distances = np.abs(values[:, None] - values[None])
    apart = distances[np.triu_indices(len(values), 1)]
    width = float(np.median(apart)) or float(apart.mean()) or 1.0  # many or all values the same
    kernel: Floats = np.exp(-((distances / width) ** 2) / 2)
    return kernel


def _centred(kernel: Floats) -> Floats:
    centred: Floats = kernel - kernel.mean(0) - kernel.mean(1)[:, None] + kernel.mean()
    return centred


def _permuted(first: Floats, second: Floats, n: int, seed: int) -> tuple[float, float]:
    """HSIC and its p-value."""
    observed, left, right = hsic(first, second)
    rng = np.random.default_rng(seed)
    scale = (len(first) - 1) ** 2
    bound = observed - 1e-12 * float(np.abs(left).sum()) / scale  # rounding is a tie, and counts
    reached = 0
    for _ in range(n):
        order = rng.permutation(len(first))
        reached += float((left * right[np.ix_(order, order)]).sum()) / scale >= bound
    return observed, (1 + reached) / (1 + n)


def _correlation(first: Floats, second: Floats, seed: int, level: float) -> Interval:
    """Pearson's correlation over prompts with its percentile bootstrap interval."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(first), size=(2000, len(first)))
    found = correlation(first[drawn], second[drawn])
    estimate = float(correlation(first, second))
    if np.isnan(found).all():
        return Interval(estimate, math.nan, math.nan, level, len(first))
    low, high = np.nanquantile(found, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high), level, len(first))
