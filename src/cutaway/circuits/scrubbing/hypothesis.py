"""`Hypothesis`: claims of what each part of a computation depends on, as a tree over the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from ...model.config import ModelConfig
from ...patching.graph import Receiver, Sender
from ..wiring import Wiring

Features: TypeAlias = tuple[str, ...]

PROMPT = "prompt"
"""The feature on which only a prompt and itself agree."""
MOST_NODES = 10_000
"""Parts of a tree that are computed at most, for each draw."""


class HypothesisError(ValueError):
    """A hypothesis that says nothing, or cannot be tested; the message says why."""


@dataclass(frozen=True)
class Hypothesis:
    """What passes over some edges, and on which features of the prompt it depends.

    A claim names an edge ("0.5->mlp0") or a receiver ("1.2.q"), and the features that matter there:
    names of labels that every prompt has. Over an edge with a claim comes what the sender computes
    on some other prompt that agrees on these features. A claim on a receiver is about all that it
    reads over edges without a claim: it comes from one other prompt that agrees. What no claim
    names depends on nothing, so it comes from any prompt.

    The feature "prompt" is the whole prompt: only the prompt itself agrees. A claim without
    features, (), says that the value is always as good.

    Example:
        >>> Hypothesis({"1.2->logits": "B", "0.1->1.2.k": ("A", "place"), "embed->1.2.q": "A"})
    """

    claims: Mapping[str, str | Sequence[str]]
    name: str = ""

    def __post_init__(self) -> None:
        tidy = {
            place: (features,) if isinstance(features, str) else tuple(features)
            for place, features in self.claims.items()
        }
        object.__setattr__(self, "claims", tidy)

    def features(self) -> tuple[str, ...]:
        """All that the claims name, but the whole prompt."""
        named = {feature for features in self.claims.values() for feature in features}
        return tuple(sorted(named - {PROMPT}))


class Tree:
    """A hypothesis over one model's graph: what is claimed at each receiver.

    Args:
        cfg: of the model.
        hypothesis: the claims.

    Raises:
        HypothesisError: a name that the model does not have, a claim that nothing leads to, or a
            tree that is too large.
    """

    def __init__(self, cfg: ModelConfig, hypothesis: Hypothesis) -> None:
        self.wiring, self.hypothesis = Wiring(cfg), hypothesis
        self.edges: dict[Receiver, dict[Sender, Features]] = {}
        self.rest: dict[Receiver, Features] = {}
        for place, features in hypothesis.claims.items():
            self._add(place, tuple(features))
        self.root = self.wiring.graph.receivers[-1]
        self._require_reached()
        n_nodes = self._size_of(self.root, {})
        if n_nodes > MOST_NODES:
            raise HypothesisError(
                f"the hypothesis has {n_nodes:,} parts when each way to the logits is written out "
                f"by itself, and at most {MOST_NODES:,} are run: leave claims out."
            )

    def _add(self, place: str, features: Features) -> None:
        graph = self.wiring.graph
        try:
            if "->" not in place:
                self.rest[graph.receiver(place)] = features
                return
            self.wiring.matrix([place])  # says why an edge cannot be
        except ValueError as error:
            raise HypothesisError(f"the claim on {place!r} cannot be: {error}") from None
        sender, _, receiver = place.partition("->")
        edges = self.edges.setdefault(graph.receiver(receiver), {})
        edges[graph.sender(sender)] = features

    @cached_property
    def _inputs(self) -> dict[Sender, tuple[Receiver, ...]]:
        graph, feeds = self.wiring.graph, self.wiring.feeds
        return {
            sender: tuple(r for r, on in zip(graph.receivers, row, strict=True) if on)
            for sender, row in zip(graph.senders, feeds, strict=True)
        }

    def inputs(self, sender: Sender) -> tuple[Receiver, ...]:
        """What a sender is computed from, if a claim is about any of it; else nothing: it is a
        leaf. Heads: queries, keys, values."""
        readers = self._inputs[sender]
        return readers if any(r in self.edges or r in self.rest for r in readers) else ()

    def _size_of(self, receiver: Receiver, known: dict[Receiver, int]) -> int:
        """Parts below a receiver, itself included, if each way is written out by itself."""
        if receiver not in known:
            known[receiver] = 1 + sum(
                1 + sum(self._size_of(of, known) for of in self.inputs(sender))
                for sender in self.edges.get(receiver, {})
            )
        return known[receiver]

    @cached_property
    def receivers(self) -> frozenset[Receiver]:
        """All that are computed anew."""
        found, new = {self.root}, [self.root]
        while new:
            for sender in self.edges.get(new.pop(), {}):
                more = set(self.inputs(sender)) - found
                found |= more
                new += more
        return frozenset(found)

    @property
    def senders(self) -> frozenset[Sender]:
        """All whose output a claim is about."""
        return frozenset(sender for edges in self.edges.values() for sender in edges)

    def _require_reached(self) -> None:
        for receiver in [*self.edges, *self.rest]:
            if receiver not in self.receivers:
                part = " or ".join(sender.name for sender in self.wiring.read_by(receiver))
                raise HypothesisError(
                    f"a claim is about the input {receiver.name}, but no claim says that the "
                    f"output of {part} matters: claim an edge from there, such as "
                    f"'{part.split(' or ')[0]}->logits'."
                )
