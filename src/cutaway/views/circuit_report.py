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
from .bars import Bar, BarsView
from .circuit_graph import CircuitGraphView
from .circuit_sections import (
    completeness_table,
    faithfulness_bars,
    faithfulness_table,
    hypothesis_table,
    minimality_table,
    published_table,
)
from .circuit_tables import edges_table, nodes_table, origin_table, shared_and_only
from .key_numbers import KeyNumber, KeyNumbers
from .layout import Disclosure, Items, Note, Section
from .numbers import number
from .origin_section import how_it_was_made
from .page import Page
from .view import Part

Floats = NDArray[np.float64]
_ALONE = (
    "On prompts that the search has not seen, everything outside the circuit at its value in the "
    "corrupted prompt."
)
_NO_INTERVALS = "This method has one number for all prompts together, so its effects stand bare."
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
        Section(
            "The circuit",
            *_graph(circuit, data.intervals),
            *([] if data.intervals or not circuit.effects else [_NO_INTERVALS]),
            edges_table(circuit, data.intervals),
            nodes_table(circuit),
        ),
        Section("Run alone", _ALONE, *faithfulness_bars(found), faithfulness_table(found)),
        _method(data.settings, data.timings, circuit),
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
    short: list[Part] = [KeyNumbers(numbers)]
    if data.warnings:
        short.append(Note("caution", *data.warnings))
    short.append(Items(say.of_evaluation(data)))
    tests = [] if data.tests is None else [hypothesis_table(data.tests)]
    page.add(
        Section("In short", *short),
        Section("Faithfulness", *faithfulness_bars(found), faithfulness_table(found)),
        Section("Completeness", completeness_table(one.completeness)),
        Section("Minimality", minimality_table(one.minimality)),
        *([Section("Hypothesis tests", *tests)] if tests else []),
        Section("The circuit", *_graph(circuit, {}), edges_table(circuit), nodes_table(circuit)),
        _method(data.settings, data.timings, circuit),
    )
    return page


def comparison_report(data: ComparisonData) -> Page:
    """The report of `cutaway circuit compare`."""
    if data.paper is not None:
        return _beside_published(data, data.paper)
    other = data.second
    assert other is not None
    names = (data.first_name, data.second_name)
    page = _page(f"{names[0]} beside {names[1]}", "What do the two share?", data.first)
    shared = data.first.jaccard(other), data.first.jaccard(other, of="nodes")
    numbers = (
        KeyNumber("Edges in both", len(data.first & other), f"of {len(data.first | other)}"),
        KeyNumber("Shared edges", shared[0], "Jaccard index"),
        KeyNumber("Shared nodes", shared[1], "Jaccard index"),
    )
    beside_chance = BarsView(
        (
            Bar("edges", shared[0], "", data.random_edges),
            Bar("nodes", shared[1], "", data.random_nodes),
        ),
        title="Shared, beside random circuits",
        caption="A Jaccard index is no mean over prompts and has no interval; pairs of random "
        "connected circuits of the same two sizes say what chance gives.",
        value_label="in both / in either",
        dots_name="one pair of random circuits",
    )
    page.add(
        Section("In short", KeyNumbers(numbers), Items(say.of_comparison(data)), beside_chance),
        Section(
            "Both in one drawing",
            CircuitGraphView(data.first, other=other, names=names),
            *shared_and_only(data.first, other, names),
        ),
        _method(
            data.settings,
            {},
            None,
            *(
                origin_table(circuit, f"How {name} was found")
                for name, circuit in zip(names, (data.first, other), strict=True)
            ),
        ),
    )
    return page


def _beside_published(data: ComparisonData, paper: CircuitComparison) -> Page:
    """A circuit beside a published one: only its heads and MLPs can be compared."""
    known, heads = paper.published, paper.heads
    page = _page(
        f"{data.first_name} beside {known.name}, as published",
        "Which of the published heads are in it?",
        data.first,
    )
    by_chance = f"by chance {number(heads.chance.expected)}"
    numbers = (
        KeyNumber("Published heads", f"{len(heads.shared)}", f"of {len(heads.published)}"),
        KeyNumber("Recall", heads.recall, by_chance),
        *([] if heads.precision is None else [KeyNumber("Precision", heads.precision)]),
        KeyNumber("Jaccard", heads.jaccard, f"by chance {number(heads.jaccard_by_chance)}"),
    )
    beside = [f"{why}: {', '.join(nodes)}." for why, nodes in paper.not_counted.items()]
    classes = {name: kind for kind, nodes in known.classes.items() for name in nodes}
    found = [Disclosure("Found, and counted neither way", Items(tuple(beside)))] if beside else []
    notes = [Disclosure("Notes on the published circuit", Items(known.notes))]
    sources = Items(tuple(f"{one.citation} ({one.where}) {one.url}" for one in known.sources))
    page.add(
        Section("In short", KeyNumbers(numbers), Items(say.of_comparison(data))),
        Section("Class by class", published_table(paper), *found, *(notes if known.notes else [])),
        Section("The circuit", CircuitGraphView(data.first, node_classes=classes)),
        _method(data.settings, {}, data.first, Disclosure("Sources", sources)),
    )
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


def _method(
    settings: dict[str, str],
    timings: dict[str, float],
    circuit: Circuit | None = None,
    *more: Part,
) -> Section:
    found = [] if circuit is None else [origin_table(circuit)]
    return how_it_was_made(settings, timings, *found, *more)
