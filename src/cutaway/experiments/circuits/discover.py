"""`cutaway circuit discover`: the search, a first test on other prompts, and the report."""

from __future__ import annotations

import dataclasses
from typing import Any

from ...circuits.circuit import require_edges
from ...circuits.discovery import circuit_of, score
from ...circuits.discovery.discover import parse_settings
from ...circuits.discovery.settings import DiscoverySettings
from ...circuits.evaluation import Trial, faithfulness
from ...circuits.scores import EdgeScores
from ...evidence import Interval, bootstrap_ratio
from ...findings import RunFolder
from ...views.circuit_report import DiscoveryData, discovery_report
from ...views.circuit_sentences import of_discovery
from ..opening import open_model
from ..saving import FinishedRun, origin
from ..steps import Show, Steps, Tell
from ..tasks import check_baseline, check_task
from .find import FILE
from .prompts import search_and_test
from .settings import OF_METHOD, DiscoverSettings


def run_discover(
    settings: DiscoverSettings,
    show: Show = lambda name, share: None,
    tell: Tell = lambda line: None,
) -> FinishedRun:
    """Look for a circuit and save it.

    Args:
        settings: method, size, model, task, where to save.
        show: told how far each step is.
        tell: told what is worth knowing before the work begins; here nothing is.

    Raises:
        ValueError: a model, task or method that is not there; an option that the method lacks; no
            edge that large.

    Example:
        >>> finished = run_discover(DiscoverSettings(method="eap-ig", n_edges=40))
        >>> Circuit.load(finished.folder / "circuit.json")
    """
    chosen = _chosen(settings)
    check_task(settings)
    with RunFolder.create(settings.out, settings.command, settings) as run:
        steps = Steps(run, show)
        model = open_model(run, steps, settings)
        with steps("baseline"):
            task, fresh = search_and_test(model, settings)
            baseline = fresh.baseline(model, seed=settings.seed)
            check_baseline(task.baseline(model, seed=settings.seed))
            check_baseline(baseline)
        with steps(f"search: {settings.method}") as progress:
            scores = score(model, task, settings.method, chosen, progress=progress)
            circuit = circuit_of(model, task, scores, chosen)
            require_edges(circuit, "save: no edge is that large")
        with steps("run it alone"):
            trial = Trial(model, fresh, circuit, max_memory=settings.max_memory)
            faithful = faithfulness(trial, settings.n_random, settings.seed)
        described = {**_asked(settings), **origin(run.record, settings.device)}
        timings = {**run.timings, "all": run.record["seconds"]}
        intervals = _intervals(scores, circuit.edges, settings.seed)
        data = DiscoveryData(circuit, intervals, faithful, baseline, described, timings)
        summary = of_discovery(data)
        circuit.save(run.file(FILE))
        run.save_arrays({"scores": scores.values})
        if scores.effects is not None:
            scores.effects.save(run.file("effects/edges.safetensors"))
        run.save_results(
            {
                "summary": summary,
                "faithfulness": faithful,
                "edges": circuit.to_frame(),
                "intervals": intervals,
                "notes": circuit.notes,
            }
        )
        run.save_report(discovery_report(data).html())
    return FinishedRun(run.path, summary)


def _chosen(settings: DiscoverSettings) -> DiscoverySettings:
    """The method's settings: those that were given.

    Raises:
        CircuitError: an unknown method, or an option that it does not have.
    """
    given: dict[str, Any] = {
        name: getattr(settings, name) for name in OF_METHOD if getattr(settings, name) is not None
    }
    given |= {"n_edges": settings.n_edges, "seed": settings.seed}
    return parse_settings(settings.method, {**given, "max_memory": settings.max_memory})


def _intervals(scores: EdgeScores, edges: tuple[str, ...], seed: int) -> dict[str, Interval]:
    """The interval of each edge's effect, where the method has a value for every prompt."""
    effects = scores.effects
    if effects is None:
        return {}
    number = {name: i for i, name in enumerate(effects.axes[0].labels)}
    rows = [number[name] for name in edges]
    gap = effects.clean - effects.corrupted
    ends = bootstrap_ratio(effects.per_prompt[rows], gap, seed=seed)
    return {
        name: Interval(float(estimate), float(low), float(high), 0.95, len(gap))
        for name, estimate, low, high in zip(edges, *ends, strict=True)
    }


def _asked(settings: DiscoverSettings) -> dict[str, str]:
    """What was asked for, in the words of the command line."""
    hidden = ("out", "device", "max_memory_gib")
    return {
        name.replace("_", " "): str(value)
        for name, value in dataclasses.asdict(settings).items()
        if value is not None and name not in hidden
    }
