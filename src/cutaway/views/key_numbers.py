"""The few numbers that a reader takes home, set large."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..evidence import Interval
from .markup import Markup, tag
from .numbers import bracket, number, percent
from .view import View


@dataclass(frozen=True)
class KeyNumber:
    """One large number."""

    name: str
    """What it is, above it."""
    value: Interval | float | int | str
    """The number; an `Interval` also shows its ends."""
    caption: str = ""
    """A short sentence below it."""
    share: bool = False
    """Show it as a percentage."""
    digits: int = 2
    """Decimals, where it is not a percentage."""


@dataclass(frozen=True)
class KeyNumbers(View):
    """A row of large numbers.

    Example:
        >>> "3.55" in KeyNumbers((KeyNumber("logit difference", 3.55),)).markup()
        True
    """

    assets: ClassVar[tuple[str, ...]] = ("key_numbers",)

    numbers: Sequence[KeyNumber]
    """From the left; about four fit."""

    def markup(self) -> Markup:
        """The HTML alone."""
        return tag("dl", *map(_one, self.numbers), class_="ct-key-numbers")


def _one(item: KeyNumber) -> Markup:
    ends = _ends(item)
    return tag(
        "div",
        tag("dt", item.name),
        tag("dd", _figure(item), class_="ct-big"),
        tag("dd", ends, class_="ct-ends") if ends else None,
        tag("dd", item.caption, class_="ct-small") if item.caption else None,
    )


def _figure(item: KeyNumber) -> str:
    value = item.value
    if isinstance(value, Interval):
        value = value.estimate
    if isinstance(value, str | int):
        return str(value)
    return percent(value) if item.share else number(value, item.digits)


def _ends(item: KeyNumber) -> str:
    value = item.value
    if not isinstance(value, Interval):
        return ""
    if item.share:
        return f"{percent(value.low)} to {percent(value.high)}"
    return bracket(value.low, value.high, item.digits)
