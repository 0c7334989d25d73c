"""Faithfulness: how much of what the whole model does a circuit does alone.

As a ratio it is (circuit - empty) / (model - empty) of mean metrics, where the empty circuit has
everything outside (Hanna et al. 2024; Mueller et al. 2025, MIB); as a difference it is model -
circuit, in the metric's unit (Wang et al. 2022, section 4). Above 1 the circuit does more than the
model: it leaves out what works against the answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from ...evidence import Interval, bootstrap_mean
from .trial import Trial

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Faithfulness:
    """A circuit alone, beside the whole model, the empty one, and random ones.

    Example:
        >>> print(evaluate(model, task, circuit).faithfulness.ratio)
        0.912 [0.871, 0.950] (95%, n=64)
    """

    how: str
    """How the circuit was run."""
    metric: str
    ratio: Interval
    """(circuit - empty) / (model - empty)."""
    difference: Interval
    """model - circuit, in the metric's unit."""
    distance: Interval
    """Mean over prompts of |model - circuit|: differences of opposite sign do not cancel here."""
    model: Interval
    circuit: Interval
    empty: Interval
    random: Float[Floats, " circuit"]
    """The ratio of each random circuit of the same size."""
    per_prompt: Float[Floats, " prompt"] = field(repr=False)
    """The metric of the circuit alone."""

    @property
    def random_at_least_as_faithful(self) -> int:
        """Random circuits whose ratio is as near to 1, or nearer."""
        return int((np.abs(self.random - 1) <= abs(self.ratio.estimate - 1)).sum())


def faithfulness(trial: Trial, n_random: int = 20, seed: int = 0) -> Faithfulness:
    """Run a circuit alone, and as many random ones of its size.

    Args:
        trial: the circuit.
        n_random: how many random circuits.
        seed: of the random circuits and of the bootstrap.
    """
    (found,) = trial.measure([trial.matrix])
    random = trial.measure(trial.random(n_random, seed), own=False)
    return Faithfulness(
        how=trial.how.describe(trial.circuit),
        metric=trial.unit,
        ratio=trial.share(found - trial.empty, seed),
        difference=bootstrap_mean(trial.whole - found, seed),
        distance=bootstrap_mean(np.abs(trial.whole - found), seed),
        model=bootstrap_mean(trial.whole, seed),
        circuit=bootstrap_mean(found, seed),
        empty=bootstrap_mean(trial.empty, seed),
        random=trial.shares(random - trial.empty),
        per_prompt=found,
    )
