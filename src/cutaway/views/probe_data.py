"""What the report on probes is made of, and which places it speaks of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .. import evidence
from ..evidence import Interval
from ..probing.erasure_effect import ErasureMap
from ..probing.places import Place, index_of, place_name
from ..probing.results import ProbeResults
from ..tasks.task import Baseline

Floats = NDArray[np.float64]
Arrays = tuple[Floats, Floats, Floats]
"""Values, and the lower and upper ends of their intervals."""
RATE = 0.05
"""Below this p-value, corrected for all places, something is read."""


@dataclass(frozen=True, eq=False)
class ErasureAt:
    """What erasing the label at one place does to the behaviour."""

    place: Place
    effect: float
    random: Floats
    """[draw], effects of random subspaces of the same rank."""
    beyond: Interval
    """The effect minus the mean of the random ones."""
    rank: int
    share: float
    """Of the activations' variance."""
    control: float
    """The effect of erasing a control task's label."""
    right: float
    """Share of prompts that are still answered right."""


@dataclass(frozen=True, eq=False)
class ProbeReportData:
    """Everything on the page."""

    model: str
    source: str
    """The task, or the file of texts."""
    results: ProbeResults
    p_values: Floats
    """[*axes], corrected for all places."""
    example: tuple[str, str]
    """A prompt, and its label."""
    erasure: ErasureMap | None = None
    baseline: Baseline | None = None
    """Of the prompts that erasure is measured on."""
    no_erasure: str = ""
    """Why there is none."""
    settings: Mapping[str, str] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows (layers, or heads) and columns (positions) of the maps."""
        *rows, columns = self.results.shape
        return int(np.prod(rows)), columns

    @property
    def row_labels(self) -> tuple[str, ...]:
        """ "3" for a layer, "3.5" for a head."""
        places = self.results.places()[:: self.shape[1]]
        return tuple(
            f"{one['layer']}.{one['head']}" if "head" in one else one["layer"] for one in places
        )

    @property
    def column_labels(self) -> tuple[str, ...]:
        """The positions."""
        return self.results.axes[-1].labels

    @property
    def row_axis(self) -> str:
        """What rows are."""
        return "head" if len(self.results.axes) > 2 else "layer"

    def mapped(self, values: Floats) -> Floats:
        """Values of places as rows and columns."""
        return np.asarray(values).reshape(self.shape)

    @cached_property
    def best(self) -> Place:
        """The place that the validation prompts prefer."""
        return self.results.best()

    @cached_property
    def read(self) -> NDArray[np.bool_]:
        """[*axes], where the probe's answers have to do with the label."""
        return np.asarray(self.p_values <= RATE)

    def erased(self, place: Place) -> ErasureAt:
        """Erasure at one place."""
        assert self.erasure is not None
        index = index_of(self.results.axes, dict(place))
        value, low, high = self._beyond
        n = len(self.erasure.effects.clean)
        return ErasureAt(
            place=place,
            effect=float(self.erasure.concept[index]),
            random=self.erasure.random[index],
            beyond=Interval(float(value[index]), float(low[index]), float(high[index]), 0.95, n),
            rank=int(self.erasure.rank[index]),
            share=float(self.erasure.share[index]),
            control=float(self.erasure.effects.normalised()[index][1]),
            right=float(self.erasure.right()[index]),
        )

    @cached_property
    def _beyond(self) -> Arrays:
        assert self.erasure is not None
        return self.erasure.beyond_random()

    @property
    def beyond(self) -> Arrays:
        """[*axes], effect of erasure beyond the random subspaces, with its interval."""
        return self._beyond

    @cached_property
    def used(self) -> NDArray[np.bool_]:
        """[*axes], where erasure does more than random subspaces, by `evidence.matters`."""
        value, low, high = self._beyond
        return np.asarray(evidence.matters(value, low, high) & (value > 0))

    @cached_property
    def most_used(self) -> Place | None:
        """Where erasure does most beyond chance; None where it does nothing anywhere."""
        value = np.where(self.used, self._beyond[0], -np.inf)
        return self._place(value) if self.used.any() else None

    @cached_property
    def read_not_used(self) -> Place | None:
        """Of the places where it is read and erasure does no more than chance, the one that the
        validation prompts prefer."""
        idle = self.read & ~self.used & (self.results.mean() > self._guess)
        value = np.where(idle, self.results.validation, -np.inf)
        return self._place(value) if idle.any() else None

    @property
    def _guess(self) -> Floats:
        return np.asarray(self.results.controls["majority"].mean(-1))

    def _place(self, values: Floats) -> Place:
        return self.results.places()[int(np.argmax(values))]

    def name(self, place: Place) -> str:
        """A place in words."""
        return place_name(place)
