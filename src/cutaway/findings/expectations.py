"""Rows of a report: what was expected beside what came, and published figures.

Predictions that are stored before a run are another thing: `predictions.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..evidence import Interval


@dataclass(frozen=True)
class Expectation:
    """What the authors of a study expect of it, and what came: one row of its report."""

    question: str
    """What was asked."""
    expected: str
    """Written down before the run."""
    observed: str
    """Measured."""
    held: bool | None = None
    """Whether they agree; None where it was not graded."""


@dataclass(frozen=True)
class Comparison:
    """A published figure beside the one measured here."""

    quantity: str
    """What is compared."""
    published: str | float
    """As published."""
    measured: str | float | Interval
    """As measured here."""
    source: str = ""
    """Where it was published."""
