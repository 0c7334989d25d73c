"""`evaluate`: everything that is asked of a circuit, in one call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ...model.transformer import HookedTransformer
from ...patching.measure import Progress, TellMemory
from ...patching.values import Value
from ...tasks.task import Task
from ..circuit import Circuit, Level
from .completeness import Completeness, completeness
from .faithfulness import Faithfulness, faithfulness
from .minimality import Minimality, minimality
from .trial import How, Trial


@dataclass(frozen=True)
class Evaluation:
    """What a circuit is worth, each number with its interval and its control."""

    circuit: Circuit
    how: str
    """How it was run alone: level, positions, what stands outside."""
    n_prompts: int
    faithfulness: Faithfulness
    completeness: Completeness
    minimality: Minimality

    def __str__(self) -> str:
        f, c, m = self.faithfulness, self.completeness, self.minimality
        lines = [
            str(self.circuit),
            f"run alone: {self.how}",
            f"faithfulness  {f.ratio}; {len(f.random)} random circuits: "
            f"{f.random.mean():.3f}, at most {f.random.max():.3f}",
            f"difference    {f.difference} in the {f.metric}",
            f"completeness  gap {c.nothing.gap} with nothing out; worst "
            f"{c.worst.gap} without {', '.join(c.worst.without) or 'nothing'}",
            f"minimality    {len(m.parts) - len(m.not_needed)} of {len(m.parts)} {m.of} needed "
            f"(strangers: up to {m.threshold:.3f})",
        ]
        return "\n".join(lines)


def evaluate(
    model: HookedTransformer,
    task: Task,
    circuit: Circuit,
    *,
    outside: str | Value = "patch",
    level: Level = "edges",
    positions: bool = True,
    minimal: Level = "nodes",
    n_random: int = 20,
    n_subsets: int = 20,
    n_greedy: int = 5,
    seed: int = 0,
    max_memory: int | None = None,
    progress: Progress | None = None,
    tell_memory: TellMemory | None = None,
) -> Evaluation:
    """Run a circuit alone and ask: is it faithful, complete, minimal?

    Give prompts that the circuit was not found on: on its own ones it looks better than it is.

    Args:
        model: the circuit's own, without hooks attached.
        task: prompts and metric.
        circuit: not empty.
        outside: what stands in outside the circuit: patch, zero, mean, resample, or a `Value`.
        level: "edges" or "nodes", see `How`.
        positions: hold a circuit that names positions to them.
        minimal: whether minimality asks for "nodes" or "edges".
        n_random: random circuits of the same size; at least 20 is usual.
        n_subsets: random subsets that are taken out for completeness.
        n_greedy: nodes that the worst case may take out.
        seed: of everything that is drawn.
        max_memory, progress, tell_memory: as in `sweep`.

    Raises:
        CircuitError: a circuit of another model, an empty one, a task of one prompt.

    Example:
        >>> fresh = ca.tasks.ioi(model, n_prompts=64, seed=1)
        >>> print(ca.circuits.evaluate(model, fresh, circuit))
    """
    how = How(outside, level, positions)
    trial = Trial(model, task, circuit, how, max_memory=max_memory, tell_memory=tell_memory)
    part = partial(_part, progress)
    return Evaluation(
        circuit=circuit,
        how=how.describe(circuit),
        n_prompts=len(task),
        faithfulness=faithfulness(trial, n_random, seed),
        completeness=completeness(trial, n_subsets, n_greedy, n_random, seed, part(0.05, 0.5)),
        minimality=minimality(
            trial, minimal, n_strangers=n_random, seed=seed, progress=part(0.5, 1.0)
        ),
    )


def _part(progress: Progress | None, start: float, end: float) -> Callable[[float], None]:
    def report(share: float) -> None:
        if progress is not None:
            progress(start + share * (end - start))

    return report
