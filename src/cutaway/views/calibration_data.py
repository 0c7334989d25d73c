"""What `cutaway calibrate` found: single trials, and the cells that its tables are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..circuits.calibration import Calibration

Task = tuple[str, str]
"""(model, corruption)"""


@dataclass(frozen=True)
class Trial:
    """One method on one task of one known model, in one basis."""

    model: str
    corruption: str
    sharpness: float
    seed: int
    """Of the basis and the idle heads."""
    method_seed: int
    """Of the method, where it draws."""
    found: Calibration

    @property
    def task(self) -> Task:
        """Model and corruption."""
        return self.model, self.corruption

    def row(self) -> dict[str, Any]:
        """The trial as plain values."""
        found = self.found
        return {
            "method": found.method,
            "model": self.model,
            "corruption": self.corruption,
            "sharpness": self.sharpness,
            "seed": self.seed,
            "method_seed": self.method_seed,
            "auroc": found.auroc,
            "auroc_written": found.auroc_written,
            "precision": found.precision,
            "recall": found.recall,
            "worst_rank": found.worst_rank,
            "missed": found.missed,
            "wrong_sign": found.wrong_sign,
            "outside": found.outside,
            "n_kept": found.n_kept,
            "n_kept_right": found.n_kept_right,
            "seconds": found.seconds,
        }


@dataclass(frozen=True)
class Spread:
    """A mean, and the smallest and largest of the values that it is the mean of."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        return cls(float(np.mean(values)), float(min(values)), float(max(values)))

    @property
    def is_one_value(self) -> bool:
        """Whether all values are the same, as far as three decimals tell."""
        return round(self.low, 3) == round(self.high, 3)


@dataclass(frozen=True)
class Cell:
    """One method over several trials: of one task over its bases, or of all tasks."""

    method: str
    n_trials: int
    auroc: Spread
    auroc_written: Spread
    precision: Spread
    """Equal to recall, at the true size."""
    worst_excess: int
    """Edges too many that have to be taken in the worst trial until all detectable ones are in."""
    n_detectable: int
    """Over all trials."""
    n_missed: int
    n_wrong: int | None
    """Wrong signs; None without signs."""
    n_kept: int | None
    n_kept_right: int | None
    seconds: float
    """Median over trials, so that the first run of a kernel does not count."""

    @classmethod
    def of(cls, trials: Sequence[Trial]) -> Cell:
        """Of at least one trial of one method."""
        found = [trial.found for trial in trials]
        unsigned = found[0].wrong_sign is None
        chooses = found[0].n_kept is not None
        return cls(
            method=found[0].method,
            n_trials=len(found),
            auroc=Spread.of([one.auroc for one in found]),
            auroc_written=Spread.of([one.auroc_written for one in found]),
            precision=Spread.of([one.precision for one in found]),
            worst_excess=max(one.worst_rank - one.n_detectable for one in found),
            n_detectable=sum(one.n_detectable for one in found),
            n_missed=sum(len(one.missed) for one in found),
            n_wrong=None if unsigned else sum(len(one.wrong_sign or ()) for one in found),
            n_kept=sum(one.n_kept or 0 for one in found) if chooses else None,
            n_kept_right=sum(one.n_kept_right or 0 for one in found) if chooses else None,
            seconds=float(np.median([one.seconds for one in found])),
        )


@dataclass(frozen=True)
class Fault:
    """A detectable edge that a method misses or gives the wrong sign, in the first basis."""

    method: str
    task: Task
    edge: str
    exact: float
    score: float
    kind: str
    """"missed" or "wrong sign"; wrong signs that are also small are both."""


@dataclass(frozen=True, eq=False)
class CalibrationReportData:
    """All trials of one run, and what the report says of its making."""

    trials: tuple[Trial, ...]
    settings: Mapping[str, str] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)

    @property
    def methods(self) -> tuple[str, ...]:
        """In the order in which they were asked for."""
        return tuple(dict.fromkeys(trial.found.method for trial in self.trials))

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Model and corruption of each task."""
        return tuple(dict.fromkeys(trial.task for trial in self.trials))

    @property
    def sharpnesses(self) -> tuple[float, ...]:
        """In the order in which they were asked for."""
        return tuple(dict.fromkeys(trial.sharpness for trial in self.trials))

    @property
    def n_seeds(self) -> int:
        """How many bases of each model."""
        return len({trial.seed for trial in self.trials})

    def cell(self, method: str, sharpness: float, task: Task | None = None) -> Cell:
        """One method at one sharpness, on one task or on all."""
        return Cell.of(
            self._where(
                lambda trial: (
                    trial.found.method == method
                    and trial.sharpness == sharpness
                    and task in (None, trial.task)
                )
            )
        )

    def sizes(self, task: Task) -> tuple[int, int]:
        """Detectable edges of a task, and edges of its model."""
        found = next(trial.found for trial in self.trials if trial.task == task)
        return found.n_detectable, found.n_edges

    def faults(self, sharpness: float) -> list[Fault]:
        """What each method missed or got the wrong way round, in the first basis; without methods
        whose scores have no sign, which share no unit with effects."""
        found = []
        for trial in self._where(lambda one: one.sharpness == sharpness and one.seed == 0):
            for row in trial.found.to_frame():
                if row["wrong_sign"] is None or not (row["missed"] or row["wrong_sign"]):
                    continue
                kind = ", ".join(
                    word for word in ("missed", "wrong sign") if row[word.replace(" ", "_")]
                )
                found.append(
                    Fault(row["method"], trial.task, row["edge"], row["exact"], row["score"], kind)
                )
        return found

    def largest_outside(self, method: str, sharpness: float) -> tuple[Task, str, float] | None:
        """The largest score of an edge that is not detectable: its task, its name, its score."""
        found = [
            (trial.task, *trial.found.outside)
            for trial in self._where(
                lambda one: one.found.method == method and one.sharpness == sharpness
            )
            if trial.found.outside is not None
        ]
        return max(found, key=lambda one: abs(one[2]), default=None)

    def largest_ratio(self, method: str, sharpness: float) -> tuple[Task, float]:
        """By how much a detectable edge's score exceeds its exact effect at most, and where."""
        trials = self._where(lambda one: one.found.method == method and one.sharpness == sharpness)
        worst = max(trials, key=lambda one: one.found.largest_ratio)
        return worst.task, worst.found.largest_ratio

    def _where(self, holds: Callable[[Trial], bool]) -> list[Trial]:
        return [trial for trial in self.trials if holds(trial)]
