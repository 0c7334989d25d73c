"""The nodes and lines of a drawn circuit as items of rows, before any of them has a place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from .layered import Link

PORT_WIDTH = 15.0
"""Of each input of a head, in pixels."""

_NODE_MARGIN = 16.0
_LANE_MARGIN = 9.0
_LANE_SHIFT = 4.0  # half the distance between two lanes that leave one node
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


class Plan:
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

    def chains(
        self, places: Sequence[float], exits: Mapping[tuple[str, str], float]
    ) -> list[tuple[float | None, list[int]]]:
        """Each lane as a chain, the longest first, and where it leaves its node."""
        found: dict[tuple[str, str], list[int]] = {}
        for (start, lane, _), item in self.lane.items():
            found.setdefault((start, lane), []).append(item)
        chains: list[tuple[float | None, list[int]]] = []
        for (start, lane), items in found.items():
            is_free = self.shape[start].is_bar
            x = places[self.item[start]] + exits[start, lane]
            chains.append((None if is_free else x, items))
        return sorted(chains, key=lambda chain: -len(chain[1]))

    def exits(self, places: Sequence[float]) -> dict[tuple[str, str], float]:
        """Where each lane leaves its node: side by side, in the order in which they part."""
        going: defaultdict[str, defaultdict[str, list[float]]] = defaultdict(
            lambda: defaultdict(list)
        )
        for wire in self.wires:
            for end, port in wire.ends:
                after = self.steps(wire, end)[1]
                item = after if isinstance(after, int) else self.item[after]
                shift = 0.0 if isinstance(after, int) else self.shape[after].port_shift(port)
                going[wire.start][wire.lane].append(places[item] + shift)
        exits = {}
        for name, lanes in going.items():
            order = sorted(lanes, key=lambda lane: (sum(lanes[lane]) / len(lanes[lane]), lane))
            for at, lane in enumerate(order):
                exits[name, lane] = 2 * _LANE_SHIFT * (at - (len(order) - 1) / 2)
        return exits

    def _lanes_of(self, name: str) -> list[str]:
        """The lanes that leave a node, from the left."""
        return sorted({wire.lane for wire in self.wires if wire.start == name})

    def _exit_shift(self, name: str, lane: str) -> float:
        """Where a lane leaves its node, from the middle."""
        lanes = self._lanes_of(name)
        return 2 * _LANE_SHIFT * (lanes.index(lane) - (len(lanes) - 1) / 2)

    def _links(self) -> list[Link]:
        """What leaves or enters a bar is free to stand anywhere, and so is no link."""
        found = []
        for wire in self.wires:
            for end, port in wire.ends:
                steps = self.steps(wire, end)
                for lower, upper in pairwise(steps):
                    if any(
                        isinstance(one, str) and self.shape[one].is_bar for one in (lower, upper)
                    ):
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
            below = self._exit_shift(lower, wire.lane)
            lower = self.item[lower]
        if isinstance(upper, str):
            above = self.shape[upper].port_shift(port)
            upper = self.item[upper]
        return Link(lower, upper, below, above, weight)
