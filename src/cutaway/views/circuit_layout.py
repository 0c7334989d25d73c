"""Where the boxes and the lines of a drawn circuit stand: numbers only, no HTML.

Rows are stacked from the bottom. Lines of one kind that leave one node share a lane: they run
together through the rows between, beside the boxes and never behind one, and part in the gap below
the row that they enter. All coordinates are pixels, with y downward as in SVG; a line only goes up.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from .circuit_plan import NodeShape, Plan, Wire
from .layered import order_rows, place_items, straighten

GUTTER = 60.0
"""Left of all boxes, for the names of the layers."""
EDGE = 16.0
"""Free space around the drawing."""

_LEAST_BAR = 150.0
_LEAST_GAP, _MOST_GAP = 40.0, 96.0
_GAP_PER_PIXEL = 0.16  # of the widest sideways step of a gap: flat lines are hard to follow
_FAN = 7.0  # between lines that enter one MLP
_STRAIGHT = 0.75  # a sideways step below this is none


@dataclass(frozen=True)
class Box:
    """The place of a node."""

    x: float
    """Left side."""
    y: float
    """Top."""
    width: float
    height: float

    @property
    def middle(self) -> float:
        """Between left and right."""
        return self.x + self.width / 2

    @property
    def bottom(self) -> float:
        """Lower side."""
        return self.y + self.height


Way = tuple[tuple[float, float], ...]
"""The points of a line from its sender up to the box that it enters; neighbours that differ in x
are joined by a curve that starts and ends upright."""


@dataclass(frozen=True)
class Layout:
    """The places of everything."""

    width: float
    height: float
    boxes: dict[str, Box]
    ways: dict[str, tuple[Way, ...]]
    """For each line one way for each of its ends."""
    rows: tuple[tuple[float, float], ...]
    """Top and bottom of each row, from the lowest row."""


def lay_out(nodes: Sequence[NodeShape], wires: Sequence[Wire]) -> Layout:
    """Places for nodes and lines: few crossings, no line behind a box.

    Args:
        nodes: rows are numbered from 0 without a gap; a bar is alone in its row.
        wires: each leads from a node to nodes of higher rows.
    """
    plan = Plan(nodes, wires)
    ordered = order_rows(plan.rows, plan.links)
    places = place_items(ordered, plan.links, plan.widths, plan.margins)
    exits = plan.exits(places)
    chains = plan.chains(places, exits)
    upright = straighten(ordered, chains, places, plan.widths, plan.margins)
    return _Placed(plan, upright, exits).layout()


class _Placed:
    """Items at their x, turned into boxes and ways."""

    def __init__(
        self, plan: Plan, places: Sequence[float], exits: Mapping[tuple[str, str], float]
    ) -> None:
        self.plan, self.exits = plan, exits
        left = min(
            (x - width / 2 for x, width in zip(places, plan.widths, strict=True)), default=0.0
        )
        right = max(
            (x + width / 2 for x, width in zip(places, plan.widths, strict=True)), default=0.0
        )
        spare = max(0.0, _LEAST_BAR - (right - left)) / 2
        self.start = GUTTER
        self.end = GUTTER + math.ceil(right - left + 2 * spare)
        self.x = [round(GUTTER + spare + x - left, 1) for x in places]
        self.fans = self._fans()

    def layout(self) -> Layout:
        """Everything in its place."""
        spans = self._row_spans()
        shapes = self.plan.nodes
        boxes = {node.name: self._box(node, spans[node.row]) for node in shapes}
        ways = {
            wire.name: tuple(self._way(wire, end, port, boxes, spans) for end, port in wire.ends)
            for wire in self.plan.wires
        }
        height = spans[0][1] + EDGE if spans else 2 * EDGE
        return Layout(self.end + EDGE, height, boxes, ways, tuple(spans))

    def _row_spans(self) -> list[tuple[float, float]]:
        """Top and bottom of each row, from the lowest; the gaps are as high as their lines need."""
        n_rows = len(self.plan.rows)
        heights = [max(n.height for n in self.plan.nodes if n.row == r) for r in range(n_rows)]
        steps = [0.0] * n_rows
        for wire in self.plan.wires:
            for end, port in wire.ends:
                xs = self._xs(wire, end, port)
                row = self.plan.shape[wire.start].row
                for at, (a, b) in enumerate(pairwise(xs)):
                    steps[row + at] = max(steps[row + at], abs(a - b))
        spans: list[tuple[float, float]] = []
        y = EDGE
        for row in reversed(range(n_rows)):
            spans.insert(0, (y, y + heights[row]))
            below = _GAP_PER_PIXEL * steps[row - 1] if row else 0.0
            y += heights[row] + round(min(_MOST_GAP, _LEAST_GAP + below))
        return spans

    def _box(self, node: NodeShape, span: tuple[float, float]) -> Box:
        top, bottom = span
        if node.is_bar:
            return Box(self.start, top, self.end - self.start, bottom - top)
        x = self.x[self.plan.item[node.name]] - node.width / 2
        return Box(x, bottom - node.height, node.width, node.height)

    def _xs(self, wire: Wire, end: str, port: str) -> list[float]:
        """Where a line is in each row that it touches."""
        xs: list[float | None] = []
        for step in self.plan.steps(wire, end):
            if isinstance(step, int):
                xs.append(self.x[step])
            elif self.plan.shape[step].is_bar:
                xs.append(None)
            elif step == wire.start:
                xs.append(self.x[self.plan.item[step]] + self.exits[step, wire.lane])
            else:
                xs.append(self._port_x(step, port, wire))
        if xs[0] is None:  # from the embedding straight up
            xs[0] = xs[1] if xs[1] is not None else (self.start + self.end) / 2
        if xs[-1] is None:
            xs[-1] = xs[-2]
        return [x for x in xs if x is not None]

    def _port_x(self, name: str, port: str, wire: Wire) -> float:
        node = self.plan.shape[name]
        middle = self.x[self.plan.item[name]]
        if len(node.ports) > 1:
            return middle + node.port_shift(port)
        return middle + self.fans[name].get((wire.start, wire.lane), 0.0)

    def _fans(self) -> dict[str, dict[tuple[str, str], float]]:
        """Where each lane enters a node with one input: side by side, as they come."""
        coming: defaultdict[str, dict[tuple[str, str], float]] = defaultdict(dict)
        for wire in self.plan.wires:
            for end, _ in wire.ends:
                before = self.plan.steps(wire, end)[-2]
                item = before if isinstance(before, int) else self.plan.item[before]
                x = self.x[item]
                if isinstance(before, str):
                    x += self.exits[before, wire.lane]
                    if self.plan.shape[before].is_bar:  # straight up, wherever that is
                        x = self.x[self.plan.item[end]]
                coming[end][wire.start, wire.lane] = x
        fans = {}
        for name, lanes in coming.items():
            step = min(_FAN, (self.plan.shape[name].width - 14) / max(1, len(lanes) - 1))
            order = sorted(lanes, key=lanes.__getitem__)
            fans[name] = {lane: step * (at - (len(order) - 1) / 2) for at, lane in enumerate(order)}
        return fans

    def _way(
        self,
        wire: Wire,
        end: str,
        port: str,
        boxes: dict[str, Box],
        spans: Sequence[tuple[float, float]],
    ) -> Way:
        xs = self._xs(wire, end, port)
        first = self.plan.shape[wire.start].row
        points = [(xs[0], boxes[wire.start].y), (xs[0], spans[first][0])]
        for at, x in enumerate(xs[1:-1], start=1):
            top, bottom = spans[first + at]
            points += [(x, bottom), (x, top)]
        points.append((xs[-1], boxes[end].bottom))
        return _simplified(points)


def _simplified(points: Sequence[tuple[float, float]]) -> Way:
    """Without small sideways steps, and without points on a straight stretch."""
    found = [points[0]]
    for x, y in points[1:]:
        if abs(x - found[-1][0]) < _STRAIGHT:
            x = found[-1][0]
        if len(found) > 1 and found[-1][0] == found[-2][0] == x:
            found.pop()
        if (x, y) != found[-1]:
            found.append((x, y))
    return tuple(found)
