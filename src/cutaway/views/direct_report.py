"""The page of one direct attribution: from its numbers to one HTML file."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..attribution.sources import SourceAttribution
from ..evidence import Interval, bootstrap_mean
from . import direct_sentences as say
from . import direct_text as text
from .bars import Bar, BarsView
from .direct_data import N_LARGEST, DirectReportData
from .heatmap import HeatmapView
from .key_numbers import KeyNumber, KeyNumbers
from .layout import Disclosure, Items, Note, Section
from .markup import tag
from .origin_section import how_it_was_made
from .page import Page
from .table import Cell, Column, TableView
from .tokens import TokenLine, TokensView
from .view import Part

N_BARS = 12
N_CONTROLLED = 8
_MOST_DOTS = 200
_MOST_GROUPS = 40
_MOST_MAP_COLUMNS = 40


def direct_report(data: DirectReportData) -> Page:
    """The report of `cutaway attribute --direct`.

    Args:
        data: everything measured.

    Example:
        >>> direct_report(data).html()  # doctest: +SKIP
    """
    facts = {name: data.settings.get(name, "") for name in ("model", "task", "prompts", "by")}
    page = Page(
        f"Direct attribution in {data.model}",
        "Which parts of the model write the answer straight to the logits?",
        facts=tuple((name, value) for name, value in facts.items() if value),
        footer="Written by Cutaway. This file needs no network and fetches nothing.",
    )
    page.add(_in_short(data), _sum(data), _components(data), _controls(data))
    if data.by_source is not None:
        page.add(_sources(data.by_source))
    if data.gap is not None:
        page.add(_gap(data))
    page.add(_method(data))
    return page


def _in_short(data: DirectReportData) -> Section:
    largest, n = data.largest[0], len(data.direct.components)
    controls = [abs(size) for _, size in data.largest_control.values()]
    numbers = [
        KeyNumber(data.direct.answer.capitalize(), data.total, "clean prompts, mean"),
        KeyNumber(f"Largest: {largest.name}", largest.value, "logits"),
        KeyNumber("Components that matter", f"{len(data.matter):,}", f"of {n:,}"),
        KeyNumber("Largest for nothing", max(controls), "any mean, with answers of no meaning"),
    ]
    warnings = say.warnings(data)
    parts: list[Part] = [KeyNumbers(tuple(numbers)), Items(say.findings(data))]
    if warnings:
        parts.append(Note("caution", *warnings))
    named = " Heads are named layer.head: 9.6 is layer 9, head 6; mlp3.120 is a neuron of MLP 3."
    return Section("In short", *parts, tag("p", say.rule() + named, class_="ct-quiet"))


def _sum(data: DirectReportData) -> Section:
    pair = data.example
    example = TokensView(
        (TokenLine("clean", pair.clean, pair.positions, frozenset(), pair.correct),),
        title="One of the prompts",
        caption="A dot stands for the space before a word; above the tokens are the names of "
        "positions. The last of them is where the answer is read.",
    )
    groups = data.groups
    shown = dict(list(groups.items())[:_MOST_GROUPS])
    rest = len(groups) - len(shown)
    bars = [Bar(_on_one_line(name), value) for name, value in shown.items()]
    whole = bootstrap_mean(data.direct.values.sum(0), data.seed)
    bars += [Bar("the sum", whole), Bar(_on_one_line("the model's logits"), data.total)]
    more = (
        f" {rest} more groups are left out of the drawing, and not out of the sum." if rest else ""
    )
    view = BarsView(
        tuple(bars),
        title="From the first to the last part of the model",
        caption=f"Each row is the sum of what stands together. The sum misses the model's logits "
        f"by {data.largest_error:.0e} at most, in any prompt.{more}",
        value_label=f"logits ({data.direct.answer})",
    )
    return Section(
        "The whole, taken apart",
        text.DEFINITION,
        tag("p", "A part counts ", tag("span", text.FORMULA, class_="ct-formula"), "."),
        text.MEANING,
        example,
        view,
    )


def _components(data: DirectReportData) -> Section:
    chosen = data.largest[:N_BARS]
    n = data.total.n
    shown = np.unique(np.linspace(0, n - 1, min(n, _MOST_DOTS)).astype(int))
    labels = [data.prompts[i] for i in shown]
    bars = BarsView(
        tuple(
            Bar(one.name, one.value, "", data.direct.of(one.name)[shown], labels) for one in chosen
        ),
        title=f"The {len(chosen)} largest components",
        caption="By the size of the mean, of either sign. A dot is one prompt.",
        value_label=f"logits ({data.direct.answer})",
        dots_name="one prompt",
    )
    return Section("Which components", *_map(data), bars, *_listed(data))


def _map(data: DirectReportData) -> list[HeatmapView]:
    """Layers by heads, with the MLPs as a last column where they are listed."""
    direct = data.direct
    heads = direct.places("head")
    if not heads:
        return []
    mlps = direct.places("mlp")
    layers = len({direct.components[place].layer for place in heads})
    grids = [part.reshape(layers, -1) for part in _intervals(data, heads)]
    columns = [str(head) for head in range(grids[0].shape[1])]
    if mlps:
        extra = _intervals(data, mlps)
        grids = [np.column_stack([grid, one]) for grid, one in zip(grids, extra, strict=True)]
        columns.append("mlp")
    if len(columns) > _MOST_MAP_COLUMNS:
        return []
    return [
        HeatmapView(
            grids[0],
            [str(layer) for layer in range(layers)],
            columns,
            grids[1],
            grids[2],
            title="Every head" + (" and MLP" if mlps else ""),
            caption="Means over prompts, in logits: blue speaks for the answer.",
            row_axis="layer",
            column_axis="head",
            value_label="logits",
        )
    ]


def _listed(data: DirectReportData) -> tuple[Part, ...]:
    """A table of more of them, folded away; nothing where the bars show all."""
    n = len(data.direct.components)
    if n <= N_BARS:
        return ()
    chosen = data.largest[:N_LARGEST]
    table = TableView(
        ("component", Column("logits, 95% interval", "right", 3)),
        [(one.name, one.value) for one in chosen],
        caption="All of them, of every prompt, are in effects/direct.safetensors.",
    )
    return (Disclosure(f"The {len(chosen)} largest of {n:,}", table),)


def _controls(data: DirectReportData) -> Section:
    names = list(data.direct.controls)
    rows: list[list[Cell]] = [
        [one.name, one.value, *(data.control(name, one.name) for name in names)]
        for one in data.largest[:N_CONTROLLED]
    ]
    table = TableView(
        (
            "component",
            Column("the answer", "right"),
            *(Column(name, "right") for name in names),
        ),
        rows,
        title="The largest components, toward other answers",
        caption="Mean logits with 95% intervals over prompts.",
    )
    return Section(
        "Beside answers that mean nothing", text.CONTROL, table, Note("finding", say.control(data))
    )


def _sources(named: SourceAttribution) -> Section:
    heads, sources = (axis.labels for axis in named.axes)
    value, low, high = named.interval()
    view = HeatmapView(
        value,
        heads,
        sources,
        low,
        high,
        title="Heads by the token that they read",
        caption=f"The {len(heads)} heads that write most, in logits.",
        row_axis="head",
        column_axis="source",
        value_label="logits",
    )
    rows: list[list[Cell]] = [
        [one.labels["head"], one.labels["source"], one.value, *_control_of(named, one.labels)]
        for one in named.top(N_BARS)
    ]
    table = TableView(
        (
            "head",
            "source",
            Column("logits, 95% interval", "right", 3),
            *(Column(name, "right", 3) for name in named.controls),
        ),
        rows,
        title="The largest",
        caption="Controls are means.",
    )
    return Section("From which tokens", text.SOURCES, view, table)


def _control_of(named: SourceAttribution, labels: dict[str, str]) -> list[float]:
    at = tuple(axis.labels.index(labels[axis.name]) for axis in named.axes)
    return [float(values[at].mean()) for values in named.controls.values()]


def _gap(data: DirectReportData) -> Section:
    assert data.gap is not None
    rows: list[list[Cell]] = [
        [row["head"], row["direct"], row["exact"], row["difference"]]
        for row in data.gap.rows(N_BARS, data.seed)
    ]
    table = TableView(
        (
            "head",
            Column("written directly", "right"),
            Column("lost without it", "right"),
            Column("difference", "right"),
        ),
        rows,
        title="Where the two differ most",
        caption="In logits, means with 95% intervals over prompts. Lost without it: the metric of "
        "the whole model less that with the head's output zeroed.",
    )
    return Section(
        "What direct attribution misses", text.GAP, Note("finding", say.gap(data)), table
    )


def _method(data: DirectReportData) -> Section:
    return how_it_was_made(
        data.settings,
        data.timings,
        Disclosure("When this misleads", *text.CAUTIONS),
        references=text.REFERENCES,
    )


def _intervals(data: DirectReportData, places: list[int]) -> list[NDArray[np.float64]]:
    """Mean, low and high of some components."""
    found: list[Interval] = [bootstrap_mean(data.direct.values[i], data.seed) for i in places]
    return [np.array([getattr(one, name) for one in found]) for name in ("estimate", "low", "high")]


def _on_one_line(name: str) -> str:
    return name.replace(" ", "\u00a0")
