"""`cutaway runs`, `show` and `predictions`: what lies on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .printing import print_findings, print_path, text_table

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class RunsSettings:
    """List past runs, the newest first."""

    root: Path = Path("runs")
    """The folder that holds them."""


@dataclass(frozen=True)
class ShowSettings:
    """Open a run's report in the browser, and print what it found."""

    run: str
    """Its folder, or the beginning of its id; "latest" is the newest."""
    root: Path = Path("runs")
    """The folder that holds the runs."""
    browser: bool = True
    """Open the report; with --no-browser only its path is printed."""


@dataclass(frozen=True)
class PredictionsSettings:
    """List predictions, the newest first, and how well they were made."""

    root: Path = Path("runs")
    """The folder that holds them."""
    last: int = 20
    """How many are listed; all of them are counted."""


def list_runs(settings: RunsSettings, console: Console) -> None:
    """`cutaway runs`."""
    from rich.markup import escape
    from rich.table import Table

    from ..experiments.measurements.stopped import list_stopped
    from ..findings import list_runs as runs
    from ..findings import run_table

    found, faults = runs(settings.root)
    heads, rows = run_table(found[::-1])
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in heads:
        is_last = head == heads[-1]  # the only one that may wrap
        table.add_column(
            head, no_wrap=not is_last, justify="right" if head == "seconds" else "left"
        )
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(table if rows else f"There are no runs in {settings.root}.")
    for command in list_stopped(settings.root):
        console.print(f"stopped; it goes on with  {command}", soft_wrap=True, markup=False)
    for fault in faults:
        console.print(f"broken: {fault}", soft_wrap=True, markup=False)


def show_run(settings: ShowSettings, console: Console) -> None:
    """`cutaway show RUN`."""
    import webbrowser

    from ..findings import load_run

    run = load_run(settings.run, settings.root)
    title = " · ".join(filter(None, (run.study, run.model, f"{run.started} UTC", run.id)))
    console.print(title, style="bold", markup=False)
    print_findings(run.results().get("summary", ()), console)
    print_path("\nreport  ", run.report, console)
    if settings.browser:
        webbrowser.open(run.report.resolve().as_uri())


def show_predictions(settings: PredictionsSettings, console: Console) -> None:
    """`cutaway predictions`."""
    from ..findings import calibration, list_predictions
    from ..findings import prediction_scores as scores

    if settings.last < 1:
        raise ValueError(f"last={settings.last} must be at least 1.")
    found, faults = list_predictions(settings.root)
    if found:
        newest = sorted(found, key=lambda one: one.made, reverse=True)[: settings.last]
        (day, name, *heads), rows = scores.prediction_table(newest)
        stacked = [(f"{row[0]}\n{row[1]}", *row[2:]) for row in rows]
        # What is left beside the other columns: 22 of 80.
        widths = {"prediction": max(22, console.width - 58), "expected": 12, "observed": 13}
        console.print(text_table((f"{day}\n{name}", *heads), stacked, widths))
        graded = calibration(found)
        for heads_and_rows in (scores.bin_table(graded), scores.day_table(graded)):
            if heads_and_rows[1]:
                console.print()
                console.print(text_table(*heads_and_rows))
        console.print()
        print_findings(scores.calibration_sentences(graded), console)
    else:
        console.print(f"There are no predictions in {settings.root}.", soft_wrap=True, markup=False)
    for fault in faults:
        console.print(f"broken: {fault}", soft_wrap=True, markup=False)
