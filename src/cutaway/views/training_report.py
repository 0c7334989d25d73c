"""The page of `cutaway train`: the loss by step, what simpler predictors reach, samples."""

from __future__ import annotations

import math

from .curve import CurveSeries, CurveView
from .key_numbers import KeyNumber, KeyNumbers
from .layout import Items, Note, Section
from .origin_section import how_it_was_made
from .page import Page
from .quote import Quote
from .table import Cell, TableView
from .training_data import TrainingReportData
from .training_sentences import findings
from .view import Part

_REFERENCES = (
    "Karpathy 2022, nanoGPT: the recipes of the Shakespeare models.",
    "Loshchilov and Hutter 2019, Decoupled Weight Decay Regularization: AdamW.",
    "Olsson et al. 2022, In-context Learning and Induction Heads.",
    "Efron and Tibshirani 1993, An Introduction to the Bootstrap.",
)
_NAMES = {"unigram": "counting tokens", "bigram": "counting pairs", "fresh": "the fresh model"}


def training_report(data: TrainingReportData) -> Page:
    """The report of `cutaway train`.

    Args:
        data: the finished run.

    Example:
        >>> training_report(data).html()  # doctest: +SKIP
    """
    page = Page(
        f"Training {data.model}",
        "How its loss fell, and what it says now.",
        facts=(
            ("model", data.model),
            ("parameters", f"{data.n_parameters:,}"),
            ("steps", f"{data.n_steps:,}"),
            ("tokens read", f"{data.n_tokens:,}"),
        ),
        footer="Written by Cutaway. This file needs no network and fetches nothing.",
    )
    page.add(_in_short(data), _loss(data))
    if data.accuracies:
        page.add(_accuracy(data))
    if data.samples:
        page.add(_samples(data))
    page.add(_made(data))
    return page


def _in_short(data: TrainingReportData) -> Section:
    numbers = [KeyNumber("Held-out loss", data.held_out, "nats per token", digits=3)]
    if data.accuracy is not None:
        caption = "of the tokens that can be known"
        numbers.append(KeyNumber("Right", data.accuracy, caption, share=True))
    if "bigram" in data.controls:
        caption = "nats, on the same sequences"
        numbers.append(KeyNumber("Counting pairs", data.controls["bigram"], caption, digits=3))
    if data.tokens_per_second:
        rate = f"{data.tokens_per_second:,.0f}"
        numbers.append(KeyNumber("Speed", rate, "tokens per second, median"))
    parts: list[Part] = [KeyNumbers(tuple(numbers)), Items(findings(data))]
    if data.notes:
        rows = [(name, words) for name, words in data.notes.items()]
        parts.append(TableView(("measured", "result"), rows, title="What it was made for"))
    return Section("In short", *parts)


def _loss(data: TrainingReportData) -> Section:
    series = []
    if data.training:
        steps, losses = zip(*data.training, strict=True)
        series.append(CurveSeries("training", steps, losses))
    if data.measured:
        series.append(
            CurveSeries(
                "held-out",
                [step for step, _ in data.measured],
                [found.estimate for _, found in data.measured],
                [found.low for _, found in data.measured],
                [found.high for _, found in data.measured],
            )
        )
    references = [(math.log(data.d_vocab), "guessing")]
    references += [
        (found.estimate, _NAMES.get(name, name))
        for name, found in data.controls.items()
        if name != "fresh"
    ]
    parts: list[Part] = []
    if series:
        parts.append(
            CurveView(
                tuple(series),
                title="Loss by step",
                caption="Training: the mean since the point before, on what was being learned "
                "from. Held-out: the same sequences every time, never trained on.",
                x_label="step",
                y_label="nats per token",
                log_x=True,
                references=tuple(references),
                interval_name="95% interval over sequences",
            )
        )
    rows: list[tuple[Cell, ...]] = [("the model", data.held_out)]
    rows += [(_NAMES.get(name, name), found) for name, found in data.controls.items()]
    rows.append(("guessing: ln of the vocabulary", math.log(data.d_vocab)))
    parts.append(
        TableView(
            ("predictor", "nats per token"),
            rows,
            title="On all held-out sequences",
            caption="Counting: how often each token, or each pair of tokens, comes in the "
            "training data.",
        )
    )
    return Section("Loss", *parts)


def _accuracy(data: TrainingReportData) -> Section:
    steps = [step for step, _ in data.accuracies]
    found = [one for _, one in data.accuracies]
    curve = CurveView(
        (
            CurveSeries(
                "the model",
                steps,
                [one.estimate for one in found],
                [one.low for one in found],
                [one.high for one in found],
            ),
        ),
        title="Right by step",
        caption="Share of the tokens that follow from what stands before them, where the "
        "likeliest token is the right one. Intervals take the tokens for independent.",
        x_label="step",
        y_label="share right",
        log_x=True,
    )
    return Section("What can be known", curve)


def _samples(data: TrainingReportData) -> Section:
    shown = [Quote(sample.strip("\n")) for sample in data.samples]
    return Section(
        "Samples",
        f"Drawn at temperature 0.8, after {data.prompt!r}.",
        *shown,
        Note("caution", "A sample is an illustration. These are the first three, not chosen ones."),
    )


def _made(data: TrainingReportData) -> Section:
    kept = ", ".join(f"{step:,}" for step in data.kept)
    parts: list[Part] = [TableView(("data", ""), list(data.about.items()))]
    if kept:
        parts.append(f"Models were kept after the steps {kept}.")
    parts.append("Times are those of the last session, if the run was stopped in between.")
    return how_it_was_made(
        data.settings,
        data.timings,
        *parts,
        references=_REFERENCES,
    )
