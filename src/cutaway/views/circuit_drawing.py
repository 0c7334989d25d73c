"""A circuit as SVG: boxes of nodes with their inputs, lines with arrowheads, bands of layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .circuit_data import Drawn, DrawnEdge
from .circuit_layout import Box, Layout, Way, lay_out
from .circuit_plan import PORT_WIDTH, NodeShape
from .markup import Markup, classes, join, tag
from .svg import fitted, short, text_width
from .view import tip

if TYPE_CHECKING:
    from ..circuits.circuit import Circuit

_NAME_SIZE, _CLASS_SIZE = 13.0, 10.0
_LEAST_WIDTH, _MOST_TEXT, _MOST_FAN = 52.0, 92.0, 160.0
_BAR_HEIGHT, _LINE = 26.0, 12.0
_BODY_HEIGHT, _PORTS_HEIGHT = 27.0, 13.0
N_TINTS = 8
"""Colours of classes; with more classes they repeat, and the words tell them apart."""


class Drawing:
    """A circuit with a place for everything.

    Args:
        circuit: whose model's shape gives the rows.
        drawn: the edges and nodes to draw.
        node_classes: node -> its class.
        positions: node -> where it acts.
        membership: node -> "both", "first" or "second", of two circuits.
    """

    def __init__(
        self,
        circuit: Circuit,
        drawn: Drawn,
        node_classes: Mapping[str, str],
        positions: Mapping[str, Sequence[str]],
        membership: Mapping[str, str],
    ) -> None:
        self.circuit, self.drawn, self.positions = circuit, drawn, positions
        self.membership = membership
        self.classes = {name: node_classes[name] for name in drawn.nodes if name in node_classes}
        kinds = [*dict.fromkeys(label for label in self.classes.values() if label)]
        self.tint = {label: at % N_TINTS for at, label in enumerate(kinds)}
        self.rows, self.bands = self._rows()
        self.shapes = {name: self._shape(name) for name in drawn.nodes}
        wires = [edge.wire for edge in drawn.edges]
        self.layout: Layout = lay_out([*self.shapes.values()], wires)

    def _rows(self) -> tuple[dict[str, int], list[tuple[int, int, int]]]:
        """The row of each node; and (layer, lowest row, highest row) of each layer."""
        order: dict[tuple[int, int], list[str]] = {}
        for name in self.drawn.nodes:
            order.setdefault(self._level(name), []).append(name)
        rows = {name: at for at, key in enumerate(sorted(order)) for name in order[key]}
        bands: dict[int, list[int]] = {}
        for at, (layer, _) in enumerate(sorted(order)):
            if 0 <= layer < self.circuit.cfg.n_layers:
                bands.setdefault(layer, []).append(at)
        return rows, [(layer, min(ats), max(ats)) for layer, ats in bands.items()]

    def _level(self, name: str) -> tuple[int, int]:
        """Below what a node stands: its layer, and there the MLP above the heads that it reads."""
        if name == "logits":
            return self.circuit.cfg.n_layers, 0
        sender = self.circuit.graph.sender(name)
        if sender.kind == "embed":
            return -1, 0
        return sender.layer, int(sender.kind == "mlp" and self.circuit.cfg.has_resid_mid)

    def _shape(self, name: str) -> NodeShape:
        row = self.rows[name]
        if name in ("embed", "logits"):
            return NodeShape(name, row, 0.0, _BAR_HEIGHT, is_bar=True)
        lines = class_lines(self.classes.get(name, ""))
        ports = ("q", "k", "v") if "." in name else ("",)
        texts = [text_width(line, _CLASS_SIZE) for line in lines]
        texts.append(text_width(label_of(name), _NAME_SIZE))
        width = max(_LEAST_WIDTH, 12 + max(texts), 0 if len(ports) > 1 else self._fan_width(name))
        height = _BODY_HEIGHT + _LINE * len(lines) + _PORTS_HEIGHT * (len(ports) > 1)
        return NodeShape(name, row, round(width), height, ports)

    def _fan_width(self, name: str) -> float:
        """So wide that all lines that enter an MLP find room side by side."""
        wires = [edge.wire for edge in self.drawn.edges]
        lanes = {(w.start, w.lane) for w in wires if (name, "") in w.ends}
        return min(_MOST_FAN, 16 + 7.0 * len(lanes))

    # ---- markup ----

    def body(self, is_static: bool = False) -> Markup:
        """All that stands inside the svg element.

        Args:
            is_static: for a file without scripts, where the browser itself shows what is said of
                a node or an edge.
        """
        first_node = next((n for n in self.drawn.nodes if n in self.shapes), "")
        edges = [self._edge(edge, rank, is_static) for rank, edge in enumerate(self.drawn.edges)]
        return join(
            *(self._band(at, *band) for at, band in enumerate(self.bands)),
            tag("g", *reversed(edges), class_="edges"),  # the strongest on top
            tag(
                "g",
                *(self._node(name, is_static, name == first_node) for name in self.drawn.nodes),
                class_="nodes",
            ),
        )

    def _band(self, at: int, layer: int, lowest: int, highest: int) -> Markup:
        """The ground of a layer, which tells its rows from the next layer's."""
        top, bottom = self.layout.rows[highest][0] - 13, self.layout.rows[lowest][1] + 17
        middle = (self.layout.rows[highest][0] + self.layout.rows[lowest][1]) / 2
        return join(
            tag(
                "rect",
                class_="band",
                x=0,
                y=short(top),
                width=short(self.layout.width),
                height=short(bottom - top),
                rx=6,
            ),
            tag("text", f"layer {layer}", class_="layer", x=9, y=short(middle + 4)),
        )

    def _edge(self, edge: DrawnEdge, rank: int, is_static: bool) -> Markup:
        ways = self.layout.ways[edge.name]
        line = " ".join(path_of(way, _arrow_length(edge.width)) for way in ways)
        ends = dict.fromkeys(way[-1] for way in ways)
        heads = "".join(_arrow(x, y, edge.width) for x, y in ends)
        drawn = join(
            tag("path", class_="line", d=line, stroke_width=short(edge.width)),
            tag("path", class_="arrow", d=heads),
        )
        kind = classes("edge", edge.kind, unsure=edge.is_unsure)
        if is_static:
            return tag("g", tag("title", tip(*edge.tip)), drawn, class_=kind)
        hit = tag("path", class_="hit", d=line, stroke_width=short(edge.width + 8))
        return tag(
            "g",
            hit,
            drawn,
            class_=kind,
            tabindex=0 if rank == 0 else -1,
            role="button",
            aria_pressed="false",
            aria_label="Edge " + ", ".join(edge.tip),
            data_tip=tip(*edge.tip),
            data_said=edge.said,
            data_from=edge.wire.start,
            data_to=" ".join(end for end, _ in edge.wire.ends),
            data_rank=rank,
        )

    def _node(self, name: str, is_static: bool, is_first: bool) -> Markup:
        box = self.layout.boxes[name]
        label = self.classes.get(name, "")
        kind = classes("node", self.membership.get(name, ""), bar=self.shapes[name].is_bar).strip()
        if label in self.tint:
            kind += f" tint{self.tint[label]}"
        content = join(*self._box(name, box))
        lines = self.node_tip(name)
        if is_static:
            return tag("g", tag("title", tip(*lines)), content, class_=kind)
        return tag(
            "g",
            content,
            class_=kind,
            tabindex=0 if is_first else -1,
            role="button",
            aria_pressed="false",
            aria_label="Node " + ", ".join(lines),
            data_tip=tip(*lines),
            data_node=name,
            data_row=self.rows[name],
            data_x=short(box.middle),
        )

    def _box(self, name: str, box: Box) -> list[Markup]:
        shape = self.shapes[name]
        has_ports = len(shape.ports) > 1
        height = box.height - (_PORTS_HEIGHT - 4 if has_ports else 0)
        body = tag(
            "rect",
            class_="body",
            x=short(box.x),
            y=short(box.y),
            width=short(box.width),
            height=short(height),
            rx=6,
        )
        words = [_text(label_of(name), "name", box.middle, box.y + 18)]
        for at, line in enumerate(class_lines(self.classes.get(name, ""))):
            if not shape.is_bar:
                words.append(_text(line, "class", box.middle, box.y + 30 + _LINE * at))
        ports = [self._port(name, port, box) for port in shape.ports] if has_ports else []
        return [*ports, body, *words] if not has_ports else [body, *words, *ports]

    def _port(self, name: str, port: str, box: Box) -> Markup:
        x = box.middle + self.shapes[name].port_shift(port)
        is_used = any((name, port) in edge.wire.ends for edge in self.drawn.edges)
        return tag(
            "g",
            tag(
                "rect",
                x=short(x - PORT_WIDTH / 2 + 0.5),
                y=short(box.bottom - _PORTS_HEIGHT),
                width=short(PORT_WIDTH - 1),
                height=short(_PORTS_HEIGHT),
                rx=3,
            ),
            _text(port, "input", x, box.bottom - 3.6),
            class_=classes("port", used=is_used),
        )

    def node_tip(self, name: str) -> tuple[str, ...]:
        """What pointing at a node shows."""
        label = self.classes.get(name, "")
        edges = self.drawn.edges
        n_in = sum(name in [end for end, _ in edge.wire.ends] for edge in edges)
        n_out = sum(edge.wire.start == name for edge in edges)
        at = ", ".join(self.positions.get(name, ()))
        head = f"{label_of(name)}: {label}" if label else label_of(name)
        return (head, *([f"at {at}"] if at else []), f"{n_in} in, {n_out} out")


def label_of(name: str) -> str:
    """What to write on a node.

    Example:
        >>> label_of("mlp3"), label_of("9.6")
        ('MLP 3', '9.6')
    """
    if name.startswith("mlp"):
        return f"MLP {name.removeprefix('mlp')}"
    return {"embed": "embedding"}.get(name, name)


def class_lines(label: str) -> list[str]:
    """A class as one or two lines of small print, cut off where it is longer.

    Example:
        >>> class_lines("backup name mover")
        ['backup name', 'mover']
    """
    words = label.split()
    if not words:
        return []
    if text_width(label, _CLASS_SIZE) <= 0.7 * _MOST_TEXT or len(words) == 1:
        return [fitted(" ".join(words), _CLASS_SIZE, _MOST_TEXT)]
    splits = [(" ".join(words[:at]), " ".join(words[at:])) for at in range(1, len(words))]
    best = min(splits, key=lambda pair: max(text_width(line, _CLASS_SIZE) for line in pair))
    return [fitted(line, _CLASS_SIZE, _MOST_TEXT) for line in best]


def path_of(way: Way, shortened: float) -> str:
    """The `d` of a line, which ends a little before its last point: there is the arrowhead."""
    (x, y), *others = way
    parts = [f"M{short(x)} {short(y)}"]
    for at, (to_x, to_y) in enumerate(others):
        end = to_y + shortened if at == len(others) - 1 else to_y
        if to_x == x:
            parts.append(f"V{short(end)}")
        else:
            bend = (y - end) * 0.5
            parts.append(
                f"C{short(x)} {short(y - bend)} {short(to_x)} {short(end + bend)} "
                f"{short(to_x)} {short(end)}"
            )
        x, y = to_x, to_y
    return "".join(parts)


def _arrow_length(width: float) -> float:
    return 1.7 * _arrow_half(width)


def _arrow_half(width: float) -> float:
    return 2.6 + 0.55 * width


def _arrow(x: float, y: float, width: float) -> str:
    half, length = _arrow_half(width), _arrow_length(width) + 0.5
    start = f"M{short(x - half)} {short(y + length)}"
    return f"{start}L{short(x)} {short(y)}l{short(half)} {short(length)}z"


def _text(text: str, class_: str, x: float, y: float) -> Markup:
    return tag("text", text, class_=class_, x=short(x), y=short(y), text_anchor="middle")
