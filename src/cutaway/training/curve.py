"""The losses of a run by step, one JSON object a line, kept while it goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..evidence import Interval
from ..files import write_text
from .checkpoints import written
from .evaluation import HeldOut
from .trainer import TrainReport


class Curve:
    """What was reported and measured so far.

    Each entry has a `step`, and either `loss`, `learning_rate` and `tokens_per_second` (training,
    mean since the last report) or `held_out` (an interval) and, where some tokens can be known,
    `accuracy` and `known_loss`.

    Args:
        path: the file that entries are added to; None keeps them in memory only.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.entries: list[dict[str, Any]] = []

    def go_on_from(self, step: int) -> None:
        """Take up what an earlier run wrote up to a step; what came later will come again."""
        if self.path is None:
            return
        lines = self.path.read_text("utf-8").splitlines() if self.path.is_file() else []
        self.entries = [entry for entry in map(_entry, lines) if entry and entry["step"] <= step]
        write_text(self.path, "".join(json.dumps(entry) + "\n" for entry in self.entries))

    def add(self, entry: Mapping[str, Any]) -> None:
        """Add an entry, and its line."""
        self.entries.append(dict(entry))
        if self.path is not None:
            with written(self.path), self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")

    def add_report(self, report: TrainReport) -> None:
        """A point of the training loss."""
        self.add(asdict(report))

    def add_held_out(self, step: int, found: HeldOut) -> None:
        """A point of the loss on held-out data."""
        entry: dict[str, Any] = {"step": step, "held_out": asdict(found.loss)}
        for name in ("accuracy", "known_loss"):
            interval = getattr(found, name)
            if interval is not None:
                entry[name] = asdict(interval)
        self.add(entry)

    def training(self) -> list[tuple[int, float]]:
        """(step, mean training loss since the point before)."""
        return [(entry["step"], entry["loss"]) for entry in self.entries if "loss" in entry]

    def measured(self, name: str = "held_out") -> list[tuple[int, Interval]]:
        """(step, interval) of the loss on held-out data, or of "accuracy" or "known_loss"."""
        found = ((entry["step"], entry.get(name)) for entry in self.entries)
        return [(step, Interval(**values)) for step, values in found if values]


def _entry(line: str) -> dict[str, Any] | None:
    """An entry; None for a line that was cut off."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) and isinstance(value.get("step"), int) else None
