"""The command line called in this process, as tests of commands do."""

from __future__ import annotations

from cutaway import cli


def typed(*words: str) -> int:
    """The exit status; 2 also where the settings themselves are refused."""
    try:
        return cli.main(list(words))
    except SystemExit as stop:
        return int(stop.code or 0)
