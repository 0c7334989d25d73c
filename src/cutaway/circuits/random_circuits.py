"""Random circuits: the control for every circuit that is claimed to do something.

Edges drawn at random hardly ever lie on a way from the embedding to the logits, so a random set of
edges is an empty circuit in disguise, and beating it shows little. These circuits are connected:
each of their edges lies on such a way, as each edge of a discovered circuit does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from .circuit import CircuitError
from .wiring import Mask, Wiring

_MOST_NEW = 3  # edges at a time: into the sender, the one that was drawn, onwards from it


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
        CircuitError: n_edges is not between 1 and the number of edges of the model.
    """
    n_all = int(wiring.allowed.sum())
    if not 1 <= n_edges <= n_all:
        raise CircuitError(
            f"n_edges={n_edges} is not between 1 and the {n_all:,} edges of "
            f"{wiring.cfg.model_name}."
        )
    rng = np.random.default_rng(seed)
    return np.stack([_grown(wiring, n_edges, rng) for _ in range(n_circuits)])


def _grown(wiring: Wiring, n_edges: int, rng: np.random.Generator) -> Mask:
    while True:
        found = _try_to_grow(wiring, n_edges, rng)
        if found is not None:
            return found


def _try_to_grow(wiring: Wiring, n_edges: int, rng: np.random.Generator) -> Mask | None:
    """One circuit; None where the last edges would need others, for which there is no room."""
    feeds, allowed = wiring.feeds, wiring.allowed
    matrix = np.zeros_like(allowed)
    reached: Mask = np.zeros(allowed.shape[1], dtype=bool)  # senders whose output may change
    reached[0] = True
    useful: Mask = np.zeros(allowed.shape[0], dtype=bool)  # receivers that lead to the logits
    useful[-1] = True
    while (left := n_edges - int(matrix.sum())) > 0:
        needed = 1 + (~reached)[None].astype(int) + (~useful)[:, None]
        candidates = allowed & ~matrix & (needed <= left)
        if not candidates.any():
            return None
        receiver, sender = _drawn(candidates, rng)
        matrix[receiver, sender] = True
        if not reached[sender]:
            matrix[_drawn(allowed & feeds[sender][:, None] & reached[None], rng)] = True
        if not useful[receiver]:
            readers = feeds[:, receiver]
            matrix[_drawn(allowed & readers[None] & useful[:, None], rng)] = True
        for _ in range(_MOST_NEW):  # as far as new edges can lead
            inputs: Mask = np.any(matrix & reached, axis=1)
            reached |= np.any(feeds & inputs, axis=1)
            writes: Mask = np.any(matrix & useful[:, None], axis=0)
            useful |= np.any(feeds & writes[:, None], axis=0)
    return matrix


def _drawn(candidates: Mask, rng: np.random.Generator) -> tuple[int, int]:
    """(receiver, sender) of one of the edges."""
    receiver, sender = divmod(int(rng.choice(np.flatnonzero(candidates))), candidates.shape[1])
    return receiver, sender


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
        CircuitError: a sender that the model does not have.
    """
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
