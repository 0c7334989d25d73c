"""The page of `cutaway sae recover`: which known features were found, by which kind."""

from __future__ import annotations

import math

import numpy as np

from .curve import CurveSeries, CurveView
from .key_numbers import KeyNumber, KeyNumbers
from .layout import Disclosure, Items, Section
from .numbers import number, percent
from .origin_section import how_it_was_made
from .page import Page
from .recovery_data import KindRow, RecoveryReportData
from .table import Cell, Column, TableView

_REFERENCES = (
    "Sharkey, Braun and Millidge 2022, Taking features out of superposition with sparse "
    "autoencoders: mean best cosine on known features.",
    "Elhage et al. 2022, Toy Models of Superposition.",
    "Bricken et al. 2023, Towards Monosemanticity: resampling.",
    "Chanin et al. 2024, A is for Absorption.",
    "Kuhn 1955: the assignment. Wilson 1927: intervals of shares.",
)
_ABSORBED = (
    ("absorbed", "absorbed", 2),
    ("alone", "alone", 2),
    ("with a stranger", "with a stranger", 2),
)
_CAUTIONS = (
    "These features are linear, sparse and few, and the dictionary has room for all of them. That "
    "it finds them here is needed, and says little about a language model, where nobody knows the "
    "truth.",
    "The mean best cosine forgives a dictionary that has everything twice, and one with a thousand "
    "features more: precision and uniqueness do not.",
    "A high explained variance without recall is a dictionary of blends.",
)


def findings(data: RecoveryReportData) -> tuple[str, ...]:
    """What the kinds found, in words."""
    chance = float(data.random_best.mean())
    found = [
        f"{len(data.rows)} dictionaries were trained on {data.known}; random directions have a "
        f"mean best cosine of {number(chance)}."
    ]
    for one in sorted(data.kinds, key=lambda kind: -kind.best_cosine):
        text = (
            f"{one.kind} ({_seeds(one.n_seeds)}): mean best cosine {number(one.best_cosine, 4)} "
            f"(worst seed {number(one.lowest, 4)}), recall {percent(one.recall)}, precision "
            f"{percent(one.precision)}, uniqueness "
            f"{'n/a' if math.isnan(one.uniqueness) else percent(one.uniqueness)}, "
            f"{number(one.dead, 1)} dead features, {number(one.resampled, 1)} begun anew; L0 "
            f"{number(one.l0, 1)}, explained variance {percent(one.explained)}, centred bias "
            f"{number(one.bias)}"
        )
        if not math.isnan(one.absorbed):
            text += (
                f", {percent(one.absorbed)} of the parents' rows with a child absorbed (with an "
                f"unrelated feature {percent(one.absorbed_by_strangers)})"
            )
        found.append(text + ".")
    return tuple(found)


def recovery_report(data: RecoveryReportData) -> Page:
    """The report of `cutaway sae recover`.

    Args:
        data: everything measured.

    Example:
        >>> recovery_report(data).html()  # doctest: +SKIP
    """
    page = Page(
        "Do dictionaries find the features that are there?",
        "Activations whose features are known, dictionaries trained on them, and what they found.",
        facts=(
            ("known features", str(data.n_known)),
            ("dimensions", str(data.width)),
            ("dictionaries", str(len(data.rows))),
        ),
        footer="Written by Cutaway. This file needs no network and fetches nothing.",
    )
    best = max(data.kinds, key=lambda kind: kind.best_cosine)
    numbers = KeyNumbers(
        (
            KeyNumber("Best cosine", best.best_cosine, f"on average: {best.kind}", digits=4),
            KeyNumber("Random", float(data.random_best.mean()), "the same of random directions"),
            KeyNumber("Recall", best.recall, f"found at {data.threshold:g} or more", share=True),
            KeyNumber("Dead", best.dead, f"features, {best.kind}", digits=1),
        )
    )
    page.add(
        Section("In short", numbers, Items(findings(data))),
        _kinds(data),
        _found(data),
        _dictionaries(data),
        how_it_was_made(data.settings, data.timings, references=_REFERENCES),
    )
    return page


def _kinds(data: RecoveryReportData) -> Section:
    rows: list[list[Cell]] = [
        [
            one.kind,
            one.n_seeds,
            one.best_cosine,
            one.recall,
            one.precision,
            one.uniqueness,
            one.dead,
            one.l0,
            one.explained,
            one.bias,
            one.agreement,
        ]
        for one in data.kinds
    ]
    rows.append(
        ["random directions", None, float(data.random_best.mean()), *[None] * 7, _chance(data)]
    )
    table = TableView(
        (
            "kind",
            Column("seeds", "right"),
            Column("best cosine", "right", 4),
            Column("recall", "right"),
            Column("precision", "right"),
            Column("unique", "right"),
            Column("dead", "right", 1),
            Column("L0", "right", 1),
            Column("explained", "right"),
            Column("bias", "right"),
            Column("agree", "right"),
        ),
        rows,
        title="Means over seeds",
        caption=f"Recall: known directions with a learned one at a cosine of {data.threshold:g} or "
        "more. Precision: learned ones that are alive, with a known one. Unique: different known "
        "ones among those. Bias: centred, 1 is unbiased. Agree: mean cosine of features matched "
        "one to one between seeds.",
    )
    words = [
        f"{name}: {number(l0.estimate, 1)} numbers for a row explain {percent(explained.estimate)}"
        for name, (l0, explained) in data.baselines.items()
    ]
    return Section(
        "Which kind finds them",
        table,
        f"Beside the first dictionary ({data.rows[0]['dictionary']}): {'; '.join(words)}.",
        Disclosure("When this misleads", *_CAUTIONS),
    )


def _chance(data: RecoveryReportData) -> float | None:
    values = [one.chance for one in data.kinds if not math.isnan(one.chance)]
    return float(np.mean(values)) if values else None


def _found(data: RecoveryReportData) -> Section:
    first = {kind.kind: _first(data, kind) for kind in data.kinds}
    share = tuple(float(x) for x in np.linspace(0, 1, data.n_known))

    def sorted_best(name: str, values: np.ndarray) -> CurveSeries:
        x = share if len(share) > 1 else (0.0,)
        return CurveSeries(name, x, tuple(map(float, np.sort(values)[::-1])))

    view = CurveView(
        tuple(sorted_best(kind, values) for kind, values in first.items()),
        control=sorted_best("random directions", data.random_best),
        title="Best cosine of every known feature, the first seed of each kind",
        caption="In falling order. A line at 1 to the right end has found all of them; dashed: "
        f"{data.threshold:g}, from which a feature counts as found.",
        x_label="share of the known features",
        y_label="best cosine",
        references=((0.0, ""), (1.0, ""), (data.threshold, "")),
    )
    return Section("Feature by feature", view)


def _first(data: RecoveryReportData, kind: KindRow) -> np.ndarray:
    name = next(row["dictionary"] for row in data.rows if row["kind"] == kind.kind)
    return np.asarray(data.best[name])


def _dictionaries(data: RecoveryReportData) -> Section:
    columns = (
        ("mean best cosine", "best cosine", 4),
        ("recall", "recall", 2),
        ("precision", "precision", 2),
        ("uniqueness", "unique", 2),
        ("dead", "dead", 0),
        ("resampled", "resampled", 0),
        ("L0", "L0", 1),
        ("explained variance", "explained", 2),
        ("centred bias", "bias", 2),
    )
    shown = [
        *columns,
        *(_ABSORBED if data.rows[0]["absorbed"] is not None else ()),
    ]
    table = TableView(
        ("dictionary", *(Column(title, "right", digits) for _, title, digits in shown)),
        [[row["dictionary"], *(row[name] for name, _, _ in shown)] for row in data.rows],
        title="Every dictionary",
        caption="Absorbed: rows of a parent with its child in which the parent's feature is silent "
        "and another one writes it; alone, with a stranger: the same without the child, and with "
        "an unrelated feature."
        if data.rows[0]["absorbed"] is not None
        else "",
    )
    return Section("One by one", table)


def _seeds(n: int) -> str:
    return "1 seed" if n == 1 else f"{n} seeds"
