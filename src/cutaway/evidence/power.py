"""How many prompts it takes: what a test with n of them can see, before it is run.

The test is the one of sign flips, two-sided. Its power is close to that of Student's t, for which
there is a formula: with an effect of d standard deviations, t has a noncentral distribution with
n - 1 degrees of freedom and noncentrality d * sqrt(n) (Cohen 1988). One thing is added: n prompts
have 2**n signs, so that no p-value is below 2 / 2**n.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from .resampling import Floats, finite

_NODES = 400  # of the quadrature over spreads


def minimum_detectable_effect(
    values: ArrayLike, n_prompts: int | None = None, alpha: float = 0.05, power: float = 0.8
) -> Floats:
    """The smallest mean that a test over `n_prompts` would find, given how values spread.

    A mean of this size would be found with the probability `power`. Of what was not found one may
    say that it is probably smaller than this, and no more.

    Args:
        values: [..., prompt], finite, at least two prompts: the spread is taken from them, by
            standard deviations (n - 1), and their mean does not matter.
        n_prompts: of the test that is planned; None means as many as in `values`.
        alpha: p-values up to this count. In a family of m tests, Benjamini and Hochberg's
            procedure asks alpha / m of a lone effect.
        power: probability of finding an effect of this size, between alpha and 1.

    Returns:
        [...], in the unit of `values`; infinite where so few prompts find nothing, however large.

    Raises:
        ValueError: fewer than two prompts in `values`, values that are not finite, a bad alpha,
            power or number.

    Example:
        >>> round(float(minimum_detectable_effect([1.0, 2.0, 3.0], n_prompts=34)), 1)
        0.5
    """
    spread = _spread(values)
    n = np.shape(values)[-1] if n_prompts is None else n_prompts
    _check(alpha, power)
    if n < 1:
        raise ValueError(f"n_prompts={n} must be at least 1.")
    if n < _fewest(alpha):
        return np.full(spread.shape, math.inf)
    return np.asarray(_standardised(n, alpha, power) * spread)


def prompts_needed(
    effect: float, values: ArrayLike, alpha: float = 0.05, power: float = 0.8
) -> int:
    """How many prompts find a mean of `effect` with the probability `power`.

    Args:
        effect: the size of the mean, of either sign, in the unit of `values`.
        values: [prompt], finite, at least two: the spread is taken from them.
        alpha: p-values up to this count.
        power: probability of finding it, between alpha and 1.

    Raises:
        ValueError: an effect of 0 or not finite, or one so small beside the spread that it takes
            more than a million prompts; values, alpha or power as in `minimum_detectable_effect`.

    Example:
        >>> prompts_needed(0.5, [1.0, 2.0, 3.0])
        34
    """
    spread = _spread(values)
    _check(alpha, power)
    if spread.ndim != 0:
        raise ValueError(f"values {np.shape(values)} must be [prompt]; ask for one at a time.")
    if effect == 0 or not math.isfinite(effect):
        raise ValueError(f"effect={effect} cannot be found by any number of prompts.")
    fewest, most = _fewest(alpha), 1_000_000
    d = abs(effect) / float(spread) if spread > 0 else math.inf
    if _standardised(most, alpha, power) > d:
        raise ValueError(
            f"effect={effect:g} is {d:.2g} standard deviations: more than a million prompts."
        )
    low, high = fewest - 1, most  # low is too few, high is enough
    while high - low > 1:
        middle = (low + high) // 2
        if _standardised(middle, alpha, power) <= d:
            high = middle
        else:
            low = middle
    return high


def _spread(values: ArrayLike) -> Floats:
    array = finite("values", values)
    if array.shape[-1] < 2:
        raise ValueError("values holds one prompt: how they spread takes at least two.")
    return np.asarray(array.std(-1, ddof=1))


def _check(alpha: float, power: float) -> None:
    if not 0 < alpha < power < 1:
        raise ValueError(f"alpha={alpha} and power={power} must be 0 < alpha < power < 1.")


def _fewest(alpha: float) -> int:
    """Prompts below which no test of signs reaches alpha: 2 / 2**n <= alpha."""
    return max(2, math.ceil(1 - math.log2(alpha) - 1e-9))


@lru_cache(maxsize=1024)
def _standardised(n: int, alpha: float, power: float) -> float:
    """The mean, in standard deviations, that n prompts find with the probability `power`."""
    from scipy import optimize, special  # loaded only where they are used

    df = n - 1
    bound = float(special.stdtrit(df, 1 - alpha / 2))
    # Given the sample's spread t is normal, so its power is a mean over the spreads that samples
    # have. scipy's noncentral t (1.17) gives NaN in places that are needed here.
    at, weight = np.polynomial.legendre.leggauss(_NODES)
    spreads = np.sqrt(2 * special.gammaincinv(df / 2, (at + 1) / 2) / df)

    def beyond(shift: float) -> float:
        found = special.ndtr(shift - bound * spreads) + special.ndtr(-shift - bound * spreads)
        return float(weight @ found) / 2 - power

    top = bound + 10.0
    while beyond(top) < 0:
        top *= 2
    return float(optimize.brentq(beyond, 0.0, top, xtol=1e-10)) / math.sqrt(n)
