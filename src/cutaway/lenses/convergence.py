"""From which layer on a lens says what the model will say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from ..evidence import Interval, bootstrap_mean
from .intervals import row_means
from .places import PREDICTED
from .points import depths
from .readings import LensReadings

Criterion = Literal["top", "probability"]
_MAJORITY = 0.5


@dataclass(frozen=True)
class Convergence:
    """After how many layers a token stays on top (or above one half), at every place.

    0 is the embedding, 1 the first layer, 0.5 its attention. A place where the token never stays is
    infinite, and counts as one more than all layers in means, which are then lower bounds.

    Example:
        >>> found = convergence(logit_lens(model, task))
        >>> print(found.mean(), found.share_never())
    """

    criterion: Criterion
    token: str
    points: tuple[str, ...]
    first: Float[NDArray[np.float64], "prompt read"]
    """Layers that have run; infinite where it never converges, NaN where nothing was read."""

    @property
    def per_prompt(self) -> Float[NDArray[np.float64], " prompt"]:
        """Means over each prompt's places, "never" as one more than all layers."""
        return self._means(np.minimum(self.first, depths(self.points)[-1] + 1))

    def mean(self, seed: int = 0, level: float = 0.95) -> Interval:
        """The mean number of layers, with its interval over prompts; a lower bound where some
        places never converge."""
        return bootstrap_mean(self.per_prompt, seed, level)

    def share_never(self, seed: int = 0, level: float = 0.95) -> Interval:
        """The share of places that never converge, with its interval over prompts."""
        return bootstrap_mean(self._means(np.isinf(self.first).astype(float)), seed, level)

    def share_by(self, seed: int = 0, level: float = 0.95) -> list[Interval]:
        """The share of places that have converged at each point, with intervals over prompts.

        No place drops out before the last point, so that this share says all there is to say and
        needs no correction for those that never converge.
        """
        shares = [self._means((self.first <= at).astype(float)) for at in depths(self.points)]
        return row_means(np.stack(shares), seed, level)

    def _means(
        self, values: Float[NDArray[np.float64], "prompt read"]
    ) -> Float[NDArray[np.float64], " prompt"]:
        there = ~np.isnan(self.first)
        some = there.any(1)
        total = np.where(there, values, 0.0).sum(1)[some]
        return np.asarray(total / there.sum(1)[some])

    def to_frame(self) -> list[dict[str, Any]]:
        """One row (a dict) for each point: the share that has converged; pandas takes it as is."""
        return [
            {"point": point, "share": one.estimate, "low": one.low, "high": one.high, "n": one.n}
            for point, one in zip(self.points, self.share_by(), strict=True)
        ]


def convergence(
    readings: LensReadings, criterion: Criterion = "top", token: str = PREDICTED
) -> Convergence:
    """After how many layers a token stays where it ends.

    Args:
        readings: of any lens.
        criterion: "top": it is the most probable one from there on; "probability": it has more
            than one half from there on, which the model's own output need not have.
        token: "predicted", which is on top in the end by definition; or "target", say, which
            never gets there where the model is wrong.

    Raises:
        ValueError: no such token or criterion, or no prompt has one.

    Example:
        >>> convergence(readings).first  # [prompt, read]
    """
    probability = readings.probability(token)
    if not (readings.followed[token] >= 0).any():
        raise ValueError(f"no prompt has a token {token!r}, so nothing can converge to it.")
    if criterion == "top":
        held = readings.rank[token] == 0
    elif criterion == "probability":
        held = probability > _MAJORITY
    else:
        raise ValueError(f"criterion={criterion!r} is unknown; it is 'top' or 'probability'.")
    there = readings.real & (readings.followed[token] >= 0)
    at = np.array([*depths(readings.points), np.inf])
    first = np.where(there, at[_first_to_stay(held)], np.nan)
    return Convergence(criterion, token, readings.points, first)


def _first_to_stay(
    held: Bool[NDArray[np.bool_], "point prompt read"],
) -> Int[NDArray[np.int64], "prompt read"]:
    """The number of the first point from which all later ones hold; one more than the last if
    that one does not."""
    stays = np.logical_and.accumulate(held[::-1], axis=0)[::-1]
    return np.where(stays.any(0), stays.argmax(0), len(held))
