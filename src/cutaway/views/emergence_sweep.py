"""The sweep of `cutaway run emergence`: when the behaviour turns, by context, batch and width."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..evidence import Interval
from ..evidence.power_law import PowerLaw, power_law
from ..evidence.s_curve import NoTransitionError, SCurve, fit_s_curve, geometric_mean

_FEWEST = 4  # models with a transition that a power law is fitted to


@dataclass(frozen=True)
class Cell:
    """One small model of the sweep."""

    n_ctx: int
    batch_size: int
    d_model: int
    seed: int
    steps: tuple[int, ...]
    accuracy: tuple[float, ...]
    """Of names that can be known, on held-out sequences, at each step."""
    known_per_sequence: float
    """Names that can be known in a sequence, on average."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Context, batch, width."""
        return self.n_ctx, self.batch_size, self.d_model

    @cached_property
    def curve(self) -> SCurve | None:
        """Of the accuracy; None where there is no transition within the steps."""
        try:
            return fit_s_curve(self.steps, self.accuracy)
        except NoTransitionError:
            return None


@dataclass(frozen=True)
class Sweep:
    """All small models, in two groups."""

    cells: tuple[Cell, ...]
    """Context by batch."""
    widths: tuple[Cell, ...]
    """Widths, at the configuration's context and batch."""

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {name: [asdict(one) for one in getattr(self, name)] for name in ("cells", "widths")}

    @classmethod
    def of_plain(cls, found: Mapping[str, Any]) -> Sweep:
        """The inverse of `plain`."""
        return cls(*(tuple(_cell(one) for one in found[name]) for name in ("cells", "widths")))

    def midpoints(self, group: tuple[Cell, ...]) -> dict[tuple[int, int, int], Interval | None]:
        """Shape -> midpoint in steps, geometric mean over its seeds; None without one."""
        found: dict[tuple[int, int, int], Interval | None] = {}
        for shape in dict.fromkeys(one.shape for one in group):
            curves = [one.curve for one in group if one.shape == shape]
            values = [curve.midpoint for curve in curves if curve is not None]
            found[shape] = geometric_mean(values) if values else None
        return found

    def without(self, group: tuple[Cell, ...]) -> int:
        """Models of a group that had no transition within their steps."""
        return sum(one.curve is None for one in group)

    @cached_property
    def law(self) -> PowerLaw | None:
        """Midpoint in steps by context and batch; None where there are too few of them."""
        return _law(self.cells, ("context", "batch"))

    @cached_property
    def width_law(self) -> PowerLaw | None:
        """Midpoint in steps by width."""
        return _law(self.widths, ("width",))


def _law(group: tuple[Cell, ...], names: tuple[str, ...]) -> PowerLaw | None:
    known = {"context": "n_ctx", "batch": "batch_size", "width": "d_model"}
    there = [one for one in group if one.curve is not None]
    factors = {name: [getattr(one, known[name]) for one in there] for name in names}
    factors = {name: values for name, values in factors.items() if len(set(values)) > 1}
    if len(there) < _FEWEST or not factors:
        return None
    midpoints = [one.curve.midpoint for one in there if one.curve is not None]
    try:
        return power_law(midpoints, {k: np.asarray(v, float) for k, v in factors.items()})
    except ValueError:
        return None


def _cell(found: Mapping[str, Any]) -> Cell:
    return Cell(**{**found, **{k: tuple(found[k]) for k in ("steps", "accuracy")}})
