"""All features of a dictionary on one page: a list to search, and what each fires on and writes."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..evidence import Interval
from ..sae.examples import OUTSIDE, FeatureDirections, FeatureExamples
from .markup import Markup, embedded_json, join, tag, visible_space
from .numbers import interval_text, number, percent
from .view import View, figure

Floats = NDArray[np.floating[Any]]
_LEVELS = 255  # values from 0 to a feature's largest in one byte
_WORDS_IN_A_ROW = 4
_NOTHING = 65_535  # in the list of words: outside the text
_MOST_WORDS = 65_534


@dataclass(frozen=True)
class FeatureLabel:
    """What is said of one feature."""

    text: str
    """Such as "on ' Mary'"."""
    precision: Interval
    recall: Interval


@dataclass(frozen=True, eq=False)
class FeatureBrowserView(View):
    """A list of features to search, filter and sort; the chosen one is shown beside it.

    Without scripts the list is there in full. Up and down walk along it, Enter chooses, and the
    address of the page keeps the choice (#feature-12).

    Raises:
        ValueError: arrays of different lengths, or a text of too many different tokens.

    Example:
        >>> view = FeatureBrowserView(words, examples, density, maximum)
        >>> open("features.html", "w").write(view.page_html())
    """

    assets: ClassVar[tuple[str, ...]] = ("figure", "table", "tokens", "feature_browser")

    words: Sequence[str]
    """The text of every token of the vocabulary."""
    examples: FeatureExamples
    density: Floats
    """[feature], share of the tokens at which it fires."""
    maximum: Floats
    """[feature], its largest value; 0 where it never fires."""
    labels: Sequence[FeatureLabel | None] = ()
    """One for each feature, or nothing at all."""
    directions: FeatureDirections | None = None
    """What each writes."""
    effects: Mapping[str, Sequence[Interval | None]] = field(default_factory=dict)
    """Name -> the effect of each feature; None where it was not run."""
    title: str = ""
    caption: str = ""

    def __post_init__(self) -> None:
        n = len(self.examples.tokens)
        lengths: dict[str, int] = {"density": len(self.density), "maximum": len(self.maximum)}
        if self.labels:
            lengths["labels"] = len(self.labels)
        lengths |= {f"effects[{name!r}]": len(one) for name, one in self.effects.items()}
        if self.directions is not None:
            lengths["directions"] = len(self.directions.promoted)
        for name, length in lengths.items():
            if length != n:
                raise ValueError(f"{name} has {length} features, but the examples have {n}.")
        if len(self._used) > _MOST_WORDS:
            raise ValueError(
                f"the examples hold {len(self._used):,} different tokens, and a page can hold "
                f"{_MOST_WORDS:,}: show fewer features or examples."
            )

    def markup(self) -> Markup:
        """The HTML alone."""
        n = len(self.density)
        heads = ["feature", "fires", "density", "largest"]
        heads += list(self.effects) + (["promotes"] if self.directions is not None else [])
        right = {2, 3, *range(4, 4 + len(self.effects))}
        head = tag(
            "tr",
            *(
                tag("th", one, scope="col", class_="right" if at in right else None)
                for at, one in enumerate(heads)
            ),
        )
        table = tag(
            "table",
            tag("thead", head),
            tag("tbody", *(self._row(feature) for feature in range(n))),
            class_="ct-table ct-feature-list",
        )
        listed = tag(
            "div", table, class_="ct-scroll", tabindex=0, role="region", aria_label="Features"
        )
        detail = tag("section", class_="ct-feature-detail", aria_live="polite", hidden=True)
        return figure(
            "ct-features",
            self.title,
            self.caption,
            self._controls(n),
            tag("div", listed, detail, class_="ct-feature-columns"),
            embedded_json(json.dumps(self._data(), separators=(",", ":")), class_="ct-data"),
        )

    def _controls(self, n: int) -> Markup:
        kinds = [("all", f"all {n:,}"), ("described", "described"), ("plain", "not described")]
        kinds += [("dead", "never fires")]
        options = [tag("option", text, value=value) for value, text in kinds]
        orders = [("0", "number"), ("2", "density"), ("3", "largest value")]
        orders += [(str(4 + at), name) for at, name in enumerate(self.effects)]
        order = [tag("option", text, value=value) for value, text in orders]
        search = tag("input", type="search", class_="search", placeholder="word, rule or number")
        return tag(
            "div",
            tag("label", "Search ", search),
            tag("label", "Show ", tag("select", *options, class_="kind")),
            tag("label", "Sort by ", tag("select", *order, class_="order")),
            tag("span", class_="count", role="status"),
            class_="ct-feature-controls",
            hidden=True,
        )

    def _row(self, feature: int) -> Markup:
        label = self.labels[feature] if self.labels else None
        density, largest = float(self.density[feature]), float(self.maximum[feature])
        kind = "dead" if largest <= 0 else "described" if label is not None else "plain"
        said = label.text if label is not None else "never fires" if kind == "dead" else "–"
        link = tag("a", str(feature), href=f"#feature-{feature}", id=f"row-{feature}")
        cells = [
            tag("td", link),
            tag("td", said),
            _numeric(density, _share(density)),
            _numeric(largest, number(largest, 2)),
        ]
        for values in self.effects.values():
            one = values[feature]
            text = "" if one is None else interval_text(one)
            cells.append(_numeric(0.0 if one is None else abs(one.estimate), text))
        if self.directions is not None:
            some = self.directions.promoted[feature][:_WORDS_IN_A_ROW]
            cells.append(tag("td", _spaced([self._word(int(token)) for token in some])))
        return tag("tr", *cells, data_kind=kind)

    def _word(self, token: int) -> Markup:
        return tag("code", visible_space(self.words[token]))

    # ---- what the script reads ----

    @cached_property
    def _used(self) -> NDArray[np.int64]:
        """Tokens that occur anywhere, sorted."""
        parts = [self.examples.tokens.ravel()]
        if self.directions is not None:
            parts += [self.directions.promoted.ravel(), self.directions.suppressed.ravel()]
        used = np.unique(np.concatenate(parts))
        kept: NDArray[np.int64] = used[used != OUTSIDE]
        return kept

    def _places(self, tokens: NDArray[Any]) -> NDArray[np.uint16]:
        """Tokens as their places among those that are used."""
        places = np.searchsorted(self._used, tokens)
        return np.where(tokens == OUTSIDE, _NOTHING, places).astype("<u2")

    def _data(self) -> dict[str, Any]:
        found = self.examples
        limit = np.maximum(self.maximum, 1e-30)[:, None, None]
        levels = np.clip(np.rint(found.values / limit * _LEVELS), 0, _LEVELS).astype(np.uint8)
        data: dict[str, Any] = {
            "words": [self.words[token] for token in self._used],
            "shape": list(found.tokens.shape),
            "before": found.before,
            "band": found.band.tolist(),
            "tokens": _packed(self._places(found.tokens)),
            "levels": _packed(levels),
            "histogram": found.histogram.tolist(),
            "quality": [self._quality(feature) for feature in range(len(self.density))],
        }
        if self.directions is not None:
            data |= {
                "promoted": self._places(self.directions.promoted).tolist(),
                "promoted_by": _rounded(self.directions.promoted_by),
                "suppressed": self._places(self.directions.suppressed).tolist(),
                "suppressed_by": _rounded(self.directions.suppressed_by),
                "similar": self.directions.similar.tolist(),
                "cosine": _rounded(self.directions.cosine),
            }
        return data

    def _quality(self, feature: int) -> str:
        label = self.labels[feature] if self.labels else None
        if label is None:
            return ""
        return (
            f"It fires at {interval_text(label.precision, share=True)} of the places that the rule "
            f"names, and {interval_text(label.recall, share=True)} of its firings are at them."
        )


def _numeric(value: float, text: str) -> Markup:
    return tag("td", text, class_="right", data_value=f"{value:.6g}")


def _share(value: float) -> str:
    """A share, also where it is very small."""
    return percent(value) if value == 0 or value >= 0.01 else f"{100 * value:.2g}%"


def _spaced(parts: Sequence[Markup]) -> Markup:
    return join(*(join(" ", part) if at else part for at, part in enumerate(parts)))


def _packed(array: NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")


def _rounded(array: Floats) -> list[list[float]]:
    return [[float(f"{value:.3g}") for value in row] for row in array]
