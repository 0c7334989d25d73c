"""A circuit as a drawing to walk through: layers from the bottom, edges by sign and size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from ..evidence import Interval
from .circuit_data import EVEN, THINNEST, WIDEST, Drawn, drawn_circuit, effect_digits
from .circuit_drawing import Drawing, label_of
from .markup import Markup, classes, join, tag
from .numbers import number, percent
from .svg import fitted, short, standalone, text_width
from .view import View, figure

if TYPE_CHECKING:
    from ..circuits.circuit import Circuit

_WIDE = 560.0  # from here on the drawing takes the whole width, and the list stands below it
_SMALLEST = 0.6  # a drawing shrinks so far and then scrolls, so that its words can be read
_LEGEND_SIZE = 11.0


@dataclass(frozen=True, eq=False)
class CircuitGraphView(View):
    """Embedding at the bottom, logits on top, and between them the heads and MLPs of a circuit.

    Blue edges help the answer, orange ones hurt it, and the width is the size of the effect.
    Pointing at a node, or reaching it by keys (arrows walk), shows its edges alone and lists
    them; a click or Enter keeps that, Escape lets go. With `other`, edges are drawn by which of
    two circuits has them.

    Raises:
        ValueError: `most` is not positive, or an interval is given of an edge that is not there.
        CircuitError: the two circuits are of models of different shapes.

    Example:
        >>> circuit = ca.circuits.discover(model, task, "eap-ig", n_edges=40)
        >>> view = CircuitGraphView(circuit, node_classes={"9.9": "name mover"})
        >>> files.write_text("circuit.svg", view.svg())
    """

    assets: ClassVar[tuple[str, ...]] = ("figure", "tip", "circuit_graph")

    circuit: Circuit
    """What is drawn."""
    node_classes: Mapping[str, str] = field(default_factory=dict)
    """Node -> its class, such as "name mover": in small print, and as the colour of its box.
    Nodes that are not in the circuit are passed over."""
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    """Edge -> the interval of its effect; where it includes 0, the edge is dashed."""
    other: Circuit | None = None
    """A second circuit, of a model of the same shape, to compare the first with."""
    names: tuple[str, str] = ("first", "second")
    """Of the two circuits."""
    title: str = ""
    """Above the drawing."""
    caption: str = ""
    """Below it, before what the view says of itself. Markup is allowed."""
    most: int = 300
    """How many edges are drawn at most: the strongest."""

    def __post_init__(self) -> None:
        if self.most < 1:
            raise ValueError(f"most={self.most}: at least one edge has to be drawn.")
        strangers = [name for name in self.intervals if name not in self.circuit]
        if strangers:
            raise ValueError(
                f"intervals has {strangers[0]!r}, which is not an edge of the circuit."
            )

    # ---- HTML ----

    def markup(self) -> Markup:
        """The HTML alone."""
        if not self.drawn.edges:
            nothing = tag("p", "The circuit has no edges.")
            return figure("ct-circuit", self.title, self._caption(), nothing)
        width, height = self.drawing.layout.width, self.drawing.layout.height
        picture = tag(
            "svg",
            self.drawing.body(),
            viewBox=f"0 0 {short(width)} {short(height)}",
            width=short(width),
            height=short(height),
            style=f"min-width:{_SMALLEST * width:.0f}px",
            role="group",
            aria_label=self._name() + ". Arrow keys walk, Enter keeps, Escape lets go.",
            class_=classes("ct-circuit-drawing", compared=self.other is not None),
        )
        stage = tag(
            "div",
            tag("div", picture, class_="ct-scroll"),
            self._readout(),
            class_=classes("ct-circuit-stage", wide=width > _WIDE),
        )
        return figure("ct-circuit", self.title, self._caption(), stage, self._legend())

    @cached_property
    def drawn(self) -> Drawn:
        """The edges and nodes that are drawn."""
        return drawn_circuit(self.circuit, self.other, self.names, self.intervals, self.most)

    @cached_property
    def drawing(self) -> Drawing:
        """Their places."""
        positions = {**(self.other.positions if self.other else {}), **self.circuit.positions}
        return Drawing(self.circuit, self.drawn, self.node_classes, positions, self._membership())

    def _membership(self) -> dict[str, str]:
        """Which of two circuits has each node."""
        if self.other is None:
            return {}
        first, second = set(self.circuit.nodes), set(self.other.nodes)
        return {
            name: "both" if name in first & second else "first" if name in first else "second"
            for name in first | second
        }

    def _readout(self) -> Markup:
        nodes = [name for name in self.drawn.nodes if name not in ("embed", "logits")]
        n_heads = sum("." in name for name in nodes)
        counts = [
            _count(len(self.drawn.edges), "edge"),
            _count(n_heads, "head"),
            _count(len(nodes) - n_heads, "MLP"),
        ]
        return tag(
            "div",
            tag("p", ", ".join(counts), class_="head"),
            tag("p", "Point at a node or an edge to see what it is part of; a click keeps it."),
            class_="ct-circuit-readout",
            role="status",
        )

    def _legend(self) -> Markup:
        entries = [
            tag("span", _sample(kind, width, is_unsure), text, class_="entry")
            for kind, width, is_unsure, text in self._samples()
        ]
        return tag("div", *entries, class_="ct-legend")

    # ---- a file ----

    def svg(self) -> str:
        """The drawing as a complete SVG file, for light ground: no script, nothing to fetch."""
        if not self.drawn.edges:
            words = tag("text", "The circuit has no edges.", class_="layer", x=16, y=30)
            return standalone(words, 220, 50, "circuit_svg", self._name())
        layout = self.drawing.layout
        legend, rows = self._legend_lines(layout.width)
        kind = classes("drawing", compared=self.other is not None)
        body = tag("g", self.drawing.body(is_static=True), legend, class_=kind)
        height = layout.height + 18 * rows + 6
        return standalone(body, layout.width, height, "circuit_svg", self._name())

    def _legend_lines(self, width: float) -> tuple[Markup, int]:
        """The legend under the drawing, broken into as many lines as it needs."""
        x, row, found = 10.0, 0, []
        for kind, thickness, is_unsure, text in self._samples():
            text = fitted(text, _LEGEND_SIZE, width - 60)
            needed = 30 + text_width(text, _LEGEND_SIZE) + 16
            if x > 10 and x + needed > width:
                x, row = 10.0, row + 1
            y = self.drawing.layout.height + 18 * row + 4
            line = tag(
                "path", class_="line", d=f"M{short(x)} {y}h22", stroke_width=short(thickness)
            )
            found += [
                tag("g", line, class_=classes("edge", kind, unsure=is_unsure)),
                tag("text", text, class_="legend", x=short(x + 29), y=short(y + 4)),
            ]
            x += needed
        return join(*found), row + 1

    # ---- words ----

    def _name(self) -> str:
        if self.title:
            return self.title
        model, task = self.circuit.cfg.model_name, self.circuit.task or "no task"
        if self.other is not None:
            return f"Two circuits of {model}: {self.names[0]} and {self.names[1]}"
        return f"A circuit of {model} on {task}"

    def _samples(self) -> list[tuple[str, float, bool, str]]:
        """Kind, width, whether dashed, and what it means."""
        kinds = {edge.kind for edge in self.drawn.edges}
        if self.other is not None:
            first, second = self.names
            meanings = {
                "both": "in both",
                "first": f"only in {first}",
                "second": f"only in {second}",
            }
            counts = {kind: sum(e.kind == kind for e in self.drawn.edges) for kind in meanings}
            return [
                (kind, EVEN + 0.6, False, f"{meaning} ({counts[kind]})")
                for kind, meaning in meanings.items()
            ]
        found: list[tuple[str, float, bool, str]] = []
        if "positive" in kinds:
            found.append(("positive", 3.0, False, "helps the answer"))
        if "negative" in kinds:
            found.append(("negative", 3.0, False, "hurts it"))
        if "unknown" in kinds:
            found.append(("unknown", EVEN, False, "effect not known, or 0"))
        if self.drawn.largest:
            for share in (1.0, 0.25):
                size = share * self.drawn.largest
                text = f"|effect| {number(size, effect_digits(size))}"
                found.append(("size", max(THINNEST, share * WIDEST), False, text))
        if any(edge.is_unsure for edge in self.drawn.edges):
            found.append(("size", EVEN, True, "the interval includes 0"))
        return found

    def _caption(self) -> Markup:
        sentences = self._of_two() if self.other is not None else self._of_one()
        if self.drawn.n_left_out:
            total = self.drawn.n_left_out + len(self.drawn.edges)
            lost = self.drawn.nodes_left_out
            which = (
                f", and not {', '.join(map(label_of, lost))}"
                if 0 < len(lost) <= 6
                else (f", and not {len(lost)} nodes that have only weaker ones" if lost else "")
            )
            sentences.append(
                f"Drawn are the strongest {len(self.drawn.edges)} of {total:,} edges{which}."
            )
        if any(len(edge.wire.ends) > 1 for edge in self.drawn.edges):
            sentences.append("A key or value that heads share is drawn to each of them.")
        text = " ".join(sentences)
        return join(self.caption, " ", text) if self.caption else join(text)

    def _of_one(self) -> list[str]:
        circuit = self.circuit
        n_all = len(circuit.graph.edge_names)
        found = [
            f"{len(circuit)} of the {n_all:,} edges of {circuit.cfg.model_name} "
            f"({percent(len(circuit) / n_all)}), method {circuit.method}, "
            f"task {circuit.task or 'not named'}."
        ]
        if self.drawn.largest:
            unit = f" in {self.drawn.unit}" if self.drawn.unit else ""
            found.append(f"The width of an edge is its effect{unit}.")
        if self.drawn.edges:
            found.append("Edges of one sign that leave one node run together until they part.")
        return found

    def _of_two(self) -> list[str]:
        assert self.other is not None
        first, second = self.names
        jaccard = number(self.circuit.jaccard(self.other))
        return [
            f"{first} has {_count(len(self.circuit), 'edge')} and {second} "
            f"{_count(len(self.other), 'edge')}; the Jaccard index of the two is {jaccard}.",
            "Widths say nothing here: the effects of two methods may have two units.",
        ]


def _sample(kind: str, width: float, is_unsure: bool) -> Markup:
    """A short line for the legend."""
    line = tag("path", class_="line", d="M0 5h24", stroke_width=short(width))
    group = tag("g", line, class_=classes("edge", kind, unsure=is_unsure))
    return tag("svg", group, width=24, height=10, aria_hidden="true")


def _count(number_: int, noun: str) -> str:
    return f"{number_} {noun}{'' if number_ == 1 else 's'}"
