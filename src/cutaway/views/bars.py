"""Horizontal bars with intervals, and beside each the single values it stands for or against."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..evidence import Interval
from .markup import Markup, join, tag
from .numbers import bracket, level_name, number
from .view import View, figure, tip

Floats = NDArray[np.floating]

_SWARM_BINS = 100
_SWARM_HALF_HEIGHT = 11.0  # pixels
_SWARM_ROWS = (2, 3, 5)  # rows of dots above and below the middle one, as few as will do
_DOT_WIDTH = 1.8  # percent of a track of usual width


@dataclass(frozen=True, eq=False)
class Bar:
    """One bar: an estimate, and if wanted the single values shown as dots under it."""

    label: str
    """Left of the bar."""
    value: float | Interval
    """Its length; an `Interval` also draws its ends."""
    note: str = ""
    """In small print under the label."""
    dots: Sequence[float] | Floats = ()
    """Single values: one for each prompt, or one for each set of random heads."""
    dot_labels: Sequence[str] = ()
    """What hovering each dot shows; empty, or as many as dots."""

    def __post_init__(self) -> None:
        if self.dot_labels and len(self.dot_labels) != len(self.dots):
            raise ValueError(
                f"The bar {self.label!r} has {len(self.dots)} dots and {len(self.dot_labels)} "
                "labels for them."
            )

    @property
    def estimate(self) -> float:
        """The length of the bar."""
        return self.value.estimate if isinstance(self.value, Interval) else self.value


@dataclass(frozen=True, eq=False)
class BarsView(View):
    """Bars on one axis that includes 0; blue to the right of it, orange to the left.

    Example:
        >>> bars = (Bar("9.9", Interval(0.4, 0.3, 0.5, 0.95, 64)), Bar("10.7", -0.2))
        >>> "9.9" in BarsView(bars, title="Top heads").markup()
        True
    """

    assets: ClassVar[tuple[str, ...]] = ("figure", "tip", "bars")

    bars: Sequence[Bar]
    """From the top."""
    title: str = ""
    """Above the bars."""
    caption: str = ""
    """Below them. Markup is allowed."""
    value_label: str = ""
    """Under the axis: the quantity and its unit."""
    digits: int = 2
    """Decimals of the figures beside the bars."""
    dots_name: str = ""
    """What one dot is, for the legend, such as "one prompt" or "one random set of heads"."""

    def markup(self) -> Markup:
        """The HTML alone."""
        axis = Axis.around(self._numbers())
        rows = [self._row(bar, axis) for bar in self.bars]
        table = tag(
            "table",
            tag("tbody", *rows),
            tag("tfoot", tag("tr", tag("td"), tag("td", axis.ticks_markup()), tag("td"))),
            class_="ct-bar-table",
            aria_label=self.title or None,
        )
        return figure("ct-bars", self.title, self.caption, table, self._legend())

    def _numbers(self) -> list[float]:
        found = [0.0]
        for bar in self.bars:
            ends = (bar.value.low, bar.value.high) if isinstance(bar.value, Interval) else ()
            found += [bar.estimate, *ends, *bar.dots]
        return [one for one in found if math.isfinite(one)]

    def _row(self, bar: Bar, axis: Axis) -> Markup:
        note = tag("small", bar.note) if bar.note else None
        track = tag(
            "div",
            axis.grid_markup(),
            _bar_markup(bar, axis),
            _dots_markup(bar, axis),
            class_="track",
        )
        text = number(bar.estimate, self.digits)
        if isinstance(bar.value, Interval):
            both = bracket(bar.value.low, bar.value.high, self.digits)
            ends = tag("span", both, class_="ct-ends")
            figures: str = join(text, " ", ends)
        else:
            figures = text
        return tag(
            "tr",
            tag("th", bar.label, note, scope="row"),
            tag("td", track),
            tag("td", figures, class_="figures"),
            class_="dotted" if len(bar.dots) else None,
            tabindex=0,
            data_tip=self._row_tip(bar),
        )

    def _row_tip(self, bar: Bar) -> str:
        lines = [bar.label, f"{number(bar.estimate, 3)} {self.value_label}".strip()]
        if isinstance(bar.value, Interval):
            ends = bracket(bar.value.low, bar.value.high, 3)
            lines.append(f"{level_name(bar.value.level)} {ends}")
        if len(bar.dots):
            low, middle, high = np.quantile(np.asarray(bar.dots, dtype=float), [0, 0.5, 1])
            lines.append(
                f"{len(bar.dots)} dots: lowest {number(low)}, median {number(middle)}, "
                f"highest {number(high)}"
            )
        return tip(*lines)

    def _legend(self) -> Markup | None:
        has_interval = any(isinstance(bar.value, Interval) for bar in self.bars)
        has_dots = bool(self.dots_name) and any(len(bar.dots) for bar in self.bars)
        entries = [
            tag("span", self.value_label, class_="unit") if self.value_label else None,
            _key("interval", _interval_name(self.bars)) if has_interval else None,
            _key("dot", self.dots_name) if has_dots else None,
        ]
        return tag("div", *entries, class_="ct-legend") if any(entries) else None


@dataclass(frozen=True)
class Axis:
    """A range of numbers with round ticks."""

    low: float
    high: float
    ticks: tuple[float, ...]

    @classmethod
    def around(cls, numbers: Sequence[float]) -> Axis:
        """The smallest axis with round ends that holds all `numbers`.

        Example:
            >>> Axis.around([0.0, 0.83]).ticks
            (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
        """
        least, most = min(numbers), max(numbers)
        step = _round_step((most - least) or 1.0)
        first, last = math.floor(least / step + 1e-9), math.ceil(most / step - 1e-9)
        last = max(last, first + 1)
        ticks = tuple(round(k * step, 10) for k in range(first, last + 1))
        return cls(ticks[0], ticks[-1], ticks)

    def place(self, value: float) -> float:
        """Where a number stands, in percent of the width, held within the axis."""
        return 100 * min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))

    def grid_markup(self) -> Markup:
        """A thin line for each tick, a stronger one for 0."""
        return join(
            *(
                tag("i", class_="zero" if at == 0 else "line", style=f"left:{self.place(at):.2f}%")
                for at in self.ticks
            )
        )

    def ticks_markup(self) -> Markup:
        """The numbers under the axis."""
        step = self.ticks[1] - self.ticks[0]
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        labels = (
            tag("span", number(at, digits), style=f"left:{self.place(at):.2f}%")
            for at in self.ticks
        )
        return tag("div", *labels, class_="ticks", aria_hidden="true")


def _round_step(extent: float) -> float:
    """A step of 1, 2 or 5 times a power of ten that divides `extent` into at most about six."""
    rough = extent / 6
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough - 1e-12)


def _bar_markup(bar: Bar, axis: Axis) -> Markup | None:
    if not math.isfinite(bar.estimate):
        return None
    start, end = sorted((axis.place(0.0), axis.place(bar.estimate)))
    sign = "negative" if bar.estimate < 0 else "positive"
    body = tag("b", class_=sign, style=f"left:{start:.2f}%;width:{end - start:.2f}%")
    if not isinstance(bar.value, Interval):
        return body
    low, high = axis.place(bar.value.low), axis.place(bar.value.high)
    whisker = tag("i", class_="whisker", style=f"left:{low:.2f}%;width:{high - low:.2f}%")
    return join(body, whisker)


def _dots_markup(bar: Bar, axis: Axis) -> Markup | None:
    if not len(bar.dots):
        return None
    labels = bar.dot_labels or [bar.label] * len(bar.dots)
    places = [axis.place(value) for value in bar.dots]
    dots = (
        tag("u", style=f"--x:{x:.2f};--y:{y:.1f}", data_tip=tip(label, number(value, 3)))
        for label, value, x, y in zip(labels, bar.dots, places, _swarm(places), strict=True)
    )
    return tag("div", *dots, class_="dots", aria_hidden="true")


def _swarm(places: Sequence[float]) -> list[float]:
    """How far above or below the line each dot stands, in pixels, so that few hide others."""
    for rows in _SWARM_ROWS:
        heights = _in_rows(places, rows)
        if heights is not None:
            return heights
    return _stacked(places)


def _in_rows(places: Sequence[float], rows: int) -> list[float] | None:
    """Each dot in the row nearest to the middle where it touches no other; None if that fails."""
    offsets = sorted(range(-rows, rows + 1), key=lambda row: (abs(row), row > 0))
    taken = dict.fromkeys(offsets, -math.inf)  # where the last dot of each row stands
    heights = [0.0] * len(places)
    for i in sorted(range(len(places)), key=lambda i: places[i]):
        free = [row for row in offsets if places[i] - taken[row] >= _DOT_WIDTH]
        if not free:
            return None
        taken[free[0]] = places[i]
        heights[i] = free[0] * _SWARM_HALF_HEIGHT / rows
    return heights


def _stacked(places: Sequence[float]) -> list[float]:
    """Too many to stand side by side: spread over the height, where they overlap."""
    bins = [min(int(place * _SWARM_BINS / 100), _SWARM_BINS - 1) for place in places]
    most = max(bins.count(one) for one in set(bins))
    step = _SWARM_HALF_HEIGHT / max(1, most // 2)
    seen: dict[int, int] = {}
    heights = []
    for one in bins:
        rank = seen[one] = seen.get(one, 0) + 1  # 1, 2, 3, ... become 0, -1, 1, -2, 2, ...
        heights.append(step * (rank // 2) * (-1 if rank % 2 == 0 else 1))
    return heights


def _key(symbol: str, text: str) -> Markup:
    return tag("span", tag("i", class_=f"key-{symbol}"), text, class_="entry")


def _interval_name(bars: Sequence[Bar]) -> str:
    levels = {bar.value.level for bar in bars if isinstance(bar.value, Interval)}
    return level_name(levels.pop()) if len(levels) == 1 else "interval"
