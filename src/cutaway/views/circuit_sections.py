"""Tables and figures of what a circuit is worth, shared by the reports on circuits."""

from __future__ import annotations

import numpy as np

from ..circuits.compare import Chance, CircuitComparison, Overlap
from ..circuits.evaluation import Completeness, Faithfulness, Minimality
from ..circuits.hypothesis_tests import HypothesisTests
from ..evidence import Interval
from .bars import Bar, BarsView
from .circuit_data import effect_digits
from .layout import Disclosure
from .numbers import number
from .table import Cell, Column, TableView

_SMALLEST_P = 0.0001


def faithfulness_bars(found: Faithfulness) -> tuple[BarsView, BarsView]:
    """The metric of model, circuit and empty circuit; and the ratio beside random circuits."""
    bars = BarsView(
        (
            Bar("whole model", found.model),
            Bar("the circuit alone", found.circuit),
            Bar("empty circuit", found.empty),
        ),
        title=f"The {found.metric} of the circuit alone",
        caption=f"Means over {found.model.n} prompts. Run as: {found.how}.",
        value_label=found.metric,
    )
    random = BarsView(
        (Bar("the circuit", found.ratio, "", found.random),),
        title="Beside random circuits",
        caption="Faithfulness of the circuit, and of random connected circuits of as many edges.",
        value_label="(circuit − empty) / (model − empty)",
        dots_name="one random circuit",
    )
    return bars, random


def faithfulness_table(found: Faithfulness) -> TableView:
    """Ratio and difference with their intervals, each beside the same of random circuits."""
    gap = found.model.estimate - found.empty.estimate
    differences = gap * (1 - found.random)  # model - circuit, since the ratio is of mean metrics
    near = found.random_at_least_as_faithful
    return TableView(
        (
            "",
            Column("the circuit", "right"),
            Column("random, mean", "right"),
            Column("random, least", "right"),
            Column("random, most", "right"),
        ),
        [
            [name, value, *(float(of(random)) for of in (np.mean, np.min, np.max))]
            for name, value, random in (
                ("(circuit − empty) / (model − empty)", found.ratio, found.random),
                (f"model − circuit, in {found.metric}", found.difference, differences),
            )
        ],
        title="As numbers",
        caption=f"{near} of {len(found.random)} random circuits have a ratio as near to 1, or "
        "nearer.",
    )


def completeness_table(found: Completeness) -> TableView:
    """Circuit and model without the same parts."""
    sets = [("nothing", found.nothing), ("the worst set, greedily", found.worst)]
    sets += [(f"random set {i + 1}", one) for i, one in enumerate(found.random[:6])]
    return TableView(
        (
            "out of both",
            "which",
            Column("circuit", "right"),
            Column("model", "right"),
            Column("model − circuit", "right"),
        ),
        [
            [name, ", ".join(one.without) or "-", one.circuit, one.model, one.gap]
            for name, one in sets
        ],
        title="Completeness: the same parts out of circuit and model",
        caption="As shares of model − empty. The worst set was chosen on half of the prompts and "
        f"measured on the other half. Mean |gap| over {len(found.random)} random sets: "
        f"{number(found.mean_gap)}; of {len(found.random_circuits)} random circuits: "
        f"{number(float(found.random_circuits.mean()))} (least "
        f"{number(float(found.random_circuits.min()))}).",
    )


def minimality_table(found: Minimality) -> Disclosure:
    """What each part is worth, folded away."""
    parts = sorted(found.parts, key=lambda one: -abs(one.change.estimate))
    table = TableView(
        (
            found.of.removesuffix("s"),
            "with these out already",
            Column("what it is worth", "right", 3),
        ),
        [[one.part, ", ".join(one.without) or "-", one.change] for one in parts],
        caption="The change when it is taken out, as a share of model − empty. The set K that "
        "shows most was chosen on half of the prompts, the number is from the other half. Of "
        f"{len(found.strangers)} {found.of} added at random, 95% are worth less than "
        f"{number(found.threshold, effect_digits(found.threshold))}.",
    )
    return Disclosure(f"Minimality: what each of the {len(parts)} {found.of} is worth", table)


def hypothesis_table(tests: HypothesisTests) -> TableView:
    """The hypothesis tests that were run, and why others were not."""
    return TableView(
        (
            "test",
            "the null is that",
            Column("p", "right", 4),
            "interval of",
            Column("", "right", 3),
        ),
        [
            [
                test.name,
                test.null,
                f"{test.p_value:.4f}" if test.p_value >= _SMALLEST_P else f"< {_SMALLEST_P}",
                f"{test.interval_of} ({test.n} {test.n_of})",
                test.interval,
            ]
            for test in tests.all()
        ],
        title="Hypothesis tests",
        caption="Rejecting one of the first three speaks against the circuit, rejecting "
        "sufficiency or partial necessity for it. A null that is not rejected is not thereby "
        f"shown. All are of the circuit's edges at all positions, outside: {tests.outside}. "
        + " ".join(f"{name}: not run, {why}" for name, why in tests.not_run.items()),
    )


def published_table(found: CircuitComparison) -> TableView:
    """Found beside published, all nodes and class by class, each with both controls."""
    wholes = {"all heads": found.heads}
    if found.mlps is not None:
        wholes["all MLPs"] = found.mlps
    rows = [_overlap_row(name, one, one.precision) for name, one in wholes.items()]
    rows += [_overlap_row(name, one, None) for name, one in found.classes.items()]
    jaccard = "; ".join(
        f"{name} {number(one.jaccard)} (by chance {number(one.jaccard_by_chance)})"
        for name, one in wholes.items()
    )
    return TableView(
        (
            "nodes",
            Column("shared", "right"),
            Column("recall", "right"),
            Column("precision", "right"),
            Column("by chance", "right"),
            Column("in layers", "right"),
            "missed",
        ),
        rows,
        title="Beside the published circuit",
        caption="Shared: found, of those published. By chance: how many of them a random choice "
        "of as many nodes would hold, and the probability of at least as many as were found; in "
        "layers: of a random choice of as many in each layer. Intervals are Wilson's, as if nodes "
        f"were independent draws. Jaccard index: {jaccard}.",
    )


def _overlap_row(name: str, one: Overlap, precision: Interval | None) -> list[Cell]:
    shared = f"{len(one.shared)} of {len(one.published)}"
    chances = (_chance(one.chance), _chance(one.chance_in_layers))
    return [name, shared, one.recall, precision, *chances, ", ".join(one.missed)]


def _chance(found: Chance) -> str:
    p_value = f"= {found.p_value:.2g}" if found.p_value >= _SMALLEST_P else f"< {_SMALLEST_P}"
    return f"{number(found.expected)}, p {p_value}"
