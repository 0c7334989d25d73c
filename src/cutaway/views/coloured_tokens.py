"""A text token by token, each coloured by a number: the loss of each token, a share, an effect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from .heatmap import TURNS
from .markup import Markup, classes, join, tag, visible_space
from .numbers import number
from .table import HALF, STRONG
from .view import View, figure, tip

Floats = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class ColouredTokensView(View):
    """Tokens coloured by a number each; pointing at one, or walking to it, says the number.

    Raises:
        ValueError: not as many values, or notes, as tokens; a limit that is not positive; values
            below 0 on a sequential scale.

    Example:
        >>> view = ColouredTokensView(("A", " B"), np.array([np.nan, 4.2]), value_label="nats")
        >>> "4.200 nats" in view.markup()
        True
    """

    assets: ClassVar[tuple[str, ...]] = ("figure", "tip", "tokens", "coloured_tokens")

    tokens: Sequence[str]
    """The tokens as text, spaces included."""
    values: Sequence[float] | Floats
    """One for each token; NaN where there is none, such as the loss of the first."""
    scale: Literal["sequential", "diverging"] = "sequential"
    """Sequential: purple from 0 on. Diverging: blue above 0, orange below."""
    limit: float | None = None
    """The value, or absolute value, that gets the full colour; None means the largest."""
    notes: Sequence[str] = ()
    """A further line for what pointing at each token shows; empty, or one for each token."""
    title: str = ""
    """Above the tokens."""
    caption: str = ""
    """Below them. Markup is allowed."""
    value_label: str = ""
    """Beside the legend: the quantity and its unit."""

    def __post_init__(self) -> None:
        for name in ("values", "notes"):
            given = len(getattr(self, name))
            if given != len(self.tokens) and (name == "values" or given):
                raise ValueError(f"There are {len(self.tokens)} tokens, but {given} {name}.")
        if self.limit is not None and not self.limit > 0:
            raise ValueError(f"limit={self.limit} is not positive.")
        least = np.nanmin(self._values(), initial=0.0)
        if self.scale == "sequential" and least < 0:
            raise ValueError(
                f"The value {least:.3g} is below 0, where a sequential scale begins: give "
                "scale='diverging'."
            )

    def markup(self) -> Markup:
        """The HTML alone."""
        tokens = [self._token(at) for at in range(len(self.tokens))]
        row = tag(
            "div",
            *tokens,
            class_=f"ct-token-row ct-coloured {self.scale}",
            role="list",
            aria_label=self.title or "tokens",
        )
        return figure("ct-coloured-figure", self.title, self.caption, row, self._legend())

    def _values(self) -> Floats:
        return np.asarray(self.values, dtype=float)

    def colour_limit(self) -> float:
        """The absolute value that gets the full colour."""
        if self.limit is not None:
            return self.limit
        values = self._values()
        return float(np.abs(values[np.isfinite(values)]).max(initial=0.0)) or 1.0

    def _token(self, at: int) -> Markup:
        value = float(self._values()[at])
        is_known = not np.isnan(value)
        share = min(1.0, abs(value) / self.colour_limit()) if is_known else 0.0
        said = f"{number(value, 3)} {self.value_label}".strip() if is_known else "no value"
        note = self.notes[at] if self.notes else ""
        sign = "negative" if value < 0 else "positive"
        half, strong = TURNS[sign] if self.scale == "diverging" else (HALF, STRONG)
        return tag(
            "span",
            tag("span", visible_space(self.tokens[at]), class_="text on-colour"),
            class_=classes(
                "ct-token", sign, none=not is_known, half=share > half, strong=share > strong
            ),
            style=f"--t:{share:.3f}".rstrip("0").rstrip("."),
            role="listitem",
            aria_label=", ".join((visible_space(self.tokens[at]), said, *([note] if note else []))),
            data_tip=tip(visible_space(self.tokens[at]), said, note),
            tabindex=0 if at == 0 else -1,
        )

    def _legend(self) -> Markup:
        limit = self.colour_limit()
        digits = 2 if limit < 10 else 0
        ends = ["0", number(limit, digits)]
        if self.scale == "diverging":
            ends = [number(-limit, digits), "0", number(limit, digits, signed=True)]
        scale = tag(
            "span",
            tag("span", class_="shades"),
            tag("span", *(tag("span", end) for end in ends), class_="ticks"),
            class_=f"ct-coloured-scale {self.scale}",
        )
        unit = tag("span", self.value_label, class_="unit") if self.value_label else None
        return tag("div", join(scale, unit), class_="ct-legend")
