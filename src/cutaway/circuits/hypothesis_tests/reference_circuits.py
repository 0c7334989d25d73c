"""Random ways and circuits made of given edges only: what a circuit is held against.

`random_circuits` draws from all edges of a model. Here edges come from what a circuit leaves out:
a way through them inflates the circuit, and a union of such ways is a circuit that shares no edge
with it (Shi et al. 2024).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray

from ..circuit import CircuitError
from ..wiring import Mask, Wiring

_TRIES = 20  # unions that are begun anew where the last edges do not fit


class Ways:
    """Ways from the embedding to the logits over some edges.

    Args:
        wiring: of the model.
        among: the edges that may be taken.

    Raises:
        CircuitError: no way leads over them.
    """

    def __init__(self, wiring: Wiring, among: Bool[Mask, "receiver sender"]) -> None:
        self.wiring, self.among = wiring, wiring.pruned(among)
        if not self.among.any():
            raise CircuitError(
                "no way from the embedding to the logits leads over the edges that may be taken, "
                "so no random one can be drawn."
            )
        n_receivers, n_senders = self.among.shape
        self._from_sender = np.full(n_senders, n_receivers)  # edges from there to the logits
        self._from_receiver = np.zeros(n_receivers, dtype=int)
        for receiver in reversed(range(n_receivers - 1)):  # readers stand before what they feed
            for sender in np.flatnonzero(wiring.feeds[:, receiver]):
                self._from_sender[sender] = 1 + self._fewest(self.among[:, sender])
            fed = self._from_sender[wiring.feeds[:, receiver]]
            self._from_receiver[receiver] = fed.min()
        self.shortest = 1 + self._fewest(self.among[:, 0])
        """Edges of the shortest way."""

    def _fewest(self, receivers: Bool[Mask, " receiver"]) -> int:
        return int(self._from_receiver[receivers].min(initial=len(self._from_receiver)))

    def draw(
        self, rng: np.random.Generator, most: int | None = None
    ) -> Bool[Mask, "receiver sender"]:
        """A random way.

        It starts at the embedding and goes on over an edge drawn among those that leave where it
        stands.

        Args:
            rng: of the draws.
            most: edges that it may have; at least `shortest`.
        """
        way = np.zeros_like(self.among)
        sender, left = 0, len(self._from_receiver) if most is None else most
        while True:
            fits = self._from_receiver < left
            receiver = int(rng.choice(np.flatnonzero(self.among[:, sender] & fits)))
            way[receiver, sender] = True
            left -= 1
            if receiver == len(fits) - 1:
                return way
            readers = self.wiring.feeds[:, receiver] & (self._from_sender <= left)
            sender = int(rng.choice(np.flatnonzero(readers)))


def inflated(
    wiring: Wiring, circuit: Bool[Mask, "receiver sender"], n: int, seed: int = 0
) -> tuple[Bool[Mask, "inflated receiver sender"], Bool[Mask, "inflated receiver sender"]]:
    """The circuit with a random way beside it, and the same without one edge of that way.

    Args:
        wiring: of the model.
        circuit: none of the ways shares an edge with it.
        n: how many ways are drawn.
        seed: of the draws.

    Returns:
        inflated, knocked_out: in pairs.

    Raises:
        CircuitError: every way has an edge of the circuit.
    """
    rng = np.random.default_rng(seed)
    ways = Ways(wiring, wiring.allowed & ~circuit)
    whole, without = [], []
    for _ in range(n):
        way = ways.draw(rng)
        edge = rng.choice(np.flatnonzero(way))
        removed = np.zeros_like(way)
        removed.flat[edge] = True
        whole.append(circuit | way)
        without.append(circuit | (way & ~removed))
    return np.stack(whole), np.stack(without)


def circuits_among(
    wiring: Wiring, among: Bool[Mask, "receiver sender"], n_edges: int, n: int, seed: int = 0
) -> Bool[Mask, "circuit receiver sender"]:
    """Random connected circuits of one size that are made of some of the edges.

    Each is a union of random ways. Where the next one is too long, the rest is filled up with
    single edges between what the ways reach.

    Args:
        wiring: of the model.
        among: the edges that may be taken.
        n_edges: how many edges each shall have.
        n: how many circuits.
        seed: of the draws.

    Raises:
        CircuitError: so many edges are not on ways through `among`, or cannot be reached.
    """
    ways = Ways(wiring, among)
    n_among = int(ways.among.sum())
    if not 1 <= n_edges <= n_among:
        raise CircuitError(
            f"no random circuit of {n_edges} edges can be drawn: {n_among} of the edges that may "
            "be taken lie on a way from the embedding to the logits."
        )
    rng = np.random.default_rng(seed)
    return np.stack([_union(ways, n_edges, rng) for _ in range(n)])


def _union(ways: Ways, n_edges: int, rng: np.random.Generator) -> Mask:
    for _ in range(_TRIES):
        found = np.zeros_like(ways.among)
        for _ in range(_TRIES * n_edges):
            left = n_edges - int(found.sum())
            if not left:
                return found
            way = ways.draw(rng, most=left) if left >= ways.shortest else found
            if (way & ~found).any():
                found |= way
                continue
            single = _between(ways, found)
            if len(single):
                found.flat[rng.choice(single)] = True
            elif left < ways.shortest:
                break
    raise CircuitError(
        f"no random circuit of {n_edges} edges was found: the ways over the edges that may be "
        f"taken have at least {ways.shortest}."
    )


def _between(ways: Ways, found: Mask) -> NDArray[np.int64]:
    """Edges that are new and join what the ways found reach already, counted in the matrix."""
    sends: Mask = np.any(found, axis=0)
    reads: Mask = np.any(found, axis=1)
    sends |= ways.wiring.feeds[:, reads].any(1)  # read from, though nothing of it is read yet
    return np.flatnonzero(ways.among & ~found & sends[None] & reads[:, None])
