"""Random circuits: the control for every circuit that is claimed to do something.

Edges drawn at random hardly ever lie on a way from the embedding to the logits, so a random set of
edges is an empty circuit in disguise, and beating it shows little. These circuits are connected:
each of their edges lies on such a way, as each edge of a discovered circuit does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray

from .circuit import CircuitError
from .wiring import Mask, Wiring


def random_circuits(
    wiring: Wiring, n_edges: int, n_circuits: int, seed: int = 0
) -> Bool[Mask, "circuit receiver sender"]:
    """Random connected circuits of one size.

    Each grows from nothing: an edge is drawn among all that it lacks; where its sender is not
    reached from the embedding yet, or its receiver does not lead to the logits, one more edge,
    drawn too, connects it.

    Args:
        wiring: of the model.
        n_edges: how many edges each shall have.
        n_circuits: how many.
        seed: of the draws.

    Raises:
        CircuitError: n_edges is not between 1 and the number of edges of the model; no circuits.
    """
    n_all = int(wiring.allowed.sum())
    _check_number(n_circuits)
    if not isinstance(n_edges, int | np.integer) or not 1 <= n_edges <= n_all:
        raise CircuitError(
            f"n_edges={n_edges} is not between 1 and the {n_all:,} edges of "
            f"{wiring.cfg.model_name}."
        )
    rng = np.random.default_rng(seed)
    return np.stack([_grown(wiring, n_edges, rng) for _ in range(n_circuits)])


def _check_number(n: int) -> None:
    if n < 1:
        raise CircuitError(f"{n} random circuits are no control: give at least 1.")


def _grown(wiring: Wiring, n_edges: int, rng: np.random.Generator) -> Mask:
    while True:
        found = _Growth(wiring).to(n_edges, rng)
        if found is not None:
            return found


class _Growth:
    """One circuit while it grows; each of its edges lies on a way at any time."""

    def __init__(self, wiring: Wiring) -> None:
        self.allowed, self.feeds = wiring.allowed, wiring.feeds
        self.matrix: Mask = np.zeros_like(self.allowed)
        self.reached: Mask = np.zeros(self.allowed.shape[1], dtype=bool)  # from the embedding
        self.reached[0] = True
        self.useful: Mask = np.zeros(self.allowed.shape[0], dtype=bool)  # leads to the logits
        self.useful[-1] = True
        self.n = 0

    def to(self, n_edges: int, rng: np.random.Generator) -> Mask | None:
        """Grow to that size; None where the last edges would need others, for which there is no
        room."""
        # To draw among all edges that are not there yet is to go through them in random order.
        for flat in rng.permutation(np.flatnonzero(self.allowed)).tolist():
            if self.n == n_edges:
                break
            receiver, sender = divmod(flat, self.allowed.shape[1])
            needed = 1 + (not self.reached[sender]) + (not self.useful[receiver])
            if self.matrix[receiver, sender] or needed > n_edges - self.n:
                continue
            self._connect(receiver, sender, rng)
        return self.matrix if self.n == n_edges else None

    def _connect(self, receiver: int, sender: int, rng: np.random.Generator) -> None:
        """Add an edge, and one into its sender and one onwards where it hangs in the air."""
        if not self.reached[sender]:
            into = np.flatnonzero(self.feeds[sender])
            self._add(*_drawn(into, self.allowed[into] & self.reached, rng))
        self._add(receiver, sender)
        if not self.useful[receiver]:
            readers = np.flatnonzero(self.useful)
            self._add(*_drawn(readers, self.allowed[readers] & self.feeds[:, receiver], rng))
            self.useful |= self.feeds[sender]
            self.useful[receiver] = True

    def _add(self, receiver: int, sender: int) -> None:
        self.matrix[receiver, sender] = True
        self.n += 1
        self.reached |= self.feeds[:, receiver]
        if self.useful[receiver]:
            self.useful |= self.feeds[sender]


def _drawn(
    receivers: NDArray[np.intp],
    candidates: Bool[Mask, "receiver sender"],
    rng: np.random.Generator,
) -> tuple[int, int]:
    """(receiver, sender) of one of the edges into some receivers."""
    at, sender = divmod(int(rng.choice(np.flatnonzero(candidates))), candidates.shape[1])
    return int(receivers[at]), sender


def random_node_sets(
    wiring: Wiring, like: Sequence[str], n_sets: int, seed: int = 0
) -> list[tuple[str, ...]]:
    """Random sets of as many heads and as many MLPs as another set has.

    Args:
        wiring: of the model.
        like: names of senders; the embedding does not count.
        n_sets: how many.
        seed: of the draws.

    Raises:
        CircuitError: a sender that the model does not have; no sets.
    """
    _check_number(n_sets)
    kinds: dict[str, list[str]] = {"head": [], "mlp": [], "embed": []}
    for sender in wiring.graph.senders:
        kinds[sender.kind].append(sender.name)
    try:
        wanted = [wiring.graph.sender(name).kind for name in like]
    except ValueError as error:
        raise CircuitError(str(error)) from None
    rng = np.random.default_rng(seed)
    return [
        tuple(
            str(name)
            for kind in ("head", "mlp")
            for name in rng.choice(kinds[kind], wanted.count(kind), replace=False)
        )
        for _ in range(n_sets)
    ]
