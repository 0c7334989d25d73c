"""The page of `cutaway probe`: where a label is read, beside what, and whether it is used."""

from __future__ import annotations

import math

import numpy as np

from ..evidence import Interval
from ..probing.places import Place, index_of
from . import probe_sentences as say
from .curve import CurveSeries, CurveView
from .heatmap import HeatmapView
from .key_numbers import KeyNumber, KeyNumbers
from .layout import Beside, Disclosure, Items, Note, Section
from .markup import tag
from .numbers import interval_text, percent
from .origin_section import how_it_was_made
from .page import Page
from .probe_data import ProbeReportData
from .table import Cell, Column, TableView
from .view import Part

REFERENCES = (
    "Alain and Bengio 2016, Understanding intermediate layers using linear classifier probes.",
    "Hewitt and Liang 2019, Designing and Interpreting Probes with Control Tasks: selectivity.",
    "Belinkov 2022, Probing Classifiers: Promises, Shortcomings, and Advances.",
    "Ravichander, Belinkov and Hovy 2021, Probing the Probing Paradigm: what is encoded need not "
    "be used.",
    "Belrose et al. 2023, LEACE: Perfect linear concept erasure in closed form.",
    "Westfall and Young 1993: p-values corrected by the best of all places.",
)
_N_LISTED = 30
_LEAST_LIMIT = 0.1
_SHOWN = ("control task", "shuffled labels", "random weights", "embeddings", "majority")
_CAUTIONS = (
    "That a probe reads something says that it is there, not that the model reads it. Only the "
    "erasure asks the model, and only about this one place and about what is linear.",
    "A high accuracy with a low selectivity may be words learnt by heart: the probe tells words "
    "apart, and any label could be hung on them.",
    "A low accuracy says that no linear probe found it with so few prompts. More prompts, another "
    "penalty, or a probe that is not linear might.",
    "Erasing a label at one place does nothing if the model has read it earlier, reads it at "
    "another position, or writes it again.",
    "On prompts that it was not made from, an eraser leaves a little of the label over.",
)


def probe_report(data: ProbeReportData) -> Page:
    """The report of `cutaway probe`.

    Args:
        data: everything measured.

    Example:
        >>> probe_report(data).html()  # doctest: +SKIP
    """
    results = data.results
    page = Page(
        f"What can be read of {results.label!r} in {data.model}",
        "At which layers and positions does a linear probe find it, and does the model use what is "
        "found?",
        facts=(
            ("model", data.model),
            ("prompts", data.source),
            ("site", results.site),
            ("probe", results.method),
        ),
        footer="Written by Cutaway. This file needs no network and fetches nothing.",
    )
    page.add(_in_short(data), _where(data), _controls(data))
    if results.curves:
        page.add(_curves(data))
    page.add(_erasure(data), _method(data))
    return page


def _in_short(data: ProbeReportData) -> Section:
    results, place = data.results, data.best
    where = data.name(place)
    numbers = [
        KeyNumber(results.measure.capitalize(), results.interval(**place), f"best: {where}"),
        KeyNumber(
            "A guess", results.control("majority", **place).estimate, "the most frequent class"
        )
        if results.classes
        else KeyNumber("Places", int(np.prod(results.shape)), "layers by positions"),
        KeyNumber("Selectivity", results.selectivity(**place), "above the control task"),
    ]
    if data.erasure is not None:
        one = data.erased(place)
        numbers.append(KeyNumber("Erased there", one.effect, "of clean − corrupted is lost"))
        numbers.append(
            KeyNumber("Random, as many", float(one.random.mean()), f"{one.rank} dimensions")
        )
    parts: list[Part] = [KeyNumbers(tuple(numbers)), Items(say.findings(data))]
    warnings = say.warnings(data)
    if warnings:
        parts.append(Note("caution", *warnings))
    text, label = data.example
    example = tag(
        "p", "A prompt: ", tag("q", text), " Its label: ", tag("b", label), class_="ct-quiet"
    )
    return Section("In short", *parts, example)


def _map(data: ProbeReportData, values: np.ndarray, title: str, **more: object) -> HeatmapView:
    return HeatmapView(
        data.mapped(values),
        data.row_labels,
        data.column_labels,
        title=title,
        row_axis=data.row_axis,
        column_axis="position",
        **more,  # type: ignore[arg-type]
    )


def _where(data: ProbeReportData) -> Section:
    results = data.results
    selective, low, high = results.map_above("control task")
    maps = Beside(
        _map(
            data,
            results.mean(),
            f"{results.measure.capitalize()} on the test prompts",
            value_label=results.measure,
            limit=1.0,
            caption="A probe at every place by itself. Train and test share no group of prompts.",
        ),
        _map(
            data,
            selective,
            "Selectivity",
            low=data.mapped(low),
            high=data.mapped(high),
            value_label=f"{results.measure} − control task",
            caption="The same minus the control task: labels dealt out by word, which a probe can "
            "know only by heart.",
        ),
    )
    return Section("Where it is read", maps, Disclosure("When this misleads", *_CAUTIONS))


def _controls(data: ProbeReportData) -> Section:
    results = data.results
    order = np.argsort(-results.validation, axis=None, kind="stable")[:_N_LISTED]
    places = [results.places()[int(i)] for i in order]
    names = [name for name in _SHOWN if name in results.controls]
    rows: list[list[Cell]] = [
        [
            _on_one_line(data.name(place)),
            results.interval(**place),
            results.selectivity(**place),
            *(results.control(name, **place).estimate for name in names),
            _p_value(float(data.p_values[index_of(results.axes, dict(place))])),
        ]
        for place in places
    ]
    table = TableView(
        (
            "place",
            Column(results.measure, "right"),
            Column("selectivity", "right"),
            *(Column(name, "right") for name in names),
            Column("p", "right"),
        ),
        rows,
        title="Each place beside its controls",
        caption="In the order of the validation prompts, which chose it. Intervals (95%) resample "
        "groups of test prompts. p: 999 rearrangements of the test labels, corrected for all "
        f"places.{_listed(len(order), data.p_values.size)}",
    )
    return Section(
        "Beside the controls",
        "Control task: probes of labels dealt out by word, mean over draws (Hewitt and Liang 2019)."
        " Shuffled labels: fitted and tested on labels in another order. Random weights: the same "
        "probes on a model that was never trained. Embeddings: at the same position before the "
        "first layer. Majority: the most frequent class of the train prompts.",
        table,
    )


def _listed(n: int, n_all: int) -> str:
    return f" {n} of {n_all} places are listed; results.json has all." if n < n_all else ""


def _on_one_line(name: str) -> str:
    return name.replace(" ", "\u00a0")


def _p_value(p: float) -> str:
    return "0.001" if p <= 0.001 else f"{p:.3f}"


def _curves(data: ProbeReportData) -> Section:
    results = data.results
    index = index_of(results.axes, dict(data.best))
    series = []
    stop = int(np.nanargmin(results.curves["validation"][index]))
    shown = slice(0, stop + int(results.settings.get("patience", 0)) + 1)
    for name, of in results.curves.items():
        losses = of[index][shown][np.isfinite(of[index][shown])]
        series.append(CurveSeries(name, tuple(range(len(losses))), tuple(map(float, losses))))
    view = CurveView(
        tuple(series),
        title=f"Losses at {data.name(data.best)}",
        caption=f"The weights after {stop} epochs were kept, where the validation loss is lowest. "
        "Dashed: what a guess among equally frequent classes loses.",
        x_label="epoch",
        y_label="cross-entropy, nats",
        references=((math.log(max(len(results.classes), 2)), "a guess"),),
    )
    return Section("Learning curves", view)


def _erasure(data: ProbeReportData) -> Section:
    title = "Is it used?"
    if data.erasure is None:
        return Section(title, f"Nothing was erased: {data.no_erasure}.")
    value, low, high = data.beyond
    maps = Beside(
        _map(
            data,
            data.erasure.concept,
            "Effect of erasing the label",
            limit=_limit(data.erasure.concept),
            value_label="(clean − erased) / (clean − corrupted)",
            caption="0: the model does not miss it there. 1: it does what it does on the corrupted "
            "prompts.",
        ),
        _map(
            data,
            value,
            "Beyond random subspaces",
            limit=_limit(value),
            low=data.mapped(low),
            high=data.mapped(high),
            value_label="effect − mean effect of random ones",
            caption="The same minus what as many dimensions do that were drawn at random.",
        ),
    )
    metric: list[Part] = []
    if data.baseline is not None:
        metric.append(
            f"On the {data.baseline.clean.n} test prompts the {data.baseline.metric} is "
            f"{interval_text(data.baseline.clean)} on the clean prompts and "
            f"{interval_text(data.baseline.corrupted)} on the corrupted ones."
        )
    return Section(
        title,
        "At each place by itself the label is erased in the clean run: the affine map that leaves "
        "no linear probe anything to read and changes the activations least (Belrose et al. 2023), "
        "made from train and validation prompts.",
        *metric,
        maps,
        _erasure_table(data),
    )


def _limit(effects: np.ndarray) -> float:
    """The effect in full colour: never so small a one that nothing looks like much."""
    return max(_LEAST_LIMIT, float(np.abs(effects).max()))


def _erasure_table(data: ProbeReportData) -> TableView:
    results = data.results
    order = np.argsort(-results.validation, axis=None, kind="stable")[:_N_LISTED]
    rows: list[list[Cell]] = []
    for i in order:
        place: Place = results.places()[int(i)]
        one = data.erased(place)
        random: Interval | float = float(one.random.mean())
        rows.append(
            [
                _on_one_line(data.name(place)),
                results.interval(**place).estimate,
                one.effect,
                random,
                float(one.random.max()),
                one.control,
                one.beyond,
                f"{one.rank} ({percent(one.share)})",
                percent(one.right),
            ]
        )
    return TableView(
        (
            "place",
            Column(results.measure, "right"),
            Column("erased", "right"),
            Column("random, mean", "right"),
            Column("random, most", "right"),
            Column("control task", "right"),
            Column("beyond random", "right"),
            Column("dimensions", "right"),
            Column("still right", "right"),
        ),
        rows,
        title="Read, and missed?",
        caption="Erased: effect of erasing the label; random: of as many dimensions drawn at "
        "random where the activations are white; control task: of erasing a label dealt out by "
        "word. Dimensions: how many are taken out, and their share of the variance. Still right: "
        "prompts with a metric above 0.",
    )


def _method(data: ProbeReportData) -> Section:
    return how_it_was_made(
        data.settings,
        data.timings,
        references=REFERENCES,
    )
