"""Lines over one axis with intervals: how faithful a circuit is as it keeps more of the edges."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

from .curve_axis import CurveAxis
from .curve_marks import N_COLOURS, Point, line_path, mark_path, sample, sample_marks
from .markup import Markup, join, tag
from .numbers import bracket, number
from .svg import fitted, short, standalone, text_width
from .view import View, figure, tip

_WIDTH, _HEIGHT = 640.0, 340.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 56.0, 18.0, 12.0, 46.0
_LEGEND_SIZE = 11.0


@dataclass(frozen=True, eq=False)
class CurveSeries:
    """One line.

    Raises:
        ValueError: the numbers are not as many as each other, or `x` does not grow.
    """

    name: str
    """For the legend."""
    x: Sequence[float]
    """Where each point is, growing."""
    y: Sequence[float]
    """How high each point is; NaN where there is none."""
    low: Sequence[float] | None = None
    """The lower end of each point's interval; `high` goes with it."""
    high: Sequence[float] | None = None
    """The upper end."""

    def __post_init__(self) -> None:
        if not len(self.x):
            raise ValueError(f"the series {self.name!r} has no points.")
        for name in ("y", "low", "high"):
            values = getattr(self, name)
            if values is not None and len(values) != len(self.x):
                raise ValueError(
                    f"the series {self.name!r} has {len(self.x)} x and {len(values)} {name}."
                )
        if (self.low is None) != (self.high is None):
            raise ValueError(f"the series {self.name!r} has one end of its intervals: give both.")
        if any(not b > a for a, b in zip(self.x, list(self.x)[1:], strict=False)):
            raise ValueError(f"the x of the series {self.name!r} do not grow: sort the points.")

    def interval(self, at: int) -> Point | None:
        """The interval of a point, None where there is none or an end is not finite."""
        if self.low is None or self.high is None:
            return None
        ends = float(self.low[at]), float(self.high[at])
        return ends if all(map(math.isfinite, ends)) else None


@dataclass(frozen=True, eq=False)
class CurveView(View):
    """Several lines with shaded intervals, a grey one for the control, marks where y is 0 and 1.

    Pointing at a point, or walking to it (left and right along a line, up and down between
    lines), gives its numbers.

    Raises:
        ValueError: no series, or a logarithmic axis with x that are not positive.

    Example:
        >>> found = CurveSeries("EAP-IG", (0.01, 0.1, 1.0), (0.2, 0.8, 1.0))
        >>> CurveView((found,), x_label="share of edges", log_x=True).svg()[:5]
        '<?xml'
    """

    assets: ClassVar[tuple[str, ...]] = ("figure", "tip", "curve")

    series: Sequence[CurveSeries]
    """The lines, in the order of the legend."""
    control: CurveSeries | Sequence[CurveSeries] | None = None
    """What chance gives, such as random circuits: grey, and behind the others. May be several."""
    title: str = ""
    """Above the lines."""
    caption: str = ""
    """Below them. Markup is allowed."""
    x_label: str = ""
    """Under the axis, such as "share of edges"."""
    y_label: str = "faithfulness"
    """Beside the axis."""
    log_x: bool = False
    """Equal ratios of x are equally far apart."""
    references: Sequence[tuple[float, str]] = ((0.0, ""), (1.0, ""))
    """Heights of dashed lines across, and what they are."""
    interval_name: str = "95% interval"
    """What the shading is."""
    _controls: tuple[CurveSeries, ...] = field(init=False, repr=False)
    _every: tuple[CurveSeries, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        given = self.control if self.control is not None else ()
        controls = (given,) if isinstance(given, CurveSeries) else tuple(given)
        every = (*controls, *self.series)
        if not every:
            raise ValueError("there is no series to draw.")
        object.__setattr__(self, "_controls", controls)
        object.__setattr__(self, "_every", every)
        bad = [x for one in every for x in one.x if not math.isfinite(x) or (self.log_x and x <= 0)]
        if bad:
            why = "which a logarithmic axis cannot show" if math.isfinite(bad[0]) else "no number"
            raise ValueError(f"there is a point at x={bad[0]}, {why}: leave it out.")

    # ---- HTML ----

    def markup(self) -> Markup:
        """The HTML alone."""
        picture = tag(
            "svg",
            self._body(is_static=False),
            viewBox=f"0 0 {short(_WIDTH)} {short(_HEIGHT)}",
            width=short(_WIDTH),
            height=short(_HEIGHT),
            role="group",
            aria_label=self._name(),
            class_="ct-curve-drawing",
        )
        entries = [
            tag("span", sample(kind, at), text, class_="entry")
            for kind, at, text in self._entries()
        ]
        scroll = tag("div", picture, class_="ct-scroll")
        legend = tag("div", *entries, class_="ct-legend")
        return figure("ct-curve", self.title, self.caption, scroll, legend)

    def svg(self) -> str:
        """The drawing as a complete SVG file, for light ground."""
        x, row, found = _LEFT, 0, []
        for kind, at, text in self._entries():
            text = fitted(text, _LEGEND_SIZE, _WIDTH - _LEFT - 50)
            needed = 30 + text_width(text, _LEGEND_SIZE) + 14
            if x > _LEFT and x + needed > _WIDTH:
                x, row = _LEFT, row + 1
            y = _HEIGHT + 8 + 18 * row
            found += [
                sample_marks(kind, at, x, y),
                tag("text", text, class_="legend", x=short(x + 30), y=short(y + 4)),
            ]
            x += needed
        body = join(self._body(is_static=True), *found)
        return standalone(body, _WIDTH, _HEIGHT + 18 * (row + 1) + 6, "curve_svg", self._name())

    def _name(self) -> str:
        return self.title or f"{self.y_label} by {self.x_label or 'x'}"

    def _entries(self) -> list[tuple[str, int, str]]:
        """Kind, number and words of each entry of the legend."""
        found = [(f"series s{at % N_COLOURS}", at, one.name) for at, one in enumerate(self.series)]
        found += [("series control", 0, one.name) for one in self._controls]
        if any(one.low is not None for one in self._every):
            found.append(("shade", 0, f"shaded: {self.interval_name}"))
        return found

    # ---- drawing ----

    @cached_property
    def axes(self) -> tuple[CurveAxis, CurveAxis]:
        """Across and up."""
        xs = [float(x) for one in self._every for x in one.x]
        ys = [height for height, _ in self.references]
        for one in self._every:
            ys += [float(y) for y in one.y if math.isfinite(y)]
            ys += [y for at in range(len(one.x)) for y in one.interval(at) or ()]
        across = CurveAxis.around(xs, _LEFT, _WIDTH - _RIGHT, self.log_x, slack=0.03)
        return across, CurveAxis.around(ys or [0.0, 1.0], _HEIGHT - _BOTTOM, _TOP, slack=0.05)

    def _body(self, is_static: bool) -> Markup:
        drawn = [self._series(one, -1, is_static) for one in self._controls]
        drawn += [self._series(one, at, is_static) for at, one in enumerate(self.series)]
        return join(self._grid(), *drawn)

    def _grid(self) -> Markup:
        across, up = self.axes
        right, floor = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
        parts = []
        for value, label in up.ticks:
            y = up.place(value)
            parts += [
                tag("path", class_="grid", d=f"M{short(_LEFT)} {short(y)}H{short(right)}"),
                _text(label, "tick", _LEFT - 7, y + 3.5, "end"),
            ]
        for value, label in across.ticks:
            x = across.place(value)
            parts += [
                tag("path", class_="axis", d=f"M{short(x)} {short(floor)}V{short(floor + 4)}"),
                _text(label, "tick", x, floor + 16, "middle"),
            ]
        for height, words in self.references:
            y = up.place(height)
            parts.append(
                tag("path", class_="reference", d=f"M{short(_LEFT)} {short(y)}H{short(right)}")
            )
            if words:
                parts.append(_text(words, "tick", right - 4, y - 4, "end"))
        parts.append(tag("path", class_="axis", d=f"M{short(_LEFT)} {short(floor)}H{short(right)}"))
        parts.append(_text(self.x_label, "label", (_LEFT + right) / 2, _HEIGHT - 8, "middle"))
        middle = short((_TOP + floor) / 2)
        turned = f"rotate(-90 14 {middle})"
        parts.append(
            tag(
                "text",
                self.y_label,
                class_="label",
                x=14,
                y=middle,
                text_anchor="middle",
                transform=turned,
            )
        )
        return tag("g", *parts, aria_hidden="true")

    def _series(self, one: CurveSeries, at: int, is_static: bool) -> Markup:
        across, up = self.axes
        kind = "control" if at < 0 else f"s{at % N_COLOURS}"
        spots = [
            (across.place(x), up.place(y)) if math.isfinite(y) else None
            for x, y in zip(map(float, one.x), map(float, one.y), strict=True)
        ]
        points = [
            self._point(one, number_, at, spot, is_static)
            for number_, spot in enumerate(spots)
            if spot is not None
        ]
        return tag(
            "g",
            tag("path", class_="shade", d=self._shade(one)),
            tag("path", class_="line", d=line_path(spots)),
            *points,
            class_=f"series {kind}",
        )

    def _shade(self, one: CurveSeries) -> str:
        """The band between the ends, in pieces where intervals are missing."""
        across, up = self.axes
        pieces: list[list[tuple[float, float, float]]] = [[]]
        for at, x in enumerate(one.x):
            ends = one.interval(at)
            if ends is None:
                pieces.append([])
            else:
                pieces[-1].append((across.place(float(x)), up.place(ends[0]), up.place(ends[1])))
        text = ""
        for piece in pieces:
            if not piece:
                continue
            if len(piece) == 1:  # a single interval is a thin bar
                x, low, high = piece[0]
                piece = [(x - 2, low, high), (x + 2, low, high)]
            round_trip = [(x, high) for x, _, high in piece]
            round_trip += [(x, low) for x, low, _ in reversed(piece)]
            text += "M" + "L".join(f"{short(x)} {short(y)}" for x, y in round_trip) + "z"
        return text

    def _point(
        self, one: CurveSeries, number_: int, at: int, spot: Point, is_static: bool
    ) -> Markup:
        x, y = spot
        shape = tag("path", class_="mark", d=mark_path(at, x, y))
        lines = self._tip(one, number_)
        if is_static:
            return tag("g", tag("title", tip(*lines)), shape)
        is_first = number_ == next(n for n, value in enumerate(one.y) if math.isfinite(value))
        return tag(
            "g",
            tag("circle", class_="hit", cx=short(x), cy=short(y), r=9),
            shape,
            class_="point",
            tabindex=0 if is_first else -1,
            role="img",
            aria_label=", ".join(lines),
            data_tip=tip(*lines),
            data_x=short(x),
        )

    def _tip(self, one: CurveSeries, at: int) -> tuple[str, ...]:
        where = f"{self.x_label or 'x'} {self.axes[0].text(float(one.x[at]))}"
        lines = [one.name, where, f"{self.y_label} {number(float(one.y[at]), 3)}"]
        ends = one.interval(at)
        if ends is not None:
            lines.append(f"{self.interval_name} {bracket(*ends, 3)}")
        return tuple(lines)


def _text(text: str, class_: str, x: float, y: float, anchor: str) -> Markup:
    return tag("text", text, class_=class_, x=short(x), y=short(y), text_anchor=anchor)
