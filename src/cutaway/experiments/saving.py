"""What studies save and say of themselves in the same way."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class FinishedRun:
    """Where a run was saved, and what it found."""

    folder: Path
    summary: tuple[str, ...]
    """The findings in words, each with its numbers."""


def asked_for(settings: Any, hidden: Collection[str] = ()) -> dict[str, str]:
    """What was asked for, in the words of the command line: without what is unset, empty or off,
    and without where it runs and is saved.

    Example:
        >>> asked_for(HeadsSettings("ioi-mini", seed=1))["seed"]  # doctest: +SKIP
        '1'
    """
    left_out = {"out", "device", "max_memory_gib", *hidden}
    found = {}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        text = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
        if field.name not in left_out and value is not None and value is not False and text:
            found[field.name.replace("_", " ")] = text
    return found


def origin(record: dict[str, Any], device: str) -> dict[str, str]:
    """What a report says of where its numbers come from: model (if one was noted), versions,
    machine, command."""
    versions, machine = record["versions"], record["machine"]
    return {
        "model digest": record["model"].get("digest", "")[:16],
        "device": device,
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "machine": ", ".join(f"{name} {value}" for name, value in machine.items()),
        "commit": str(record["commit"] or "installed package"),
        "command": record["command"],
        "started": record["started"],
    }
