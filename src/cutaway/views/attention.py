"""Attention patterns to walk through: choose a head, point at a token, see where it looks."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .markup import Markup, classes, embedded_json, tag
from .tokens import names_at
from .view import View, figure

# More heads than this stand in rows, one for each layer.
_MOST_IN_ONE_ROW = 24
_LEVELS = 255  # weights from 0 to 1 in one byte: off by at most 0.002


@dataclass(frozen=True, eq=False)
class AttentionExample:
    """The patterns of some heads on one prompt.

    Raises:
        ValueError: the patterns do not fit the tokens, or hold numbers outside 0 to 1.
    """

    patterns: NDArray[np.floating]
    """[head, query, key], attention after the softmax: each row of a query sums to 1."""
    tokens: Sequence[str]
    """The tokens as text, spaces included."""
    marks: Mapping[str, int] = field(default_factory=dict)
    """Named positions: {"IO": 3, "END": 14}; the last of them is shown first."""
    title: str = ""
    """What to call the prompt where one of several is chosen; empty for its text."""

    def __post_init__(self) -> None:
        size = len(self.tokens)
        if self.patterns.ndim != 3 or self.patterns.shape[1:] != (size, size):
            raise ValueError(
                f"patterns has the shape {self.patterns.shape}, but there are {size} tokens: "
                f"expected [head, {size}, {size}]."
            )
        if not (np.isfinite(self.patterns).all() and _within_unit(self.patterns)):
            raise ValueError("patterns holds numbers outside 0 to 1: give them after the softmax.")
        outside = [name for name, place in self.marks.items() if not 0 <= place < size]
        if outside:
            raise ValueError(f"The marks {outside} lie outside the {size} tokens.")


@dataclass(frozen=True, eq=False)
class AttentionView(View):
    """Thumbnails of heads, the chosen one enlarged, and a line of tokens to point at.

    Pointing at a token shades the tokens it looks at, or, the other way round, those that look
    at it. A click keeps the token; arrow keys walk along the line and between the heads. Many
    heads with labels such as "9.6" stand in one row for each layer, and one layer can be chosen.
    A link with data-head="9.9" anywhere on the page chooses that head.

    Raises:
        ValueError: no example, or the labels do not fit the heads.

    Example:
        >>> example = AttentionExample(np.eye(2)[None], ("When", " Mary"))
        >>> AttentionView((example,), ("9.9",)).page_html().startswith("<!doctype html>")
        True
    """

    assets: ClassVar[tuple[str, ...]] = ("figure", "tokens", "attention")

    examples: Sequence[AttentionExample]
    """One for each prompt that can be chosen."""
    head_labels: Sequence[str]
    """One for each head, such as "9.9"."""
    head_notes: Sequence[str] = ()
    """A few characters under each label, such as its effect; empty, or one for each head."""
    head_scores: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """What the heads can be put in order by, highest first: a name, and a number for each head,
    which then stands under its label."""
    title: str = ""
    """Above the view."""
    caption: str = ""
    """Below it. Markup is allowed."""

    def __post_init__(self) -> None:
        if not self.examples:
            raise ValueError("There is no example to show the attention of.")
        for example in self.examples:
            if len(example.patterns) != len(self.head_labels):
                raise ValueError(
                    f"There are {len(self.head_labels)} head labels, but patterns of "
                    f"{len(example.patterns)} heads."
                )
        if self.head_notes and len(self.head_notes) != len(self.head_labels):
            raise ValueError(
                f"There are {len(self.head_labels)} heads, but {len(self.head_notes)} notes."
            )
        for name, scores in self.head_scores.items():
            if len(scores) != len(self.head_labels):
                raise ValueError(
                    f"There are {len(self.head_labels)} heads, but {len(scores)} scores of "
                    f"{name!r}."
                )

    def markup(self) -> Markup:
        """The HTML alone."""
        return figure(
            "ct-attention",
            self.title,
            self.caption,
            tag(
                "div",
                self._prompt_choice(),
                _direction_choice(),
                self._layer_choice(),
                self._order_choice(),
                class_="ct-controls",
            ),
            self._heads(),
            _stage(),
            embedded_json(json.dumps(self._data(), separators=(",", ":")), class_="ct-data"),
            tag("noscript", tag("p", "The patterns are drawn by a script, which is switched off.")),
        )

    def _prompt_choice(self) -> Markup | None:
        if len(self.examples) == 1:
            return None
        options = [
            tag("option", example.title or _text(example.tokens), value=place)
            for place, example in enumerate(self.examples)
        ]
        return tag("label", "Prompt ", tag("select", *options, class_="prompt"), class_="ct-select")

    def _layers(self) -> list[str]:
        """The layer of each head where the heads stand in rows by layer, else none."""
        parts = [label.split(".") for label in self.head_labels]
        if not all(len(part) == 2 and all(map(str.isdecimal, part)) for part in parts):
            return []
        layers = [layer for layer, _ in parts]
        return layers if len(layers) > _MOST_IN_ONE_ROW and len(set(layers)) > 1 else []

    def _layer_choice(self) -> Markup | None:
        layers = list(dict.fromkeys(self._layers()))
        if not layers:
            return None
        options = [tag("option", layer, value=layer) for layer in layers]
        every = tag("option", "all", value="")
        return tag(
            "label", "Layer ", tag("select", every, *options, class_="layer"), class_="ct-select"
        )

    def _order_choice(self) -> Markup | None:
        if not self.head_scores:
            return None
        options = [tag("option", name, value=at) for at, name in enumerate(self.head_scores)]
        first = tag("option", "as given", value="")
        return tag(
            "label", "Order ", tag("select", first, *options, class_="order"), class_="ct-select"
        )

    def _heads(self) -> Markup:
        notes = self.head_notes or [""] * len(self.head_labels)
        buttons = [
            tag(
                "button",
                tag("canvas", width=1, height=1, aria_hidden="true"),
                tag("span", label),
                tag("small", note) if note or self.head_scores else None,
                type="button",
                role="radio",
                aria_checked="true" if place == 0 else "false",
                tabindex=0 if place == 0 else -1,
            )
            for place, (label, note) in enumerate(zip(self.head_labels, notes, strict=True))
        ]
        return tag(
            "div",
            *buttons,
            class_=classes("ct-heads", many=bool(self._layers())),
            role="radiogroup",
            aria_label="Head",
        )

    def _data(self) -> dict[str, Any]:
        return {
            "heads": list(self.head_labels),
            "layers": self._layers(),
            "scores": [
                [round(float(score), 4) if np.isfinite(score) else None for score in scores]
                for scores in self.head_scores.values()
            ],
            "examples": [
                {
                    "tokens": list(example.tokens),
                    "marks": names_at(example.marks),
                    "start": _start(example),
                    "causal": _is_causal(example.patterns),
                    "patterns": to_bytes(_packed(example.patterns)),
                }
                for example in self.examples
            ],
        }


def to_bytes(patterns: NDArray[np.floating]) -> str:
    """Weights from 0 to 1 as base64, one byte each; `from_bytes` is the way back.

    Example:
        >>> to_bytes(np.array([0.0, 1.0]))
        'AP8='
    """
    levels = np.rint(np.clip(patterns, 0, 1) * _LEVELS).astype(np.uint8)
    return base64.b64encode(levels.tobytes()).decode("ascii")


def from_bytes(text: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """What `to_bytes` wrote, within 0.002.

    Example:
        >>> from_bytes("AP8=", (2,))
        array([0., 1.])
    """
    levels = np.frombuffer(base64.b64decode(text), dtype=np.uint8)
    return levels.reshape(shape) / _LEVELS


def _is_causal(patterns: NDArray[np.floating]) -> bool:
    """Whether no token looks ahead."""
    return not np.triu(patterns, 1).any()


def _packed(patterns: NDArray[np.floating]) -> NDArray[np.floating]:
    """[head, weight]: of causal patterns only what can be other than 0, row by row."""
    size = patterns.shape[-1]
    rows, columns = np.tril_indices(size) if _is_causal(patterns) else np.indices((size, size))
    packed: NDArray[np.floating] = patterns[:, rows, columns].reshape(len(patterns), -1)
    return packed


def _within_unit(patterns: NDArray[np.floating]) -> bool:
    # A softmax in float32 can exceed 1 by rounding.
    return bool(patterns.min(initial=0.0) >= 0 and patterns.max(initial=0.0) <= 1 + 1e-4)


def _text(tokens: Sequence[str]) -> str:
    """The prompt without a special token before it, such as "<|endoftext|>"."""
    return re.sub(r"^<\|\w+\|>", "", "".join(tokens)).strip()


def _start(example: AttentionExample) -> int:
    return max(example.marks.values(), default=len(example.tokens) - 1)


def _direction_choice() -> Markup:
    # The name only has to be shared by the two: the script gives each figure's pair its own.
    choices = [
        tag(
            "label",
            tag("input", type="radio", name="ct-direction", value=value, checked=value == "from"),
            tag("span", text),
        )
        for value, text in (("from", "where it looks"), ("to", "who looks at it"))
    ]
    legend = tag("legend", "Direction", class_="ct-hidden")
    return tag("fieldset", legend, *choices, class_="ct-choice")


def _stage() -> Markup:
    canvas = tag("canvas", role="img", aria_label="The pattern of the chosen head")
    axes = tag("p", "rows: the token that looks; columns: the token looked at", class_="ct-axes")
    tokens = tag("div", class_="ct-token-row", role="listbox", aria_label="Tokens")
    readout = tag("p", class_="ct-readout", role="status")
    return tag(
        "div",
        tag("div", tokens, readout, class_="ct-line"),
        tag("div", canvas, axes, class_="ct-matrix"),
        class_="ct-stage",
    )
