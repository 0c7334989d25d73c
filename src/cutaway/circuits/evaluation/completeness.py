"""Completeness: whether a circuit holds all that the model does the task with.

If it does, it goes on doing what the model does when the same parts K are taken out of both:
circuit without K and model without K have the same metric (Wang et al. 2022, section 4). A circuit
that lacks a backup fails here although it is faithful. K is drawn at random, and looked for
greedily: the worst case. The greedy K is chosen on one half of the prompts and measured on the
other, since on its own half the choice would exaggerate it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from ...evidence import Interval
from ...patching.measure import Progress
from ..circuit import CircuitError
from .trial import Trial

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Incompleteness:
    """One set of parts taken out of the circuit and of the model."""

    without: tuple[str, ...]
    """K: what was taken out of both."""
    circuit: Interval
    """The circuit without K: (metric - empty) / (model - empty)."""
    model: Interval
    """The model without K, in the same unit."""
    gap: Interval
    """model without K - circuit without K; 0 for a complete circuit."""


@dataclass(frozen=True)
class Completeness:
    """How far circuit and model are apart where parts are taken out of both."""

    how: str
    nothing: Incompleteness
    """K empty: the circuit against the model."""
    random: tuple[Incompleteness, ...]
    """Random subsets of the circuit's nodes, each node with probability 1/2."""
    worst: Incompleteness
    """The greedy set, measured on prompts that it was not chosen on."""
    random_circuits: Float[Floats, " circuit"]
    """Mean |gap| of each random circuit of the same size, over random subsets of its nodes."""

    @property
    def mean_gap(self) -> float:
        """Mean |gap| over the random subsets."""
        return float(np.mean([abs(one.gap.estimate) for one in self.random]))


def completeness(
    trial: Trial,
    n_subsets: int = 20,
    n_greedy: int = 5,
    n_random: int = 20,
    seed: int = 0,
    progress: Progress | None = None,
) -> Completeness:
    """Take parts out of a circuit and out of the model, and compare what is left.

    Args:
        trial: the circuit.
        n_subsets: random subsets of its nodes.
        n_greedy: how many nodes the worst case may take out at most.
        n_random: random circuits, each tried with a few random subsets of its own nodes.
        seed: of the subsets, of the halves and of the bootstrap.
        progress: called with the share that is done.

    Raises:
        CircuitError: no subsets.
    """
    if n_subsets < 1:
        raise CircuitError(f"n_subsets={n_subsets}: completeness asks for at least 1 subset.")
    rng = np.random.default_rng(seed)
    subsets = [_subset(trial.parts, rng) for _ in range(n_subsets)]
    found = _compared(trial, [(), *subsets], partial(_report, progress, 0.0, 0.3))
    everyone = np.arange(len(trial.gap))
    results = [
        _incompleteness(trial, without, pair, everyone, seed)
        for without, pair in zip([(), *subsets], found, strict=True)
    ]
    halves = np.array_split(rng.permutation(len(trial.gap)), 2)
    worst = _greedy(trial, halves, n_greedy, seed, partial(_report, progress, 0.3, 0.7))
    controls = _of_random(trial, n_random, rng, seed, partial(_report, progress, 0.7, 1.0))
    how = trial.how.describe(trial.circuit)
    return Completeness(how, results[0], tuple(results[1:]), worst, controls)


def _report(progress: Progress | None, start: float, end: float, share: float) -> None:
    if progress is not None:
        progress(start + share * (end - start))


def _subset(parts: tuple[str, ...], rng: np.random.Generator) -> tuple[str, ...]:
    return tuple(part for part in parts if rng.random() < 0.5)


def _compared(
    trial: Trial, sets: list[tuple[str, ...]], progress: Progress
) -> Float[Floats, "set 2 prompt"]:
    """The metric of circuit and model without each set."""
    circuits = [trial.without(trial.matrix, nodes) for nodes in sets]
    models = [trial.without(trial.wiring.allowed, nodes) for nodes in sets]
    ours = trial.measure(circuits, lambda share: progress(share / 2))
    whole = trial.measure(models, lambda share: progress(0.5 + share / 2), own=False)
    return np.stack([ours, whole], axis=1)


def _incompleteness(
    trial: Trial,
    without: tuple[str, ...],
    pair: Float[Floats, "2 prompt"],
    prompts: NDArray[np.int64],
    seed: int,
) -> Incompleteness:
    circuit, model = pair

    def share(change: Floats) -> Interval:
        return trial.share(change, seed, prompts=prompts)

    return Incompleteness(
        without,
        share(circuit - trial.empty),
        share(model - trial.empty),
        share(model - circuit),
    )


def _greedy(
    trial: Trial, halves: list[NDArray[np.int64]], most: int, seed: int, progress: Progress
) -> Incompleteness:
    """Add the node that drives the two furthest apart, as long as one does."""
    chosen: tuple[str, ...] = ()
    best = _compared(trial, [()], lambda share: None)[0]
    for step in range(most):
        left = [part for part in trial.parts if part not in chosen]
        if not left:
            break
        tried = [(*chosen, part) for part in left]
        found = _compared(trial, tried, partial(_report, progress, step / most, (step + 1) / most))
        apart = np.abs((found[:, 1] - found[:, 0])[:, halves[0]].mean(-1))
        now = abs((best[1] - best[0])[halves[0]].mean())
        worst = int(apart.argmax())
        if apart[worst] <= now:
            break
        chosen, best = tried[worst], found[worst]
    return _incompleteness(trial, chosen, best, halves[1], seed)


def _of_random(
    trial: Trial, n: int, rng: np.random.Generator, seed: int, progress: Progress
) -> Float[Floats, " circuit"]:
    """Mean |gap| of random circuits, each over three random subsets of its nodes."""
    per_circuit = 3
    circuits, models = [], []
    for matrix in trial.random(n, seed):
        nodes = trial.wiring.nodes(matrix)
        for _ in range(per_circuit):
            subset = _subset(nodes, rng)
            circuits.append(trial.without(matrix, subset))
            models.append(trial.without(trial.wiring.allowed, subset))
    ours = trial.measure(circuits, lambda share: progress(share / 2), own=False)
    whole = trial.measure(models, lambda share: progress(0.5 + share / 2), own=False)
    gaps: Floats = np.abs(trial.shares(whole - ours)).reshape(-1, per_circuit).mean(-1)
    return gaps
