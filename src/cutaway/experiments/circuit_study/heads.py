"""The heads of a circuit: what each does, who feeds whom, and who backs up whom."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from ...circuits.circuit import Circuit
from ...evidence import Interval
from ...heads.readings import read_heads
from ...model.transformer import HookedTransformer
from ...patching.effects import Axis, Effects
from ...patching.graph import Graph
from ...patching.paths import sweep_paths
from ...patching.sets import interaction, sweep_pairs
from ...patching.sweep import sweep
from ...tasks.task import Task
from ...views import circuit_story_data as page
from ...views.measurement_data import Measured
from ..ioi import published
from ..steps import Steps
from .settings import CircuitStudySettings

_OF_IOI = {"IO", "S1", "S1+1", "S2", "END"}
_MOST_RECEIVERS = 16


def head_effects(
    model: HookedTransformer, task: Task, settings: CircuitStudySettings, steps: Steps
) -> Effects:
    """Every head noised by itself."""
    with steps("heads") as progress:
        return sweep(
            model, task, "z", mode="noising", max_memory=settings.max_memory, progress=progress
        )


def head_rows(
    model: HookedTransformer,
    task: Task,
    circuit: Circuit,
    effects: Effects,
    settings: CircuitStudySettings,
) -> tuple[page.HeadRow, ...]:
    """The heads of the circuit, the strongest first, with their attention and their roles."""
    value, low, high = effects.interval(seed=settings.seed)
    named = {name: tuple(map(int, name.split("."))) for name in circuit.heads}
    strongest = sorted(named, key=lambda name: -abs(value[named[name]]))[: settings.n_heads]
    readings = {}
    if set(task.positions) >= _OF_IOI:
        heads = [(named[name][0], named[name][1]) for name in strongest]
        readings = read_heads(model, task, heads)
    classes = published.classes() if published.applies_to(model) else {}
    rows = []
    for name in strongest:
        at = named[name]
        read = readings.get((at[0], at[1]))
        effect = Interval(float(value[at]), float(low[at]), float(high[at]), 0.95, len(task))
        looks = {} if read is None else read.looks_at
        role = "" if read is None else read.role
        rows.append(page.HeadRow(name, effect, looks, role, classes.get(name, "")))
    return tuple(rows)


def who_feeds_whom(
    model: HookedTransformer,
    task: Task,
    circuit: Circuit,
    settings: CircuitStudySettings,
    steps: Steps,
) -> Measured:
    """The paths from every node of the circuit to the inputs that its strongest edges enter."""
    weight: dict[str, float] = {}
    for edge in circuit.edges:
        receiver = edge.partition("->")[2]
        weight[receiver] = weight.get(receiver, 0.0) + abs(circuit.effects.get(edge, 0.0))
    chosen = sorted(weight, key=lambda name: -weight[name])[:_MOST_RECEIVERS]
    receivers = [one.name for one in Graph(model.cfg).receivers if one.name in chosen]
    with steps("who feeds whom") as progress:
        paths = sweep_paths(
            model,
            task,
            receivers,
            mode="noising",
            max_memory=settings.max_memory,
            progress=progress,
        )
    return Measured.of(_only_senders(paths, circuit.nodes), settings.seed)


def _only_senders(paths: Effects, senders: Sequence[str]) -> Effects:
    """The rows of some senders."""
    axis, receivers = paths.axes
    rows = [i for i, name in enumerate(axis.labels) if name in senders]
    kept = Axis("sender", tuple(axis.labels[i] for i in rows))
    return dataclasses.replace(paths, axes=(kept, receivers), patched=paths.patched[rows])


def backup_pairs(
    model: HookedTransformer,
    task: Task,
    circuit: Circuit,
    effects: Effects,
    settings: CircuitStudySettings,
    steps: Steps,
) -> tuple[page.BackupPair, ...]:
    """Pairs of heads, inside the circuit or not, that do more together than the sum of both.

    Looked at are the circuit's strongest heads and the strongest of the others.
    """
    value = np.abs(effects.normalised())
    order = np.argsort(-value, axis=None, kind="stable")
    ranked = [f"{i // value.shape[1]}.{i % value.shape[1]}" for i in order.tolist()]
    inside = [name for name in ranked if name in circuit.heads][: settings.n_heads]
    others = [name for name in ranked if name not in circuit.heads]
    chosen = [*inside, *others[: max(2, settings.n_heads // 3)]]
    with steps("backup") as progress:
        pairs = sweep_pairs(
            model, task, chosen, value="patch", max_memory=settings.max_memory, progress=progress
        )
    both, low, high = interaction(pairs, seed=settings.seed)
    rows = [
        page.BackupPair(
            chosen[i],
            chosen[j],
            Interval(float(both[i, j]), float(low[i, j]), float(high[i, j]), 0.95, len(task)),
        )
        for i, j in itertools.combinations(range(len(chosen)), 2)
    ]
    return tuple(sorted(rows, key=lambda row: -abs(row.interaction.estimate)))
