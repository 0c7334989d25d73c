"""What the report of `cutaway glitch` shows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..evidence import Interval, proportion
from ..tokens.glitch_trace import TokenTrace
from ..tokens.glitch_verification import Verification
from ..tokens.undertrained_detection import HalfOut
from ..tokens.undertrained_indicators import Indicators


@dataclass(frozen=True, eq=False)
class GlitchTruth:
    """What indicators are worth, where it is known how often each token came in training."""

    counts: NDArray[np.int64]
    """In how many training sequences each token stood: [token]."""
    never: NDArray[np.int64]
    """Tokens that stood in none, special ones left out."""
    used: NDArray[np.int64]
    """All others, special ones left out."""
    areas: Mapping[str, Interval]
    """Indicator -> area under the ROC curve, with the run's own known-unused tokens."""
    hits: Mapping[str, tuple[Interval, Interval]]
    """Indicator -> (precision, recall) if as many tokens are called unused as there are."""
    verified_areas: Mapping[str, Interval]
    """Indicator -> area for tokens that cannot be repeated against those that can."""
    halves: HalfOut
    """Half of the unused tokens found by the other half."""
    by_size: Mapping[int, HalfOut]
    """Known-unused tokens of the reference -> the rest found by them."""


@dataclass(frozen=True)
class Suspect:
    """One token that was asked for."""

    token: int
    text: str
    value: float
    """Of the chosen indicator."""
    probability: float
    """The highest over the prompts."""
    verdict: str
    said: tuple[str, ...]
    """What the model says in its stead, prompt by prompt."""
    count: int | None
    """Training sequences that it stood in, where that is known."""

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class CountRow:
    """Tokens that came equally often."""

    count: int
    n: int
    values: Mapping[str, float]
    """Indicator -> its mean."""
    repeats: Interval
    """Share of them that the model can repeat."""
    probability: float
    """Their median highest probability."""

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {**dataclasses.asdict(self), "values": dict(self.values)}


@dataclass(frozen=True, eq=False)
class GlitchReportData:
    """Suspects of a model, what became of them, and one of them traced."""

    indicators: Indicators
    verification: Verification
    """Of suspects, the most suspicious first."""
    control: Verification
    """Of ordinary tokens."""
    trace: TokenTrace
    truth: GlitchTruth | None = None
    settings: dict[str, str] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)

    @property
    def chosen(self) -> str:
        """The indicator that suspects are ordered by."""
        return self.indicators.chosen

    @property
    def traced(self) -> str:
        """The text of the token that was traced, in quotes."""
        return quoted(self.indicators.texts[self.trace.token])

    def suspects(self, n: int) -> list[Suspect]:
        """The first `n` tokens that were asked for."""
        found, texts = self.verification, self.indicators.texts
        values = self.indicators.values[self.chosen]
        highest, verdicts = found.highest, found.verdicts
        return [
            Suspect(
                token=int(token),
                text=texts[token],
                value=float(values[token]),
                probability=float(highest[row]),
                verdict=verdicts[row],
                said=tuple(texts[one] for one in found.said[row]),
                count=None if self.truth is None else int(self.truth.counts[token]),
            )
            for row, token in enumerate(found.tokens[:n])
        ]

    def by_count(self) -> list[CountRow]:
        """Tokens grouped by how often they came, of those that were asked for."""
        if self.truth is None:
            return []
        found = self.verification
        counts = self.truth.counts[found.tokens]
        highest, verdicts = found.highest, found.verdicts
        rows = []
        for count in np.unique(counts):
            at = np.flatnonzero(counts == count)
            repeated = sum(verdicts[row] == "repeats" for row in at)
            rows.append(
                CountRow(
                    count=int(count),
                    n=at.size,
                    values={
                        name: float(values[found.tokens[at]].mean())
                        for name, values in self.indicators.values.items()
                    },
                    repeats=proportion(repeated, at.size),
                    probability=float(np.median(highest[at])),
                )
            )
        return rows


def quoted(text: str) -> str:
    """A token's text as it is read, with what cannot be seen written out.

    Example:
        >>> quoted(" zum"), quoted("a\\n")
        ("' zum'", "'a\\\\n'")
    """
    return repr(text)
