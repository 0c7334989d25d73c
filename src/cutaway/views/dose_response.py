"""Dose and response: what a steering vector does as its coefficient grows, prompt by prompt."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .curve import CurveSeries, CurveView
from .curve_marks import N_COLOURS, sample
from .d3 import D3
from .markup import Markup, embedded_json, tag
from .view import View, figure

Floats = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class DoseLine:
    """The response to one vector, such as one layer's, at each coefficient.

    Raises:
        ValueError: the numbers are not as many as the coefficients, or these do not grow.
    """

    name: str
    """For the legend."""
    coefficients: Sequence[float]
    """How much of the vector was added, growing."""
    mean: Sequence[float] | Floats
    """The mean response over the prompts; NaN where there is none."""
    low: Sequence[float] | Floats
    """The lower end of its interval."""
    high: Sequence[float] | Floats
    """The upper end."""
    per_prompt: Floats | None = None
    """[prompt, coefficient], the response of each prompt, to be shown on demand."""
    is_control: bool = False
    """Whether the vector is a control, such as a random direction: drawn in grey."""

    def __post_init__(self) -> None:
        self.series()  # its checks are ours
        shape = np.shape(self.per_prompt) if self.per_prompt is not None else None
        if shape is not None and (len(shape) != 2 or shape[1] != len(self.coefficients)):
            raise ValueError(
                f"per_prompt of the line {self.name!r} has the shape {shape}, but there are "
                f"{len(self.coefficients)} coefficients: expected [prompt, coefficient]."
            )

    def series(self) -> CurveSeries:
        """The mean with its interval, as a line of a `CurveView`."""
        mean, low, high = (list(map(float, values)) for values in (self.mean, self.low, self.high))
        return CurveSeries(self.name, self.coefficients, mean, low, high)

    def wrong_way(self) -> NDArray[np.bool_]:
        """[prompt]: whether the prompt's response moves against the mean's, over all coefficients.

        The direction is the sign of the slope of the least-squares line over the coefficients. A
        prompt that does not move at all goes neither way.

        Example:
            >>> both = np.array([[0.0, 1.0], [0.0, -0.2]])
            >>> DoseLine("6", (0, 4), (0.0, 0.4), (0, 0.2), (0, 0.6), both).wrong_way()
            array([False,  True])
        """
        if self.per_prompt is None:
            return np.zeros(0, dtype=bool)
        doses = np.asarray(self.coefficients, dtype=float)
        mean = _slope(doses, np.asarray(self.mean, dtype=float))
        slopes = [_slope(doses, row) for row in np.asarray(self.per_prompt, dtype=float)]
        return np.array([slope * mean < 0 for slope in slopes], dtype=bool)


@dataclass(frozen=True, eq=False)
class DoseResponseView(View):
    """Responses over coefficients: means with intervals, and the single prompts on demand.

    A button chooses a line; its single prompts are thin lines then, those that move against the
    mean dashed and counted. Pointing at one, or walking up and down between them with the
    arrow keys, gives its values. Without a script, the means with their intervals are there.

    Raises:
        ValueError: no line, a line that does not fit, or labels that are not as many as prompts.

    Example:
        >>> line = DoseLine("layer 6", (0.0, 4.0), (0.0, 2.0), (0.0, 1.5), (0.0, 2.5))
        >>> "layer 6" in DoseResponseView((line,)).markup()
        True
    """

    assets: ClassVar[tuple[str, ...]] = ("figure", "tip", "curve", *D3, "dose_response")

    lines: Sequence[DoseLine]
    """In the order of the legend."""
    title: str = ""
    """Above the lines."""
    caption: str = ""
    """Below them. Markup is allowed."""
    x_label: str = "coefficient (residual norms)"
    """Under the axis."""
    y_label: str = "response"
    """Beside the axis: the quantity and its unit."""
    references: Sequence[tuple[float, str]] = ((0.0, ""),)
    """Heights of dashed lines across, and what they are."""
    prompt_labels: Sequence[str] = ()
    """What each prompt is called; empty, or as many as the prompts of every line."""
    interval_name: str = "95% interval"
    """What the shading is."""

    def __post_init__(self) -> None:
        self._curve()  # refuses no lines, and coefficients that are no numbers
        for line in self.lines:
            n_prompts = 0 if line.per_prompt is None else len(line.per_prompt)
            if self.prompt_labels and n_prompts not in (0, len(self.prompt_labels)):
                raise ValueError(
                    f"The line {line.name!r} has {n_prompts} prompts, but there are "
                    f"{len(self.prompt_labels)} labels for them."
                )

    def markup(self) -> Markup:
        """The HTML alone."""
        return figure(
            "ct-dose",
            self.title,
            self.caption,
            self._controls(),
            tag("div", self._curve().markup(), class_="ct-dose-still"),
            tag("div", class_="ct-curve ct-dose-live ct-scroll", hidden=True),
            tag("p", class_="ct-dose-readout", role="status", hidden=True),
            self._counts(),
            embedded_json(json.dumps(self._data(), separators=(",", ":")), class_="ct-data"),
        )

    def _curve(self) -> CurveView:
        """The means with their intervals, as a reader without scripts sees them."""
        return CurveView(
            tuple(line.series() for line in self.lines if not line.is_control),
            tuple(line.series() for line in self.lines if line.is_control),
            x_label=self.x_label,
            y_label=self.y_label,
            references=self.references,
            interval_name=self.interval_name,
        )

    def _styles(self) -> list[tuple[str, int]]:
        """The colour of each line by its class, and its mark; grey for controls."""
        found, at = [], 0
        for line in self.lines:
            if line.is_control:
                found.append(("control", -1))
            else:
                found.append((f"s{at % N_COLOURS}", at))
                at += 1
        return found

    def _controls(self) -> Markup:
        entries = [
            ("all", None),
            *zip((line.name for line in self.lines), self._styles(), strict=True),
        ]
        buttons = [
            tag(
                "button",
                sample(f"series {style[0]}", style[1]) if style else None,
                tag("span", name),
                type="button",
                role="radio",
                aria_checked="true" if at == 0 else "false",
                tabindex=0 if at == 0 else -1,
            )
            for at, (name, style) in enumerate(entries)
        ]
        group = tag(
            "div", *buttons, class_="ct-dose-lines ct-curve", role="radiogroup", aria_label="Line"
        )
        box = tag("input", type="checkbox", disabled=True)
        prompts = tag("label", box, tag("span", "single prompts"), class_="ct-check")
        has_prompts = any(line.per_prompt is not None for line in self.lines)
        shade = tag("span", sample("shade", 0), f"shaded: {self.interval_name}", class_="entry")
        return tag(
            "div",
            group,
            tag("div", shade, class_="ct-legend ct-curve"),
            prompts if has_prompts else None,
            class_="ct-dose-controls",
            hidden=True,
        )

    def _counts(self) -> Markup | None:
        """How many prompts move against the mean, for every line that has prompts."""
        with_prompts = [line for line in self.lines if line.per_prompt is not None]
        if not with_prompts:
            return None
        said = "; ".join(
            f"{line.name}: {int(line.wrong_way().sum())} of {len(line.wrong_way())}"
            for line in with_prompts
        )
        return tag(
            "p",
            f"Prompts whose slope over all coefficients is against the mean's: {said}.",
            class_="ct-dose-counts",
        )

    def _data(self) -> dict[str, Any]:
        return {
            "xLabel": self.x_label,
            "yLabel": self.y_label,
            "interval": self.interval_name,
            "references": [[float(height), words] for height, words in self.references],
            "labels": list(self.prompt_labels),
            "lines": [
                {
                    "name": line.name,
                    "kind": kind,
                    "mark": mark,
                    "x": [float(x) for x in line.coefficients],
                    "mean": _numbers(line.mean),
                    "low": _numbers(line.low),
                    "high": _numbers(line.high),
                    "prompts": [_numbers(row) for row in line.per_prompt]
                    if line.per_prompt is not None
                    else [],
                    "wrong": np.flatnonzero(line.wrong_way()).tolist(),
                }
                for line, (kind, mark) in zip(self.lines, self._styles(), strict=True)
            ],
        }


def _slope(doses: Floats, values: Floats) -> float:
    """Of the least-squares line; 0 where fewer than two values are known."""
    known = np.isfinite(values)
    if known.sum() < 2:
        return 0.0
    centred = doses[known] - doses[known].mean()
    return float(centred @ (values[known] - values[known].mean()) / (centred @ centred))


def _numbers(values: Sequence[float] | Floats) -> list[float | None]:
    """Five significant figures, None for what is no number."""
    return [float(f"{value:.5g}") if math.isfinite(value) else None for value in map(float, values)]
