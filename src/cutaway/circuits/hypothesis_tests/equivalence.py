"""Equivalence: are circuit and model equally likely to come out better on a prompt?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ...evidence import Interval, bootstrap_mean, proportion
from .base import HypothesisTest, paired, tolerance


@dataclass(frozen=True, eq=False)
class EquivalenceTest(HypothesisTest):
    """A test of equivalence, with what it takes to read it."""

    epsilon: float = 0.1
    ties: int = 0
    """Prompts on which both scores are the same, which count as half."""
    difference: Interval | None = None
    """Mean of circuit minus model, with its bootstrap interval: how much, which the test of signs
    does not say."""
    reverse_p_value: float = 1.0
    """Of the null that the share lies *outside* 1/2 +- epsilon: a small one shows equivalence in
    this sense, which a large `p_value` does not."""


def equivalence_test(
    circuit: ArrayLike,
    model: ArrayLike,
    epsilon: float = 0.1,
    seed: int = 0,
    level: float = 0.95,
) -> EquivalenceTest:
    """Test that circuit and model are equally likely to come out better on a prompt.

    Null: |P(circuit > model) - 1/2| <= epsilon. With k of n prompts on which the circuit is better,
    p = P(|K/n - 1/2| >= |k/n - 1/2|) for K ~ Binomial(n, 1/2 + epsilon), the end of the null that
    makes it largest (Shi et al. 2024, section on equivalence).

    Unlike the paper's, ties are allowed and count as half: a circuit that equals the model on
    every prompt is not rejected. (The code released with the paper puts the mean difference of
    scores in the place of the share k/n; this follows the text.)

    Args:
        circuit, model: [prompt], scores; more is better.
        epsilon: how far from 1/2 the share may be.
        seed: of the bootstrap of the mean difference.
        level: of the intervals.

    Raises:
        ValueError: scores that do not fit, or an epsilon outside 0 to 1/2.
    """
    first, second = paired(circuit, model)
    if not 0 <= epsilon < 0.5:
        raise ValueError(f"epsilon={epsilon} must be at least 0 and less than 1/2.")
    from scipy.stats import binom  # loaded only where it is used

    n, difference = len(first), first - second
    tied = np.abs(difference) <= tolerance(first, second)
    k = float(((difference > 0) & ~tied).sum() + 0.5 * tied.sum())
    far = abs(k - n / 2) - 1e-9
    upper, lower = math.ceil(n / 2 + far), math.floor(n / 2 - far)
    end = 0.5 + epsilon
    p = float(binom.sf(upper - 1, n, end) + binom.cdf(lower, n, end))
    below, above = math.floor(k), math.ceil(k)
    reverse = max(binom.sf(below - 1, n, 0.5 - epsilon), binom.cdf(above, n, end))
    low, high = proportion(below, n, level).low, proportion(above, n, level).high
    return EquivalenceTest(
        name="equivalence",
        null=f"the circuit is better than the model on a share of {0.5 - epsilon:g} to "
        f"{0.5 + epsilon:g} of the prompts",
        rejection_means="circuit and model do not do the same: one is better more often",
        for_the_circuit=False,
        statistic=k / n,
        statistic_is="share of prompts on which the circuit is better",
        p_value=min(1.0, p),
        interval=Interval(k / n, low, high, level, n),
        interval_of="that share",
        n=n,
        n_of="prompts",
        seed=seed,
        epsilon=epsilon,
        ties=int(tied.sum()),
        difference=bootstrap_mean(difference, seed, level),
        reverse_p_value=float(reverse),
    )
