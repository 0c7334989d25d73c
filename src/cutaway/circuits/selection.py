"""From a score of every edge to a circuit of a certain size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from .circuit import CircuitError
from .wiring import Mask, Wiring

Floats = NDArray[np.float64]
_TRIES = 400  # edges that are tried one by one, to come to the size that was asked for


@dataclass(frozen=True)
class Selection:
    """The edges that were chosen, all on some way from the embedding to the logits."""

    matrix: Bool[Mask, "receiver sender"]
    notes: tuple[str, ...] = ()
    """Why there are fewer edges than were asked for."""


def strongest(wiring: Wiring, scores: Float[Floats, " edge"], n_edges: int) -> Selection:
    """The circuit of `n_edges` edges that holds as many of the largest scores as it can.

    Edges are taken by the size of their score, of either sign, until those that lie on some way
    from the embedding to the logits are as many as asked for. One edge can complete a way of
    several; where that would be too many it is passed over for the next ones.

    Args:
        wiring: of the model.
        scores: one for each of `Graph.edges`.
        n_edges: how many edges there shall be.

    Raises:
        CircuitError: n_edges is not between 1 and the number of edges of the model.
    """
    n_all = len(scores)
    if not isinstance(n_edges, int | np.integer) or not 1 <= n_edges <= n_all:
        raise CircuitError(
            f"n_edges={n_edges} is not between 1 and the {n_all:,} edges of "
            f"{wiring.cfg.model_name}."
        )
    order = np.argsort(-np.abs(scores), kind="stable")
    flat = np.zeros(n_all, dtype=bool)

    def pruned(first: int) -> Mask:
        flat[:] = False
        flat[order[:first]] = True
        return wiring.pruned(wiring.spread(flat))

    # The more edges there are, the more are on some way: so the number can be searched for.
    n_first = _last(lambda n: int(pruned(n).sum()) <= n_edges, n_all)
    best = pruned(n_first)
    chosen = wiring.spread(flat)
    for edge in order[n_first : n_first + _TRIES]:
        if best.sum() == n_edges:
            break
        flat[:] = False
        flat[edge] = True
        more = chosen | wiring.spread(flat)
        tried = wiring.pruned(more)
        if tried.sum() <= n_edges:
            chosen, best = more, tried
    return Selection(best, _notes(wiring, scores, best, n_edges))


def above(wiring: Wiring, scores: Float[Floats, " edge"], threshold: float) -> Selection:
    """The circuit of all edges whose score is at least `threshold`, of either sign.

    Raises:
        CircuitError: the threshold is negative or not a number.
    """
    if not threshold >= 0:
        raise CircuitError(f"threshold={threshold} is not a size: give 0 or more.")
    large = wiring.spread(np.abs(scores) >= threshold)
    matrix = wiring.pruned(large)
    lost = int(large.sum() - matrix.sum())
    notes = (
        (f"{lost} edges of at least {threshold:g} lie on no way from the embedding to the logits.",)
        if lost
        else ()
    )
    return Selection(matrix, notes)


def _last(holds: Callable[[int], bool], n: int) -> int:
    """The largest number up to n for which it holds; it holds for 0, and no more once it fails."""
    low, high = 0, n
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low


def _notes(
    wiring: Wiring, scores: Float[Floats, " edge"], matrix: Mask, n_edges: int
) -> tuple[str, ...]:
    notes = []
    if matrix.sum() < n_edges:
        notes.append(
            f"{int(matrix.sum())} edges, not {n_edges}: the next ones by their score would only "
            "complete longer ways, with more edges than were asked for."
        )
    zeros = int((scores[matrix[wiring.allowed]] == 0).sum())
    if zeros:
        notes.append(f"{zeros} of the edges have the score 0: the choice among those is arbitrary.")
    return tuple(notes)
