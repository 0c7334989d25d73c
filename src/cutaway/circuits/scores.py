"""`EdgeScores`: what a discovery method says of every edge of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from ..model.config import ModelConfig
from ..patching.effects import Effects
from .circuit import CircuitError
from .wiring import Mask

Floats = NDArray[np.float64]

PAIR = "the clean and on the corrupted prompts"
_ROUNDING = 1e-6  # of the largest metric, in float32

NORMALISED = "share of the difference between clean and corrupted"


@dataclass(frozen=True, eq=False)
class EdgeScores:
    """One signed number for each edge: positive where the edge helps the answer.

    Example:
        >>> scores = ca.circuits.score(model, task, "eap")
        >>> scores.top(3)
    """

    cfg: ModelConfig = field(repr=False)
    method: str
    values: Float[Floats, " edge"] = field(repr=False)
    """In the order of `Graph.edges`."""
    unit: str = NORMALISED
    effects: Effects | None = field(default=None, repr=False)
    """The values of every prompt, where the method has them."""
    kept: Bool[Mask, "receiver sender"] | None = field(default=None, repr=False)
    """The edges that the method itself has chosen, where it chooses (ACDC)."""
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not np.isfinite(self.values).all():
            bad = int((~np.isfinite(self.values)).sum())
            raise ValueError(
                f"{self.method} gives {bad} edges a score that is NaN or infinite: the metric or "
                "its gradient is not finite on this task."
            )

    def top(self, k: int = 10) -> list[tuple[str, float]]:
        """The k edges with the largest scores, of either sign."""
        from ..patching.graph import Graph

        names = Graph(self.cfg).edge_names
        order = np.argsort(-np.abs(self.values), kind="stable")[:k]
        return [(names[i], float(self.values[i])) for i in order]


def mean_gap(
    metric: str, upper: NDArray[np.floating], lower: NDArray[np.floating], of: str
) -> float:
    """Mean of one metric less mean of the other: what everything is a share of.

    Args:
        metric: its name, for the error.
        upper, lower: of two runs of the same prompts, [prompt] each.
        of: what the two are, as in "the clean and of the corrupted prompts".

    Raises:
        CircuitError: both have the same mean, but for rounding.
    """
    gap = float(upper.mean() - lower.mean())
    if abs(gap) <= _ROUNDING * max(1.0, float(np.abs(upper).max()), float(np.abs(lower).max())):
        raise CircuitError(
            f"the {metric} has the same mean on {of}, so there is no difference to express "
            "anything in: choose other prompts."
        )
    return gap


def normalised(effects: Effects) -> Float[Floats, "*axes"]:
    """The normalised effects alone, without their intervals.

    Raises:
        CircuitError: clean and corrupted prompts have one mean metric.
    """
    gap = mean_gap(effects.metric, effects.clean, effects.corrupted, PAIR)
    values: Floats = np.asarray(effects.per_prompt.mean(-1) / gap, dtype=np.float64)
    return values


def scores_of_effects(
    cfg: ModelConfig, method: str, effects: Effects, settings: Mapping[str, Any]
) -> EdgeScores:
    """Scores that are normalised effects of edges."""
    return EdgeScores(cfg, method, normalised(effects), effects=effects, settings=settings)
