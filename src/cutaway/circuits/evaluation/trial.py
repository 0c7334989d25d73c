"""A circuit on the test stand: how it is run alone, and what is compared with what."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import get_args

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from ...evidence import Interval, bootstrap_ratio
from ...model.transformer import HookedTransformer
from ...patching.measure import Progress, TellMemory
from ...patching.values import Value, as_value
from ...tasks.task import Task
from ..circuit import Circuit, CircuitError, Level, require_edges
from ..random_circuits import random_circuits, random_node_sets
from ..runs import CircuitRuns
from ..scores import mean_gap
from ..wiring import Mask, Wiring

Floats = NDArray[np.float64]

ENDS = "the whole model and on the empty circuit"


@dataclass(frozen=True)
class How:
    """How a circuit is run alone. It stands beside every number, since the same circuit can look
    perfect or worthless by this choice alone (Miller, Chughtai and Saunders 2024)."""

    outside: str | Value = "patch"
    """What stands in outside: patch (the corrupted prompt's value), zero, mean, resample; or a
    `Value`, such as `Mean(reference)`."""
    level: Level = "edges"
    """edges: only the circuit's edges carry this run's values. nodes: all edges between its nodes
    do, as where whole heads are ablated."""
    positions: bool = True
    """Whether a circuit that names positions for its nodes is held to them; False takes its nodes
    at all positions."""

    def __post_init__(self) -> None:
        as_value(self.outside)
        if self.level not in get_args(Level):
            raise CircuitError(f"level={self.level!r} is neither 'edges' nor 'nodes'.")

    def describe(self, circuit: Circuit) -> str:
        """As in "edges at all positions, outside: patch"."""
        where = "its own positions" if self.positions and circuit.positions else "all positions"
        return f"{self.level} at {where}, outside: {as_value(self.outside).name}"


class Trial:
    """One circuit of one model on one task, run alone in one way.

    Args:
        model: the circuit's own.
        task: at least two prompts.
        circuit: not empty.
        how: it is run.
        max_memory, tell_memory: as in `CircuitRuns`.

    Raises:
        CircuitError: a circuit of another model, an empty one, a task with one prompt, or one on
            which the whole model does as the empty circuit does.
    """

    def __init__(
        self,
        model: HookedTransformer,
        task: Task,
        circuit: Circuit,
        how: How | None = None,
        *,
        max_memory: int | None = None,
        tell_memory: TellMemory | None = None,
    ) -> None:
        circuit.check_fits(model)
        require_edges(circuit, "evaluate")
        if len(task) < 2:
            raise CircuitError(
                f"the task {task.name} has {len(task)} prompt: no interval can be given; at least "
                "2 are needed."
            )
        self.circuit, self.how = circuit, how or How()
        self.runs = CircuitRuns(
            model, task, self.how.outside, max_memory=max_memory, tell_memory=tell_memory
        )
        self.positions = circuit.positions if self.how.positions and circuit.positions else None
        self.whole = self.runs.clean.numpy()
        self.empty = self.runs.empty().numpy()
        self.gap = self.whole - self.empty  # [prompt]
        mean_gap(self.unit, self.whole, self.empty, ENDS)

    @property
    def wiring(self) -> Wiring:
        """Of the model."""
        return self.runs.wiring

    @property
    def unit(self) -> str:
        """The metric's name."""
        return self.runs.task.metric.name

    @cached_property
    def matrix(self) -> Bool[Mask, "receiver sender"]:
        """The edges that the circuit runs with."""
        if self.how.level == "nodes":
            return self.wiring.between(self.circuit.nodes)
        return self.circuit.matrix

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """Its nodes without the embedding: what can be taken out."""
        return tuple(name for name in self.circuit.nodes if name != "embed")

    def without(self, matrix: Mask, nodes: Collection[str]) -> Bool[Mask, "receiver sender"]:
        """A circuit without all that some nodes write."""
        gone = np.array([sender.name in nodes for sender in self.wiring.graph.senders])
        left: Mask = matrix & ~gone[None]
        return left

    def measure(
        self, matrices: Sequence[Mask], progress: Progress | None = None, own: bool = True
    ) -> Float[Floats, "circuit prompt"]:
        """The metric of circuits run alone.

        Args:
            matrices: the circuits.
            progress: called with the share that is done.
            own: whether they are made of this circuit, whose positions then hold.
        """
        if not len(matrices):
            return np.empty((0, len(self.whole)))
        stacked = torch.from_numpy(np.stack(matrices))
        return self.runs.measure(stacked, self.positions if own else None, progress).numpy()

    def random(self, n: int, seed: int) -> list[Mask]:
        """Random circuits of this one's size: of as many connected edges, or of as many heads and
        MLPs with all edges between them."""
        if self.how.level == "nodes":
            sets = random_node_sets(self.wiring, self.parts, n, seed)
            return [self.wiring.between(["embed", *nodes]) for nodes in sets]
        return list(random_circuits(self.wiring, int(self.matrix.sum()), n, seed))

    def share(
        self,
        change: Float[Floats, " prompt"],
        seed: int = 0,
        level: float = 0.95,
        prompts: NDArray[np.int64] | None = None,
    ) -> Interval:
        """mean(change) / mean(whole - empty), with the interval of its bootstrap over prompts.

        Args:
            change: in the metric's unit.
            seed, level: of the bootstrap.
            prompts: which ones count; None means all.
        """
        gap = self.gap if prompts is None else self.gap[prompts]
        change = change if prompts is None else change[prompts]
        estimate, low, high = map(float, bootstrap_ratio(change, gap, seed=seed, level=level))
        return Interval(estimate, low, high, level, len(gap))

    def shares(self, changes: Float[Floats, "circuit prompt"]) -> Float[Floats, " circuit"]:
        """The same of many, without intervals."""
        found: Floats = changes.mean(-1) / self.gap.mean()
        return found
