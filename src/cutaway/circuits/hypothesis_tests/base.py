"""`HypothesisTest`: what every test of a circuit says, and what all of them check.

A p-value says how often numbers like these would come if the null were true. A null that is not
rejected is not thereby shown. So each test also has an interval for what its null is about.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike, NDArray

from ...evidence import Interval

Floats = NDArray[np.float64]
_TIE = 1e-5  # of the largest score: runs of the same thing differ by rounding as much as that


@dataclass(frozen=True, eq=False)
class HypothesisTest:
    """One test of a circuit.

    Example:
        >>> test = equivalence_test(circuit_scores, model_scores)
        >>> test.rejected(alpha=0.05), test.rejection_means
    """

    name: str
    null: str
    """What is supposed until the data speak against it: "the null is that ..."."""
    rejection_means: str
    """What a small p-value says."""
    for_the_circuit: bool
    """Whether rejection speaks for the circuit (the relaxed tests) or against it (the ideal)."""
    statistic: float
    statistic_is: str
    p_value: float
    interval: Interval
    """Of what the null is about, or of a size that goes with it; `interval_of` says which."""
    interval_of: str
    n: int
    n_of: str
    """What was counted: prompts, or random circuits."""
    seed: int | None
    """Of what was drawn; None where nothing was."""
    controls: Mapping[str, float] = field(default_factory=dict)
    """The same question put to something of which the answer is known."""
    notes: tuple[str, ...] = ()

    def rejected(self, alpha: float = 0.05) -> bool:
        """Whether the p-value is at most `alpha`."""
        return self.p_value <= alpha

    def __str__(self) -> str:
        controls = "".join(f"; control, {name}: {v:.4g}" for name, v in self.controls.items())
        return (
            f"{self.name}: p = {self.p_value:.4g} ({self.n} {self.n_of}). The null is that "
            f"{self.null}. {self.statistic_is}: {self.statistic:.4g}. {self.interval_of}: "
            f"{self.interval}{controls}"
        )


def tolerance(*scores: Float[Floats, " prompt"]) -> float:
    """Differences of scores up to this are rounding."""
    return _TIE * float(max(np.abs(some).max() for some in scores))


def paired(first: ArrayLike, second: ArrayLike) -> tuple[Floats, Floats]:
    """Scores of the same prompts, as float64; refused if they do not fit or are not finite."""
    a, b = (np.asarray(values, dtype=np.float64) for values in (first, second))
    if a.ndim != 1 or a.shape != b.shape or a.size < 2:
        raise ValueError(
            f"scores of the shapes {a.shape} and {b.shape}: [prompt] each, of the same prompts and "
            "at least two of them, are needed."
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("some of the scores are NaN or infinite, so that nothing can be tested.")
    return a, b


def checked_reference(reference: ArrayLike, quantile: float) -> Floats:
    """One value for each random circuit; refused if there are none, or not all are finite."""
    others = np.asarray(reference, dtype=np.float64)
    if others.ndim != 1 or not others.size or not np.isfinite(others).all():
        raise ValueError(
            f"the reference has the shape {others.shape}: finite values, one for each random "
            "circuit, are needed."
        )
    if not 0 < quantile < 1:
        raise ValueError(f"quantile={quantile} must lie between 0 and 1.")
    return others


def too_few(n: int, quantile: float, smallest: float) -> tuple[str, ...]:
    """A note where no data could bring the p-value below 0.05."""
    if smallest <= 0.05:
        return ()
    return (
        f"with {n} random circuits and the quantile {quantile:g} no p-value is below "
        f"{smallest:.3g}: draw more.",
    )
