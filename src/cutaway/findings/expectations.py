"""What was expected, beside what came: predictions made before a run, and published figures."""

from __future__ import annotations

from dataclasses import dataclass

from ..evidence import Interval


@dataclass(frozen=True)
class Prediction:
    """What was expected before the run, and what came."""

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
