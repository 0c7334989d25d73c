"""What the settings of commands check in the same way. Loads without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def check_device(device: str) -> None:
    """Raise ValueError if torch has no such kind of device."""
    if device.split(":")[0] not in ("cpu", "cuda", "mps"):
        raise ValueError(f"device={device!r} is none of cpu, cuda and mps.")


def check_memory(max_memory_gib: float | None) -> None:
    """Raise ValueError if there is a bound on memory that is not positive."""
    if max_memory_gib is not None and not max_memory_gib > 0:
        raise ValueError(f"max_memory_gib={max_memory_gib} is not positive.")


def check_least(settings: Any, least: Mapping[str, int]) -> None:
    """Raise ValueError if a field (name -> its least value) is smaller."""
    for name, minimum in least.items():
        if getattr(settings, name) < minimum:
            raise ValueError(f"{name}={getattr(settings, name)} is too few: at least {minimum}.")


def in_bytes(gib: float | None) -> int | None:
    """GiB in bytes; None stays None."""
    return None if gib is None else int(gib * 2**30)
