"""The last section of every report: how its figures were made, with what, and how long it took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .layout import Disclosure, Items, Section
from .table import Column, TableView
from .view import Part


def how_it_was_made(
    settings: Mapping[str, str],
    timings: Mapping[str, float],
    *computed: Part,
    references: Sequence[str] = (),
) -> Section:
    """What a reader needs to repeat the run.

    Args:
        settings: what was asked for, and with what it was run; empty for no such table.
        timings: step -> seconds; empty for no such table.
        computed: what comes first, such as how the figures are computed.
        references: the literature, last.

    Example:
        >>> how_it_was_made({"model": "ioi-mini"}, {"sweep": 1.5}).title
        'How this was made'
    """
    parts = list(computed)
    if settings:
        table = TableView(("setting", "value"), list(settings.items()))
        parts.append(Disclosure("Settings of this run", table))
    if timings:
        table = TableView(("step", Column("seconds", "right", 1)), list(timings.items()))
        parts.append(Disclosure("Time taken", table))
    if references:
        parts.append(Disclosure("Literature", Items(tuple(references))))
    return Section("How this was made", *parts)
