"""What one measurement found: its effects with their intervals, and all that its report shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .. import evidence
from ..attribution.agreement import Agreement
from ..evidence import Interval
from ..patching.effects import Effects
from ..tasks.task import Baseline
from .ioi_data import PromptPair

Floats = NDArray[np.floating]
Arrays = tuple[Floats, Floats, Floats]
"""Effects, and the lower and upper ends of their intervals."""
LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class Measured:
    """Effects, and the interval of each, computed once."""

    effects: Effects
    value: Floats
    """[*axes], normalised."""
    low: Floats
    """[*axes], lower ends."""
    high: Floats
    """[*axes], upper ends."""

    @classmethod
    def of(cls, effects: Effects, seed: int = 0) -> Self:
        """Effects with 95% intervals.

        Args:
            effects: of a sweep.
            seed: of the bootstrap.
        """
        return cls(effects, *map(np.asarray, effects.interval(LEVEL, seed)))

    @property
    def axes(self) -> tuple[str, ...]:
        """The names of the axes."""
        return tuple(axis.name for axis in self.effects.axes)

    @property
    def arrays(self) -> Arrays:
        """Effects, lower ends and upper ends."""
        return self.value, self.low, self.high

    @property
    def n(self) -> int:
        """How many places were measured."""
        return int(self.value.size)

    @cached_property
    def n_sure(self) -> int:
        """How many intervals exclude 0."""
        return int(((self.low > 0) | (self.high < 0)).sum())

    @cached_property
    def matters(self) -> NDArray[np.bool_]:
        """[place], by the rule of `evidence.matters`."""
        return evidence.matters(self.value, self.low, self.high).ravel()

    @property
    def n_matter(self) -> int:
        """How many places matter."""
        return int(self.matters.sum())

    @cached_property
    def order(self) -> NDArray[np.intp]:
        """The places, the largest effect of either sign first."""
        return np.argsort(-np.abs(self.value), axis=None, kind="stable")

    def labels(self, place: int) -> dict[str, str]:
        """Axis name -> label of one place."""
        index = np.unravel_index(place, self.value.shape) if self.value.ndim else ()
        axes = self.effects.axes
        return {axis.name: axis.labels[int(i)] for axis, i in zip(axes, index, strict=True)}

    def name(self, place: int) -> str:
        """What a place is called, as "9.6 at END" or "5.5 → 9.6.q"."""
        return place_name(self.labels(place))

    def interval(self, place: int) -> Interval:
        """The effect of one place."""
        value, low, high = (float(array.flat[place]) for array in self.arrays)
        return Interval(value, low, high, LEVEL, len(self.effects.clean))

    def rows(self, k: int | None = None) -> list[dict[str, Any]]:
        """Labels, effect, low and high of the k largest, or of all in the order of the axes."""
        chosen = range(self.n) if k is None else self.order[:k]
        found = []
        for place in map(int, chosen):
            one = self.interval(place)
            effect = {"effect": one.estimate, "low": one.low, "high": one.high}
            found.append({**self.labels(place), **effect})
        return found

    def named_arrays(self) -> dict[str, Floats]:
        """Effects, their intervals, and the metric of both runs, by name."""
        runs = {"clean": self.effects.clean, "corrupted": self.effects.corrupted}
        return {"effect": self.value, "low": self.low, "high": self.high, **runs}


@dataclass(frozen=True, eq=False)
class Comparison:
    """Estimates beside exact effects."""

    agreement: Agreement
    exact: Measured


@dataclass(frozen=True, eq=False)
class MeasurementReportData:
    """Everything on the page of one measurement."""

    command: str
    """"patch", "paths", "edges" or "attribute"."""
    model: str
    """The model's name."""
    task: str
    """The task's name."""
    choices: Mapping[str, Any]
    """The command's own settings: site, value, method, ..."""
    measured: Measured
    """What came out."""
    baseline: Baseline
    """The metric before anything is changed."""
    prompts: tuple[str, ...]
    """[prompt], the clean prompts as text."""
    example: PromptPair
    """A pair to look at."""
    comparison: Comparison | None = None
    """Of estimates, if the exact effects were measured too."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """What is needed to repeat the run."""
    timings: Mapping[str, float] = field(default_factory=dict)
    """Seconds of each step."""

    @property
    def is_estimate(self) -> bool:
        """Whether gradients gave the effects."""
        return self.command == "attribute"

    @property
    def of_edges(self) -> bool:
        """Whether the places are edges."""
        return self.measured.axes == ("edge",)


def place_name(labels: Mapping[str, str]) -> str:
    """A place in words.

    Example:
        >>> place_name({"layer": "9", "head": "6", "position": "END"})
        '9.6 at END'
        >>> place_name({"edge": "5.5->9.6.q"})
        '5.5 → 9.6.q'
    """
    parts = dict(labels)
    if "edge" in parts:
        return parts["edge"].replace("->", " → ")
    if "sender" in parts:
        return f"{parts['sender']} → {parts['receiver']}"
    words = []
    if {"layer", "head"} <= parts.keys():
        words.append(f"{parts.pop('layer')}.{parts.pop('head')}")
    position, key = parts.pop("position", None), parts.pop("key", None)
    words += [f"{axis} {label}" for axis, label in parts.items()]
    name = ", ".join(words)
    if position is not None:
        where = f"token {position}" if position.isdecimal() else position
        name = f"{name} at {where}".strip()
    if key is not None:
        name += f", key {key}" if position is not None else f" to key {key}"
    return name or "everywhere"
