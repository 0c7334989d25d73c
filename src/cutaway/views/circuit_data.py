"""What of a circuit is drawn, and what is said of it: edges with their kinds, widths and words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ..evidence import Interval
from .circuit_plan import Wire
from .numbers import bracket, excludes_zero, level_name, number

if TYPE_CHECKING:
    from ..circuits.circuit import Circuit
    from ..patching.graph import Receiver

Kind = Literal["positive", "negative", "unknown", "both", "first", "second"]

WIDEST = 6.0
"""Pixels of the edge with the largest effect."""
THINNEST = 0.9
"""Pixels of an edge whose effect is too small to see."""
EVEN = 1.7
"""Pixels where widths say nothing."""

_SIGNIFICANT = 2


@dataclass(frozen=True)
class DrawnEdge:
    """One edge as it is drawn."""

    name: str
    """As in the circuit."""
    wire: Wire
    """Between which boxes."""
    kind: Kind
    """The sign of its effect; or, of two circuits, in which it is."""
    width: float
    """Pixels."""
    said: str
    """Its effects as text, for lists; empty where none is known."""
    tip: tuple[str, ...]
    """What pointing at it shows; the first line is its name."""
    is_unsure: bool = False
    """The interval of its effect includes 0."""

    @property
    def arrow(self) -> str:
        """Its name with a true arrow."""
        return self.name.replace("->", " → ")


@dataclass(frozen=True)
class Drawn:
    """What is drawn of one circuit, or of two."""

    edges: tuple[DrawnEdge, ...]
    """The strongest first."""
    nodes: tuple[str, ...]
    """Senders and "logits" that one of the edges touches, in the order of the graph."""
    n_left_out: int
    """Edges that are not drawn."""
    nodes_left_out: tuple[str, ...]
    """Nodes of the circuit that no drawn edge touches."""
    largest: float
    """The largest absolute effect, which has the widest line; 0 where none is known."""
    unit: str
    """Of the effects."""


def drawn_circuit(
    circuit: Circuit,
    other: Circuit | None = None,
    names: tuple[str, str] = ("first", "second"),
    intervals: Mapping[str, Interval] | None = None,
    most: int = 300,
) -> Drawn:
    """The strongest edges of a circuit, or of two side by side, with what to say of each.

    Args:
        circuit: its edges are drawn by the sign and size of their effects.
        other: of a model of the same shape; then edges are drawn by which circuit has them.
        names: of the two circuits.
        intervals: edge -> the interval of its effect in `circuit`.
        most: how many edges at most.

    Raises:
        CircuitError: the circuits are of models of different shapes.
    """
    intervals = intervals or {}
    every = list(circuit.edges)
    if other is not None:
        circuit.check_same_graph(other)
        every = list((circuit | other).edges)
    strength = _strengths(circuit) if other is None else _larger(circuit, other)
    chosen = sorted(every, key=lambda name: -strength.get(name, 0.0))[
        :most
    ]  # stable: ties as in the graph
    largest = max((abs(circuit.effects.get(name, 0.0)) for name in chosen), default=0.0)
    unit = str(circuit.settings.get("unit", ""))
    maker = _EdgeMaker(circuit, other, names, intervals, largest, unit)
    edges = tuple(maker.edge(name) for name in chosen)
    touched = {end for edge in edges for end, _ in edge.wire.ends}
    touched |= {edge.wire.start for edge in edges}
    order = [sender.name for sender in circuit.graph.senders]
    members = {*circuit.nodes, *(other.nodes if other is not None else ())}
    return Drawn(
        edges,
        tuple(name for name in [*order, "logits"] if name in touched),
        len(every) - len(chosen),
        tuple(name for name in order if name in members - touched),
        largest,
        unit,
    )


def _strengths(circuit: Circuit) -> dict[str, float]:
    """The size of each known effect, as a share of the largest."""
    largest = max(map(abs, circuit.effects.values()), default=0.0) or 1.0
    return {name: abs(effect) / largest for name, effect in circuit.effects.items()}


def _larger(first: Circuit, second: Circuit) -> dict[str, float]:
    """Of two circuits an edge's larger share, since their effects may have two units."""
    one, two = _strengths(first), _strengths(second)
    return {name: max(one.get(name, 0.0), two.get(name, 0.0)) for name in [*one, *two]}


@dataclass(frozen=True)
class _EdgeMaker:
    circuit: Circuit
    other: Circuit | None
    names: tuple[str, str]
    intervals: Mapping[str, Interval]
    largest: float
    unit: str

    def edge(self, name: str) -> DrawnEdge:
        """One edge as it is drawn."""
        start, _, end = name.partition("->")
        receiver = self.circuit.graph.receiver(end)
        kind = self._kind(name)
        wire = Wire(name, start, self._ends(receiver), _LANES[kind])
        interval = self.intervals.get(name)
        unsure = interval is not None and not excludes_zero(interval.low, interval.high)
        said, lines = self._words(name)
        shared = self._shared(receiver)
        return DrawnEdge(name, wire, kind, self._width(name), said, (*lines, *shared), bool(unsure))

    def _ends(self, receiver: Receiver) -> tuple[tuple[str, str], ...]:
        """The boxes that an edge enters, and by which input: of shared keys, several heads."""
        if receiver.kind == "logits":
            return (("logits", ""),)
        port = "" if receiver.kind == "mlp" else receiver.kind
        return tuple((node.name, port) for node in self.circuit.wiring.read_by(receiver))

    def _kind(self, name: str) -> Kind:
        if self.other is not None:
            if name in self.circuit and name in self.other:
                return "both"
            return "first" if name in self.circuit else "second"
        effect = self.circuit.effects.get(name, 0.0)
        if not self.circuit.has_signs:
            return "unknown"
        return "positive" if effect > 0 else "negative" if effect < 0 else "unknown"

    def _width(self, name: str) -> float:
        effect = self.circuit.effects.get(name)
        if self.other is not None or effect is None or not self.largest:
            return EVEN
        return max(THINNEST, WIDEST * abs(effect) / self.largest)

    def _words(self, name: str) -> tuple[str, list[str]]:
        """The effect for lists, and the lines of the tip."""
        lines = [name.replace("->", " → ")]
        if self.other is None:
            effect, interval = self.circuit.effects.get(name), self.intervals.get(name)
            if effect is None:
                return "", [*lines, "effect not known"]
            digits = effect_digits(effect)
            said = number(effect, digits, signed=True)
            lines.append(f"{said} {self.unit}".strip())
            if interval is not None:
                ends = bracket(interval.low, interval.high, digits)
                said = f"{said} {ends}"
                lines.append(f"{level_name(interval.level)} {ends}")
                if not excludes_zero(interval.low, interval.high):
                    lines.append("The interval includes 0.")
            return said, lines
        parts = []
        for label, one in zip(self.names, (self.circuit, self.other), strict=True):
            if name not in one:
                lines.append(f"not in {label}")
                continue
            effect = one.effects.get(name)
            known = "" if effect is None else number(effect, effect_digits(effect), signed=True)
            lines.append(f"in {label}" + (f": {known}" if known else ""))
            parts.append(f"{label} {known}".strip())
        return ", ".join(parts), lines

    def _shared(self, receiver: Receiver) -> tuple[str, ...]:
        heads = self._ends(receiver)
        if len(heads) < 2:
            return ()
        return (f"read by heads {', '.join(head for head, _ in heads)}",)


# From the left: what helps leaves a node beside what hurts.
_LANES: dict[Kind, str] = {
    "positive": "a",
    "negative": "b",
    "unknown": "c",
    "both": "a",
    "first": "b",
    "second": "c",
}


def effect_digits(value: float) -> int:
    """As many decimals as show two figures of a number, three at least and seven at most.

    Example:
        >>> effect_digits(0.25), effect_digits(0.00042)
        (3, 5)
    """
    if not value or not math.isfinite(value):
        return 3
    return min(7, max(3, _SIGNIFICANT - 1 - math.floor(math.log10(abs(value)))))
