"""Values of a record as text: looked up by path, never made up.

A record is what results.json holds: dictionaries and lists, intervals as dictionaries with
`estimate`, `low`, `high` and `n`, and under `not_measured` why a path is empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..evidence import Interval
from .numbers import bracket, number, percent

NOT_MEASURED = "not measured"
_NO_REASON = "this run did not ask for it"


def find(values: Mapping[str, Any], path: str) -> Any:
    """The value at a path such as "models/0/loss"; None where there is nothing.

    Example:
        >>> find({"models": [{"loss": 1.5}]}, "models/0/loss")
        1.5
    """
    place: Any = values
    for name in path.split("/"):
        if isinstance(place, Mapping):
            place = place.get(name)
        elif isinstance(place, list):
            is_there = name.lstrip("-").isdigit() and -len(place) <= int(name) < len(place)
            place = place[int(name)] if is_there else None
        else:
            return None
    return place


def reason(missing: Mapping[str, str], path: str) -> str:
    """Why there is nothing at a path: the note at it, or at the nearest folder above it."""
    parts = path.split("/")
    for n in range(len(parts), 0, -1):
        if "/".join(parts[:n]) in missing:
            return missing["/".join(parts[:n])]
    return _NO_REASON


def interval_of(value: Any) -> Interval | None:
    """An interval as a record has it; None if it is none, or an end is not bounded."""
    if not isinstance(value, Mapping) or "estimate" not in value:
        return None
    if value["estimate"] is None or value.get("low") is None or value.get("high") is None:
        return None
    level, n = float(value.get("level", 0.95)), int(value["n"])
    return Interval(value["estimate"], value["low"], value["high"], level, n)


@dataclass
class Recorded:
    """A record that is read by path, and that knows what was read.

    Example:
        >>> record = Recorded({"loss": 1.5, "not_measured": {"gain": "no text"}})
        >>> record.text("loss"), record.text("gain")
        ('1.500', 'not measured (no text)')
    """

    results: Mapping[str, Any]
    """What results.json holds."""
    cites: bool = False
    """Put a footnote behind every value, as Markdown has them."""
    read: list[str] = field(default_factory=list)
    """The paths behind the footnotes, in their order."""

    @property
    def missing(self) -> Mapping[str, str]:
        """Path to the reason why nothing stands there."""
        found: Mapping[str, str] = self.results.get("not_measured", {})
        return found

    @property
    def n_models(self) -> int:
        """Models of the study."""
        return len(self.results.get("models", {}))

    @property
    def names(self) -> list[str]:
        """What the models are called."""
        return [str(self.get(f"models/{at}/name")) for at in range(self.n_models)]

    def get(self, path: str) -> Any:
        """The value itself; None where there is none."""
        return find(self.results, path)

    def text(self, path: str, digits: int = 3, share: bool = False) -> str:
        """A value with its interval, or "not measured" and why.

        Args:
            path: within the record.
            digits: decimals of a number.
            share: show it as a percentage.
        """
        value = self.get(path)
        if value is None:
            return f"{NOT_MEASURED} ({reason(self.missing, path)})"
        return shown(value, digits, share) + self.cite(path)

    def row(
        self, label: str, path: str, digits: int = 3, share: bool = False
    ) -> tuple[str, list[str]]:
        """(label, a cell for each model): the same value of every model, cited once.

        Args:
            label: of the row.
            path: within a model's part of the record.
            digits, share: as in `text`.
        """
        cells = []
        for at in range(self.n_models):
            value = self.get(f"models/{at}/{path}")
            cells.append(NOT_MEASURED if value is None else shown(value, digits, share))
        return label + self.cite(f"models/*/{path}"), cells

    def why(self, path: str) -> str:
        """Why a value is missing."""
        return reason(self.missing, path)

    def cite(self, path: str) -> str:
        """The footnote of a path; nothing where values are not cited."""
        if not self.cites:
            return ""
        if path not in self.read:
            self.read.append(path)
        return f"[^{self.read.index(path) + 1}]"


def shown(value: Any, digits: int = 3, share: bool = False) -> str:
    """A value of a record as text.

    Example:
        >>> shown({"estimate": 0.5, "low": 0.4, "high": 0.6, "n": 9}, share=True)
        '50% [40%, 60%]'
    """
    if isinstance(value, Mapping) and "estimate" in value:
        found = interval_of(value)
        if found is None:
            return f"{_plain(value['estimate'], digits, share)} (interval not bounded)"
        ends = (found.low, found.high)
        inside = f"[{percent(ends[0])}, {percent(ends[1])}]" if share else bracket(*ends, digits)
        return f"{_plain(found.estimate, digits, share)} {inside}"
    if isinstance(value, Mapping) and "median" in value:
        spread = bracket(value["least"], value["most"], digits)
        return f"{number(value['median'], digits)} {spread}"
    if isinstance(value, Mapping) and "mean" in value:
        least, most = (_plain(value[end], digits, share) for end in ("least", "most"))
        return f"{_plain(value['mean'], digits, share)} ({least} to {most})"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(shown(one, digits, share) for one in value) or "none"
    return _plain(value, digits, share)


def _plain(value: Any, digits: int, share: bool) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return percent(value) if share else number(value, digits)
    return "not bounded" if value is None else str(value)
