"""Numbers as text: a true minus sign, no minus zero, intervals in square brackets."""

from __future__ import annotations

import math

from ..evidence import Interval
from .markup import Markup, join, tag


def number(value: float, digits: int = 2, signed: bool = False) -> str:
    """A number with so many decimals.

    Example:
        >>> number(-0.431), number(-0.001), number(0.5, signed=True)
        ('−0.43', '0.00', '+0.50')
    """
    if math.isnan(value):
        return "n/a"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{abs(value):.{digits}f}"
    if float(text) == 0:
        return text
    return ("−" if value < 0 else "+" if signed else "") + text


def percent(share: float) -> str:
    """A share as a percentage, with a decimal only where 100% would claim too much.

    Example:
        >>> percent(0.5), percent(0.998)
        ('50%', '99.8%')
    """
    rough = f"{100 * share:.0f}"
    if rough in ("0", "100") and share not in (0, 1):
        return f"{100 * share:.1f}%"
    return f"{rough}%"


def bracket(low: float, high: float, digits: int = 2) -> str:
    """The two ends of an interval.

    Example:
        >>> bracket(-0.1, 0.25)
        '[−0.10, 0.25]'
    """
    return f"[{number(low, digits)}, {number(high, digits)}]"


def interval_text(interval: Interval, digits: int = 2, share: bool = False) -> str:
    """An estimate and its interval as one string.

    Example:
        >>> interval_text(Interval(0.43, 0.40, 0.46, 0.95, 64))
        '0.43 [0.40, 0.46]'
    """
    if share:
        ends = f"[{percent(interval.low)}, {percent(interval.high)}]"
        return f"{percent(interval.estimate)} {ends}"
    return f"{number(interval.estimate, digits)} {bracket(interval.low, interval.high, digits)}"


def interval_markup(interval: Interval, digits: int = 2) -> Markup:
    """As `interval_text`, the interval set smaller than the estimate."""
    ends = tag("span", bracket(interval.low, interval.high, digits), class_="ct-ends")
    return join(number(interval.estimate, digits), " ", ends)


def excludes_zero(low: float, high: float) -> bool:
    """Whether an interval lies on one side of zero.

    Example:
        >>> excludes_zero(0.1, 0.3), excludes_zero(-0.1, 0.3)
        (True, False)
    """
    return low > 0 or high < 0


def level_name(level: float) -> str:
    """What to call an interval of this confidence level.

    Example:
        >>> level_name(0.95)
        '95% interval'
    """
    return f"{100 * level:g}% interval"
