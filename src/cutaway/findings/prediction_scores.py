"""How well predictions were made: did what was called 80% sure come in 80% of the cases?

Graded predictions with a stated confidence are put into bins of it, and the share that held is
shown beside it. The Brier score (Brier 1950, for a yes-or-no event half of his) is the mean of
(confidence - held)²: 0 is to know everything, and who always says 0.5 gets 0.25.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from ..evidence import Interval, bootstrap_mean, proportion
from .claims import plain_text
from .predictions import Prediction

Table: TypeAlias = tuple[tuple[str, ...], list[tuple[str, ...]]]
"""Heads, and rows of text."""

EDGES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True)
class CalibrationBin:
    """Predictions of about one confidence."""

    low: float
    high: float
    """Confidences from `low` on and below `high`; in the last bin `high` belongs to it."""
    confidence: float
    """The mean of those stated."""
    held: Interval
    """The share that held, with its Wilson interval; `held.n` is how many there are."""


@dataclass(frozen=True)
class Day:
    """The graded predictions that were made on one day (UTC)."""

    day: str
    held: Interval
    """The share that held, with its Wilson interval."""
    brier: float | None
    """Mean of (confidence - held)²; None where none of them states a confidence."""


@dataclass(frozen=True)
class Calibration:
    """Graded predictions beside how sure they were."""

    bins: tuple[CalibrationBin, ...]
    """Those that hold any prediction, by confidence."""
    days: tuple[Day, ...]
    """The oldest first."""
    held: Interval | None
    """The share of all graded ones that held; None where nothing is graded."""
    brier: Interval | None
    """With its bootstrap interval; None where no graded one states a confidence."""
    n_open: int
    """Not graded yet."""
    n_undecided: int
    """Graded by an interval that crosses the border; they count by its estimate."""
    n_without_confidence: int
    """Graded, and not in the bins nor in the Brier score."""


def calibration(
    predictions: Iterable[Prediction],
    edges: Sequence[float] = EDGES,
    level: float = 0.95,
    seed: int = 0,
) -> Calibration:
    """How often predictions held, by how sure they were, and day by day.

    Args:
        predictions: graded ones count, open ones are only counted.
        edges: of the bins of stated confidence, ascending from 0 to 1.
        level: confidence level of all intervals.
        seed: of the Brier score's bootstrap.

    Raises:
        ValueError: edges that do not ascend from 0 to 1, a bad level.

    Example:
        >>> calibration([]).bins
        ()
    """
    edges = tuple(edges)
    if len(edges) < 2 or edges[0] != 0 or edges[-1] != 1 or list(edges) != sorted(set(edges)):
        raise ValueError(f"edges={edges} must ascend from 0 to 1.")
    every = list(predictions)
    graded = [one for one in every if one.result is not None]
    sure = [one for one in graded if one.confidence is not None]
    bins = []
    for low, high in pairwise(edges):
        inside = [one for one in sure if low <= _sure(one) < high or _sure(one) == high == 1]
        if inside:
            mean = sum(map(_sure, inside)) / len(inside)
            bins.append(CalibrationBin(low, high, mean, _share(inside, level)))
    days = []
    for day in sorted({one.day for one in graded}):
        here = [one for one in graded if one.day == day]
        losses = [_loss(one) for one in here if one.confidence is not None]
        days.append(Day(day, _share(here, level), sum(losses) / len(losses) if losses else None))
    return Calibration(
        bins=tuple(bins),
        days=tuple(days),
        held=_share(graded, level) if graded else None,
        brier=bootstrap_mean([_loss(one) for one in sure], seed, level) if sure else None,
        n_open=len(every) - len(graded),
        n_undecided=sum(one.verdict == "undecided" for one in graded),
        n_without_confidence=len(graded) - len(sure),
    )


def prediction_table(predictions: Iterable[Prediction]) -> Table:
    """The table of `cutaway predictions`: its heads and a row of text for each prediction."""
    heads = ("made (UTC)", "id", "prediction", "expected", "sure", "observed", "verdict")
    rows: list[tuple[str, ...]] = []
    for one in predictions:
        sure = "" if one.confidence is None else _percent(one.confidence)
        came = "" if one.result is None else plain_text(one.result.observed)
        rows.append((one.day, one.id, one.statement, str(one.claim), sure, came, one.verdict))
    return heads, rows


def bin_table(found: Calibration) -> Table:
    """How sure, how many, and how many of them held: a row of text for each bin."""
    heads = ("sure", "predictions", "mean sure", "held")
    rows: list[tuple[str, ...]] = [
        (
            f"{_percent(one.low)} to {_percent(one.high)}",
            str(one.held.n),
            _percent(one.confidence),
            _share_text(one.held),
        )
        for one in found.bins
    ]
    return heads, rows


def day_table(found: Calibration) -> Table:
    """Day by day how many were graded, how many held, and the Brier score: rows of text."""
    heads = ("made (UTC)", "predictions", "held", "Brier score")
    rows: list[tuple[str, ...]] = [
        (
            one.day,
            str(one.held.n),
            _share_text(one.held),
            "" if one.brier is None else f"{one.brier:.2f}",
        )
        for one in found.days
    ]
    return heads, rows


def calibration_sentences(found: Calibration) -> list[str]:
    """What the tables add up to, and what they leave out."""
    if found.held is None:
        return ["Nothing is graded yet."]
    held = round(found.held.estimate * found.held.n)
    said = [f"{held} of {found.held.n} graded predictions held: {_share_text(found.held)}."]
    if found.brier is not None:
        ends = "" if found.brier.n == 1 else f" [{found.brier.low:.2f}, {found.brier.high:.2f}]"
        said.append(
            f"Brier score {found.brier.estimate:.2f}{ends} over {found.brier.n} with a stated "
            "confidence; 0 is perfect, and 0.25 is what always saying 50% gets."
        )
    if found.n_without_confidence:
        said.append(f"{found.n_without_confidence} state no confidence and are not calibrated.")
    if found.n_undecided:
        said.append(
            f"{found.n_undecided} are undecided, since the interval crosses the border; they "
            "count by its estimate."
        )
    if found.n_open:
        said.append(f"{found.n_open} are not graded yet.")
    return said


def _sure(one: Prediction) -> float:
    assert one.confidence is not None
    return one.confidence


def _held(one: Prediction) -> bool:
    assert one.result is not None
    return one.result.held


def _loss(one: Prediction) -> float:
    return (_sure(one) - _held(one)) ** 2


def _share(some: Sequence[Prediction], level: float) -> Interval:
    return proportion(sum(map(_held, some)), len(some), level)


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"


def _share_text(share: Interval) -> str:
    return f"{100 * share.estimate:.0f}% [{100 * share.low:.0f}, {100 * share.high:.0f}]"
