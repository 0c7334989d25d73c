"""`cutaway circuit compare`: two circuits, or one beside a published one."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ...circuits.circuit import Circuit, require_edges
from ...circuits.compare import compare_heads
from ...circuits.published import PUBLISHED, published
from ...circuits.random_circuits import random_circuits
from ...findings import RunFolder
from ...views.circuit_report import ComparisonData, comparison_report
from ...views.circuit_sentences import of_comparison
from ..saving import FinishedRun, origin
from ..steps import Show, Steps, Tell
from .find import find_circuit
from .settings import CompareSettings


def run_compare(
    settings: CompareSettings,
    show: Show = lambda name, share: None,
    tell: Tell = lambda line: None,
) -> FinishedRun:
    """Compare and save.

    Raises:
        CircuitError: a circuit that is not there or is empty; circuits of models of different
            shapes.
        ValueError: a published circuit of a model of another shape.
    """
    first = find_circuit(settings.first, settings.out)
    settings = dataclasses.replace(settings, first=first.reference(settings.first))
    require_edges(first.circuit, "compare")
    if settings.second in PUBLISHED:
        paper = published(settings.second)
        paper.check_fits(first.circuit.cfg)
        nodes = [name for name in first.circuit.nodes if name != "embed"]
        data = ComparisonData(first.circuit, first.name, paper=compare_heads(nodes, paper))
    else:
        second = find_circuit(settings.second, settings.out)
        settings = dataclasses.replace(settings, second=second.reference(settings.second))
        require_edges(second.circuit, "compare")
        first.circuit.check_same_graph(second.circuit)
        random = _random(first.circuit, second.circuit, settings)
        data = ComparisonData(
            first.circuit,
            first.name,
            second.circuit,
            second.name if second.name != first.name else f"{second.name} (second)",
            random_edges=random[0],
            random_nodes=random[1],
        )
    with RunFolder.create(settings.out, settings.command, settings) as run:
        steps = Steps(run, show)
        with steps("compare"):
            run.describe_model(first.circuit.cfg.model_name, first.circuit.digest)
            data = dataclasses.replace(data, settings=_described(settings, run.record))
            summary = of_comparison(data)
            run.save_results({"summary": summary, **_numbers(data)})
            run.save_report(comparison_report(data).html())
    return FinishedRun(run.path, summary)


def _random(
    first: Circuit, second: Circuit, settings: CompareSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Jaccard indices of pairs of random circuits of the two sizes: of edges, of nodes."""
    wiring = first.wiring
    pairs = [
        (Circuit(first.cfg, wiring.names(a)), Circuit(first.cfg, wiring.names(b)))
        for a, b in zip(
            random_circuits(wiring, len(first), settings.n_random, settings.seed),
            random_circuits(wiring, len(second), settings.n_random, settings.seed + 1),
            strict=True,
        )
    ]
    return (
        np.array([a.jaccard(b) for a, b in pairs]),
        np.array([a.jaccard(b, of="nodes") for a, b in pairs]),
    )


def _described(settings: CompareSettings, record: dict[str, Any]) -> dict[str, str]:
    """What was compared, and by which program; no model was run, and so on no device."""
    asked = {"first": settings.first, "second": settings.second}
    if settings.second not in PUBLISHED:
        asked |= {"random pairs": str(settings.n_random), "seed": str(settings.seed)}
    made = origin(record, "")
    return {**asked, **{name: text for name, text in made.items() if text}}


def _numbers(data: ComparisonData) -> dict[str, Any]:
    if data.paper is not None:
        known = data.paper.published
        return {
            "published": known.name,
            "classes": data.paper.to_frame(),
            "not_counted": data.paper.not_counted,
            "sources": known.sources,
        }
    other = data.second
    assert other is not None
    return {
        "jaccard_edges": data.first.jaccard(other),
        "jaccard_nodes": data.first.jaccard(other, of="nodes"),
        "random_edges": data.random_edges,
        "random_nodes": data.random_nodes,
        "both": (data.first & other).edges,
        "only_first": (data.first - other).edges,
        "only_second": (other - data.first).edges,
    }
