"""Features as arrows in a plane: one small picture for each instance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..array_files import Array
from .curve_marks import N_COLOURS
from .markup import Markup, tag
from .numbers import number
from .svg import short
from .view import View, figure, tip

_SIZE, _MIDDLE, _UNIT = 132.0, 66.0, 50.0
_LEAST_LENGTH = 1.0  # pixels: a shorter arrow is a dot


@dataclass(frozen=True, eq=False)
class Plane:
    """One picture.

    Raises:
        ValueError: W is not [2, feature].
    """

    title: str
    """Above it, such as "1 − S = 0.1"."""
    W: Array
    """[2, feature]."""
    note: str = ""
    """Below it, such as the shape's name."""

    def __post_init__(self) -> None:
        if np.ndim(self.W) != 2 or len(self.W) != 2:
            raise ValueError(f"W has the shape {np.shape(self.W)}; a plane shows [2, feature].")


@dataclass(frozen=True, eq=False)
class PlanesView(View):
    """Pictures side by side; the circle is where a norm is 1. Pointing at an arrow gives its norm.

    Raises:
        ValueError: no pictures, or fewer names than features.

    Example:
        >>> view = PlanesView((Plane("1 − S = 1", np.eye(2)),), ("first", "second"))
        >>> view.markup().count("arrow")
        2
    """

    assets: ClassVar[tuple[str, ...]] = ("figure", "tip", "superposition")

    planes: Sequence[Plane]
    """In the order of reading."""
    names: Sequence[str] = ()
    """What each feature is called; empty: by number, the first is 0."""
    groups: Sequence[int] = ()
    """A number for each feature: those of one group have one colour. Empty: a colour each."""
    title: str = ""
    """Above them."""
    caption: str = ""
    """Below them. Markup is allowed."""

    def __post_init__(self) -> None:
        if not self.planes:
            raise ValueError("there is no plane to draw.")
        most = max(plane.W.shape[1] for plane in self.planes)
        for what, given in (("names", self.names), ("groups", self.groups)):
            if given and len(given) < most:
                raise ValueError(f"there are {len(given)} {what} for {most} features.")

    def markup(self) -> Markup:
        """The HTML alone."""
        pictures = [self._picture(plane) for plane in self.planes]
        row = tag("div", *pictures, class_="ct-planes")
        return figure("ct-toy", self.title, self.caption, row, self._legend())

    def _legend(self) -> Markup:
        n = max(plane.W.shape[1] for plane in self.planes)
        shown: dict[int, list[str]] = {}
        for at in range(n):
            shown.setdefault(self._colour(at), []).append(self._name(at))
        entries = [
            tag("span", tag("span", class_=f"swatch c{colour}"), ", ".join(names), class_="entry")
            for colour, names in shown.items()
        ]
        return tag("div", *entries, class_="ct-legend")

    def _colour(self, at: int) -> int:
        return (self.groups[at] if self.groups else at) % N_COLOURS

    def _name(self, at: int) -> str:
        return self.names[at] if self.names else f"feature {at}"

    def _picture(self, plane: Plane) -> Markup:
        middle = short(_MIDDLE)
        circle = tag("circle", class_="unit", cx=middle, cy=middle, r=short(_UNIT))
        arrows = [self._arrow(plane, at) for at in range(plane.W.shape[1])]
        drawing = tag(
            "svg",
            circle,
            *arrows,
            viewBox=f"0 0 {short(_SIZE)} {short(_SIZE)}",
            width=short(_SIZE),
            height=short(_SIZE),
            role="group",
            aria_label=f"{plane.title}: {plane.note}",
            class_="walk",
        )
        note = tag("span", plane.note, class_="note")
        return tag("div", tag("span", plane.title, class_="name"), drawing, note, class_="plane")

    def _arrow(self, plane: Plane, at: int) -> Markup:
        x, y = (float(one) for one in plane.W[:, at])
        end = (_MIDDLE + _UNIT * x, _MIDDLE - _UNIT * y)
        norm = float(np.hypot(x, y))
        lines = (self._name(at), f"norm {number(norm)}", f"({number(x)}, {number(y)})")
        path = f"M{short(_MIDDLE)} {short(_MIDDLE)}L{short(end[0])} {short(end[1])}"
        return tag(
            "g",
            tag("path", d=path) if norm * _UNIT > _LEAST_LENGTH else None,
            tag("circle", cx=short(end[0]), cy=short(end[1]), r=3.6),
            tag("circle", class_="hit", cx=short(end[0]), cy=short(end[1]), r=9),
            class_=f"arrow c{self._colour(at)}",
            role="img",
            aria_label=", ".join(lines),
            data_tip=tip(*lines),
        )
