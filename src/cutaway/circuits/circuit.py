"""`Circuit`: a set of edges of the residual graph, with what is known of each, and where from."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from jaxtyping import Bool

from ..files import write_text
from ..model.config import ModelConfig
from ..patching.graph import Graph
from .wiring import Mask, Wiring

if TYPE_CHECKING:
    from networkx import DiGraph

    from ..model.transformer import HookedTransformer

FORMAT = "cutaway circuit"
UNSIGNED = frozenset({"edge-masks", "random"})
"""Methods whose scores say how much an edge counts, and not which way."""
Level = Literal["edges", "nodes"]


class CircuitError(ValueError):
    """A circuit that cannot be, or that does not fit; the message says why."""


@dataclass(frozen=True, eq=False)
class Circuit:
    """Edges of a model's residual graph that are claimed to do a task.

    Example:
        >>> circuit = Circuit.of(model, ["embed->0.5.v", "0.5->mlp0", "mlp0->logits"])
        >>> circuit.nodes
        ('embed', '0.5', 'mlp0')
        >>> circuit.save("mine.json")
    """

    cfg: ModelConfig = field(repr=False)
    """The shape of the model."""
    edges: tuple[str, ...]
    """Their names, in the order of `Graph.edge_names`."""
    effects: Mapping[str, float] = field(default_factory=dict, repr=False)
    """What the method found for each edge, signed: positive where it helps the answer. The unit
    is the method's own (`settings["unit"]`); empty where it gives none."""
    positions: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    """Sender -> names of the positions at which it belongs to the circuit; a sender that is not
    a key belongs to it everywhere."""
    digest: str = field(default="", repr=False)
    """Of the model's weights; empty for a circuit of any model of this shape."""
    task: str = ""
    """The task it was found on."""
    method: str = "given"
    """How it was found."""
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Of the method."""
    notes: tuple[str, ...] = field(default=(), repr=False)
    """What a reader has to know, such as why there are fewer edges than were asked for."""

    def __post_init__(self) -> None:
        try:
            ordered = self.wiring.names(self.wiring.matrix(self.edges))
            for name in self.positions:
                self.graph.sender(name)
        except ValueError as error:
            raise CircuitError(str(error)) from None
        object.__setattr__(self, "edges", ordered)
        for name, places in self.positions.items():
            if isinstance(places, str) or not len(places):
                raise CircuitError(
                    f"positions[{name!r}] is {places!r}: give the names of one or more positions, "
                    "as ('END',), or leave the sender out to have it at all of them."
                )
        strangers = [name for name in self.effects if name not in set(ordered)]
        if strangers:
            raise CircuitError(
                f"effects has {strangers[0]!r}, which is not an edge of the circuit."
            )
        bad = [name for name, effect in self.effects.items() if not math.isfinite(effect)]
        if bad:
            raise CircuitError(f"the effect of {bad[0]!r} is {self.effects[bad[0]]}.")

    @classmethod
    def of(cls, model: HookedTransformer, edges: Iterable[str], **known: Any) -> Self:
        """The circuit of these edges of a model.

        Args:
            model: whose shape and digest are kept.
            edges: names such as "5.5->9.6.q".
            known: other fields.

        Raises:
            CircuitError: an edge that the model cannot have.
        """
        return cls(model.cfg.replace(), tuple(edges), digest=model.digest, **known)

    @classmethod
    def of_nodes(cls, model: HookedTransformer, nodes: Iterable[str], **known: Any) -> Self:
        """The circuit of these senders, with all edges between them and to the logits.

        Run alone, it is the model with every other sender's output replaced. The embedding
        belongs to it whether or not it is named.

        Raises:
            CircuitError: a sender that the model does not have.
        """
        wiring = Wiring(model.cfg)
        try:
            matrix = wiring.between(["embed", *nodes])
        except ValueError as error:
            raise CircuitError(str(error)) from None
        return cls.of(model, wiring.names(matrix), **known)

    @cached_property
    def wiring(self) -> Wiring:
        """The graph as arrays."""
        return Wiring(self.cfg)

    @property
    def graph(self) -> Graph:
        """All that the model's edges could be."""
        return self.wiring.graph

    @cached_property
    def matrix(self) -> Bool[Mask, "receiver sender"]:
        """The edges as a matrix."""
        return self.wiring.matrix(self.edges)

    @cached_property
    def nodes(self) -> tuple[str, ...]:
        """Senders that an edge leaves or whose input an edge enters, in the graph's order; the
        embedding first, if an edge leaves it."""
        embed = ("embed",) if self.matrix[:, 0].any() else ()
        return (*embed, *self.wiring.nodes(self.matrix))

    @property
    def heads(self) -> tuple[str, ...]:
        """The nodes that are attention heads."""
        return tuple(name for name in self.nodes if "." in name)

    @property
    def has_signs(self) -> bool:
        """Whether the signs of its effects mean anything."""
        return self.method not in UNSIGNED

    def __len__(self) -> int:
        return len(self.edges)

    def __contains__(self, edge: object) -> bool:
        return edge in self._members

    @cached_property
    def _members(self) -> frozenset[str]:
        return frozenset(self.edges)

    def __str__(self) -> str:
        share = len(self) / len(self.graph.edge_names)
        return (
            f"{len(self)} of {len(self.graph.edge_names):,} edges ({100 * share:.1f}%), "
            f"{len(self.heads)} heads, found by {self.method} on {self.task or 'no task'}"
        )

    # ---- sets ----

    def __or__(self, other: Circuit) -> Circuit:
        """Edges of either."""
        return self._combined(other, "|", lambda a, b: a | b)

    def __and__(self, other: Circuit) -> Circuit:
        """Edges of both."""
        return self._combined(other, "&", lambda a, b: a & b)

    def __sub__(self, other: Circuit) -> Circuit:
        """Edges of this one alone."""
        return self._combined(other, "-", lambda a, b: a & ~b)

    def complement(self) -> Circuit:
        """All edges of the model that are not in it."""
        return self.with_edges(
            self.wiring.names(self.wiring.allowed & ~self.matrix), f"complement of {self.method}"
        )

    def pruned(self) -> Circuit:
        """Without edges that lie on no way from the embedding to the logits."""
        return self.with_edges(self.wiring.names(self.wiring.pruned(self.matrix)), self.method)

    def with_edges(self, edges: Iterable[str], method: str) -> Circuit:
        """The same origin with other edges; effects stay where they are known."""
        kept = tuple(edges)
        known = {name: self.effects[name] for name in kept if name in self.effects}
        return dataclasses.replace(self, edges=kept, effects=known, method=method)

    def _combined(
        self, other: Circuit, sign: str, combine: Callable[[Mask, Mask], Mask]
    ) -> Circuit:
        self.check_same_graph(other)
        names = self.wiring.names(combine(self.matrix, other.matrix))
        return dataclasses.replace(
            self,
            edges=names,
            effects={},  # two methods' effects have two units
            digest=self.digest if self.digest == other.digest else "",
            task=self.task if self.task == other.task else "",
            positions={},
            method=f"({self.method} {sign} {other.method})",
            settings={},
            notes=(),
        )

    def check_same_graph(self, other: Circuit) -> None:
        """Raise if the two are of models of different shapes."""
        if self.graph.edge_names != other.graph.edge_names:
            raise CircuitError(
                f"the circuits are of models of different shapes: {self.cfg.model_name} has "
                f"{len(self.graph.edge_names):,} edges and {other.cfg.model_name} "
                f"{len(other.graph.edge_names):,}."
            )

    def jaccard(self, other: Circuit, of: Level = "edges") -> float:
        """Shared members over all members of either, 0 to 1; 1 for two empty circuits.

        Args:
            other: of a model of the same shape.
            of: what is counted; nodes are counted without the embedding, which is in every one.
        """
        if of not in ("edges", "nodes"):
            raise CircuitError(f"of={of!r} is neither 'edges' nor 'nodes'.")
        self.check_same_graph(other)
        mine, its = (
            set(one.edges if of == "edges" else one.nodes) - {"embed"} for one in (self, other)
        )
        return len(mine & its) / len(mine | its) if mine | its else 1.0

    # ---- use ----

    def check_fits(self, model: HookedTransformer) -> None:
        """Raise if the circuit is of another model.

        Raises:
            CircuitError: the shapes differ, or the digests of the weights do.
        """
        if Graph(model.cfg).edge_names != self.graph.edge_names:
            raise CircuitError(
                f"the circuit is of {self.cfg.model_name}, whose graph is not that of "
                f"{model.cfg.model_name}."
            )
        if self.digest and self.digest != model.digest:
            raise CircuitError(
                f"the circuit was found in {self.cfg.model_name} with the digest "
                f"{self.digest[:12]}, and this model's is {model.digest[:12]}: load the model it "
                "was found in, or take its edges with Circuit.of(model, circuit.edges)."
            )

    def to_networkx(self) -> DiGraph[str]:
        """A networkx.DiGraph: nodes are senders' names and "logits"; where a head reads by several
        inputs there is one edge with the attributes `inputs` ("q", "k", "v") and `effect`, their
        sum."""
        from networkx import DiGraph

        found: DiGraph[str] = DiGraph(model=self.cfg.model_name, task=self.task)
        for name in self.nodes:
            sender = self.graph.sender(name)
            found.add_node(name, kind=sender.kind, layer=sender.layer)
        for sender, receiver in self.graph.edges:
            name = f"{sender.name}->{receiver.name}"
            if name not in self:
                continue
            ends = [one.name for one in self.wiring.read_by(receiver)] or ["logits"]
            for end in ends:
                if not found.has_edge(sender.name, end):
                    found.add_edge(sender.name, end, inputs=(), effect=0.0)
                data = found.edges[sender.name, end]
                data["inputs"] += (receiver.kind,)
                data["effect"] += self.effects.get(name, math.nan)
        if found.has_node("logits"):
            found.nodes["logits"].update(kind="logits", layer=self.cfg.n_layers)
        return found

    def to_frame(self) -> list[dict[str, Any]]:
        """One row (a dict) for each edge: edge, sender, receiver, effect."""
        rows = []
        for name in self.edges:
            sender, _, receiver = name.partition("->")
            effect = self.effects.get(name, math.nan)
            rows.append({"edge": name, "sender": sender, "receiver": receiver, "effect": effect})
        return rows

    # ---- files ----

    def save(self, path: str | Path) -> None:
        """Write it as JSON."""
        described = {
            "format": FORMAT,
            "version": 1,
            "model": {"digest": self.digest, "config": self.cfg.to_dict()},
            "task": self.task,
            "method": self.method,
            "settings": dict(self.settings),
            "notes": list(self.notes),
            "positions": {name: list(at) for name, at in self.positions.items()},
            "edges": [[name, self.effects.get(name)] for name in self.edges],
        }
        write_text(path, json.dumps(described, indent=1, default=str) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The inverse of `save`.

        Raises:
            CircuitError: the file is missing or does not hold a circuit.
        """
        try:
            described = json.loads(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise CircuitError(f"there is no file {path}.") from None
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise CircuitError(f"{path} is not a circuit in JSON ({error}).") from None
        if not isinstance(described, dict) or described.get("format") != FORMAT:
            raise CircuitError(f"{path} does not hold a circuit that `Circuit.save` wrote.")
        try:
            edges = described["edges"]
            return cls(
                cfg=ModelConfig.from_dict(described["model"]["config"], path),
                edges=tuple(name for name, _ in edges),
                effects={name: effect for name, effect in edges if effect is not None},
                positions={name: tuple(at) for name, at in described["positions"].items()},
                digest=described["model"]["digest"],
                task=described["task"],
                method=described["method"],
                settings=described["settings"],
                notes=tuple(described["notes"]),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            why = str(error).removesuffix(".")
            raise CircuitError(f"{path} does not hold a whole circuit: {why}.") from None


def require_edges(circuit: Circuit, what: str) -> None:
    """Raise if there is nothing to work on.

    Raises:
        CircuitError: the circuit is empty, or none of its edges lies on a way to the logits.
    """
    if not len(circuit):
        raise CircuitError(f"the circuit is empty: there is nothing to {what}.")
    if not np.any(circuit.wiring.pruned(circuit.matrix)):
        raise CircuitError(
            f"no edge of the circuit lies on a way from the embedding to the logits, so there is "
            f"nothing to {what}."
        )
