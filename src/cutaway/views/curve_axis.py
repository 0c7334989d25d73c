"""An axis of a line chart: from numbers to pixels, and round numbers to write beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .numbers import number

_MOST_TICKS = 9


@dataclass(frozen=True)
class CurveAxis:
    """From the numbers `low` to `high` on the pixels `start` to `end`.

    Example:
        >>> CurveAxis(0.01, 1.0, 0.0, 100.0, is_log=True).place(0.1)
        50.0
    """

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False
    """Equal ratios are equally far apart; then `low` is positive."""

    @classmethod
    def around(
        cls,
        values: Sequence[float],
        start: float,
        end: float,
        is_log: bool = False,
        slack: float = 0.0,
    ) -> CurveAxis:
        """An axis that holds all values, with a share of `slack` to spare at both ends."""
        low, high = min(values), max(values)
        if is_log:
            spare = max(1.05, (high / low) ** slack)
            return cls(low / spare, high * spare, start, end, True)
        spare = (high - low) * slack or max(abs(high) * 0.1, 0.5)
        return cls(low - spare, high + spare, start, end)

    def place(self, value: float) -> float:
        """The pixel of a number."""
        low, high = self._scaled(self.low), self._scaled(self.high)
        share = (self._scaled(value) - low) / (high - low)
        return self.start + share * (self.end - self.start)

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self.is_log else value

    @property
    def ticks(self) -> tuple[tuple[float, str], ...]:
        """Round numbers within the axis, and how to write each."""
        values = self._log_ticks() if self.is_log else self._even_ticks()
        return tuple((value, self.text(value)) for value in values)

    def _even_ticks(self) -> list[float]:
        rough = (self.high - self.low) / (_MOST_TICKS - 1)
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * by for by in (1, 2, 5, 10) if power * by >= rough * (1 - 1e-9))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(step * n, 12) for n in range(first, last + 1)]

    def _log_ticks(self) -> list[float]:
        """Powers of ten, with halves and fifths between where there are few."""
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        for parts in ((1,), (1, 3), (1, 2, 5)):
            every = [by * 10.0**power for power in range(first, last + 1) for by in parts]
            inside = [value for value in every if self.low <= value <= self.high]
            if len(inside) >= 4:
                break
        stride = math.ceil(len(inside) / _MOST_TICKS)
        return inside[::stride] if inside else [self.low, self.high]

    def text(self, value: float) -> str:
        """A number as short as it can be said without losing more than a thousandth of it.

        Example:
            >>> CurveAxis(0, 1, 0, 100).text(0.25), CurveAxis(1, 2e4, 0, 100).text(15000)
            ('0.25', '15,000')
        """
        if value and abs(value) < 1e-4:
            return f"{value:.2g}".replace("-", "−")
        if abs(value) >= 1000:
            return f"{value:,.0f}".replace("-", "−")
        digits = 3 if not value else max(0, 2 - math.floor(math.log10(abs(value))))
        text = number(value, digits)
        return text.rstrip("0").rstrip(".") if "." in text else text
