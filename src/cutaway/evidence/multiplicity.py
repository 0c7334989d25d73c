"""Many tests at once: which findings to keep so that few of them are false.

A sweep is a family of tests. At 0.05 each, one in twenty of the places that do nothing would be
called a finding. Benjamini and Hochberg (1995) bound the false discovery rate instead: the share
of false ones among the findings, on average.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .resampling import Floats


@dataclass(frozen=True)
class Discoveries:
    """Which tests of a family survive at a false discovery rate.

    Example:
        >>> benjamini_hochberg([0.001, 0.02, 0.5]).n
        2
    """

    found: NDArray[np.bool_]
    """[...]: the tests that survive."""
    adjusted: Floats
    """[...]: the smallest rate at which each would survive (adjusted p-values, or q-values)."""
    rate: float
    """The false discovery rate that was asked for."""

    @property
    def n(self) -> int:
        """How many survive."""
        return int(self.found.sum())


def benjamini_hochberg(
    p_values: ArrayLike, rate: float = 0.05, any_dependence: bool = False
) -> Discoveries:
    """The step-up procedure of Benjamini and Hochberg (1995), over arrays of any shape.

    With m tests and the p-values in order, the k smallest survive for the largest k with
    p[k] <= rate * k / m. On average at most `rate` of the survivors are false if the tests are
    independent or depend on each other positively, as effects of neighbouring places mostly do.

    Args:
        p_values: [...], one for each test of the family; all that were made, not only the best.
        rate: share of false ones among the findings that is accepted, between 0 and 1.
        any_dependence: hold under any dependence (Benjamini and Yekutieli 2001, theorem 1.3), at
            the price of a factor 1 + 1/2 + ... + 1/m.

    Raises:
        ValueError: no p-values, p-values outside 0 to 1, a bad rate.

    Example:
        >>> benjamini_hochberg([[0.01, 0.04], [0.03, 0.5]]).found
        array([[ True, False],
               [False, False]])
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.size == 0:
        raise ValueError("There are no p-values, so there is nothing to choose from.")
    bad = ~((p >= 0) & (p <= 1))  # NaN too
    if bad.any():
        raise ValueError(f"{int(bad.sum())} of the {p.size} p-values do not lie in 0 to 1.")
    if not 0 < rate < 1:
        raise ValueError(f"rate={rate} must lie between 0 and 1; it is a share of the findings.")
    flat, m = p.ravel(), p.size
    order = np.argsort(flat, kind="stable")
    steps = np.arange(1, m + 1)
    factor = float(np.sum(1 / steps)) if any_dependence else 1.0
    raised = flat[order] * (m * factor / steps)  # the last is as it was, to the bit
    # A test survives wherever a larger p-value does: the least of its own and all later ones.
    least = np.minimum.accumulate(raised[::-1])[::-1]
    adjusted = np.empty(m)
    adjusted[order] = np.minimum(least, 1.0)
    shaped = adjusted.reshape(p.shape)
    return Discoveries(np.asarray(shaped <= rate), shaped, rate)
