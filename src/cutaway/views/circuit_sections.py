"""Tables and figures of what a circuit is worth, shared by the reports on circuits."""

from __future__ import annotations

from ..circuits.compare import CircuitComparison
from ..circuits.evaluation import Completeness, Faithfulness, Minimality
from ..circuits.hypothesis_tests import HypothesisTests
from .bars import Bar, BarsView
from .layout import Disclosure
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
        f"measured on the other half. Mean gap of random circuits: "
        f"{found.random_circuits.mean():.2f}.",
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
        f"{found.threshold:.3f}.",
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
        "shown. " + " ".join(f"{name}: not run, {why}" for name, why in tests.not_run.items()),
    )


def published_table(found: CircuitComparison) -> TableView:
    """Found beside published, all nodes and class by class."""
    frame = found.to_frame()
    heads = list(frame[0])
    return TableView(
        [name.replace("_", " ") for name in heads],
        [[_cell(row[name]) for name in heads] for row in frame],
        title="Beside the published circuit",
    )


def _cell(value: object) -> Cell:
    return value if isinstance(value, int | float | str) or value is None else str(value)
