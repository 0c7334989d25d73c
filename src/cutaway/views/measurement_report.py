"""The page of one measurement, whatever was measured: from its numbers to one HTML file."""

from __future__ import annotations

import numpy as np

from ..evidence import Interval, proportion
from . import measurement_sentences as say
from . import measurement_text as text
from .bars import Bar, BarsView
from .key_numbers import KeyNumber, KeyNumbers
from .layout import Beside, Disclosure, Items, Note, Section
from .markup import tag
from .measurement_data import Comparison, Measured, MeasurementReportData
from .measurement_maps import maps
from .numbers import bracket
from .origin_section import how_it_was_made
from .page import Page
from .table import Cell, Column, TableView
from .tokens import TokenLine, TokensView
from .view import Part

N_BARS = 12
N_LISTED = 50
_MOST_DOTS = 400
_SMALL = 0.1  # effects that are all below it are shown with a third decimal


def measurement_report(data: MeasurementReportData) -> Page:
    """The report of `cutaway patch`, `paths`, `edges` or `attribute`.

    Args:
        data: everything measured.

    Example:
        >>> measurement_report(data).html()  # doctest: +SKIP
    """
    facts = {name: data.settings.get(name, "") for name in ("model", "task", "prompts", "mode")}
    page = Page(
        text.title(data),
        text.question(data),
        facts=tuple((name, value) for name, value in facts.items() if value),
        footer="Written by Cutaway. This file needs no network and fetches nothing.",
    )
    page.add(_in_short(data), _behaviour(data), _effects(data))
    if data.comparison is not None:
        page.add(_gap(data, data.comparison))
    page.add(_method(data))
    return page


def _in_short(data: MeasurementReportData) -> Section:
    measured, baseline = data.measured, data.baseline
    numbers = (
        KeyNumber(baseline.metric.capitalize(), baseline.clean, "clean prompts, mean"),
        KeyNumber("The same, corrupted", baseline.corrupted, "corrupted prompts, mean"),
        KeyNumber(
            "Answer above wrong", baseline.accuracy, "share of the clean prompts", share=True
        ),
        KeyNumber("Effects that matter", f"{measured.n_matter:,}", f"of {measured.n:,}"),
    )
    warnings = say.warnings(data)
    parts: list[Part] = [KeyNumbers(numbers), Items(say.findings(data))]
    if warnings:
        parts.append(Note("caution", *warnings))
    named = " Heads are named layer.head: 9.6 is layer 9, head 6."
    return Section("In short", *parts, tag("p", say.rule() + named, class_="ct-quiet"))


def _behaviour(data: MeasurementReportData) -> Section:
    pair = data.example
    changed = {i for i, (a, b) in enumerate(zip(pair.clean, pair.corrupted, strict=True)) if a != b}
    example = TokensView(
        (
            TokenLine("clean", pair.clean, pair.positions, frozenset(), pair.correct),
            TokenLine("corrupted", pair.corrupted, {}, frozenset(changed)),
        ),
        title="One pair of prompts",
        caption="A dot stands for the space before a word; above the tokens are the names of "
        "positions.",
    )
    n = len(data.baseline.clean_values)
    order = np.argsort(data.baseline.clean_values)
    shown = order[np.unique(np.linspace(0, n - 1, min(n, _MOST_DOTS)).astype(int))]
    labels = [data.prompts[i] for i in shown]
    thinned = f" {len(shown)} of the {n} prompts are drawn." if len(shown) < n else ""
    base = data.baseline
    bars = BarsView(
        (
            Bar("clean", base.clean, "", base.clean_values[shown], labels),
            Bar("corrupted", base.corrupted, "", base.corrupted_values[shown], labels),
        ),
        title="The metric on every prompt",
        caption=f"Bars are means over {n} prompts. The corrupted prompts keep the clean prompts' "
        f"answers.{thinned}",
        value_label=base.metric,
        dots_name="one prompt",
    )
    return Section("Before anything is changed", example, bars)


def _effects(data: MeasurementReportData) -> Section:
    measured = data.measured
    formula, meaning = text.formula(data)
    drawn = maps(measured, text.value_label(data))
    shown: list[Part] = [Beside(*drawn)] if len(drawn) > 1 else list(drawn)
    return Section(
        "What was measured",
        text.definition(data),
        tag("p", "The effect is ", tag("span", formula, class_="ct-formula"), f". {meaning}"),
        *shown,
        _bars(data),
        Note("finding", say.count(data)),
        *_listed(measured),
        Disclosure("When this misleads", *text.cautions(data)),
    )


def _bars(data: MeasurementReportData) -> BarsView:
    measured = data.measured
    chosen = [int(place) for place in measured.order[:N_BARS]]
    is_small = abs(measured.interval(chosen[0]).estimate) < _SMALL
    return BarsView(
        tuple(
            Bar(_on_one_line(measured.name(place)), measured.interval(place)) for place in chosen
        ),
        title=f"The {len(chosen)} largest effects" if len(chosen) > 1 else "The effect",
        caption="By size, of either sign. Being chosen for its size flatters an effect: on other "
        "prompts the largest tend to be somewhat smaller.",
        value_label=text.value_label(data),
        digits=3 if is_small else 2,
    )


def _on_one_line(name: str) -> str:
    return name.replace(" ", "\u00a0").replace("-", "\u2011")


def _listed(measured: Measured) -> tuple[Part, ...]:
    """A table of more of them, folded away; nothing where the bars show all."""
    if measured.n <= N_BARS:
        return ()
    chosen = [int(place) for place in measured.order[:N_LISTED]]
    rows: list[list[Cell]] = [
        [*measured.labels(place).values(), measured.interval(place)] for place in chosen
    ]
    table = TableView(
        (*measured.axes, Column("effect, 95% interval", "right", 3)),
        rows,
        caption="All of them are in results.safetensors, and with every prompt's value under "
        "effects/."
        if measured.n > N_LISTED
        else "",
    )
    return (Disclosure(f"The {len(chosen)} largest of {measured.n:,}", table),)


def _gap(data: MeasurementReportData, comparison: Comparison) -> Section:
    found, exact = comparison.agreement, comparison.exact
    signs: Interval | float = found.equal_signs
    if found.n_matter:
        signs = proportion(round(found.equal_signs * found.n_matter), found.n_matter)
    of_signs = f"of {found.n_matter} exact effects that are not small"
    numbers = (
        KeyNumber("Pearson correlation", found.pearson, "over all places"),
        KeyNumber("Rank correlation", found.spearman, "over all places"),
        KeyNumber("Equal signs", signs, of_signs, share=True),
        KeyNumber("Largest difference", found.largest_difference, "of normalised effects"),
    )
    rows: list[list[Cell]] = []
    for one in found.worst:
        place = say.place_of(exact, one.labels)
        name = exact.name(place)
        rows.append([name, data.measured.interval(place), exact.interval(place), one.difference])
    worst = TableView(
        (
            "place",
            Column("estimate", "right", 3),
            Column("exact", "right", 3),
            Column("difference", "right", 3),
        ),
        rows,
        title="Where they differ most",
        caption="With 95% intervals over prompts. A difference that the intervals do not bridge is "
        "the estimate's own error.",
    )
    overlaps = TableView(
        ("of the largest", Column("in common", "right"), Column("by chance", "right")),
        [(str(one.n), one.share, one.by_chance) for one in found.overlaps],
        title="The same places?",
    )
    drawn = maps(exact, text.value_label(data).removesuffix(" (estimate)"))
    return Section(
        "Estimate and exact effect",
        "The same places were patched exactly, on the same prompts.",
        KeyNumbers(numbers),
        Note("finding", say.gap(comparison)),
        worst,
        *([overlaps] if found.overlaps else []),
        Disclosure("The exact effects", *drawn),
    )


def _method(data: MeasurementReportData) -> Section:
    level = (
        "Intervals are 95% percentile bootstrap over prompts, numerator and denominator of the "
        "ratio of means resampled together; for shares, the Wilson interval. An interval that "
        f"nothing bounds is written {bracket(float('-inf'), float('inf'))}."
    )
    return how_it_was_made(
        data.settings,
        data.timings,
        Disclosure("How the figures are computed", text.definition(data), level),
        references=text.REFERENCES[data.command],
    )
