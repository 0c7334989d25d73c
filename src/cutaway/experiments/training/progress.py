"""A training run in a terminal: how far it is, its loss as a small curve, and the time left."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

from ..terminal import Pace, time_left

if TYPE_CHECKING:
    from rich.console import Console

    from ...training.evaluation import HeldOut
    from ...training.trainer import TrainReport

_BLOCKS = "▁▂▃▄▅▆▇█"
_WIDTH = 14  # characters of the curve


def sparkline(values: Sequence[float], width: int = _WIDTH) -> str:
    """Numbers as a row of blocks, the lowest one as the lowest block; means where there are more.

    Example:
        >>> sparkline([3.0, 2.0, 1.0])
        '█▅▁'
    """
    if not values:
        return ""
    n = min(width, len(values))
    edges = [round(i * len(values) / n) for i in range(n + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, span = min(means), max(means) - min(means)
    top = len(_BLOCKS) - 1
    return "".join(_BLOCKS[round(top * (v - low) / span) if span else 0] for v in means)


class TrainingProgress:
    """Shows a run. Where the output is no terminal, a line at each measurement is all.

    Args:
        console: where.
        n_steps: of the whole run.
    """

    def __init__(self, console: Console, n_steps: int) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        self.console, self.n_steps = console, n_steps
        self.losses: list[float] = []
        self._paces: dict[int, Pace] = {}
        self._columns = Progress(
            BarColumn(14),
            TextColumn("step {task.completed:,.0f} of {task.total:,.0f}"),
            TextColumn("{task.fields[words]}"),
            time_left(self._paces),
            console=console,
        )
        self._task = self._columns.add_task("", total=n_steps, words="")

    def __enter__(self) -> TrainingProgress:
        return self  # the bar appears when training begins

    def __exit__(self, *rest: object) -> None:
        self._columns.stop()

    def begin(self, step: int) -> None:
        """Training begins, after so many steps of an earlier run."""
        if step:
            self.say(f"going on after step {step:,}")
        self._columns.start()
        self._paces[self._task] = Pace()
        self._paces[self._task].update(step / self.n_steps)
        self._columns.update(self._task, completed=step)

    def report(self, found: TrainReport) -> None:
        """A point of the training loss."""
        self.losses.append(found.loss)
        self._paces[self._task].update(found.step / self.n_steps)
        words = f"{sparkline(self.losses)} {found.loss:.3f} {_rate(found.tokens_per_second)}"
        self._columns.update(self._task, completed=found.step, words=words)

    def measured(self, step: int, found: HeldOut) -> None:
        """A point of the loss on held-out data."""
        loss = found.loss
        line = (
            f"step {step:>6,}   held-out loss {loss.estimate:.3f} [{loss.low:.3f}, {loss.high:.3f}]"
        )
        if found.accuracy is not None:
            line += f"   right {100 * found.accuracy.estimate:.1f}%"
        self.say(line)

    def say(self, line: str) -> None:
        """A line above the bar."""
        self.console.print(line, soft_wrap=True, markup=False)


def _rate(tokens_per_second: float) -> str:
    if tokens_per_second >= 10_000:
        return f"{tokens_per_second / 1000:,.0f}k/s"
    return f"{tokens_per_second:,.0f}/s"


class _Asked:
    """Whether somebody asked to stop."""

    is_stop = False

    def __call__(self) -> bool:
        return self.is_stop


@contextmanager
def stop_asked() -> Iterator[_Asked]:
    """While the block runs, Ctrl-C and `kill` only ask: the step that runs is finished and saved.

    A second Ctrl-C stops at once.
    """
    asked = _Asked()

    def ask(number: int, frame: object) -> None:
        if asked.is_stop:
            raise KeyboardInterrupt
        asked.is_stop = True

    before = {one: signal.signal(one, ask) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
