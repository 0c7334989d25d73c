"""Stability: whether the same discovery on other prompts finds the same circuit.

Measured as the Jaccard index of pairs of circuits: edges (or nodes) of both over those of either.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from ...evidence import Interval
from ...model.transformer import HookedTransformer
from ...patching.measure import Progress
from ...tasks.task import Task
from ..circuit import Circuit, CircuitError
from ..discovery import discover
from ..random_circuits import random_circuits
from ..scores import EdgeScores
from ..selection import strongest
from ..wiring import Mask, Wiring

Floats = NDArray[np.float64]
_N_RESAMPLES = 2_000


@dataclass(frozen=True)
class Stability:
    """How alike circuits are that were found on different prompts."""

    over: str
    """What differs: "tasks" or "resamples of the prompts"."""
    edges: Interval
    """Mean Jaccard index of edges over all pairs; n counts circuits."""
    nodes: Interval
    """The same of nodes, the embedding left out."""
    random_edges: float
    """The same of random connected circuits of the same sizes."""
    random_nodes: float
    always: tuple[str, ...] = field(repr=False)
    """Edges that are in every circuit."""
    share_of: dict[str, float] = field(repr=False)
    """Edge -> share of the circuits that have it."""


def stability(
    model: HookedTransformer,
    tasks: Sequence[Task],
    method: str = "exact-edges",
    *,
    seed: int = 0,
    progress: Progress | None = None,
    **settings: Any,
) -> Stability:
    """The same discovery on several tasks: other seeds, other prompts, other templates.

    Args:
        model: without hooks attached.
        tasks: at least two, over different prompts.
        method, settings: as in `discover`.
        seed: of the random circuits and of the interval.
        progress: called with the share that is done.

    Raises:
        CircuitError: fewer than two tasks.

    Example:
        >>> tasks = [ca.tasks.ioi(model, 64, seed=seed) for seed in range(5)]
        >>> print(stability(model, tasks, "eap-ig", n_edges=40).edges)
    """
    if len(tasks) < 2:
        raise CircuitError(f"{len(tasks)} task: at least 2 are needed to compare what is found.")
    found: list[Circuit] = []
    for i, task in enumerate(tasks):

        def report(share: float, at: int = i) -> None:
            if progress is not None:
                progress((at + share) / len(tasks))

        found.append(discover(model, task, method, progress=report, **settings))
    return _of(Wiring(model.cfg), [one.matrix for one in found], "tasks", seed)


def stability_over_prompts(
    scores: EdgeScores, n_edges: int, n_resamples: int = 20, seed: int = 0
) -> Stability:
    """The same discovery on resamples of its prompts, with replacement; nothing is run again.

    Args:
        scores: of a method that has a value for every prompt (exact-edges, eap, eap-ig).
        n_edges: the size of the circuits.
        n_resamples: how many.
        seed: of the resamples.

    Raises:
        CircuitError: the method has one score for all prompts.
    """
    if scores.effects is None:
        raise CircuitError(
            f"{scores.method} has no score for every prompt, so prompts cannot be resampled: use "
            "stability() with several tasks."
        )
    wiring, rng = Wiring(scores.cfg), np.random.default_rng(seed)
    values = scores.effects.per_prompt  # [edge, prompt]
    n = values.shape[-1]
    found = []
    for _ in range(n_resamples):
        drawn = values[:, rng.integers(n, size=n)].mean(-1)
        found.append(strongest(wiring, np.asarray(drawn, dtype=np.float64), n_edges).matrix)
    return _of(wiring, found, "resamples of the prompts", seed)


def _of(wiring: Wiring, found: Sequence[Mask], over: str, seed: int) -> Stability:
    n = len(found)
    random = [
        random_circuits(wiring, max(1, int(one.sum())), 1, seed + i)[0]
        for i, one in enumerate(found)
    ]
    edges = np.stack([one[wiring.allowed] for one in found])
    share = edges.mean(0)
    names = wiring.graph.edge_names
    table = {
        label: _pairs(found, one) for label, one in (("edges", _edges), ("nodes", _nodes(wiring)))
    }
    return Stability(
        over=over,
        edges=_interval(table["edges"], n, seed),
        nodes=_interval(table["nodes"], n, seed),
        random_edges=_mean_pair(_pairs(random, _edges)),
        random_nodes=_mean_pair(_pairs(random, _nodes(wiring))),
        always=tuple(names[i] for i in np.flatnonzero(share == 1)),
        share_of={names[i]: float(share[i]) for i in np.flatnonzero(share)},
    )


def _edges(matrix: Mask) -> frozenset[Any]:
    return frozenset(np.flatnonzero(matrix).tolist())


def _nodes(wiring: Wiring) -> Callable[[Mask], frozenset[Any]]:
    return lambda matrix: frozenset(wiring.nodes(matrix))


def _pairs(
    found: Sequence[Mask], members: Callable[[Mask], frozenset[Any]]
) -> Float[Floats, "circuit circuit"]:
    sets = [members(one) for one in found]
    table = np.ones((len(sets), len(sets)))
    for i, j in itertools.combinations(range(len(sets)), 2):
        either = sets[i] | sets[j]
        table[i, j] = table[j, i] = len(sets[i] & sets[j]) / len(either) if either else 1.0
    return table


def _mean_pair(table: Float[Floats, "circuit circuit"]) -> float:
    return float(table[np.triu_indices(len(table), 1)].mean())


def _interval(
    table: Float[Floats, "circuit circuit"], n: int, seed: int, level: float = 0.95
) -> Interval:
    """Circuits are resampled, not pairs: pairs share circuits. A circuit is not paired with itself.

    With two circuits there is one pair, and no interval.
    """
    estimate = _mean_pair(table)
    if n < 3:
        return Interval(estimate, -np.inf, np.inf, level, n)
    rng, means = np.random.default_rng(seed), []
    for _ in range(_N_RESAMPLES):
        drawn = rng.integers(n, size=n)
        i, j = np.triu_indices(n, 1)
        different = drawn[i] != drawn[j]
        if different.any():
            means.append(table[drawn[i], drawn[j]][different].mean())
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high), level, n)
