"""What `cutaway circuit` found, in words. Every sentence is chosen by a stated rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..circuits.circuit import Circuit
from ..circuits.compare import Chance
from ..circuits.evaluation import Completeness, Faithfulness, Minimality
from ..circuits.hypothesis_tests import HypothesisTests
from .circuit_data import effect_digits
from .numbers import interval_text, number, percent

if TYPE_CHECKING:
    from .circuit_report import ComparisonData, DiscoveryData, EvaluationData

_N_NAMED = 5


def of_discovery(data: DiscoveryData) -> tuple[str, ...]:
    """The circuit, its strongest edges, and what it does alone."""
    circuit = data.circuit
    found = [size(circuit), faithful(data.faithfulness)]
    if circuit.effects:
        strongest = sorted(circuit.effects, key=lambda name: -abs(circuit.effects[name]))
        named = ", ".join(
            f"{name} ({number(circuit.effects[name], 3)})" for name in strongest[:_N_NAMED]
        )
        found.append(f"The strongest edges are {named}.")
    return (*found, *circuit.notes)


def of_evaluation(data: EvaluationData) -> tuple[str, ...]:
    """Faithful, complete, minimal; and what is shaky about it."""
    one = data.evaluation
    found = [
        size(one.circuit),
        faithful(one.faithfulness),
        complete(one.completeness),
        minimal(one.minimality),
    ]
    if data.tests is not None:
        found.append(tests(data.tests))
    return tuple(found)


def of_comparison(data: ComparisonData) -> tuple[str, ...]:
    """How much the two share, beside chance."""
    if data.paper is not None:
        heads = data.paper.heads
        precision = "" if heads.precision is None else interval_text(heads.precision)
        return (
            f"Of the {len(heads.published)} published heads, {len(heads.shared)} "
            f"{'is' if len(heads.shared) == 1 else 'are'} among the "
            f"{len(heads.found)} that were found: recall {interval_text(heads.recall)}"
            + (f", precision {precision}." if precision else "."),
            f"As many heads drawn at random would hold {_chance(heads.chance)}; with as many in "
            f"each layer, {_chance(heads.chance_in_layers)}.",
        )
    other = data.second
    assert other is not None
    both = len(data.first & other)
    n_pairs = len(data.random_edges)
    return (
        f"{data.first_name} has {len(data.first)} edges and {data.second_name} {len(other)}; "
        f"{both} are in both.",
        f"Shared edges (Jaccard): {number(data.first.jaccard(other))}; {n_pairs} pairs of "
        f"random circuits of these sizes share {number(float(data.random_edges.mean()))} on "
        "average and "
        f"{number(float(data.random_edges.max()))} at most.",
        f"Shared nodes: {number(data.first.jaccard(other, of='nodes'))}; random circuits "
        f"{number(float(data.random_nodes.mean()))} on average and "
        f"{number(float(data.random_nodes.max()))} at most.",
        *unlike(data.first, other),
    )


def unlike(first: Circuit, second: Circuit) -> tuple[str, ...]:
    """What sets two circuits apart besides how they were found: other weights, another task."""
    found = []
    if first.digest and second.digest and first.digest != second.digest:
        found.append(
            f"They are of different weights ({first.digest[:12]} and {second.digest[:12]}): heads "
            "of one name need not be the same heads."
        )
    if first.task != second.task:
        tasks = [circuit.task or "no task" for circuit in (first, second)]
        found.append(f"They were found on different tasks, {tasks[0]} and {tasks[1]}.")
    return tuple(found)


def _chance(chance: Chance) -> str:
    return f"{number(chance.expected)} of them (p = {chance.p_value:.2g})"


def size(circuit: Circuit) -> str:
    """How large it is, and how it was found."""
    n_all = len(circuit.graph.edge_names)
    n_mlps = sum(name.startswith("mlp") for name in circuit.nodes)
    return (
        f"By {circuit.method}, {len(circuit)} of the {n_all:,} edges of {circuit.cfg.model_name} "
        f"({percent(len(circuit) / n_all)}) form the circuit of {circuit.task or 'no task'}: "
        f"{len(circuit.heads)} heads and {n_mlps} MLPs."
    )


def faithful(found: Faithfulness) -> str:
    """What it does alone, beside random circuits."""
    return (
        f"Alone, the circuit keeps {interval_text(found.ratio)} of what the whole model does "
        f"({found.how}); {len(found.random)} random circuits of its size keep "
        f"{number(float(found.random.mean()))} on average and "
        f"{number(float(found.random.max()))} at most."
    )


def complete(found: Completeness) -> str:
    """How far circuit and model are apart when parts are taken out of both."""
    worst = ", ".join(found.worst.without) or "nothing"
    return (
        f"With random parts out of both, circuit and model are {number(found.mean_gap)} apart on "
        f"average (random circuits: {number(float(found.random_circuits.mean()))}); at worst, "
        f"without {worst}, {interval_text(found.worst.gap)}."
    )


def minimal(found: Minimality) -> str:
    """Which parts are needed."""
    idle = found.not_needed
    if not idle:
        return f"All of its {len(found.parts)} {found.of} are needed."
    bar = number(found.threshold, effect_digits(found.threshold))
    named = ", ".join(idle[:_N_NAMED]) + (" and others" if len(idle) > _N_NAMED else "")
    return (
        f"{len(found.parts) - len(idle)} of its {len(found.parts)} {found.of} are needed: taking "
        f"out any of them changes the metric by more than {bar}, which "
        f"{found.of} added at random seldom exceed. Not needed by this measure: {named}."
    )


def tests(found: HypothesisTests) -> str:
    """The hypothesis tests, each in a few words."""
    said = [
        f"{test.name} {'rejected' if test.rejected() else 'not rejected'} (p = {test.p_value:.3g})"
        for test in found.all()
    ]
    controls = [
        f"; {name}: {value:.3g}"
        for name, value in found.independence.controls.items()
        if name.startswith("p ")
    ]
    return (
        "Hypothesis tests (Shi et al. 2024), nulls at 0.05: "
        + ", ".join(said)
        + ". Rejecting equivalence, independence or minimality speaks against the circuit, "
        "rejecting the nulls of sufficiency and partial necessity for it. Independence says "
        f"nothing where its control is rejected too{''.join(controls)}."
    )
