"""Tokens as dots: how suspicious each is, over how likely the model says it again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from .curve_axis import CurveAxis
from .markup import Markup, tag
from .numbers import number
from .svg import short
from .view import View, figure, tip

_WIDTH, _HEIGHT = 720.0, 400.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 56.0, 18.0, 12.0, 46.0
_LEAST = 1e-8  # probability at the left edge: smaller ones stand there


@dataclass(frozen=True)
class TokenDot:
    """One token."""

    text: str
    probability: float
    """Its highest over the prompts."""
    value: float
    """Of the indicator."""
    group: int
    """Which of the scatter's groups it is of."""
    note: str = ""
    """A further line for its tip."""


@dataclass(frozen=True, eq=False)
class TokenScatterView(View):
    """Dots over a logarithmic axis of probability. Pointing at one gives its token.

    Raises:
        ValueError: no dots, or one of a group that has no name.

    Example:
        >>> dots = (TokenDot(" zum", 1e-6, 0.1, 0), TokenDot(" the", 0.9, 0.7, 1))
        >>> TokenScatterView(dots, ("suspects", "ordinary tokens")).markup().count("<circle")
        4
    """

    assets: ClassVar[tuple[str, ...]] = ("figure", "tip", "superposition")

    dots: Sequence[TokenDot]
    groups: Sequence[str]
    """Names for the legend; the last one is the control, grey and behind."""
    thresholds: Sequence[float] = ()
    """Probabilities that are marked by a line."""
    value_label: str = ""
    title: str = ""
    """Above them."""
    caption: str = ""
    """Below them. Markup is allowed."""

    def __post_init__(self) -> None:
        if not self.dots:
            raise ValueError("there is no token to draw.")
        if any(not 0 <= one.group < len(self.groups) for one in self.dots):
            raise ValueError(f"a dot is of no group: there are {len(self.groups)}.")

    def markup(self) -> Markup:
        """The HTML alone."""
        across = CurveAxis(_LEAST / 2, 2.0, _LEFT, _WIDTH - _RIGHT, is_log=True)
        up = CurveAxis.around(
            [0.0, *(one.value for one in self.dots)], _HEIGHT - _BOTTOM, _TOP, slack=0.03
        )
        order = sorted(self.dots, key=lambda one: -one.group)  # the control first, so behind
        drawing = tag(
            "svg",
            self._grid(across, up),
            *(self._dot(one, across, up) for one in order),
            viewBox=f"0 0 {short(_WIDTH)} {short(_HEIGHT)}",
            width=short(_WIDTH),
            height=short(_HEIGHT),
            role="group",
            aria_label=self.title or self.value_label,
            class_="ct-dots walk",
        )
        scroll = tag("div", drawing, class_="ct-scroll")
        return figure("ct-toy", self.title, self.caption, scroll, self._legend())

    def _class(self, group: int) -> str:
        return "dot control" if group == len(self.groups) - 1 else f"dot c{group}"

    def _style(self, group: int) -> str | None:
        return None if group == len(self.groups) - 1 else "fill:var(--own)"

    def _dot(self, one: TokenDot, across: CurveAxis, up: CurveAxis) -> Markup:
        lines = [
            repr(one.text),
            f"{self.value_label} {number(one.value, 3)}",
            f"probability {one.probability:.2g}",
            *filter(None, [one.note]),
        ]
        circle = tag(
            "circle",
            cx=short(across.place(max(one.probability, _LEAST))),
            cy=short(up.place(one.value)),
            r=3,
            style=self._style(one.group),
            data_tip=tip(*lines),
        )
        return tag("g", circle, class_=self._class(one.group))

    def _legend(self) -> Markup:
        marks = []
        for group, name in enumerate(self.groups):
            circle = tag("circle", cx=6, cy=6, r=4, style=self._style(group))
            sample = tag("svg", circle, width=12, height=12, class_=self._class(group))
            marks.append(tag("span", sample, name, class_="entry"))
        return tag("div", *marks, class_="ct-legend")

    def _grid(self, across: CurveAxis, up: CurveAxis) -> Markup:
        right, floor = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
        parts = [tag("path", class_="axis", d=f"M{short(_LEFT)} {short(floor)}H{short(right)}")]
        for value, label in up.ticks:
            parts.append(_text(label, "tick", _LEFT - 7, up.place(value) + 3.5, "end"))
        for value, label in across.ticks:
            x = across.place(value)
            parts.append(tag("path", class_="axis", d=f"M{short(x)} {short(floor)}v4"))
            parts.append(_text(label, "tick", x, floor + 16, "middle"))
        for value in self.thresholds:
            line = f"M{short(across.place(value))} {short(_TOP)}V{short(floor)}"
            parts.append(tag("path", class_="reference", d=line))
        middle = (_TOP + floor) / 2
        words = "highest probability over the prompts that ask for it"
        parts.append(_text(words, "label", (_LEFT + right) / 2, _HEIGHT - 8, "middle"))
        turn = f"rotate(-90 14 {short(middle)})"
        parts.append(_text(self.value_label, "label", 14, middle, "middle", turn))
        return tag("g", *parts, aria_hidden="true")


def _text(
    text: str, class_: str, x: float, y: float, anchor: str, transform: str | None = None
) -> Markup:
    return tag(
        "text",
        text,
        class_=class_,
        x=short(x),
        y=short(y),
        text_anchor=anchor,
        transform=transform,
    )
