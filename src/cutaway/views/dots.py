"""Many dots over a logarithmic axis, with marked heights: the dimensionality of every feature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..array_files import Array
from .curve_axis import CurveAxis
from .markup import Markup, join, tag
from .numbers import number
from .svg import short
from .view import View, figure, tip

_WIDTH, _HEIGHT = 720.0, 400.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 130.0, 12.0, 46.0
_SPREAD = 5.0  # pixels that dots of one x are apart at most
_TOGETHER = 0.004  # dots of one x closer than this are drawn as one
_LEAST_APART = 12.0  # pixels between the names of two heights


@dataclass(frozen=True, eq=False)
class DotsView(View):
    """Dots that stand together are drawn as one, larger by how many they are.

    Pointing at a dot gives its numbers.

    Raises:
        ValueError: no dots, or x that are not positive.

    Example:
        >>> DotsView(np.array([1.0, 10.0]), np.array([0.5, 0.4])).markup().count('"dot"')
        2
    """

    assets: ClassVar[tuple[str, ...]] = ("figure", "tip", "superposition")

    x: Array
    """[dot], positive."""
    y: Array
    """[dot]."""
    control_x: Array | None = None
    """[dot], of what chance gives: grey and behind."""
    control_y: Array | None = None
    heights: Sequence[tuple[float, str]] = ()
    """Dashed lines across, and what they are."""
    line: Sequence[tuple[float, float]] = ()
    """Points of a line, such as the mean."""
    line_name: str = ""
    control_name: str = ""
    dot_name: str = "feature"
    """What a dot is."""
    x_label: str = ""
    y_label: str = ""
    title: str = ""
    """Above them."""
    caption: str = ""
    """Below them. Markup is allowed."""

    def __post_init__(self) -> None:
        if not len(self.x) or len(self.x) != len(self.y):
            raise ValueError(f"there are {len(self.x)} x and {len(self.y)} y to draw.")
        if not (np.asarray(self.x) > 0).all():
            raise ValueError("a logarithmic axis shows positive x only.")

    @property
    def axes(self) -> tuple[CurveAxis, CurveAxis]:
        """Across and up."""
        across = CurveAxis.around(
            [float(one) for one in self.x], _LEFT, _WIDTH - _RIGHT, True, slack=0.03
        )
        top = max(1.0, float(np.max(self.y)))
        return across, CurveAxis(0.0, top * 1.03, _HEIGHT - _BOTTOM, _TOP)

    def markup(self) -> Markup:
        """The HTML alone."""
        parts: list[Markup | None] = [self._grid(), self._heights()]
        if self.control_x is not None and self.control_y is not None:
            parts.append(self._dots(self.control_x, self.control_y, is_control=True))
        parts += [self._line(), self._dots(self.x, self.y)]
        drawing = tag(
            "svg",
            *parts,
            viewBox=f"0 0 {short(_WIDTH)} {short(_HEIGHT)}",
            width=short(_WIDTH),
            height=short(_HEIGHT),
            role="group",
            aria_label=self.title or self.y_label,
            class_="ct-dots walk",
        )
        scroll = tag("div", drawing, class_="ct-scroll")
        return figure("ct-toy", self.title, self.caption, scroll, self._legend())

    def _legend(self) -> Markup:
        entries = [("dot", f"{self.dot_name}; a larger dot stands for more of them")]
        if self.control_name:
            entries.append(("dot control", self.control_name))
        marks = [
            tag(
                "span",
                tag("svg", tag("circle", cx=6, cy=6, r=4), width=12, height=12, class_=kind),
                words,
                class_="entry",
            )
            for kind, words in entries
        ]
        if self.line_name:
            sample = tag("svg", tag("path", d="M0 6h22", class_="mean"), width=22, height=12)
            marks.append(tag("span", sample, self.line_name, class_="entry"))
        return tag("div", *marks, class_="ct-legend")

    def _dots(self, x: Array, y: Array, is_control: bool = False) -> Markup:
        across, up = self.axes
        found = []
        for where in np.unique(x):
            heights, counts = _together(np.asarray(y)[np.asarray(x) == where])
            for at, (height, count) in enumerate(zip(heights, counts, strict=True)):
                side = ((at * 0.618) % 1 - 0.5) * 2 * _SPREAD
                lines = (
                    f"{count} {self.dot_name}{'s' if count > 1 else ''}",
                    f"{self.y_label} {number(float(height), 3)}",
                    f"{self.x_label} {across.text(float(where))}",
                )
                found.append(
                    tag(
                        "circle",
                        cx=short(across.place(float(where)) + side),
                        cy=short(up.place(float(height))),
                        r=short(1.2 + 0.9 * float(np.sqrt(count))) if not is_control else 1.6,
                        data_tip=None if is_control else tip(*lines),
                    )
                )
        return tag("g", *found, class_="dot control" if is_control else "dot")

    def _line(self) -> Markup | None:
        if not self.line:
            return None
        across, up = self.axes
        spots = [f"{short(across.place(x))} {short(up.place(y))}" for x, y in self.line]
        return tag("path", d="M" + "L".join(spots), class_="mean")

    def _heights(self) -> Markup:
        _, up = self.axes
        right, wide = _WIDTH - _RIGHT, short(_WIDTH - _RIGHT - _LEFT)
        parts, last = [], float("inf")
        for height, words in sorted(self.heights, reverse=True):
            y = up.place(height)
            parts.append(tag("path", class_="reference", d=f"M{short(_LEFT)} {short(y)}h{wide}"))
            below = y + 3.5 if last == float("inf") else max(y + 3.5, last + _LEAST_APART)
            parts.append(_text(words, "tick", right + 6, below, "start"))
            last = below
        return tag("g", *parts, aria_hidden="true")

    def _grid(self) -> Markup:
        across, up = self.axes
        right, floor = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
        parts = [tag("path", class_="axis", d=f"M{short(_LEFT)} {short(floor)}H{short(right)}")]
        for value, label in up.ticks:
            parts.append(_text(label, "tick", _LEFT - 7, up.place(value) + 3.5, "end"))
        for value, label in across.ticks:
            x = short(across.place(value))
            parts.append(tag("path", class_="axis", d=f"M{x} {short(floor)}v4"))
            parts.append(_text(label, "tick", across.place(value), floor + 16, "middle"))
        parts.append(_text(self.x_label, "label", (_LEFT + right) / 2, _HEIGHT - 8, "middle"))
        middle = short((_TOP + floor) / 2)
        parts.append(
            tag(
                "text",
                self.y_label,
                class_="label",
                x=14,
                y=middle,
                text_anchor="middle",
                transform=f"rotate(-90 14 {middle})",
            )
        )
        return tag("g", join(*parts), aria_hidden="true")


def _together(values: Array) -> tuple[list[float], list[int]]:
    """Means and sizes of runs of close values; a run is no longer than twice the least gap."""
    ordered = np.sort(values)
    runs: list[list[float]] = [[float(ordered[0])]]
    for value in map(float, ordered[1:]):
        if value - runs[-1][-1] > _TOGETHER or value - runs[-1][0] > 2 * _TOGETHER:
            runs.append([])
        runs[-1].append(value)
    return [float(np.mean(run)) for run in runs], [len(run) for run in runs]


def _text(text: str, class_: str, x: float, y: float, anchor: str) -> Markup:
    return tag("text", text, class_=class_, x=short(x), y=short(y), text_anchor=anchor)
