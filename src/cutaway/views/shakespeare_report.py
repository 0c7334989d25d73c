"""The page of `cutaway run shakespeare`: from its record, which results.json holds, to HTML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import shakespeare_induction as first
from . import shakespeare_parts as part
from .key_numbers import KeyNumber, KeyNumbers
from .layout import Disclosure, Items, Note, Section
from .origin_section import how_it_was_made
from .page import Page
from .recorded import Recorded, interval_of, reason
from .shakespeare_curves import evolution, induction_lens, reach
from .table import TableView
from .view import Part

NOTHING = "Nothing can be shown here: {}."


def shakespeare_report(results: Mapping[str, Any]) -> Page:
    """The report of the Shakespeare study.

    Args:
        results: what results.json holds; nothing else is shown as measured.

    Example:
        >>> shakespeare_report(run.results()).html()  # doctest: +SKIP
    """
    record = Recorded(results)
    page = Page(
        "Small models of Shakespeare",
        "Do they do induction, what do their heads specialise in, how does a prediction form, and "
        "does it come out the same with every seed?",
        facts=(
            ("models", ", ".join(record.names)),
            ("text", str(record.get("data/origin"))),
            ("weights", record.text("models/0/n_parameters")),
        ),
        footer="Written by Cutaway. This file needs no network and fetches nothing.",
    )
    page.add(
        _in_short(record),
        _induction(record),
        _heads(record),
        _prediction(record),
        _new(record),
        _replication(record),
        _how(record),
    )
    return page


def _in_short(record: Recorded) -> Section:
    numbers = []
    for name, path, share, caption in (
        ("A B ... A", "models/0/induction/one_repeat/accuracy", True, "accuracy, first model"),
        ("Passage again", "models/0/induction/passages/gain", False, "nats gained, first model"),
        ("Loss", "models/0/loss", False, "nats per character, held out, first model"),
        ("Replicated", "replication/share_held", True, "criteria that hold in every model"),
    ):
        value = interval_of(record.get(path))
        if value is not None:
            numbers.append(KeyNumber(name, value, caption, share=share))
        else:
            numbers.append(KeyNumber(name, "–", f"not measured ({record.why(path)})"))
    summary = record.get("summary") or ()
    return Section("In short", KeyNumbers(numbers), Items(tuple(map(str, summary))))


def _or_why(view: Part | None, record: Recorded, path: str) -> Part:
    """The view, or the reason why there is none."""
    return view if view is not None else Note("caution", NOTHING.format(record.why(path)))


def _induction(record: Recorded) -> Section:
    return Section(
        "Induction: A B ... A",
        first.capability_table(record),
        first.control_table(record),
        *first.layer_maps(record),
        first.suspects_table(record),
        first.ablation_bars(record),
        _or_why(first.pattern_view(record), record, "models/0/induction/pattern"),
        _or_why(induction_lens(record), record, "models/0/induction/lens"),
    )


def _heads(record: Recorded) -> Section:
    return Section(
        "What heads specialise in",
        part.classes_table(record),
        _or_why(part.scores_map(record), record, "models/0/heads/heads"),
    )


def _prediction(record: Recorded) -> Section:
    return Section(
        "How the prediction forms",
        "The prediction after each layer beside n-gram models of every order, fitted on the same "
        "training text, on text that neither has seen.",
        part.orders_table(record),
        *part.order_maps(record),
        _or_why(reach(record), record, "models/0/prediction/reach"),
    )


def _new(record: Recorded) -> Section:
    return Section(
        "Over the training, and over sizes",
        _or_why(evolution(record), record, "models/0/evolution"),
        _or_why(part.sizes_table(record), record, "sizes"),
        part.failures_table(record),
    )


def _replication(record: Recorded) -> Section:
    return Section(
        "Does it replicate?",
        "Criteria stated before the study was first run. One with an interval is decided only "
        "where the whole interval says the same.",
        part.criteria_table(record),
    )


def _how(record: Recorded) -> Section:
    missing = [
        [path, why if why else reason(record.missing, path)] for path, why in record.missing.items()
    ]
    parts: list[Part] = [
        part.cost_table(record),
        Disclosure(
            "How the figures are computed",
            "Effects of patching are shares of the difference between clean and corrupted prompts "
            "that come back when one value of the clean run is put into the corrupted one. "
            "Intervals are 95%: bootstrap over prompts or windows for means, Wilson for shares.",
            "FINDINGS.md tells the same study in words, with the path in results.json behind every "
            "value.",
        ),
    ]
    if missing:
        table = TableView(("path in results.json", "why"), missing)
        parts.append(Disclosure(f"Not measured ({len(missing)})", table))
    return how_it_was_made(record.get("about") or {}, record.get("timings") or {}, *parts)
