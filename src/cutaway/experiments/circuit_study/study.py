"""The circuit study, step by step: search by several methods, compare, test, repeat."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import evidence
from ...circuits.circuit import Circuit
from ...circuits.discovery import METHODS, circuit_of, score
from ...circuits.discovery.discover import parse_settings
from ...circuits.evaluation import (
    Evaluation,
    How,
    Stability,
    Trial,
    evaluate,
    faithfulness,
    stability,
    stability_over_prompts,
    sufficiency_curve,
)
from ...circuits.hypothesis_tests import HypothesisTests, hypothesis_tests
from ...circuits.random_circuits import random_circuits
from ...circuits.runs import CircuitRuns
from ...circuits.scores import EdgeScores
from ...circuits.wiring import Wiring
from ...model.transformer import HookedTransformer
from ...tasks.task import Task
from ...views import circuit_story_data as page
from ..steps import Steps
from .settings import CircuitStudySettings

OUTSIDE = ("patch", "zero", "mean", "resample")
_STABILITY = "eap-ig"  # of the methods that can be run many times


@dataclass(frozen=True)
class Found:
    """What every method found on one set of prompts."""

    scores: dict[str, EdgeScores]
    circuits: dict[str, Circuit]
    seconds: dict[str, float]


def search(
    model: HookedTransformer, task: Task, settings: CircuitStudySettings, steps: Steps
) -> Found:
    """Every method's scores and its circuit, of the same size."""
    scores, circuits, seconds = {}, {}, {}
    for method in settings.methods:
        chosen = method_settings(settings, method)
        with steps(f"search: {method}") as progress:
            start = time.perf_counter()
            scores[method] = score(model, task, method, chosen, progress=progress)
            seconds[method] = time.perf_counter() - start
            circuits[method] = circuit_of(model, task, scores[method], chosen)
    return Found(scores, circuits, seconds)


def method_settings(settings: CircuitStudySettings, method: str) -> Any:
    """A method's settings from those of the study."""
    asked: dict[str, Any] = {"n_edges": settings.n_edges, "max_memory": settings.max_memory}
    if method == "acdc":
        asked["tau"] = settings.tau
    if "seed" in METHODS[method].settings.__dataclass_fields__:
        asked["seed"] = settings.seed
    return parse_settings(method, asked)


def methods_table(
    model: HookedTransformer,
    fresh: Task,
    found: Found,
    settings: CircuitStudySettings,
    steps: Steps,
) -> tuple[page.MethodRow, ...]:
    """Each method on prompts that it has not seen: its circuit, and its curve over sizes."""
    runs = CircuitRuns(model, fresh, max_memory=settings.max_memory)
    rows = []
    for method, scores in found.scores.items():
        with steps(f"curve: {method}") as progress:
            curve = sufficiency_curve(
                runs, scores, n_random=settings.n_random, seed=settings.seed, progress=progress
            )
            trial = Trial(model, fresh, found.circuits[method], max_memory=settings.max_memory)
            (alone,) = trial.measure([trial.matrix])
        rows.append(
            page.MethodRow(
                found.circuits[method],
                found.seconds[method],
                trial.share(alone - trial.empty, settings.seed),
                curve,
            )
        )
    return tuple(rows)


def agreement(found: Found, settings: CircuitStudySettings) -> page.Agreement:
    """Every two methods: shared edges, shared nodes, and the order of all edges."""
    names = tuple(found.circuits)
    circuits = list(found.circuits.values())
    sizes = [np.abs(scores.values) for scores in found.scores.values()]
    edges, nodes, scores = (np.ones((len(names), len(names))) for _ in range(3))
    for i, j in itertools.combinations(range(len(names)), 2):
        edges[i, j] = edges[j, i] = circuits[i].jaccard(circuits[j])
        nodes[i, j] = nodes[j, i] = circuits[i].jaccard(circuits[j], of="nodes")
        ranked = evidence.correlation(evidence.ranks(sizes[i]), evidence.ranks(sizes[j]))
        scores[i, j] = scores[j, i] = float(ranked)
    wiring = Wiring(circuits[0].cfg)
    drawn = [
        Circuit(wiring.cfg, wiring.names(matrix))
        for matrix in random_circuits(wiring, len(circuits[0]), settings.n_random, settings.seed)
    ]
    pairs = list(itertools.combinations(drawn, 2)) or [(drawn[0], drawn[0])]
    return page.Agreement(
        names,
        edges,
        nodes,
        scores,
        float(np.mean([a.jaccard(b) for a, b in pairs])),
        float(np.mean([a.jaccard(b, of="nodes") for a, b in pairs])),
    )


def tested(
    model: HookedTransformer,
    fresh: Task,
    circuit: Circuit,
    settings: CircuitStudySettings,
    steps: Steps,
) -> tuple[Evaluation, HypothesisTests]:
    """The circuit run alone: faithful, complete, minimal; and its hypothesis tests."""
    with steps("evaluate") as progress:
        evaluation = evaluate(
            model,
            fresh,
            circuit,
            minimal="edges",
            n_random=settings.n_random,
            seed=settings.seed,
            max_memory=settings.max_memory,
            progress=progress,
        )
    with steps("hypothesis tests"):
        runs = CircuitRuns(model, fresh, max_memory=settings.max_memory)
        tests = hypothesis_tests(runs, circuit)
    return evaluation, tests


def choices(
    model: HookedTransformer,
    fresh: Task,
    circuit: Circuit,
    settings: CircuitStudySettings,
    steps: Steps,
) -> tuple[page.Choice, ...]:
    """The same circuit, run alone in every way: how much the choice moves the number."""
    rows = []
    with steps("other ways to run it") as progress:
        ways = list(itertools.product(("edges", "nodes"), OUTSIDE))
        for done, (level, outside) in enumerate(ways):
            how = How(outside, "edges" if level == "edges" else "nodes")
            trial = Trial(model, fresh, circuit, how, max_memory=settings.max_memory)
            rows.append(
                page.Choice(level, outside, faithfulness(trial, settings.n_random, settings.seed))
            )
            progress((done + 1) / len(ways))
    return tuple(rows)


def stabilities(
    model: HookedTransformer,
    tasks: Sequence[Task],
    found: Found,
    settings: CircuitStudySettings,
    steps: Steps,
) -> tuple[Stability, ...]:
    """The search again, on resamples of its prompts and on other prompts."""
    rows = []
    first = found.scores[settings.methods[0]]
    with steps("stability") as progress:
        if first.effects is not None:
            rows.append(stability_over_prompts(first, settings.n_edges, seed=settings.seed))
        if len(tasks) > 1:
            rows.append(
                stability(
                    model,
                    tasks,
                    _STABILITY,
                    seed=settings.seed,
                    progress=progress,
                    n_edges=settings.n_edges,
                    max_memory=settings.max_memory,
                )
            )
    return tuple(rows)
