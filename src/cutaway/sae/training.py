"""Several dictionaries trained in one pass over the rows, and going on where that was stopped.

The model is run once for all of them; otherwise they share nothing, so that each comes out as it
would alone. Rows are a function of their place in the data, and what is random (first weights,
resampling) of a seed and the step: a checkpoint holds the weights, the optimisers, the counts of
firing, the step and the place, and from there a run goes on bit for bit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from ..files import write_json
from ..model.loading.reading import read_json
from ..training.checkpoints import FOLDER, CheckpointStore, written
from ..training.curve import Curve
from ..training.trainer import TrainingFailed
from .config import DictionaryError
from .dictionary import Dictionary
from .learner import Learner, Point, fresh_learner
from .rows import Batch, Position, RowSource
from .settings import DictionarySettings, PassSettings

CONFIG, CURVE = "training.json", "curve.jsonl"


@dataclass(frozen=True)
class DictionaryEvents:
    """Who is told how a pass goes. Every list has one entry for each dictionary, in order."""

    begin: Callable[[int], None] = lambda step: None
    """Called once, with the number of steps that an earlier run did."""
    report: Callable[[int, Sequence[Point], float], None] = lambda step, points, rate: None
    """Called every `report_every` steps with the rows per second since the last time."""
    measured: Callable[[int, Sequence[Mapping[str, float]]], None] = lambda step, found: None
    """Called every `evaluate_every` steps, if there is something to measure."""
    resampled: Callable[[int, Sequence[int]], None] = lambda step, counts: None
    """Called where dead features begin anew, with how many of each dictionary."""
    warn: Callable[[str], None] = lambda line: None
    """Told what went wrong and did not stop the run."""
    stop: Callable[[], bool] = lambda: False
    """Asked after every step; if true the state is saved and KeyboardInterrupt raised."""


@dataclass(frozen=True, eq=False)
class TrainedDictionary:
    """A dictionary, and how it came to be."""

    name: str
    dictionary: Dictionary
    settings: DictionarySettings
    curve: tuple[Mapping[str, Any], ...]
    """By step: `loss`, `l0`, `explained`, `dead`, `learning_rate` on rows just trained on; or
    `measured`, what the caller measured; or `resampled`, how many features began anew."""

    def points(self, what: str) -> list[tuple[int, float]]:
        """(step, value) of one of them, as "explained"; of `measured` as "measured.loss recovered".

        Example:
            >>> trained.points("l0")[-1]
            (244, 16.0)
        """
        first, _, rest = what.partition(".")
        found = ((entry["step"], entry.get(first)) for entry in self.curve)
        if rest:
            found = ((step, value and value.get(rest)) for step, value in found)
        return [(step, value) for step, value in found if value is not None]

    def to_frame(self) -> list[dict[str, Any]]:
        """The curve as rows, what was measured spread over columns of its own."""
        return [
            {**{k: v for k, v in entry.items() if k != "measured"}, **entry.get("measured", {})}
            for entry in self.curve
        ]


def train_dictionaries(
    source: RowSource,
    wanted: Sequence[DictionarySettings],
    settings: PassSettings | None = None,
    *,
    folder: Path | None = None,
    measure: Callable[[Dictionary], Mapping[str, float]] | None = None,
    events: DictionaryEvents | None = None,
) -> list[TrainedDictionary]:
    """Train dictionaries on the same rows, or go on where that was stopped.

    Args:
        source: of the rows: `Activations` of a model, a `Store`, or rows of one's own.
        wanted: the dictionaries; they may differ in anything, seeds and hooks included.
        settings: of the pass; None is the default.
        folder: keeps checkpoints and the curve; None keeps nothing.
        measure: called every `evaluate_every` steps for each dictionary and at the end; its
            numbers become part of the curve.
        events: who is told how it goes.

    Raises:
        ValueError: nothing to train, two dictionaries of one name, a hook that the source has no
            rows of, rows that are not finite.
        CheckpointError: the folder holds a pass with other settings, or the disk is full.
        TrainingFailed: a loss that is no number.
        KeyboardInterrupt: `events.stop` said so.

    Example:
        >>> hook = "blocks.2.hook_resid_post"
        >>> source = Activations(model, tokens, hook)
        >>> wanted = [DictionarySettings("top-k", hook=hook, k=k) for k in (8, 16, 32)]
        >>> trained = train_dictionaries(source, wanted, PassSettings(n_rows=1_000_000))
        >>> trained[0].dictionary.encode(x)
    """
    settings, events = settings or PassSettings(), events or DictionaryEvents()
    names = unique_names(wanted)
    first = source.next_rows(min(settings.start_rows, settings.n_steps * settings.batch_size))
    learners = [fresh_learner(source, one, settings.n_steps, first) for one in wanted]
    del first
    together = _Together(learners)
    run = _Pass(source, names, together, settings, folder, measure, events)
    run.go()
    entries = run.curve.entries
    return [
        TrainedDictionary(
            name,
            learner.finished(),
            learner.settings,
            tuple(
                {k: v for k, v in e.items() if k != "name"} for e in entries if e["name"] == name
            ),
        )
        for name, learner in zip(names, learners, strict=True)
    ]


def unique_names(wanted: Sequence[DictionarySettings]) -> tuple[str, ...]:
    """What each dictionary is called: its title, with the seed where titles are equal.

    Raises:
        DictionaryError: none are wanted, or two are still called the same.
    """
    if not wanted:
        raise DictionaryError("no dictionary is to be trained: name at least one.")
    titles = [one.title for one in wanted]
    names = tuple(
        title if titles.count(title) == 1 else f"{title} seed={one.seed}"
        for title, one in zip(titles, wanted, strict=True)
    )
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise DictionaryError(f"two dictionaries are called {twice[0]!r}: give each a name.")
    return names


class _Together(nn.Module):
    """All learners as one module with one optimiser, as checkpoints want it."""

    def __init__(self, learners: Sequence[Learner]) -> None:
        super().__init__()
        self.learners = nn.ModuleList(learners)

    def __iter__(self) -> Any:
        return iter(self.learners)


class _Optimizers:
    """The optimisers of all learners, saved and loaded as if they were one."""

    def __init__(self, together: _Together) -> None:
        self.together = together

    def state_dict(self) -> dict[str, Any]:
        """One entry for each learner, by its number."""
        return {str(i): one.optimizer.state_dict() for i, one in enumerate(self.together)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse."""
        for i, one in enumerate(self.together):
            one.optimizer.load_state_dict(state[str(i)])


class _Pass:
    """The loop, its checkpoints and its curve."""

    def __init__(
        self,
        source: RowSource,
        names: Sequence[str],
        together: _Together,
        settings: PassSettings,
        folder: Path | None,
        measure: Callable[[Dictionary], Mapping[str, float]] | None,
        events: DictionaryEvents,
    ) -> None:
        self.source, self.names, self.together = source, names, together
        self.settings, self.measure, self.events = settings, measure, events
        self.optimizers = _Optimizers(together)
        self.store = None if folder is None else self._open(folder)
        self.curve = Curve(folder / CURVE if folder else None)
        self.seconds, self.n_rows = 0.0, 0  # since the last report

    def _open(self, folder: Path) -> CheckpointStore:
        if folder.exists() and not folder.is_dir():
            raise FileExistsError(f"{folder} is a file; a run is kept in a folder.")
        store = CheckpointStore(
            folder / FOLDER,
            self.together,
            _identity(self.source, self.names, self.together, self.settings),
            every=self.settings.checkpoint_every,
            warn=self.events.warn,
        )
        path = folder / CONFIG
        if path.is_file():
            store.check_identity(folder, read_json(path).get("run", {}))
        elif folder.is_dir() and any(folder.iterdir()):
            raise FileExistsError(
                f"{folder} holds something else than dictionaries in training: give another folder."
            )
        else:
            with written(path):
                write_json(path, {"run": store.identity})
        return store

    def go(self) -> None:
        """From the first step that is not done to the last one."""
        step, position = self._resume()
        self.curve.go_on_from(step)
        self.events.begin(step)
        n_steps = self.settings.n_steps
        batches = self.source.batches(self.settings.batch_size, position)
        while step < n_steps:
            start = time.perf_counter()
            batch = next(batches)
            for learner in self.together:
                learner.step(step, batch.rows)
            step += 1
            self.seconds += time.perf_counter() - start
            self.n_rows += self.settings.batch_size
            self._after(step, batch)

    def _after(self, step: int, batch: Batch) -> None:
        """What is due when `step` steps are done."""
        settings, n_steps = self.settings, self.settings.n_steps
        is_last = step == n_steps
        if step % settings.report_every == 0 or is_last:
            self._report(step)
        self._resample(step, batch)
        if self.measure is not None and (step % settings.evaluate_every == 0 or is_last):
            found = [dict(self.measure(one.finished())) for one in self.together]
            for name, values in zip(self.names, found, strict=True):
                self.curve.add({"step": step, "name": name, "measured": values})
            self.events.measured(step, found)
        stopped = self.events.stop() and not is_last
        if self.store is not None and (stopped or self.store.is_due(step, n_steps)):
            # The type says Optimizer; what is used is its state.
            optimizers = cast(torch.optim.Optimizer, self.optimizers)
            self.store.save(step, n_steps, optimizers, asdict(batch.after), now=stopped)
        if stopped:
            raise KeyboardInterrupt(f"stopped after step {step} of {n_steps}")

    def _report(self, step: int) -> None:
        points = [one.point() for one in self.together]
        for name, one, point in zip(self.names, self.together, points, strict=True):
            if not math.isfinite(point.loss):
                raise TrainingFailed(
                    f"the loss of {name!r} is no longer a number at step {step}: lower its "
                    f"learning_rate={one.settings.peak_rate(one.dictionary.cfg.d_features):.2g}."
                )
            rate = one.optimizer.param_groups[0]["lr"]
            self.curve.add(
                {"step": step, "name": name, **asdict(point), "learning_rate": float(rate)}
            )
        self.events.report(step, points, self.n_rows / max(self.seconds, 1e-9))
        self.seconds, self.n_rows = 0.0, 0

    def _resample(self, step: int, batch: Batch) -> None:
        n_steps = self.settings.n_steps
        due = [one.settings.is_resampled_after(step, n_steps) for one in self.together]
        if not any(due):
            return
        rows = self.source.next_rows(self.settings.start_rows, batch.after)
        counts = [
            one.resample(step, rows) if is_due else 0
            for one, is_due in zip(self.together, due, strict=True)
        ]
        for name, is_due, n in zip(self.names, due, counts, strict=True):
            if is_due:
                self.curve.add({"step": step, "name": name, "resampled": n})
        self.events.resampled(step, counts)

    def _resume(self) -> tuple[int, Position]:
        state = None if self.store is None else self.store.resume()
        if state is None:
            return 0, Position()
        self.optimizers.load_state_dict(state.optimizer)
        return state.step, Position(**state.sums)


def _identity(
    source: RowSource, names: Sequence[str], together: _Together, settings: PassSettings
) -> dict[str, Any]:
    """What decides the weights, by its full name: "top-k k=8: seed"."""
    found: dict[str, Any] = {
        "rows": source.digest,
        "n_rows": settings.n_rows,
        "batch_size": settings.batch_size,
        "start_rows": settings.start_rows,
        "names": list(names),
    }
    for name, learner in zip(names, together, strict=True):
        found |= {f"{name}: {key}": value for key, value in learner.settings.to_dict().items()}
    return found
