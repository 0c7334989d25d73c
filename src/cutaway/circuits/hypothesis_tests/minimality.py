"""Minimality: does every edge matter more than an edge that was added at random?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from ...evidence import benjamini_hochberg, proportion
from .base import Floats, HypothesisTest, checked_reference, too_few

Correction = Literal["bonferroni", "benjamini-hochberg"]


@dataclass(frozen=True, eq=False)
class MinimalityTest(HypothesisTest):
    """A test of minimality, edge by edge."""

    edges: tuple[str, ...] = ()
    effects: Floats = field(default_factory=lambda: np.empty(0))
    """[edge]: root mean squared change of the score when the edge is knocked out."""
    reference: Floats = field(default_factory=lambda: np.empty(0))
    """[way]: the same for an edge of a random way beside the circuit."""
    shares: Floats = field(default_factory=lambda: np.empty(0))
    """[edge]: share of the random edges that matter less."""
    adjusted: Floats = field(default_factory=lambda: np.empty(0))
    """[edge]: p-values, adjusted for there being many edges."""
    correction: Correction = "bonferroni"

    def superfluous(self, alpha: float = 0.05) -> tuple[str, ...]:
        """The edges for which the null is rejected: each matters too little to be needed."""
        return tuple(e for e, p in zip(self.edges, self.adjusted, strict=True) if p <= alpha)


def minimality_test(
    edges: Sequence[str],
    effects: ArrayLike,
    reference: ArrayLike,
    quantile: float = 0.9,
    correction: Correction = "bonferroni",
    *,
    tie: float = 0.0,
    seed: int | None = None,
    level: float = 0.95,
) -> MinimalityTest:
    """Test that every edge matters more than an edge that was added at random.

    Null, for each edge: P(it matters more than an edge of a random way beside the circuit) >=
    quantile; with k of n exceeded, p = P(K <= k) for K ~ Binomial(n, quantile). The circuit's
    p-value is the least of the adjusted ones: one superfluous edge is enough.

    Args:
        edges: their names.
        effects: [edge], how far the score moves without each.
        reference: [way], how far it moves without a random one.
        quantile: between 0 and 1.
        correction: "bonferroni" bounds the chance of any false rejection among the edges;
            "benjamini-hochberg" bounds the share of false ones among the rejected. All edges are
            compared with the same ways.
        tie, seed, level: as in `share_test`.

    Raises:
        ValueError: no edges, no ways, or a quantile outside 0 to 1.
    """
    others = checked_reference(reference, quantile)
    sizes = np.asarray(effects, dtype=np.float64)
    if not len(edges) or sizes.shape != (len(edges),):
        raise ValueError(f"{len(edges)} edges and {sizes.size} effects: one for each is needed.")
    if correction not in get_args(Correction):
        raise ValueError(f"correction={correction!r} is none of {get_args(Correction)}.")
    from scipy.stats import binom  # loaded only where it is used

    n = len(others)
    beaten = (sizes[:, None] - others > tie).sum(1)  # [edge]
    p = np.asarray(binom.cdf(beaten, n, quantile), dtype=np.float64)
    if correction == "bonferroni":
        adjusted = np.minimum(p * len(p), 1.0)
    else:
        adjusted = benjamini_hochberg(p).adjusted
    least = int(beaten.argmin())
    smallest = (1 - quantile) ** n * (len(p) if correction == "bonferroni" else 1)
    return MinimalityTest(
        name="minimality",
        null=f"every edge matters more than an edge of a random way in a share of at least "
        f"{quantile:g}",
        rejection_means="at least one edge matters no more than edges that were added at random",
        for_the_circuit=False,
        statistic=float(beaten[least] / n),
        statistic_is=f"share of random edges that the weakest edge ({edges[least]}) exceeds",
        p_value=float(adjusted.min()),
        interval=proportion(int(beaten[least]), n, level),
        interval_of="that share, not adjusted for its being the weakest",
        n=n,
        n_of="random ways",
        seed=seed,
        controls={"median effect of a random edge": float(np.median(others))},
        notes=too_few(n, quantile, smallest),
        edges=tuple(edges),
        effects=sizes,
        reference=others,
        shares=beaten / n,
        adjusted=adjusted,
        correction=correction,
    )
