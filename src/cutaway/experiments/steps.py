"""The steps of a study: each timed by the run's record, each with its progress shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..findings import RunFolder

Show = Callable[[str, float], None]
"""Called with the name of a step and the share of it that is done, 0 to 1."""

Tell = Callable[[str], None]
"""Called with a line to show before the work begins."""


class Steps:
    """Opens one step of a run after the other.

    Args:
        run: notes how long each step took.
        show: told how far each one is.

    Example:
        >>> with steps("sweep heads") as progress:  # doctest: +SKIP
        ...     sweep(model, task, "z", progress=progress)
    """

    def __init__(self, run: RunFolder, show: Show) -> None:
        self._run, self._show = run, show

    @contextmanager
    def __call__(self, name: str) -> Iterator[Callable[[float], None]]:
        """One step; gives the function to report its progress with."""
        self._show(name, 0.0)
        with self._run.step(name):
            yield lambda share: self._show(name, share)
        self._show(name, 1.0)
