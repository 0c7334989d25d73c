"""What the study measured, by path; and why a value is missing.

Everything that the write-up and the report print is looked up here, so that neither can say a
number that was not measured.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from ...tasks.prompts import TaskError
from ...views.recorded import find as find
from ...views.recorded import reason as reason


class NotMeasured(ValueError):
    """Raised where a value cannot be had; the message says why."""


class Record:
    """Values in nested dictionaries, written by path: one name or several with / between.

    Example:
        >>> record = Record()
        >>> record.at("models/0").put("loss", 1.9)
        >>> record.values["models"]["0"]["loss"]
        1.9
    """

    def __init__(self, prefix: str = "", root: Record | None = None) -> None:
        self.prefix = prefix
        self.values: dict[str, Any] = {} if root is None else root.values
        self.missing: dict[str, str] = {} if root is None else root.missing

    def at(self, path: str) -> Record:
        """The same record, further down."""
        return Record(self._full(path), self)

    def put(self, path: str, value: Any) -> None:
        """Keep a value: a number, text, interval, list, dictionary, array or dataclass."""
        *folders, name = self._full(path).split("/")
        place = self.values
        for folder in folders:
            place = place.setdefault(folder, {})
        place[name] = plain(value)

    def skip(self, path: str, reason: str) -> None:
        """Note why a value, or all that would stand under a path, is missing."""
        self.missing[self._full(path)] = reason

    def get(self, path: str) -> Any:
        """What was kept at a path; None where there is nothing."""
        return find(self.values, self._full(path))

    def attempt(self, path: str) -> _Attempt:
        """A block that may raise `NotMeasured`, or find prompts impossible: the reason is noted."""
        return _Attempt(self, path)

    def results(self) -> dict[str, Any]:
        """What results.json holds."""
        return {**self.values, "not_measured": dict(self.missing)}

    def _full(self, path: str) -> str:
        return "/".join(filter(None, (self.prefix, path)))


class _Attempt:
    def __init__(self, record: Record, path: str) -> None:
        self.record, self.path = record, path

    def __enter__(self) -> Record:
        return self.record.at(self.path)

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> bool:
        if isinstance(error, NotMeasured | TaskError):
            self.record.skip(self.path, str(error))
            return True
        return False


def plain(value: Any) -> Any:
    """As JSON has it: no arrays, no dataclasses, None for a number that is not finite."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain(dataclasses.asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
