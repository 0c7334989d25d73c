"""Sets of edges as matrices, and which edges lie on a way from the embedding to the logits.

A set of edges is a matrix [receiver, sender], True for the edges that it holds. Rows and columns
are in the order of `Graph.receivers` and `Graph.senders`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray

from ..model.config import ModelConfig
from ..patching.graph import Graph, Receiver, Sender

Mask = NDArray[np.bool_]


class Wiring:
    """The residual graph of one shape of model, as arrays.

    Example:
        >>> wiring = Wiring(model.cfg)
        >>> wiring.matrix(["embed->0.1.q"]).sum()
        1
    """

    def __init__(self, cfg: ModelConfig) -> None:
        self.graph = Graph(cfg)
        self.cfg = cfg

    @cached_property
    def allowed(self) -> Bool[Mask, "receiver sender"]:
        """The edges that there are."""
        senders = np.arange(len(self.graph.senders))
        upstream = [self.graph.n_upstream(receiver) for receiver in self.graph.receivers]
        return senders[None] < np.array(upstream)[:, None]

    @cached_property
    def feeds(self) -> Bool[Mask, "sender receiver"]:
        """Which inputs each sender is computed from; the embedding has none."""
        number = {sender: i for i, sender in enumerate(self.graph.senders)}
        found = np.zeros((len(number), len(self.graph.receivers)), dtype=bool)
        for at, receiver in enumerate(self.graph.receivers):
            for sender in self.read_by(receiver):
                found[number[sender], at] = True
        return found

    def read_by(self, receiver: Receiver) -> tuple[Sender, ...]:
        """What is computed from an input: of shared keys and values, several heads."""
        if receiver.kind == "logits":
            return ()
        if receiver.kind == "mlp":
            return (Sender("mlp", receiver.layer),)
        group = 1 if receiver.kind == "q" else self.cfg.heads_per_group
        heads = range(receiver.head * group, (receiver.head + 1) * group)
        return tuple(Sender("head", receiver.layer, head) for head in heads)

    @cached_property
    def _number(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.graph.edge_names)}

    def matrix(self, edges: Iterable[str]) -> Bool[Mask, "receiver sender"]:
        """The edges of these names.

        Raises:
            ValueError: an edge that this kind of model cannot have; the message says why.
        """
        flat = np.zeros(len(self.graph.edge_names), dtype=bool)
        for name in edges:
            if name not in self._number:
                raise ValueError(self._why_not(name))
            flat[self._number[name]] = True
        return self.spread(flat)

    def spread(self, flat: Bool[Mask, "*set edge"]) -> Bool[Mask, "*set receiver sender"]:
        """Values over `Graph.edges`, as matrices; False where there is no edge."""
        found = np.zeros((*flat.shape[:-1], *self.allowed.shape), dtype=bool)
        found[..., self.allowed] = flat
        return found

    def names(self, matrix: Bool[Mask, "receiver sender"]) -> tuple[str, ...]:
        """The names of the edges in a matrix, in the graph's order."""
        chosen = np.flatnonzero(matrix[self.allowed])
        return tuple(self.graph.edge_names[i] for i in chosen)

    def nodes(self, matrix: Bool[Mask, "receiver sender"]) -> tuple[str, ...]:
        """Senders that an edge leaves or whose input an edge enters, in the graph's order; without
        the embedding."""
        on: Mask = np.logical_or(matrix.any(0), (self.feeds & matrix.any(1)).any(1))
        return tuple(
            sender.name
            for sender, here in zip(self.graph.senders, on, strict=True)
            if here and sender.kind != "embed"
        )

    def between(self, nodes: Sequence[str]) -> Bool[Mask, "receiver sender"]:
        """All edges from these senders to the inputs of these senders, and to the logits.

        Raises:
            ValueError: a sender that this kind of model does not have.
        """
        chosen = {self.graph.sender(name) for name in nodes}
        sends = np.array([sender in chosen for sender in self.graph.senders])
        reads = np.array(
            [
                receiver.kind == "logits" or any(s in chosen for s in self.read_by(receiver))
                for receiver in self.graph.receivers
            ]
        )
        chosen_edges: Mask = self.allowed & reads[:, None] & sends[None]
        return chosen_edges

    def pruned(self, matrix: Bool[Mask, "receiver sender"]) -> Bool[Mask, "receiver sender"]:
        """The edges that lie on some way from the embedding to the logits.

        What the others carry is never different from what stands in outside the circuit, or
        reaches nothing; so leaving them out changes nothing, where the values outside are those
        of one run.
        """
        changed: Mask = np.zeros(matrix.shape[1], dtype=bool)
        changed[0] = True  # the embedding
        feeds = self.feeds
        while True:
            inputs: Mask = np.any(matrix & changed, axis=1)
            more: Mask = np.logical_or(changed, np.any(feeds & inputs, axis=1))
            if np.array_equal(more, changed):
                break
            changed = more
        kept: Mask = matrix & changed[None] & self.read(matrix)[:, None]
        return kept

    def read(self, matrix: Bool[Mask, "receiver sender"]) -> Bool[Mask, " receiver"]:
        """The receivers from which some way leads on to the logits; the logits among them."""
        read: Mask = np.zeros(matrix.shape[0], dtype=bool)
        read[-1] = True  # the logits
        while True:
            useful: Mask = np.any(matrix & read[:, None], axis=0)
            more: Mask = np.logical_or(read, np.any(self.feeds & useful[:, None], axis=0))
            if np.array_equal(more, read):
                return read
            read = more

    def _why_not(self, name: str) -> str:
        sender, arrow, receiver = str(name).partition("->")
        if not arrow:
            return f"{name!r} is not an edge: write a sender and a receiver, as '5.5->9.6.q'."
        try:
            start, end = self.graph.sender(sender), self.graph.receiver(receiver)
        except ValueError as error:
            return f"{name!r} is no edge: {error}"
        return (
            f"{name!r} cannot be: {start.name} writes after {end.name} has read, so nothing can "
            "flow between them."
        )
