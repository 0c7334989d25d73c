"""How a token's probability and rank move through the layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from ..evidence import Interval
from .intervals import row_means
from .places import TARGET
from .readings import LensReadings

Quantity = Literal["probability", "log_probability", "rank"]


@dataclass(frozen=True)
class Trajectory:
    """One quantity of one token at each point, with intervals over prompts.

    Example:
        >>> trajectory(logit_lens(model, task), "target").intervals()[-1].estimate
        0.97...
    """

    token: str
    """Which of the tokens that are followed."""
    quantity: Quantity
    points: tuple[str, ...]
    per_prompt: Float[NDArray[np.float64], "point prompt"]
    """Means over each prompt's places; of ranks log(1 + rank)."""

    def intervals(self, seed: int = 0, level: float = 0.95) -> list[Interval]:
        """The mean over prompts at each point; of ranks the geometric mean of 1 + rank, less 1.

        Ranks reach from 0 to the size of the vocabulary, so that a plain mean would be that of
        the few worst places.
        """
        found = row_means(self.per_prompt, seed, level)
        if self.quantity != "rank":
            return found
        back = [np.expm1([one.estimate, one.low, one.high]).tolist() for one in found]
        return [
            Interval(middle, low, high, level, one.n)
            for (middle, low, high), one in zip(back, found, strict=True)
        ]

    def to_frame(self) -> list[dict[str, Any]]:
        """One row (a dict) for each point; pandas takes it as is."""
        return [
            {
                "token": self.token,
                "quantity": self.quantity,
                "point": point,
                "value": one.estimate,
                "low": one.low,
                "high": one.high,
                "n": one.n,
            }
            for point, one in zip(self.points, self.intervals(), strict=True)
        ]


def trajectory(
    readings: LensReadings, token: str = TARGET, quantity: Quantity = "probability"
) -> Trajectory:
    """The way of one token through the layers.

    Beside "target" look at "shuffled", its control: the same tokens at other places. What both
    have in common is what the model says everywhere (frequent words), and not what it computed
    here.

    Args:
        readings: of any lens.
        token: one that is followed: "target", "shuffled", "predicted", "wrong", ...
        quantity: "probability", "log_probability" in nats (a mean of it is minus the loss), or
            "rank" (0 is the top).

    Raises:
        ValueError: no such token, or no prompt has one.

    Example:
        >>> for name in ("target", "shuffled"):
        ...     print(*trajectory(readings, name, "rank").intervals(), sep="\\n")
    """
    if token not in readings.followed:
        readings.probability(token)  # says which there are
    if not (readings.followed[token] >= 0).any():
        raise ValueError(f"no prompt has a token {token!r}: texts of one token have no next one.")
    if quantity == "rank":
        values = np.log1p(readings.rank[token].clip(min=0).astype(float))
    elif quantity == "probability":
        values = readings.probability(token)
    else:
        values = readings.log_probability[token]
    per_prompt = readings.per_prompt(values, token).astype(np.float64)
    return Trajectory(token, quantity, readings.points, per_prompt)


def overtaking(
    readings: LensReadings, first: str = TARGET, second: str = "wrong"
) -> Float[NDArray[np.float64], "point prompt"]:
    """log p(first) - log p(second) at each point: where it turns positive, one overtakes the other.

    It is the difference of the two logits, since the rest of the distribution cancels.

    Example:
        >>> gap = overtaking(logit_lens(model, task))  # of IOI: IO less S
    """
    difference = readings.log_probability[first] - readings.log_probability[second]
    return readings.per_prompt(difference, first).astype(np.float64)
