"""The command line: a table of commands, each a settings dataclass and what to do with it.

Nothing heavy is imported before a command is chosen, so that `cutaway --help` answers at once.
"""

from __future__ import annotations

import difflib
import re
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from rich.console import Console

    from .experiments.ioi.settings import IOISettings
    from .experiments.measurements.settings import MeasurementSettings
    from .experiments.saving import FinishedRun
    from .training.settings import IOIMiniSettings


_WIDEST = 100  # columns of running text


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
class Command:
    """One command: its words, one line about it, its settings class, and its function here."""

    words: str
    summary: str
    settings: str
    """module:class, imported when the command is chosen."""
    function: str
    """Name of a function in this file: (settings, console) -> None."""


COMMANDS = (
    Command(
        "run ioi",
        "indirect object identification: which heads do it",
        "cutaway.experiments.ioi.settings:IOISettings",
        "run_ioi",
    ),
    Command(
        "patch",
        "replace every head, layer or neuron in turn, exactly",
        "cutaway.experiments.measurements.settings:PatchSettings",
        "measure",
    ),
    Command(
        "paths",
        "patch the paths from senders to receivers, exactly",
        "cutaway.experiments.measurements.settings:PathsSettings",
        "measure",
    ),
    Command(
        "edges",
        "patch every edge between two parts, exactly",
        "cutaway.experiments.measurements.settings:EdgesSettings",
        "measure",
    ),
    Command(
        "attribute",
        "estimate by gradients what patching would do",
        "cutaway.experiments.measurements.settings:AttributeSettings",
        "measure",
    ),
    Command(
        "train ioi-mini",
        "train the embedded model again, from nothing",
        "cutaway.training.settings:IOIMiniSettings",
        "train_ioi_mini",
    ),
    Command("runs", "list past runs", "cutaway.cli:RunsSettings", "list_runs"),
    Command("show", "open a run's report", "cutaway.cli:ShowSettings", "show_run"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 0, 2 for a mistake in the input, 130 if interrupted."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in ("--version", "-V"):
        sys.stdout.write(f"cutaway {__version__}\n")
        return 0
    command = _find(words)
    if command is None:
        return _help(words)
    return _run(command, words[len(command.words.split()) :])


def _find(words: list[str]) -> Command | None:
    for command in COMMANDS:
        own = command.words.split()
        if words[: len(own)] == own:
            return command
    return None


def _help(words: list[str]) -> int:
    """Print the commands; if the words are not a plea for help, say first what is wrong."""
    given = [word for word in words if not word.startswith("-")]
    shown = [c for c in COMMANDS if c.words.split()[: len(given)] == given]
    lines = []
    if given and not shown:
        known = [command.words for command in COMMANDS]
        near = difflib.get_close_matches(" ".join(given), known, n=1, cutoff=0.4)
        hint = f" Did you mean `cutaway {near[0]}`?" if near else ""
        lines += [f"cutaway: there is no command `{' '.join(given)}`.{hint}", ""]
    lines += [
        "Cutaway shows what happens inside a small language model, and proves it.",
        "",
        *(f"  cutaway {command.words:<16}{command.summary}" for command in shown or COMMANDS),
        "",
        "`cutaway COMMAND --help` lists the options of a command.",
    ]
    asked = not words or "--help" in words or "-h" in words
    stream = sys.stdout if asked and shown else sys.stderr
    stream.write("\n".join(lines) + "\n")
    return 0 if asked and shown else 2


def _run(command: Command, arguments: list[str]) -> int:
    import tyro
    from rich.console import Console

    module, name = command.settings.split(":")
    settings_class = getattr(import_module(module), name)
    console = Console(highlight=False)
    positional = (tyro.conf.PositionalRequiredArgs, tyro.conf.OmitArgPrefixes)
    try:
        settings = tyro.cli(
            settings_class, prog=f"cutaway {command.words}", args=arguments, config=positional
        )
        function: Callable[[Any, Console], None] = globals()[command.function]
        function(settings, console)
    except KeyboardInterrupt as stop:  # its message, if any, says how to go on
        sys.stderr.write(f"\ncutaway: {str(stop) or 'interrupted.'}\n")
        return 130
    except (ValueError, OSError) as error:  # what the library raises for a mistake in the input
        sys.stderr.write(f"cutaway: {_sentence(error)}\n")
        return 2
    return 0


def _sentence(error: Exception) -> str:
    """What an error says; of the system's own the file and the fault, without a number."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror[:1].lower()}{error.strerror[1:]}."
    return str(error)


def run_ioi(settings: IOISettings, console: Console) -> None:
    """`cutaway run ioi`."""
    from .experiments.ioi.run import run_ioi as run
    from .experiments.terminal import progress_bars

    _check_device(settings.device)
    with progress_bars(console) as show:
        finished = run(settings, show)
    _print_finished(finished, console)


def measure(settings: MeasurementSettings, console: Console) -> None:
    """`cutaway patch`, `paths`, `edges` and `attribute`."""
    from .experiments.measurements.run import run_measurement
    from .experiments.terminal import progress_bars, stopped_by_signal

    def tell(line: str) -> None:
        console.print(line, soft_wrap=True, markup=False)

    _check_device(settings.device)
    with stopped_by_signal(), progress_bars(console) as show:
        finished = run_measurement(settings, show, tell)
    _print_finished(finished, console)


def train_ioi_mini(settings: IOIMiniSettings, console: Console) -> None:
    """`cutaway train ioi-mini`."""
    from .training.ioi_mini import train_and_save

    def report(line: str) -> None:
        console.print(line)

    train_and_save(settings, report)
    console.print(f"saved in {settings.out}", soft_wrap=True)


def list_runs(settings: RunsSettings, console: Console) -> None:
    """`cutaway runs`."""
    from rich.markup import escape
    from rich.table import Table

    from .experiments.measurements.stopped import list_stopped
    from .findings import list_runs as runs
    from .findings import run_table

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

    from .findings import load_run

    run = load_run(settings.run, settings.root)
    title = " · ".join(filter(None, (run.study, run.model, f"{run.started} UTC", run.id)))
    console.print(title, style="bold", markup=False)
    _print_findings(run.results().get("summary", ()), console)
    _print_path("\nreport  ", run.report, console)
    if settings.browser:
        webbrowser.open(run.report.resolve().as_uri())


def _check_device(device: str) -> None:
    """Refuse a GPU that torch does not see, before anything is made for the run."""
    import torch

    kind = device.split(":")[0]
    seen = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not seen[kind]:
        raise ValueError(f"device={device!r}: torch {torch.__version__} sees no such device here.")


def _print_findings(findings: Sequence[str], console: Console) -> None:
    """One finding after the other, as an indented list no wider than is easy to read."""
    width = min(console.width, _WIDEST)
    for finding in findings:
        bound = re.sub(r"(\[[^\]\s]+,) ", "\\1\u00a0", finding)  # an interval stays on one line
        text = textwrap.fill(
            bound, width, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False
        )
        console.print(text.replace("\u00a0", " "), soft_wrap=True, markup=False)


def _print_finished(finished: FinishedRun, console: Console) -> None:
    """What a run found, where its report is, and how to open it."""
    console.print()
    _print_findings(finished.summary, console)
    _print_path("\nreport        ", finished.folder / "report.html", console)
    _print_path("open it with  cutaway show ", finished.folder, console)


def _print_path(words: str, path: Path, console: Console) -> None:
    """A path on one line whatever the width, so that it can be copied."""
    console.print(f"{words}{path}", soft_wrap=True, markup=False)
