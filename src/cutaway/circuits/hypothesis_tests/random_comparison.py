"""Does a circuit beat nearly all random ones? The test behind sufficiency and partial necessity."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ...evidence import proportion
from .base import HypothesisTest, checked_reference, too_few


def share_test(
    name: str,
    candidate: float,
    reference: ArrayLike,
    quantile: float,
    *,
    larger_is_better: bool,
    tie: float = 0.0,
    seed: int | None = None,
    level: float = 0.95,
) -> HypothesisTest:
    """Test that a circuit beats more than a share `quantile` of random ones.

    Null: P(the circuit beats a random one) <= quantile; with k of n beaten, p = P(K >= k) for
    K ~ Binomial(n, quantile). The prompts are held fixed: it is the random circuits that are drawn.

    A tie does not count as beaten. (In the paper's code it does in the test of sufficiency, so that
    a circuit that does nothing passes beside random ones that do nothing.)

    Args:
        name: "sufficiency" or "partial necessity".
        candidate: the circuit's distance from the model.
        reference: [circuit], those of random circuits.
        quantile: between 0 and 1.
        larger_is_better: whether a larger distance beats a smaller one.
        tie: how far apart two distances must be.
        seed: with which the random circuits were drawn.
        level: of the interval of the share.

    Raises:
        ValueError: no random circuits, or a quantile outside 0 to 1.
    """
    others = checked_reference(reference, quantile)
    from scipy.stats import binom  # loaded only where it is used

    sign = 1.0 if larger_is_better else -1.0
    beaten = int((sign * (candidate - others) > tie).sum())
    n = len(others)
    what = "changes the scores more" if larger_is_better else "is more faithful"
    which = "knocking out the circuit" if larger_is_better else "the circuit"
    random = "knocking out a random circuit" if larger_is_better else "a random circuit"
    return HypothesisTest(
        name=name,
        null=f"{which} {what} than {random} in a share of at most {quantile:g}",
        rejection_means=f"{which} {what} than {random} nearly always",
        for_the_circuit=True,
        statistic=beaten / n,
        statistic_is="share of random circuits that are beaten",
        p_value=float(binom.sf(beaten - 1, n, quantile)),
        interval=proportion(beaten, n, level),
        interval_of="that share",
        n=n,
        n_of="random circuits",
        seed=seed,
        controls={
            "distance of the circuit": float(candidate),
            "median distance of random circuits": float(np.median(others)),
        },
        notes=too_few(n, quantile, quantile**n),
    )
