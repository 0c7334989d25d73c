"""The pages of `cutaway circuit discover`, `evaluate` and `compare`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..circuits.circuit import Circuit
from ..circuits.compare import CircuitComparison
from ..circuits.evaluation import Evaluation, Faithfulness
from ..circuits.hypothesis_tests import HypothesisTests
from ..evidence import Interval
from ..tasks.task import Baseline
from . import circuit_sentences as say
from .circuit_graph import CircuitGraphView
from .circuit_sections import (
    completeness_table,
    faithfulness_bars,
    hypothesis_table,
    minimality_table,
    published_table,
)
from .key_numbers import KeyNumber, KeyNumbers
from .layout import Disclosure, Items, Note, Section
from .numbers import number
from .page import Page
from .table import Cell, Column, TableView
from .view import Part

Floats = NDArray[np.float64]
_FOOTER = "Written by Cutaway. This file needs no network and fetches nothing."


@dataclass(frozen=True)
class DiscoveryData:
    """What a search found."""

    circuit: Circuit
    intervals: Mapping[str, Interval]
    """Of the edges' effects; empty where the method has one value for all prompts."""
    faithfulness: Faithfulness
    """On prompts that it was not found on."""
    baseline: Baseline
    settings: dict[str, str] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class EvaluationData:
    """What a circuit is worth."""

    evaluation: Evaluation
    tests: HypothesisTests | None
    baseline: Baseline
    warnings: tuple[str, ...] = ()
    settings: dict[str, str] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ComparisonData:
    """A circuit beside another one (`second`), or beside a published one (`paper`)."""

    first: Circuit
    first_name: str
    second: Circuit | None = None
    second_name: str = ""
    random_edges: Floats = field(default_factory=lambda: np.empty(0))
    """Jaccard index of edges of each pair of random circuits of the two sizes."""
    random_nodes: Floats = field(default_factory=lambda: np.empty(0))
    paper: CircuitComparison | None = None
    settings: dict[str, str] = field(default_factory=dict)


def discovery_report(data: DiscoveryData) -> Page:
    """The report of `cutaway circuit discover`."""
    circuit, found = data.circuit, data.faithfulness
    page = _page(
        f"A circuit of {circuit.task} in {circuit.cfg.model_name}",
        "Which connections between the parts of the model do the task?",
        circuit,
    )
    numbers = (
        KeyNumber("Edges", len(circuit), f"of {len(circuit.graph.edge_names):,}"),
        KeyNumber("Faithfulness", found.ratio, "alone, on other prompts"),
        KeyNumber("Random circuits", float(found.random.mean()), _most(found)),
        KeyNumber(data.baseline.metric.capitalize(), data.baseline.clean, "whole model"),
    )
    page.add(
        Section("In short", KeyNumbers(numbers), Items(say.of_discovery(data))),
        Section("The circuit", *_graph(circuit, data.intervals), _edges(data)),
        Section("Run alone", *faithfulness_bars(found)),
        _method(data.settings, data.timings),
    )
    return page


def evaluation_report(data: EvaluationData) -> Page:
    """The report of `cutaway circuit evaluate`."""
    one = data.evaluation
    circuit, found = one.circuit, one.faithfulness
    page = _page(
        f"A circuit of {circuit.task} in {circuit.cfg.model_name}, put to the test",
        "Run alone, does it do what the whole model does; does it hold all of it; is every part "
        "needed?",
        circuit,
    )
    numbers = (
        KeyNumber("Faithfulness", found.ratio, one.how),
        KeyNumber("Random circuits", float(found.random.mean()), _most(found)),
        KeyNumber("Worst gap", one.completeness.worst.gap, "completeness, greedy"),
        KeyNumber(
            f"{one.minimality.of.capitalize()} needed",
            f"{len(one.minimality.parts) - len(one.minimality.not_needed)}",
            f"of {len(one.minimality.parts)}",
        ),
    )
    short: list[Part] = [KeyNumbers(numbers), Items(say.of_evaluation(data))]
    if data.warnings:
        short.append(Note("caution", *data.warnings))
    tests = [] if data.tests is None else [hypothesis_table(data.tests)]
    page.add(
        Section("In short", *short),
        Section("Faithfulness", *faithfulness_bars(found)),
        Section("Completeness", completeness_table(one.completeness)),
        Section("Minimality", minimality_table(one.minimality)),
        *([Section("Hypothesis tests", *tests)] if tests else []),
        Section("The circuit", *_graph(circuit, {})),
        _method(data.settings, data.timings),
    )
    return page


def comparison_report(data: ComparisonData) -> Page:
    """The report of `cutaway circuit compare`."""
    title = data.paper.published.name if data.paper is not None else data.second_name
    page = _page(f"{data.first_name} beside {title}", "What do the two share?", data.first)
    page.add(Section("In short", Items(say.of_comparison(data))))
    if data.paper is not None:
        page.add(
            Section("Class by class", published_table(data.paper)),
            Section("The circuit", *_graph(data.first, {})),
        )
    else:
        view = CircuitGraphView(
            data.first, other=data.second, names=(data.first_name, data.second_name)
        )
        page.add(Section("Both in one drawing", view))
    page.add(_method(data.settings, {}))
    return page


def _page(title: str, question: str, circuit: Circuit) -> Page:
    facts = {
        "model": circuit.cfg.model_name,
        "task": circuit.task,
        "method": circuit.method,
        "edges": str(len(circuit)),
    }
    shown = tuple((name, value) for name, value in facts.items() if value)
    return Page(title, question, facts=shown, footer=_FOOTER)


def _most(found: Faithfulness) -> str:
    return (
        f"mean of {len(found.random)} of the same size; at most {number(float(found.random.max()))}"
    )


def _graph(circuit: Circuit, intervals: Mapping[str, Interval]) -> list[Part]:
    parts: list[Part] = [CircuitGraphView(circuit, intervals=intervals)]
    return [*parts, Note("caution", *circuit.notes)] if circuit.notes else parts


def _edges(data: DiscoveryData) -> Disclosure:
    circuit = data.circuit
    ordered = sorted(circuit.edges, key=lambda name: -abs(circuit.effects.get(name, 0.0)))
    rows: list[list[Cell]] = []
    for name in ordered:
        sender, _, receiver = name.partition("->")
        rows.append(
            [sender, receiver, data.intervals.get(name, circuit.effects.get(name, float("nan")))]
        )
    unit = str(circuit.settings.get("unit", ""))
    table = TableView(
        ("from", "to", Column("effect", "right", 3)),
        rows,
        caption=f"In {unit}. Positive: the edge helps the answer." if unit else "",
    )
    return Disclosure(f"All {len(rows)} edges, the strongest first", table)


def _method(settings: dict[str, str], timings: dict[str, float]) -> Section:
    parts: list[Part] = [
        Disclosure("Settings of this run", TableView(("setting", "value"), list(settings.items())))
    ]
    if timings:
        rows = list(timings.items())
        table = TableView(("step", Column("seconds", "right", 1)), rows)
        parts.append(Disclosure("Time taken", table))
    return Section("How this was made", *parts)
