"""What a prediction claims of a number or a word, and whether what came agrees with it."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from ..evidence import Interval

Kind: TypeAlias = Literal["between", "above", "below", "equals"]
KINDS: tuple[Kind, ...] = ("between", "above", "below", "equals")
Observed: TypeAlias = float | int | bool | str | Interval


class PredictionError(ValueError):
    """A prediction or a grading that cannot be. The message is one sentence."""


@dataclass(frozen=True)
class Claim:
    """A range that a number shall lie in, or what a value shall be.

    Example:
        >>> claim = Claim("between", (0.2, 0.5))
        >>> claim.judge(0.3), claim.judge(Interval(0.48, 0.40, 0.55, 0.95, 64))
        ((True, True), (True, False))
    """

    kind: Kind
    """`between` has its ends included; `above` and `below` have them excluded."""
    value: tuple[float, float] | float | int | bool | str
    """Both ends, the one end, or what it shall be equal to."""

    def __post_init__(self) -> None:
        if self.kind == "equals":
            if not isinstance(self.value, str | int):
                raise PredictionError(
                    f"equals={self.value!r} is for text, a whole number or a bool; measured "
                    "numbers are never quite equal, so give a range: between=(low, high)."
                )
            return
        ends: tuple[Any, ...] = self.value if isinstance(self.value, tuple) else (self.value,)
        if len(ends) != (2 if self.kind == "between" else 1) or not all(map(_is_finite, ends)):
            form = "(low, high)" if self.kind == "between" else "a number"
            raise PredictionError(f"{self.kind}={self.value!r} must be {form}, finite.")
        if self.kind == "between" and ends[0] > ends[1]:
            raise PredictionError(f"between={self.value!r} holds no number: low is above high.")

    def judge(self, observed: Observed) -> tuple[bool, bool]:
        """(held, clear): whether it came so, and whether the whole interval says the same.

        With an interval, `held` goes by the estimate. It is clear if the interval lies inside the
        range as a whole, or outside as a whole. A number or a word without interval is clear.

        Raises:
            PredictionError: what came is of another kind than what was claimed, or not finite.
        """
        if self.kind == "equals":
            if isinstance(observed, Interval) or not _alike(observed, self.value):
                raise PredictionError(
                    f"observed={observed} cannot be held against the claim {self}: give "
                    f"{_KIND_NAMES[type(self.value)]}."
                )
            return observed == self.value, True
        if isinstance(observed, Interval):
            estimate, low, high = observed.estimate, observed.low, observed.high
        elif isinstance(observed, str | bool):
            raise PredictionError(
                f"observed={observed!r} cannot be held against the claim {self}: give a number "
                "or an Interval."
            )
        else:
            estimate = low = high = observed
        if not math.isfinite(estimate):
            raise PredictionError(f"observed={observed} is not finite, so it decides nothing.")
        held = self._holds(estimate)
        return held, self._whole(low, high) if held else self._outside(low, high)

    def _ends(self) -> tuple[float, float]:
        if isinstance(self.value, tuple):
            return self.value
        assert not isinstance(self.value, str)
        return (self.value, math.inf) if self.kind == "above" else (-math.inf, self.value)

    def _holds(self, x: float) -> bool:
        low, high = self._ends()
        return low <= x <= high if self.kind == "between" else low < x < high

    def _whole(self, low: float, high: float) -> bool:
        return self._holds(low) and self._holds(high)

    def _outside(self, low: float, high: float) -> bool:
        first, last = self._ends()
        if self.kind == "between":
            return high < first or low > last
        return high <= first or low >= last

    def __str__(self) -> str:
        if isinstance(self.value, tuple):
            return f"{self.value[0]:g} to {self.value[1]:g}"
        if self.kind == "equals":
            return plain_text(self.value)
        return f"{self.kind} {self.value:g}"


_KIND_NAMES: dict[type, str] = {str: "text", int: "a whole number", bool: "True or False"}


def observed_value(value: Any) -> Observed:
    """A measured value as Python's own; arrays and tensors of one number are taken as the number.

    Raises:
        PredictionError: it is no number, no text, and no interval.
    """
    if hasattr(value, "item"):
        with suppress(RuntimeError, ValueError):  # of more than one number: refused below
            value = value.item()
    if isinstance(value, Interval | str | bool | int | float):
        return value
    raise PredictionError(
        f"observed is a {type(value).__name__}: give a number, an evidence.Interval, or text."
    )


def plain_text(value: Observed) -> str:
    """What came, as a table shows it: yes and no for bools, ends in brackets."""
    if isinstance(value, Interval):
        return f"{value.estimate:.3g} [{value.low:.3g}, {value.high:.3g}]"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _is_finite(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value)  # type: ignore[arg-type]


def _alike(observed: Observed, claimed: object) -> bool:
    """Both text, both bools, or both numbers."""
    if isinstance(claimed, bool) or isinstance(observed, bool):
        return isinstance(claimed, bool) and isinstance(observed, bool)
    if isinstance(claimed, str) or isinstance(observed, str):
        return isinstance(claimed, str) and isinstance(observed, str)
    return isinstance(observed, int | float) and math.isfinite(observed)
