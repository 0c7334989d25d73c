"""The steps of a study in a terminal: bars with the time that has passed and the time left."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .steps import Show

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import ProgressColumn, Task
    from rich.text import Text

_SKIPPED = 0.01  # seconds; what is reported faster than this was done before, or costs nothing


class Pace:
    """How long a step will still take, from how fast its parts were done.

    Work of an earlier run that is taken up again is reported at once; it says nothing of the pace
    and is left out.

    Example:
        >>> pace = Pace(clock=iter([0.0, 10.0]).__next__)
        >>> pace.update(0.25)
        >>> pace.left(now=12.0)
        28.0
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last, self._share = clock(), 0.0
        self._seconds = self._worked = 0.0

    def update(self, share: float) -> None:
        """Note the share that is done."""
        now = self._clock()
        if now - self._last >= _SKIPPED:
            self._seconds += now - self._last
            self._worked += max(0.0, share - self._share)
        self._last, self._share = now, share

    def left(self, now: float) -> float | None:
        """Seconds until the end; None while nothing is known."""
        if self._worked <= 0 or self._share >= 1:
            return None
        whole = self._seconds / self._worked * (1 - self._share)
        return max(0.0, whole - (now - self._last))


def time_left(paces: Mapping[int, Pace]) -> ProgressColumn:
    """The time left of each bar, as "0:01:30 left", once it can be told."""
    from rich.progress import ProgressColumn
    from rich.text import Text

    class Left(ProgressColumn):
        max_refresh = 0.5

        def render(self, task: Task) -> Text:
            pace = paces.get(task.id)
            left = None if pace is None else pace.left(time.monotonic())
            if left is None:
                return Text("")
            minutes, seconds = divmod(round(left), 60)
            return Text(f"{minutes // 60}:{minutes % 60:02}:{seconds:02} left", style="cyan")

    return Left()


@contextmanager
def progress_bars(console: Console) -> Iterator[Show]:
    """Bars of the steps of a study, one under the other; lines printed meanwhile go above them."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    paces: dict[int, Pace] = {}
    columns = (TextColumn("{task.description:<22}"), BarColumn(30), TimeElapsedColumn())
    with Progress(*columns, time_left(paces), console=console) as progress:
        bars = {}

        def show(name: str, share: float) -> None:
            if name not in bars:
                bars[name] = progress.add_task(name, total=1.0)
                paces[bars[name]] = Pace()
            paces[bars[name]].update(share)
            progress.update(bars[name], completed=share)

        yield show


@contextmanager
def stopped_by_signal() -> Iterator[None]:
    """While the block runs, `kill` stops it as Ctrl-C does, so that what is done can be kept."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
