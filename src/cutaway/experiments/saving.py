"""What studies save and say of themselves in the same way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class FinishedRun:
    """Where a run was saved, and what it found."""

    folder: Path
    summary: tuple[str, ...]
    """The findings in words, each with its numbers."""


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
