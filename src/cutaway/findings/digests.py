"""A fingerprint of settings, to tell whether a run is the one that was meant."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .run_folder import Settings


def settings_digest(settings: Settings) -> str:
    """The SHA-256 of settings as JSON with sorted names; a run's record gives the same.

    Raises:
        ValueError: they hold something that JSON cannot say.

    Example:
        >>> settings_digest({"seed": 0, "n": 64}) == settings_digest({"n": 64, "seed": 0})
        True
    """
    values = dict(settings) if isinstance(settings, Mapping) else dataclasses.asdict(settings)
    try:
        text = json.dumps(values, sort_keys=True, allow_nan=False, default=_plain)
    except (TypeError, ValueError) as error:
        raise ValueError(f"settings cannot be said in JSON: {error}.") from None
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _plain(value: Any) -> Any:
    """As `files.write_json` writes it into a run's record."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"there is no form for a {type(value).__name__}")
