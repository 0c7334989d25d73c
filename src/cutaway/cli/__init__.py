"""The command line: `main` finds a command in the table and runs it.

Nothing heavy is imported before a command is chosen, so that `cutaway --help` answers at once.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from ..version import __version__
from .commands import COMMANDS as COMMANDS
from .commands import Command as Command


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
    width = max(len(command.words) for command in COMMANDS) + 2
    lines += [
        "Cutaway shows what happens inside a small language model, and proves it.",
        "",
        *(f"  cutaway {command.words:<{width}}{command.summary}" for command in shown or COMMANDS),
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

    settings_class = _named(command.settings)
    console = Console(highlight=False)
    positional = (tyro.conf.PositionalRequiredArgs, tyro.conf.OmitArgPrefixes)
    try:
        settings = tyro.cli(
            settings_class, prog=f"cutaway {command.words}", args=arguments, config=positional
        )
        function = _named(command.calls)
        if command.is_study:
            from .studies import run_study

            run_study(function, settings, console)
        else:
            function(settings, console)
    except KeyboardInterrupt as stop:  # its message, if any, says how to go on
        sys.stderr.write(f"\ncutaway: {str(stop) or 'interrupted.'}\n")
        return 130
    except (ValueError, OSError) as error:  # what the library raises for a mistake in the input
        sys.stderr.write(f"cutaway: {_sentence(error)}\n")
        return 2
    return 0


def _named(name: str) -> Any:
    """What "module:name" stands for."""
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)


def _sentence(error: Exception) -> str:
    """What an error says; of the system's own the file and the fault, without a number."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror[:1].lower()}{error.strerror[1:]}."
    return str(error)
