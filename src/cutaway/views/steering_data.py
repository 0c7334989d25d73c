"""What the report on steering is made of, and which place it reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ..evidence import Interval, proportion
from ..steering.response import DoseResponse


@dataclass(frozen=True)
class Continuation:
    """One text, and how the model goes on."""

    text: str
    plain: str
    """Without steering."""
    steered: str
    random: str
    """Pushed as far in a random direction."""


@dataclass(frozen=True)
class Control:
    """The share of successes under each random direction, at the same place."""

    each: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over the directions."""
        return float(np.mean(self.each))

    @property
    def largest(self) -> float:
        """Of the luckiest direction."""
        return max(self.each)


def chosen_place(responses: Mapping[str, DoseResponse]) -> tuple[str, int, float]:
    """(position, layer, coefficient): where the vector succeeds most above the random directions
    on every second prompt, beginning with the first; of equal places the cheapest."""
    found = []
    for position, response in responses.items():
        half = response.subset(range(0, len(response.base_difference), 2))
        layer, coefficient = half.best()
        i, j = half.at(layer, coefficient)
        gain = half.success_map()[i, j] - half.control_map()[:, i, j].mean()
        cost = half.kl[0, i, j].mean() if half.base_loss.size else 0.0
        found.append((-round(float(gain), 9), float(cost), position, layer, coefficient))
    _, _, position, layer, coefficient = min(found, key=lambda one: one[:2])
    return position, layer, coefficient


@dataclass(frozen=True)
class SteeringReportData:
    """Everything measured by `cutaway steer`."""

    model: str
    task: str
    method: str
    """embedding, unembedding, pair or mean."""
    target: str
    """In words."""
    responses: Mapping[str, DoseResponse]
    """Position -> what was measured there."""
    continuations: Sequence[Continuation]
    prompts: Sequence[str]
    """What each prompt is called."""
    neutral: str
    """What the neutral texts are."""
    agreement: Mapping[int, float] = field(default_factory=dict)
    """Of means over pairs: layer -> mean cosine of one pair's difference with the mean."""
    notes: Sequence[str] = ()
    """What was left out."""
    settings: Mapping[str, str] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def place(self) -> tuple[str, int, float]:
        """The position, layer and coefficient that are reported."""
        return chosen_place(self.responses)

    @property
    def response(self) -> DoseResponse:
        """At the chosen position."""
        return self.responses[self.place[0]]

    @cached_property
    def tested(self) -> DoseResponse:
        """The same on the prompts that the place was not chosen on."""
        response = self.response
        return response.subset(range(1, len(response.base_difference), 2))

    @property
    def control(self) -> Control:
        """Random directions at the chosen place, on the prompts that it was not chosen on."""
        i, j = self.tested.at(*self.place[1:])
        return Control(tuple(map(float, self.tested.control_map()[:, i, j])))

    @property
    def other(self) -> Interval | None:
        """How often the vector to another token makes it say the target; None without one."""
        if "to another token" not in self.response.lines:
            return None
        line = self.response.lines.index("to another token")
        i, j = self.tested.at(*self.place[1:])
        flags = self.tested.top[line, i, j]
        return proportion(int(flags.sum()), flags.size)

    @property
    def unit(self) -> str:
        """What a coefficient counts, for axes."""
        return "residual norms" if self.response.norms else "times the vector"
