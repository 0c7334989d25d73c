"""Tables of what a circuit consists of: edges, nodes, where it is from; and of two, what each has.

Shared by the reports on circuits.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..circuits.circuit import Circuit
from ..circuits.discovery import METHODS
from ..circuits.scores import NORMALISED
from ..evidence import Interval
from .layout import Disclosure, Items
from .table import Cell, Column, TableView
from .view import Part


def edges_table(circuit: Circuit, intervals: Mapping[str, Interval] | None = None) -> Disclosure:
    """All edges, the strongest first, folded away.

    Args:
        circuit: not empty.
        intervals: of the edges' effects, where they are known.

    Example:
        >>> Section("The circuit", CircuitGraphView(circuit), edges_table(circuit))
    """
    known = intervals or {}
    rows: list[list[Cell]] = []
    for name in _strongest_first(circuit):
        sender, _, receiver = name.partition("->")
        rows.append([sender, receiver, known.get(name, circuit.effects.get(name))])
    unit = str(circuit.settings.get("unit", ""))
    signed = " Positive: the edge helps the answer." if unit == NORMALISED else ""
    caption = f"Unit: {unit}.{signed}" if unit else ""
    table = TableView(("from", "to", Column("effect", "right", 3)), rows, caption=caption)
    return Disclosure(f"All {len(rows)} edges, the strongest first", table)


def nodes_table(circuit: Circuit) -> Disclosure:
    """All nodes: how many edges enter and leave each, and the strongest of them; folded away."""
    touching: dict[str, tuple[list[str], list[str]]] = {name: ([], []) for name in circuit.nodes}
    for name in _strongest_first(circuit):
        sender, _, receiver = name.partition("->")
        touching[sender][1].append(name)
        for reader in circuit.wiring.read_by(circuit.graph.receiver(receiver)):
            touching[reader.name][0].append(name)
    rows: list[list[Cell]] = []
    for node, (into, out) in touching.items():
        at = [", ".join(circuit.positions.get(node, ()))] if circuit.positions else []
        strongest = [one[0] if one else "" for one in (into, out)]
        rows.append([node, *at, len(into), len(out), *strongest])
    table = TableView(
        (
            "node",
            *(["only at"] if circuit.positions else []),
            Column("edges in", "right"),
            Column("edges out", "right"),
            "strongest in",
            "strongest out",
        ),
        rows,
    )
    return Disclosure(f"All {len(rows)} nodes", table)


def origin_table(circuit: Circuit, title: str = "How the circuit was found") -> Disclosure:
    """How a circuit was found: method, its settings, what has to be known; folded away."""
    about = METHODS[circuit.method].summary if circuit.method in METHODS else ""
    rows: list[list[Cell]] = [["method", f"{circuit.method}: {about}" if about else circuit.method]]
    rows += [["task", circuit.task or "not said"]]
    rows += [
        [name.replace("_", " "), str(value)]
        for name, value in circuit.settings.items()
        if value is not None
    ]
    rows += [["model's digest", circuit.digest[:12] or "any model of this shape"]]
    parts: list[Part] = [TableView(("setting", "value"), rows)]
    if circuit.notes:
        parts.append(Items(circuit.notes))
    return Disclosure(title, *parts)


def shared_and_only(first: Circuit, second: Circuit, names: tuple[str, str]) -> list[Disclosure]:
    """The edges of both circuits, and of each alone, folded away; and the same of nodes.

    Raises:
        CircuitError: the circuits are of models of different shapes.
    """
    lists = {
        "in both": first & second,
        f"in {names[0]} alone": first - second,
        f"in {names[1]} alone": second - first,
    }
    order = dict.fromkeys([*_strongest_first(first), *_strongest_first(second)])
    found = []
    for where, circuit in lists.items():
        rows: list[list[Cell]] = [
            [name, first.effects.get(name), second.effects.get(name)]
            for name in order
            if name in circuit
        ]
        columns = [Column(f"effect by {name}", "right", 3) for name in names]
        found.append(
            Disclosure(
                f"{_counted(len(rows), 'edge')} {where}",
                TableView((Column("edge"), *columns), rows),
            )
        )
    nodes: list[list[Cell]] = [
        ["both", ", ".join(name for name in first.nodes if name in second.nodes)],
        [f"{names[0]} alone", ", ".join(n for n in first.nodes if n not in second.nodes)],
        [f"{names[1]} alone", ", ".join(n for n in second.nodes if n not in first.nodes)],
    ]
    return [*found, Disclosure("Nodes of both and of each", TableView(("in", "nodes"), nodes))]


def _counted(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _strongest_first(circuit: Circuit) -> list[str]:
    return sorted(circuit.edges, key=lambda name: -abs(circuit.effects.get(name, 0.0)))
