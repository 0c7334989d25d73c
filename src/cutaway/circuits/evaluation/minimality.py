"""Minimality: whether every part of a circuit is needed.

A part v may seem idle only because another one does the same work. So v is needed if there is a set
K of other parts such that, K being out already, taking out v as well changes the metric: |circuit
without K - circuit without K and v| (Wang et al. 2022, section 4). K is the one, among none and a
few random ones, that shows most; it is chosen on one half of the prompts and measured on the other.

The control are parts that were added to the circuit at random: what would a stranger seem to be
worth by the same measure?
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import get_args

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from ...evidence import Interval
from ...patching.measure import Progress
from ..circuit import CircuitError, Level
from ..wiring import Mask
from .trial import Trial

Floats = NDArray[np.float64]
_AT_ONCE = 128  # circuits


@dataclass(frozen=True)
class Needed:
    """What one part is worth."""

    part: str
    """A node or an edge."""
    without: tuple[str, ...]
    """K: the parts that were out already."""
    change: Interval
    """Circuit without K - circuit without K and the part, as a share of model - empty: positive
    where the part helps the answer."""


@dataclass(frozen=True)
class Minimality:
    """Every part of a circuit, and what strangers are worth."""

    how: str
    of: Level
    parts: tuple[Needed, ...]
    """In the circuit's order."""
    strangers: Float[Floats, " stranger"]
    """|change| of each part that was added at random, by the same measure."""

    @property
    def threshold(self) -> float:
        """What 95% of the strangers do not exceed."""
        return float(np.quantile(self.strangers, 0.95)) if len(self.strangers) else 0.0

    @property
    def not_needed(self) -> tuple[str, ...]:
        """Parts that are worth no more than a stranger, or whose interval holds 0."""
        return tuple(
            one.part
            for one in self.parts
            if abs(one.change.estimate) <= self.threshold or one.change.contains(0.0)
        )


def minimality(
    trial: Trial,
    of: Level = "nodes",
    n_subsets: int = 8,
    n_strangers: int = 20,
    seed: int = 0,
    progress: Progress | None = None,
) -> Minimality:
    """Take out every part, with and without others.

    Args:
        trial: the circuit.
        of: "nodes" or "edges".
        n_subsets: random sets K that each part is tried with, beside none.
        n_strangers: parts that are added at random, each tried in the same way.
        seed: of the sets, of the halves and of the bootstrap.
        progress: called with the share that is done.

    Raises:
        CircuitError: `of` is neither.
    """
    if of not in get_args(Level):
        raise CircuitError(f"of={of!r} is neither 'edges' nor 'nodes'.")
    rng = np.random.default_rng(seed)
    halves = np.array_split(rng.permutation(len(trial.gap)), 2)
    names = trial.parts if of == "nodes" else trial.wiring.names(trial.matrix)
    sets = [(), *(_few(names, rng) for _ in range(n_subsets))]
    added = (_with_stranger(trial, of, rng) for _ in range(n_strangers))
    strangers = [one for one in added if one is not None]
    usable = [[i for i, out in enumerate(sets) if part not in out] for part in names]
    base = trial.measure([_out(trial, trial.matrix, of, out) for out in sets])
    found = _measured(
        trial,
        [
            *(
                partial(_out, trial, trial.matrix, of, (*sets[i], part))
                for part, mine in zip(names, usable, strict=True)
                for i in mine
            ),
            *(partial(_out, trial, matrix, of, out) for matrix in strangers for out in sets),
        ],
        progress,
    )
    parts, at = [], 0
    for part, mine in zip(names, usable, strict=True):
        changes = base[mine] - found[at : at + len(mine)]  # [set, prompt]
        at += len(mine)
        most = _most(changes, halves[0])
        change = trial.share(changes[most], seed, prompts=halves[1])
        parts.append(Needed(part, sets[mine[most]], change))
    # Without its stranger a circuit is what it was before.
    changes_of_strangers = found[at:].reshape(len(strangers), len(sets), found.shape[-1]) - base
    worth = [
        abs(change[_most(change, halves[0]), halves[1]].mean() / trial.gap[halves[1]].mean())
        for change in changes_of_strangers
    ]
    how = trial.how.describe(trial.circuit)
    return Minimality(how, of, tuple(parts), np.array(worth, dtype=np.float64))


def _few(names: tuple[str, ...], rng: np.random.Generator) -> tuple[str, ...]:
    """A random set of about a quarter: with half of the parts gone little is left to be lost."""
    return tuple(name for name in names if rng.random() < 0.25)


def _out(trial: Trial, matrix: Mask, of: Level, out: tuple[str, ...]) -> Mask:
    """A circuit without some parts."""
    if of == "nodes":
        return trial.without(matrix, out)
    return matrix & ~trial.wiring.matrix(out)


def _measured(
    trial: Trial, circuits: Sequence[Callable[[], Mask]], progress: Progress | None
) -> Float[Floats, "circuit prompt"]:
    """The metric of circuits that are made when their turn comes: all at once they would be large
    where a model has many edges."""
    found = [np.empty((0, len(trial.gap)))]
    for at in range(0, len(circuits), _AT_ONCE):
        found.append(trial.measure([make() for make in circuits[at : at + _AT_ONCE]]))
        if progress is not None:
            progress(min(1.0, (at + _AT_ONCE) / len(circuits)))
    return np.concatenate(found)


def _most(changes: Float[Floats, "set prompt"], prompts: NDArray[np.int64]) -> int:
    """The set that shows most on some prompts."""
    return int(np.abs(changes[:, prompts].mean(-1)).argmax())


def _with_stranger(trial: Trial, of: Level, rng: np.random.Generator) -> Mask | None:
    """The circuit with one more part, connected to it; None where there is no other."""
    wiring, matrix = trial.wiring, trial.matrix
    if of == "nodes":
        others = [
            sender.name
            for sender in wiring.graph.senders
            if sender.kind != "embed" and sender.name not in trial.parts
        ]
        if not others:
            return None
        name = str(rng.choice(others))
        mine = wiring.between(["embed", *trial.parts, name]) & ~wiring.between(
            ["embed", *trial.parts]
        )
        if trial.how.level == "edges":  # about as many edges as the circuit's own nodes have
            share = matrix.sum() / max(wiring.between(["embed", *trial.parts]).sum(), 1)
            mine &= rng.random(mine.shape) < max(share, 2 / max(mine.sum(), 1))
        return matrix | mine
    others_matrix = wiring.allowed & ~matrix
    nodes = ["embed", *trial.parts]
    near = wiring.between(nodes) & others_matrix  # between its own nodes: those can matter most
    choice = wiring.names(near if near.any() else others_matrix)
    if not choice:
        return None
    name = str(rng.choice(np.array(choice)))
    return matrix | wiring.matrix([name])
