"""What the report of `cutaway lens` is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..evidence import Interval
from ..lenses import (
    ComponentReadings,
    Convergence,
    InputComparison,
    LensErrors,
    LensReadings,
    Trajectory,
    convergence,
    overtaking,
    trajectory,
)
from ..lenses.intervals import row_means
from ..lenses.places import PREDICTED, SHUFFLED, TARGET, WRONG
from ..lenses.points import depths
from .lens_grid import LensGridView

RANDOM = "random weights"


@dataclass(frozen=True, eq=False)
class LensReportData:
    """Everything that the page shows."""

    model: str
    task: str
    """Its name; empty for a text."""
    text: str
    """The text; empty for a task."""
    readings: LensReadings
    """By the logit lens."""
    control: LensReadings
    """The same prompts in a model of random weights."""
    components: ComponentReadings
    words: Mapping[int, str]
    """The text of each token that a part promotes or suppresses in the first prompt."""
    grids: tuple[LensGridView, ...]
    tuned: LensReadings | None
    """By the tuned lens."""
    errors: LensErrors | None
    """KL of all lenses on held-out text."""
    trained_on: str
    """What the tuned lens was trained on."""
    inputs: InputComparison | None
    kinds: str
    """What the kinds of input are."""
    settings: Mapping[str, str]
    timings: Mapping[str, float]

    @property
    def n_prompts(self) -> int:
        """How many were read."""
        return len(self.readings.tokens)

    @property
    def depths(self) -> tuple[float, ...]:
        """How many layers have run at each point."""
        return depths(self.readings.points)

    @property
    def tokens(self) -> tuple[str, ...]:
        """The tokens whose way is shown; the last one is the control."""
        of_task = (TARGET, WRONG) if self.task else (TARGET, PREDICTED)
        return (*of_task, SHUFFLED)

    @property
    def contrast(self) -> tuple[str, str]:
        """The two tokens between which components are compared."""
        return (TARGET, WRONG) if self.task else (TARGET, SHUFFLED)

    @cached_property
    def trajectories(self) -> tuple[Trajectory, ...]:
        """Probability and rank of each token, by the logit lens."""
        return tuple(
            trajectory(self.readings, token, quantity)
            for token in self.tokens
            for quantity in ("probability", "rank")
        )

    @cached_property
    def convergences(self) -> dict[str, Convergence]:
        """After how many layers the prediction stands: by each lens, and with random weights."""
        found = {self.readings.lens: convergence(self.readings)}
        if self.tuned is not None:
            found[self.tuned.lens] = convergence(self.tuned)
        found["above one half"] = convergence(self.readings, "probability")
        found[RANDOM] = convergence(self.control)
        return found

    @cached_property
    def ahead(self) -> tuple[list[Interval], list[float]] | None:
        """log p(answer) - log p(wrong) at each point, and the share of prompts where it is
        positive; None for a text."""
        if not self.task:
            return None
        gaps = overtaking(self.readings)
        return row_means(gaps), np.mean(gaps > 0, axis=1).tolist()
