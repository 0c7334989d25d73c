"""The logit-lens grid: what each layer would predict at each position, cell by cell."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .markup import Markup, embedded_json, join, tag, visible_space
from .numbers import number
from .view import View, figure

Floats = NDArray[np.floating]
Numbers = NDArray[np.floating] | NDArray[np.integer]

# The names that the style sheet and the script know: what colours a cell, and what it is called.
_COLOURS = {
    "top": "probability of the top token",
    "target": "target's probability",
    "rank": "target's rank",
    "entropy": "entropy",
}


@dataclass(frozen=True, eq=False)
class LensGridView(View):
    """The most likely token of each layer (rows) at each position (columns), coloured.

    A switch chooses what the colour means. A cell whose top token is the target has a bold frame.
    Pointing at a cell, or walking to it with the arrow keys, lists its most likely tokens with
    their probabilities; a click keeps it. A wide prompt scrolls under its row labels.

    Raises:
        ValueError: the tokens, probabilities or targets do not fit the labels, or a cell has no
            token.

    Example:
        >>> grid = LensGridView(("A", " B"), ("1", "embed"), [[[" B"], [" C"]]] * 2,
        ...     np.full((2, 2, 1), 0.5), targets=(" B", " C"))
        >>> grid.markup().count('class="hit"')
        4
    """

    assets: ClassVar[tuple[str, ...]] = ("figure", "grid", "lens_grid")

    tokens: Sequence[str]
    """The prompt's tokens, one for each column, spaces included."""
    row_labels: Sequence[str]
    """One for each row, the last layer at the top, such as "11" ... "0", "embed"."""
    top_tokens: Sequence[Sequence[Sequence[str]]]
    """[row][column][k]: the most likely next tokens, the likeliest first."""
    top_probabilities: Floats
    """[row, column, k], their probabilities."""
    targets: Sequence[str] | None = None
    """For each column the token that should come next; empty where there is none."""
    target_probability: Floats | None = None
    """[row, column], the target's probability; NaN where there is no target."""
    target_rank: Numbers | None = None
    """[row, column], how many tokens are likelier than the target: 0 is the top; NaN or negative
    where there is no target."""
    entropy: Floats | None = None
    """[row, column], of the whole distribution, in nats."""
    title: str = ""
    """Above the grid."""
    caption: str = ""
    """Below it. Markup is allowed."""
    row_axis: str = "layer"
    """What the rows are."""

    def __post_init__(self) -> None:
        shape = (len(self.row_labels), len(self.tokens))
        for name in ("target_probability", "target_rank", "entropy"):
            array = getattr(self, name)
            if array is not None and np.shape(array) != shape:
                raise ValueError(
                    f"{name} has the shape {np.shape(array)}, but there are {shape[0]} row labels "
                    f"and {shape[1]} tokens."
                )
        found = np.shape(self.top_probabilities)
        if len(found) != 3 or found[:2] != shape or found[2] < 1:
            raise ValueError(
                f"top_probabilities has the shape {found}, but there are {shape[0]} row labels and "
                f"{shape[1]} tokens: expected [{shape[0]}, {shape[1]}, k] with k of at least 1."
            )
        sizes = {len(cell) for row in self.top_tokens for cell in row}
        fits = len(self.top_tokens) == shape[0] and {len(r) for r in self.top_tokens} <= {shape[1]}
        if not fits or sizes - {found[2]}:
            raise ValueError(
                f"top_tokens does not fit top_probabilities, which has the shape {found}: give "
                f"{found[2]} tokens for each of {shape[1]} columns in each of {shape[0]} rows."
            )
        if self.targets is not None and len(self.targets) != shape[1]:
            raise ValueError(f"There are {shape[1]} tokens, but {len(self.targets)} targets.")

    def markup(self) -> Markup:
        """The HTML alone."""
        table = tag(
            "table",
            tag("thead", self._head()),
            tag("tbody", *self._rows()),
            role="grid",
            aria_label=self.title or "logit lens",
            class_="ct-lens-grid",
        )
        hint = (
            "Point at a cell, or walk over the grid with the arrow keys, for its likeliest tokens."
        )
        return figure(
            "ct-lens",
            self.title,
            self.caption,
            self._choice(),
            tag("div", table, class_="ct-scroll"),
            self._legend(),
            tag("div", tag("p", hint), class_="ct-lens-readout", role="status"),
            embedded_json(json.dumps(self._data(), separators=(",", ":")), class_="ct-data"),
        )

    def _measures(self) -> dict[str, Floats]:
        """What can colour the cells: for each the share of the full colour, [row, column]."""
        found = {"top": np.asarray(self.top_probabilities, dtype=float)[:, :, 0]}
        if self.target_probability is not None:
            found["target"] = np.asarray(self.target_probability, dtype=float)
        if self.target_rank is not None:
            # By ratios: from the top to rank 10 is as far as from 10 to about 100.
            depth = np.log1p(np.maximum(self._ranks(), 0))
            deepest = float(np.nanmax(depth, initial=0.0))
            found["rank"] = 1 - depth / (deepest or 1.0)
        if self.entropy is not None:
            entropy = np.asarray(self.entropy, dtype=float)
            found["entropy"] = entropy / (self._most_entropy() or 1.0)
        return found

    def _ranks(self) -> Floats:
        ranks = np.asarray(self.target_rank, dtype=float)
        return np.where(ranks < 0, np.nan, ranks)

    def _most_entropy(self) -> float:
        return float(np.nanmax(np.asarray(self.entropy, dtype=float), initial=0.0))

    def _hits(self) -> NDArray[np.bool_]:
        """[row, column]: whether the top token is the target."""
        shape = (len(self.row_labels), len(self.tokens))
        if self.target_rank is not None:
            return np.equal(self._ranks(), 0)
        if self.targets is None:
            return np.zeros(shape, dtype=bool)
        return np.array(
            [
                [
                    bool(want) and cell[0] == want
                    for cell, want in zip(row, self.targets, strict=True)
                ]
                for row in self.top_tokens
            ],
            dtype=bool,
        ).reshape(shape)

    # ---- table ----

    def _head(self) -> Markup:
        cells = [
            tag("th", tag("span", visible_space(token)), scope="col", data_column=column)
            for column, token in enumerate(self.tokens)
        ]
        names = tag("tr", tag("th", self.row_axis, class_="corner", scope="col"), *cells)
        if self.targets is None:
            return names
        wanted = [
            tag("td", tag("span", visible_space(target)) if target else None)
            for target in self.targets
        ]
        return join(names, tag("tr", tag("th", "target", scope="row"), *wanted, class_="targets"))

    def _rows(self) -> list[Markup]:
        hits, measures = self._hits(), self._measures()
        return [
            tag(
                "tr",
                tag("th", label, scope="row"),
                *(
                    self._cell(
                        (row, column),
                        is_hit=bool(hits[row, column]),
                        shares={name: values[row, column] for name, values in measures.items()},
                    )
                    for column in range(len(self.tokens))
                ),
            )
            for row, label in enumerate(self.row_labels)
        ]

    def _cell(self, at: tuple[int, int], is_hit: bool, shares: dict[str, float]) -> Markup:
        row, column = at
        said = f", probability {number(float(self.top_probabilities[row, column, 0]), 3)}"
        return tag(
            "td",
            tag("span", visible_space(self.top_tokens[row][column][0]), class_="token"),
            tag("span", said + (", the target" if is_hit else ""), class_="ct-hidden"),
            class_="hit" if is_hit else None,
            style=";".join(f"--{name}:{_share(value)}" for name, value in shares.items()),
            data_column=column,
            tabindex=0 if row == column == 0 else -1,
        )

    # ---- around it ----

    def _choice(self) -> Markup | None:
        names = list(self._measures())
        if len(names) == 1:
            return None
        # The name only has to be shared by these: the script gives each figure's its own.
        choices = [
            tag(
                "label",
                tag("input", type="radio", name="ct-lens", value=name, checked=name == "top"),
                tag("span", _COLOURS[name]),
            )
            for name in names
        ]
        legend = tag("legend", "Colour", class_="ct-hidden")
        return tag(
            "div", tag("fieldset", legend, *choices, class_="ct-choice"), class_="ct-lens-by"
        )

    def _legend(self) -> Markup:
        ends = {"top": ("0", "1"), "target": ("0", "1")}
        if self.target_rank is not None:
            ends["rank"] = (f"{np.nanmax(self._ranks(), initial=0.0):.0f}", "0, the top")
        if self.entropy is not None:
            ends["entropy"] = ("0", f"{number(self._most_entropy())} nats")
        scales = [
            tag(
                "span",
                tag("span", class_="ramp"),
                tag("span", *(tag("span", end) for end in ends[name]), class_="ticks"),
                tag("span", _COLOURS[name]),
                class_=f"lens-scale by-{name}",
            )
            for name in self._measures()
        ]
        has_targets = self.targets is not None or self.target_rank is not None
        hit = tag("span", tag("i", class_="key-hit"), "the top token is the target", class_="entry")
        return tag("div", *scales, hit if has_targets else None, class_="ct-legend")

    def _data(self) -> dict[str, Any]:
        """What the script shows of each cell; every token is spelled once."""
        words: dict[str, int] = {}
        top = [
            words.setdefault(token, len(words))
            for row in self.top_tokens
            for cell in row
            for token in cell
        ]
        data: dict[str, Any] = {
            "axis": self.row_axis,
            "rows": list(self.row_labels),
            "columns": list(self.tokens),
            "targets": list(self.targets) if self.targets is not None else None,
            "k": int(np.shape(self.top_probabilities)[2]),
            "words": list(words),
            "top": top,
            "p": _rounded(self.top_probabilities),
        }
        for name in ("target_probability", "entropy"):
            if getattr(self, name) is not None:
                data[name] = _rounded(getattr(self, name))
        if self.target_rank is not None:
            data["target_rank"] = [None if np.isnan(r) else int(r) for r in self._ranks().ravel()]
        return data


def _share(value: float) -> str:
    share = 0.0 if np.isnan(value) else min(1.0, max(0.0, float(value)))
    return f"{share:.3f}".rstrip("0").rstrip(".")


def _rounded(values: Floats) -> list[float | None]:
    flat = np.asarray(values, dtype=float).ravel()
    return [round(float(value), 4) if np.isfinite(value) else None for value in flat]
