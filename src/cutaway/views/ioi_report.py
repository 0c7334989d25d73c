"""The page of the study `ioi`: from what was measured to one HTML file."""

from __future__ import annotations

from . import ioi_conclusions as say
from . import ioi_sections as sections
from .ioi_data import IOIReportData
from .ioi_text import METHOD, REFERENCES
from .key_numbers import KeyNumber, KeyNumbers
from .layout import Disclosure, Items, Section
from .markup import tag
from .origin_section import how_it_was_made
from .page import Page
from .table import Column, TableView


def ioi_report(data: IOIReportData) -> Page:
    """The report of one run of the study.

    Args:
        data: everything measured; sections whose data are missing are left out.

    Example:
        >>> ioi_report(data).html()  # doctest: +SKIP
    """
    page = Page(
        f"Indirect object identification in {data.model}",
        "Two names go in, and the one that was mentioned only once should come out. "
        "Where in the model is that decided, and which heads decide it?",
        facts=tuple(data.settings.items())[:4],
        footer="Written by Cutaway. This file needs no network and fetches nothing.",
    )
    page.add(_in_short(data), sections.behaviour(data))
    page.add(sections.positions(data), sections.heads(data))
    page.add(*sections.attention(data), *sections.ablation(data))
    page.add(*_beside_published(data), *_predictions(data), _method(data))
    return page


def _in_short(data: IOIReportData) -> Section:
    measured = data.behaviour
    matters = data.heads.matters()
    numbers = [
        KeyNumber("Logit difference", measured.logit_difference, "clean prompts, mean"),
        KeyNumber("The same, corrupted", measured.corrupted, f"corrupted by {measured.corruption}"),
        KeyNumber("IO above S", measured.accuracy, "share of the clean prompts", share=True),
        KeyNumber("Heads that matter", int(matters.sum()), f"of {matters.size}, by the rule below"),
    ]
    return Section(
        "In short",
        KeyNumbers(tuple(numbers)),
        Items(say.findings(data)),
        tag(
            "p",
            f"{say.rule()} Heads are named layer.head: 9.6 is layer 9, head 6.",
            class_="ct-quiet",
        ),
    )


def _beside_published(data: IOIReportData) -> tuple[Section, ...]:
    if not data.published:
        return ()
    rows = [(one.quantity, one.published, one.measured, one.source) for one in data.published]
    columns = ("quantity", Column("published", "right"), Column("measured here", "right"), "source")
    table = TableView(
        columns,
        rows,
        caption="Prompts, weights processing and the way of ablating differ between sources: read "
        "the order of heads and the signs first, the decimals last.",
    )
    return (Section("Beside the published figures", table),)


def _predictions(data: IOIReportData) -> tuple[Section, ...]:
    if not data.predictions:
        return ()
    verdicts = {True: "as expected", False: "not as expected", None: "not graded"}
    rows = [
        (one.question, one.expected, one.observed, verdicts[one.held]) for one in data.predictions
    ]
    table = TableView(("question", "expected", "observed", "verdict"), rows)
    return (
        Section(
            "Expected and observed",
            "The expectations were written down before the run; the gaps are the lesson.",
            table,
        ),
    )


def _method(data: IOIReportData) -> Section:
    return how_it_was_made(
        data.settings,
        data.timings,
        Disclosure("How the figures are computed", *METHOD),
        references=REFERENCES,
    )
