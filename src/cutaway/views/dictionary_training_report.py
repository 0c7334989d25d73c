"""The page of `cutaway sae train`: what each dictionary comes to, and how it got there."""

from __future__ import annotations

from collections.abc import Sequence

from ..sae.spliced_loss import MEAN, ZERO
from .curve import CurveSeries, CurveView
from .dictionary_training_data import DictionaryTrainingData, TrainedRow
from .dictionary_training_sentences import findings
from .key_numbers import KeyNumber, KeyNumbers
from .layout import Disclosure, Items, Section
from .origin_section import how_it_was_made
from .page import Page
from .table import Cell, Column, TableView
from .view import Part

_REFERENCES = (
    "Bricken et al. 2023, Towards Monosemanticity: dictionaries, dead features, resampling.",
    "Conerly et al. 2024, Circuits Updates, April: L1 times decoder norms, and the scale.",
    "Gao et al. 2024, Scaling and evaluating sparse autoencoders: top-k, the auxiliary loss.",
    "Bussmann et al. 2024, BatchTopK Sparse Autoencoders.",
    "Rajamanoharan et al. 2024, gated (Improving Dictionary Learning) and JumpReLU.",
    "Dunefsky et al. 2024, Transcoders Find Interpretable LLM Feature Circuits.",
)
_SINCE = (
    "Over the rows since the point before, each seen for the first time unless the text is short."
)
_CAUTIONS = (
    "Explained variance counts the mean and a few large directions; compare it with the components "
    "beside it.",
    "L0 and explained variance trade for one another: compare dictionaries at the same L0, or "
    "curves of several.",
    "A feature that does not fire on some thousands of rows may be rare instead of dead.",
    "None of these numbers says that a feature means something, or that the model uses it: "
    "`cutaway sae features` shows where each fires, and what happens without it.",
)


def dictionary_training_report(data: DictionaryTrainingData) -> Page:
    """The report of `cutaway sae train`.

    Args:
        data: the finished pass.

    Example:
        >>> dictionary_training_report(data).html()  # doctest: +SKIP
    """
    n = len(data.dictionaries)
    hook = data.hook if data.hook_out in ("", data.hook) else f"{data.hook} to {data.hook_out}"
    page = Page(
        f"{'A dictionary' if n == 1 else f'{n} dictionaries'} for {data.model}",
        f"Trained on {hook}: how sparse, how faithful, and how it got there.",
        facts=(
            ("model", data.model),
            ("hook", hook),
            ("rows", f"{data.n_rows:,}"),
            ("batch", f"{data.batch_size:,}"),
        ),
        footer="Written by Cutaway. This file needs no network and fetches nothing.",
    )
    page.add(_in_short(data), _results(data), _training(data), _made(data))
    return page


def _in_short(data: DictionaryTrainingData) -> Section:
    best = max(
        data.dictionaries, key=lambda one: one.found.dictionary.explained_variance().estimate
    )
    rows, losses = best.found.dictionary, best.losses
    against = MEAN if losses.is_meaningful(MEAN) else ZERO
    numbers = [
        KeyNumber("L0", rows.l0(), "features active in a row", digits=1),
        KeyNumber("Explained variance", rows.explained_variance(), "1 is all", digits=3),
        KeyNumber(
            "Loss recovered",
            losses.loss_recovered("dictionary", against),
            f"of what {against} costs",
            digits=3,
        ),
        KeyNumber("Never fire", rows.n_dead, f"of {len(rows.density):,} features"),
    ]
    if data.rows_per_second:
        rate = f"{data.rows_per_second:,.0f}"
        numbers.append(KeyNumber("Speed", rate, "rows per second, median"))
    parts: list[Part] = [KeyNumbers(tuple(numbers)), Items(findings(data))]
    if len(data.dictionaries) > 1:
        parts.insert(1, f"The large numbers are those of {best.name}, which explains most.")
    return Section("In short", *parts)


def _results(data: DictionaryTrainingData) -> Section:
    rows: list[list[Cell]] = []
    for one in data.dictionaries:
        rows.append(_row(one, "dictionary", one.name))
        rows.append(_row(one, one.strongest_baseline, f"  {one.strongest_baseline}"))
    table = TableView(
        (
            "dictionary, and the strongest baseline",
            Column("L0", "right", 1),
            Column("explained variance", "right", 3),
            Column("loss up by", "right", 3),
            Column("recovered (mean)", "right", 3),
            Column("never fire", "right"),
        ),
        rows,
        title="On held-out text",
        caption="Baseline: what as many numbers for a row do without features, the one that "
        "explains most of random directions, the first principal components, and each row's own "
        "largest components. Loss: nats per token, with the output in place of the model's own. "
        "Recovered: (ablated − in place) / (ablated − clean), against mean ablation. Intervals "
        "(95%) resample sequences.",
    )
    parts: list[Part] = [table]
    if len(data.dictionaries) > 2:
        parts.append(_trade(data))
    parts.append(Disclosure("When this misleads", *_CAUTIONS))
    return Section("What came out", *parts)


def _row(one: TrainedRow, name: str, shown: str) -> list[Cell]:
    of_rows, losses = one.found.rows[name], one.losses
    return [
        shown,
        of_rows.l0(),
        of_rows.explained_variance(),
        losses.increase(name),
        losses.loss_recovered(name, MEAN),
        of_rows.n_dead if name == "dictionary" else None,
    ]


def _trade(data: DictionaryTrainingData) -> CurveView:
    """Explained variance against L0, of a sweep."""

    def series(name: str, baseline: bool) -> CurveSeries:
        points = {}
        for one in data.dictionaries:
            of_rows = one.found.rows[one.strongest_baseline if baseline else "dictionary"]
            points[one.found.dictionary.l0().estimate] = of_rows.explained_variance()
        x = sorted(points)
        return CurveSeries(
            name,
            x,
            [points[at].estimate for at in x],
            [points[at].low for at in x],
            [points[at].high for at in x],
        )

    return CurveView(
        (series("dictionaries", False),),
        control=series("strongest baseline", True),
        title="Sparsity and explained variance",
        caption="Each point is a dictionary.",
        x_label="L0: active features of a row",
        y_label="explained variance",
        references=((1.0, ""),),
    )


def _training(data: DictionaryTrainingData) -> Section:
    same = "On the same few held-out sequences each time."
    top, bottom = ((1.0, ""),), ((0.0, ""),)
    parts = [
        _curve(data, "explained", "Explained variance, in training", _SINCE, top),
        _curve(data, "measured.explained variance", "Explained variance, held out", same, top),
        _curve(data, "measured.L0", "L0, held out", same, ()),
        _curve(data, "measured.loss recovered", "Loss recovered, held out", same, top),
    ]
    after = f"{data.dictionaries[0].dead_after:,}"
    if any(value for one in data.dictionaries for _, value in one.points.get("dead", ())):
        caption = f"Share of the features that did not fire in the last {after} rows of training."
        parts.append(_curve(data, "dead", "Dead features", caption, bottom))
    shown: list[Part] = [part for part in parts if part is not None]
    resampled = [(one.name, one.resampled) for one in data.dictionaries if one.resampled]
    if resampled:
        rows: list[list[Cell]] = [
            [name, step, int(n)] for name, points in resampled for step, n in points
        ]
        shown.append(TableView(("dictionary", "after step", "began anew"), rows, title="Resampled"))
    if any(one.found.cfg.kind in ("batch-top-k", "matryoshka") for one in data.dictionaries):
        shown.insert(
            0,
            "In training a batch decides together which features are active; on held-out text each "
            "row does by a threshold, which follows behind while the weights still move fast.",
        )
    return Section("How it got there", *shown)


def _curve(
    data: DictionaryTrainingData,
    what: str,
    title: str,
    caption: str,
    references: Sequence[tuple[float, str]],
) -> CurveView | None:
    series = []
    for one in data.dictionaries:
        points = one.points.get(what, ())
        if len(points) > 1:
            steps, values = zip(*points, strict=True)
            series.append(CurveSeries(one.name, steps, values))
    if not series:
        return None
    return CurveView(
        series,
        title=title,
        caption=caption,
        x_label="step",
        y_label=title.split(",")[0],
        references=references,
    )


def _made(data: DictionaryTrainingData) -> Section:
    text = TableView(("data", ""), [("text", data.text), ("rows", f"{data.n_rows:,}")])
    return how_it_was_made(
        data.settings,
        data.timings,
        text,
        "Times are those of the last session, if the run was stopped in between.",
        references=_REFERENCES,
    )
