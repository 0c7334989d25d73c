"""Where the boxes and the lines of a drawn circuit stand: numbers only, no HTML.

Rows are stacked from the bottom. Lines of one kind that leave one node share a lane: they run
together through the rows between, beside the boxes and never behind one, and part in the gap below
the row that they enter. All coordinates are pixels, with y downward as in SVG; a line only goes up.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from .layered import Link, order_rows, place_items

GUTTER = 60.0
"""Left of all boxes, for the names of the layers."""
EDGE = 16.0
"""Free space around the drawing."""
PORT_WIDTH = 15.0
"""Of each input of a head."""

_NODE_MARGIN = 16.0
_LANE_MARGIN = 9.0
_LEAST_BAR = 150.0
_LEAST_GAP, _MOST_GAP = 40.0, 96.0
_GAP_PER_PIXEL = 0.16  # of the widest sideways step of a gap: flat lines are hard to follow
_FAN = 7.0  # between lines that enter one MLP
_LANE_SHIFT = 4.0  # between the lanes that leave one node
_STRAIGHT = 0.75  # a sideways step below this is none
# Long straight stretches matter most, then where a lane leaves its node.
_WEIGHTS = {(True, True): 8.0, (False, True): 3.0, (True, False): 1.5, (False, False): 1.0}


@dataclass(frozen=True)
class NodeShape:
    """A node before it has a place."""

    name: str
    row: int
    """From the bottom."""
    width: float
    height: float
    ports: tuple[str, ...] = ("",)
    """Names of its inputs, from the left."""
    is_bar: bool = False
    """As wide as the drawing and alone in its row: the embedding, the logits."""

    def port_shift(self, port: str) -> float:
        """Where an input is, from the middle of the box."""
        return PORT_WIDTH * (self.ports.index(port) - (len(self.ports) - 1) / 2)


@dataclass(frozen=True)
class Wire:
    """A line before it has a place."""

    name: str
    start: str
    """The node that it leaves."""
    ends: tuple[tuple[str, str], ...]
    """(node, port) that it enters: several where heads share an input."""
    lane: str = ""
    """Lines of one node and one lane run together."""


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
    plan = _Plan(nodes, wires)
    ordered = order_rows(plan.rows, plan.links)
    return _Placed(plan, place_items(ordered, plan.links, plan.widths, plan.margins)).layout()


class _Plan:
    """Nodes and lanes as items of rows, and the links between them."""

    def __init__(self, nodes: Sequence[NodeShape], wires: Sequence[Wire]) -> None:
        self.nodes, self.wires = nodes, wires
        self.shape = {node.name: node for node in nodes}
        n_rows = 1 + max((node.row for node in nodes), default=-1)
        self.rows: list[list[int]] = [[] for _ in range(n_rows)]
        self.widths: list[float] = []
        self.margins: list[float] = []
        self.item: dict[str, int] = {}
        """Of each node."""
        self.lane: dict[tuple[str, str, int], int] = {}
        """(sender, lane, row) -> item."""
        for node in nodes:
            width = 0.0 if node.is_bar else node.width
            self.item[node.name] = self._add(node.row, width, _NODE_MARGIN)
        for key in self._lane_keys():
            self.lane[key] = self._add(key[2], 0.0, _LANE_MARGIN)
        self.links = [*dict.fromkeys(self._links())]

    def _add(self, row: int, width: float, margin: float) -> int:
        self.rows[row].append(len(self.widths))
        self.widths.append(width)
        self.margins.append(margin)
        return len(self.widths) - 1

    def _lane_keys(self) -> list[tuple[str, str, int]]:
        """A lane passes every row between its sender and the highest node that it reaches."""
        keys: dict[tuple[str, str, int], None] = {}
        for wire in self.wires:
            top = max(self.shape[node].row for node, _ in wire.ends)
            for row in range(self.shape[wire.start].row + 1, top):
                keys[wire.start, wire.lane, row] = None
        return [*keys]

    def lanes_of(self, name: str) -> list[str]:
        """The lanes that leave a node, from the left."""
        return sorted({wire.lane for wire in self.wires if wire.start == name})

    def exit_shift(self, name: str, lane: str) -> float:
        """Where a lane leaves its node, from the middle."""
        lanes = self.lanes_of(name)
        return 2 * _LANE_SHIFT * (lanes.index(lane) - (len(lanes) - 1) / 2)

    def _links(self) -> list[Link]:
        """What leaves or enters a bar is free to stand anywhere, and so is no link."""
        found = []
        for wire in self.wires:
            for end, port in wire.ends:
                steps = self.steps(wire, end)
                for lower, upper in zip(steps, steps[1:], strict=False):
                    if any(isinstance(one, str) and self.shape[one].is_bar for one in (lower, upper)):
                        continue
                    found.append(self._link(wire, lower, upper, port))
        return found

    def steps(self, wire: Wire, end: str) -> list[str | int]:
        """Row by row what a line passes: its sender (a name), lanes (items), the node it enters."""
        first, last = self.shape[wire.start].row, self.shape[end].row
        between = [self.lane[wire.start, wire.lane, row] for row in range(first + 1, last)]
        return [wire.start, *between, end]

    def _link(self, wire: Wire, lower: str | int, upper: str | int, port: str) -> Link:
        weight = _WEIGHTS[isinstance(lower, int), isinstance(upper, int)]
        below = above = 0.0
        if isinstance(lower, str):
            below = self.exit_shift(lower, wire.lane)
            lower = self.item[lower]
        if isinstance(upper, str):
            above = self.shape[upper].port_shift(port)
            upper = self.item[upper]
        return Link(lower, upper, below, above, weight)


class _Placed:
    """Items at their x, turned into boxes and ways."""

    def __init__(self, plan: _Plan, places: Sequence[float]) -> None:
        self.plan = plan
        left = min(
            (x - width / 2 for x, width in zip(places, plan.widths, strict=True)), default=0.0
        )
        right = max(
            (x + width / 2 for x, width in zip(places, plan.widths, strict=True)), default=0.0
        )
        spare = max(0.0, _LEAST_BAR - (right - left)) / 2
        self.start = GUTTER
        self.end = GUTTER + right - left + 2 * spare
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
        heights = [max((n.height for n in self.plan.nodes if n.row == r)) for r in range(n_rows)]
        steps = [0.0] * n_rows
        for wire in self.plan.wires:
            for end, port in wire.ends:
                xs = self._xs(wire, end, port)
                row = self.plan.shape[wire.start].row
                for at, (a, b) in enumerate(zip(xs, xs[1:], strict=False)):
                    steps[row + at] = max(steps[row + at], abs(a - b))
        spans: list[tuple[float, float]] = []
        y = EDGE
        for row in reversed(range(n_rows)):
            spans.insert(0, (y, y + heights[row]))
            below = _GAP_PER_PIXEL * steps[row - 1] if row else 0.0
            y += heights[row] + min(_MOST_GAP, _LEAST_GAP + below)
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
                x = self.x[self.plan.item[step]] + self.plan.exit_shift(step, wire.lane)
                xs.append(x)
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
                    x += self.plan.exit_shift(before, wire.lane)
                    if self.plan.shape[before].is_bar:  # straight up, wherever that is
                        x = self.x[self.plan.item[end]]
                coming[end][wire.start, wire.lane] = x
        fans = {}
        for name, lanes in coming.items():
            step = min(_FAN, (self.plan.shape[name].width - 14) / max(1, len(lanes) - 1))
            order = sorted(lanes, key=lanes.__getitem__)
            fans[name] = {
                lane: step * (at - (len(order) - 1) / 2) for at, lane in enumerate(order)
            }
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
