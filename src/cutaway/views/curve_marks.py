"""The lines and marks of a line chart as SVG, and the samples of them in its legend."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .markup import Markup, tag
from .svg import short

Point = tuple[float, float]

N_COLOURS = 6
"""Series have a colour and a mark of their own; with more than six they repeat."""


def line_path(spots: Sequence[Point | None]) -> str:
    """Straight from point to point, with a gap where one is missing."""
    parts, pen = [], "M"
    for spot in spots:
        if spot is None:
            pen = "M"
            continue
        parts.append(f"{pen}{short(spot[0])} {short(spot[1])}")
        pen = "L"
    return "".join(parts)


def mark_path(at: int, x: float, y: float) -> str:
    """Discs, squares, diamonds, triangles up and down, bars; small discs for the control (-1)."""
    shapes: dict[int, Sequence[tuple[float, float]]] = {
        1: ((-3.2, -3.2), (3.2, -3.2), (3.2, 3.2), (-3.2, 3.2)),
        2: ((0, -4.6), (4.6, 0), (0, 4.6), (-4.6, 0)),
        3: ((0, -4.4), (4.2, 3.2), (-4.2, 3.2)),
        4: ((0, 4.4), (4.2, -3.2), (-4.2, -3.2)),
        5: ((-1.4, -4.4), (1.4, -4.4), (1.4, 4.4), (-1.4, 4.4)),
    }
    size = 2.2 if at < 0 else 3.6
    round_ = tuple(
        (size * math.cos(turn * math.pi / 6), size * math.sin(turn * math.pi / 6))
        for turn in range(12)
    )
    corners = round_ if at < 0 else shapes.get(at % N_COLOURS, round_)
    return "M" + "L".join(f"{short(x + dx)} {short(y + dy)}" for dx, dy in corners) + "z"


def sample_marks(kind: str, at: int, x: float, y: float) -> Markup:
    """The line and mark of a series, or a shaded square, for the legend."""
    if kind == "shade":
        box = tag("path", class_="shade", d=f"M{short(x)} {short(y - 4)}h22v9h-22z")
        return tag("g", box, class_="series control")
    mark = mark_path(-1 if "control" in kind else at, x + 11, y)
    line = tag("path", class_="line", d=f"M{short(x)} {short(y)}h22")
    return tag("g", line, tag("path", class_="mark", d=mark), class_=kind)


def sample(kind: str, at: int) -> Markup:
    """One entry of the legend as a picture of its own."""
    return tag("svg", sample_marks(kind, at, 1, 6), width=24, height=12, aria_hidden="true")
