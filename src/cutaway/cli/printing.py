"""What commands print: findings as a list, paths that can be copied, tables of text."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from ..experiments.saving import FinishedRun

_WIDEST = 100  # columns of running text


def print_findings(findings: Sequence[str], console: Console) -> None:
    """One finding after the other, as an indented list no wider than is easy to read."""
    width = min(console.width, _WIDEST)
    for finding in findings:
        bound = re.sub(r"(\[[^\]\s]+,) ", "\\1\u00a0", finding)  # an interval stays on one line
        text = textwrap.fill(
            bound, width, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False
        )
        console.print(text.replace("\u00a0", " "), soft_wrap=True, markup=False)


def print_finished(finished: FinishedRun, console: Console) -> None:
    """What a run found, where its report is, and how to open it."""
    console.print()
    print_findings(finished.summary, console)
    print_path("\nreport        ", finished.folder / "report.html", console)
    print_path("open it with  cutaway show ", finished.folder, console)


def print_path(words: str, path: Path, console: Console) -> None:
    """A path on one line whatever the width, so that it can be copied."""
    console.print(f"{words}{path}", soft_wrap=True, markup=False)


def text_table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], widths: Mapping[str, int] | None = None
) -> Table:
    """Rows of text under their heads; only the columns with a width may take several lines."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in heads:
        width = (widths or {}).get(head)
        table.add_column(head, no_wrap=width is None, width=width, overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    return table
