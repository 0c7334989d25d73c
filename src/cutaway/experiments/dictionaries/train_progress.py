"""Dictionaries in training, in a terminal: how far they are, how well they rebuild, time left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..terminal import Pace, time_left

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

    from ...sae.learner import Point


class DictionaryProgress:
    """Shows a pass. Where the output is no terminal, the lines at measurements are all.

    Args:
        console: where.
        names: of the dictionaries.
        n_steps: of the whole run.
    """

    def __init__(self, console: Console, names: Sequence[str], n_steps: int) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        self.console, self.names, self.n_steps = console, names, n_steps
        self.rates: list[float] = []
        self._paces: dict[int, Pace] = {}
        self._dead = [0.0] * len(names)
        self._columns = Progress(
            TextColumn("{task.description}"),
            BarColumn(14),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f}"),
            TextColumn("{task.fields[words]}"),
            time_left(self._paces),
            console=console,
        )

    def __enter__(self) -> DictionaryProgress:
        return self  # the bars appear when there is something to show

    def __exit__(self, *rest: object) -> None:
        self._columns.stop()

    def begin(self, step: int) -> None:
        """Training begins, after so many steps of an earlier run."""
        if step:
            self.say(f"going on after step {step:,}")
        self._task = self._bar("step", self.n_steps, step)

    def stored(self, share: float) -> None:
        """So much of the activations is on disk."""
        if not hasattr(self, "_storing"):
            self._storing = self._bar("store %", 100, 0)
        self._paces[self._storing].update(share)
        self._columns.update(self._storing, completed=100 * share)

    def _bar(self, words: str, total: int, done: int) -> TaskID:
        self._columns.start()
        task = self._columns.add_task(words, total=total, completed=done, words="")
        self._paces[task] = Pace()
        self._paces[task].update(done / total)
        return task

    def report(self, step: int, points: Sequence[Point], rate: float) -> None:
        """How they did on what they were trained on."""
        self.rates.append(rate)
        self._dead = [point.dead for point in points]
        explained = sum(point.explained for point in points) / len(points)
        self._paces[self._task].update(step / self.n_steps)
        words = f"explained {explained:.3f} {rate:,.0f} rows/s"
        self._columns.update(self._task, completed=step, words=words)

    def measured(self, step: int, found: Sequence[Mapping[str, float]]) -> None:
        """How they do on held-out text."""
        width = max(map(len, self.names))
        for name, values, dead in zip(self.names, found, self._dead, strict=True):
            recovered = values.get("loss recovered")
            words = "" if recovered is None else f"  recovered {recovered:.3f}"
            self.say(
                f"step {step:>6,}  {name:<{width}}  L0 {values['L0']:5.1f}  "
                f"explained {values['explained variance']:.3f}{words}  dead {100 * dead:.1f}%"
            )

    def resampled(self, step: int, counts: Sequence[int]) -> None:
        """Dead features began anew."""
        if any(counts):
            self.say(f"step {step:>6,}  {sum(counts):,} dead features begin anew")

    def say(self, line: str) -> None:
        """A line above the bars."""
        self.console.print(line, soft_wrap=True, markup=False)
