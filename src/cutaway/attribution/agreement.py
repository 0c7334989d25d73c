"""`agreement`: how far estimated effects are the exact ones, and where they are not."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .. import evidence
from ..evidence import Interval
from ..files import write_json
from ..patching.effects import Effect, Effects, Mode

_TOPS = (5, 10, 20, 50, 100, 200, 500, 1000)
_RESAMPLES = 200
_SAME = 1e-2  # of the metric's scale: what rounding and half precision may make of one run
_FORMAT = "cutaway.agreement"


@dataclass(frozen=True)
class Disagreement:
    """One place, and what both say of it, as normalised effects."""

    labels: dict[str, str]
    """Axis name -> label."""
    exact: float
    estimate: float

    @property
    def name(self) -> str:
        """The labels, as in "9.6 END" or "5.5->9.6.q"."""
        return Effect(self.labels, self.exact, math.nan, math.nan).name

    @property
    def difference(self) -> float:
        """Estimate less exact."""
        return self.estimate - self.exact

    def __str__(self) -> str:
        return f"{self.name}: exact {self.exact:+.3f}, estimated {self.estimate:+.3f}"


@dataclass(frozen=True)
class Overlap:
    """How many of the largest effects are also among the largest estimates (of either sign)."""

    n: int
    share: float
    by_chance: float
    """What estimates in random order would have: n / places."""


@dataclass(frozen=True)
class Agreement:
    """Estimated beside exact effects, over the same places and prompts.

    Example:
        >>> exact, estimate = ca.sweep(model, task, "z"), ca.attribute(model, task, "z")
        >>> print(agreement(exact, estimate))
        z, denoising: 32 places, 64 prompts
        ...
    """

    site: str
    mode: Mode
    metric: str
    n_places: int
    """Interventions that are compared."""
    n_prompts: int
    pearson: Interval
    """Correlation of the effects; NaN where either side has no variance. Prompts are resampled."""
    spearman: Interval
    """Correlation of their ranks."""
    equal_signs: float
    """Share of equal signs among the exact effects that matter; NaN if there are none."""
    n_matter: int
    """Exact effects of at least `evidence.LEAST_EFFECT`; if there are none, the ten largest."""
    overlaps: tuple[Overlap, ...]
    """Of the largest 5, 10, 20, ..., as far as there are more places."""
    mean_difference: float
    """Mean of |estimate - exact|, in normalised effects."""
    largest_difference: float
    """Largest |estimate - exact|."""
    worst: tuple[Disagreement, ...]
    """The largest differences, the largest first."""
    settings: dict[str, Any]
    """What made the "exact" and the "estimate"."""

    def overlap(self, n: int) -> Overlap:
        """The overlap of the n largest.

        Raises:
            ValueError: it was not measured for this n.
        """
        for found in self.overlaps:
            if found.n == n:
                return found
        known = ", ".join(str(found.n) for found in self.overlaps) or "none"
        raise ValueError(f"the overlap of the largest {n} was not measured; there are {known}.")

    def to_frame(self) -> list[dict[str, Any]]:
        """One row (a dict) for each measure: measure, value, low, high; pandas takes it as is.

        `low` and `high` are None for what has no interval.
        """
        rows: list[dict[str, Any]] = []

        def add(
            measure: str, value: float, low: float | None = None, high: float | None = None
        ) -> None:
            rows.append({"measure": measure, "value": value, "low": low, "high": high})

        for name, interval in (("pearson", self.pearson), ("spearman", self.spearman)):
            add(name, interval.estimate, interval.low, interval.high)
        add("equal signs", self.equal_signs)
        for found in self.overlaps:
            add(f"overlap of the top {found.n}", found.share)
        add("mean difference", self.mean_difference)
        add("largest difference", self.largest_difference)
        return rows

    def __str__(self) -> str:
        lines = [
            f"{self.site}, {self.mode}: {self.n_places:,} places, {self.n_prompts} prompts",
            f"Pearson      {self.pearson}",
            f"Spearman     {self.spearman}",
            f"equal signs  {self.equal_signs:.3f} of {self.n_matter} effects that matter",
        ]
        lines += [
            f"top {o.n:<9}{o.share:.3f} in common (by chance {o.by_chance:.3f})"
            for o in self.overlaps
        ]
        largest = self.largest_difference
        lines.append(f"difference   {self.mean_difference:.4f} mean, {largest:.3f} at most")
        if math.isnan(self.pearson.estimate):
            lines.append("One side is the same everywhere, so there is no correlation.")
        return "\n".join([*lines, *(f"  {one}" for one in self.worst)])

    def save(self, path: str | Path) -> None:
        """Write one JSON file."""
        write_json(path, {"format": _FORMAT, **_storable(asdict(self))})

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The inverse of `save`.

        Raises:
            ValueError: the file is missing or is not one that `save` wrote.
        """
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
            if values.pop("format") != _FORMAT:
                raise KeyError("format")
            for name in ("pearson", "spearman"):
                interval = values[name]
                numbers = {k: float(interval[k]) for k in ("estimate", "low", "high", "level")}
                values[name] = Interval(**numbers, n=interval["n"])
            values["equal_signs"] = float(values["equal_signs"])
            values["overlaps"] = tuple(Overlap(**one) for one in values["overlaps"])
            values["worst"] = tuple(Disagreement(**one) for one in values["worst"])
            return cls(**values)
        except OSError as error:
            raise ValueError(f"{path} cannot be read ({error.strerror}).") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} does not hold an agreement: {error!r}.") from None


def agreement(exact: Effects, estimate: Effects, n_worst: int = 10, seed: int = 0) -> Agreement:
    """Compare estimated effects with exact ones.

    Args:
        exact: of a sweep.
        estimate: of `attribute` or `attribute_edges`, over the same site, axes and prompts.
        n_worst: how many of the largest disagreements are listed.
        seed: of the bootstrap over prompts.

    Raises:
        ValueError: the two are not about the same interventions, direction, metric or prompts.

    Example:
        >>> found = agreement(ca.sweep(model, task, "z"), ca.attribute(model, task, "z"))
        >>> found.pearson.estimate, found.worst[0].name
    """
    _check_comparable(exact, estimate)
    n_prompts = len(exact.clean)
    whole = (exact.clean - exact.corrupted).mean()
    if whole == 0:
        raise ValueError(
            "the mean metric of clean and corrupted prompts is the same, so there is no "
            "difference to express effects in."
        )
    first, second = (
        np.asarray(effects.per_prompt, np.float64).reshape(-1, n_prompts)
        for effects in (exact, estimate)
    )
    true, guessed = first.mean(-1) / whole, second.mean(-1) / whole
    pearson, spearman = (
        evidence.bootstrap_correlation(first, second, ranked, seed, n_resamples=_RESAMPLES)
        for ranked in (False, True)
    )
    by_size = np.argsort(-np.abs(true), kind="stable")
    matter = np.flatnonzero(np.abs(true) >= evidence.LEAST_EFFECT)
    if len(matter) == 0:
        matter = by_size[:10][true[by_size[:10]] != 0]
    equal = np.sign(true[matter]) == np.sign(guessed[matter])
    difference = np.abs(guessed - true)
    worst = np.argsort(-difference, kind="stable")[:n_worst]
    return Agreement(
        site=exact.site,
        mode=exact.mode,
        metric=exact.metric,
        n_places=len(true),
        n_prompts=n_prompts,
        pearson=pearson,
        spearman=spearman,
        equal_signs=float(equal.mean()) if len(equal) else math.nan,
        n_matter=len(matter),
        overlaps=_overlaps(by_size, np.argsort(-np.abs(guessed), kind="stable")),
        mean_difference=float(difference.mean()),
        largest_difference=float(difference.max()),
        worst=tuple(
            Disagreement(_labels(exact, int(i)), float(true[i]), float(guessed[i])) for i in worst
        ),
        settings={"exact": exact.settings, "estimate": estimate.settings},
    )


def _overlaps(first: NDArray[np.intp], second: NDArray[np.intp]) -> tuple[Overlap, ...]:
    """Of two orders of all places."""
    n_places = len(first)
    return tuple(
        Overlap(n, len(np.intersect1d(first[:n], second[:n])) / n, n / n_places)
        for n in _TOPS
        if n < n_places
    )


def _labels(effects: Effects, place: int) -> dict[str, str]:
    shape = tuple(len(axis.labels) for axis in effects.axes)
    index = np.unravel_index(place, shape) if shape else ()
    return {axis.name: axis.labels[int(i)] for axis, i in zip(effects.axes, index, strict=True)}


def _check_comparable(exact: Effects, estimate: Effects) -> None:
    value = exact.settings.get("value", "patch")
    if value != "patch":
        raise ValueError(
            f"the exact effects put {value!r} in place, but estimates are of patching: sweep with "
            "value='patch'."
        )
    for name in ("site", "mode", "metric"):
        one, other = getattr(exact, name), getattr(estimate, name)
        if one != other:
            raise ValueError(
                f"the exact effects have the {name} {one!r} and the estimates {other!r}: make both "
                "with the same arguments."
            )
    if exact.axes != estimate.axes:
        raise ValueError(
            f"the exact effects are over {_described(exact)} and the estimates over "
            f"{_described(estimate)}, or over other labels: make both with the same layers, "
            "positions and receivers."
        )
    if len(exact.clean) != len(estimate.clean):
        raise ValueError(
            f"the exact effects are of {len(exact.clean)} prompts and the estimates of "
            f"{len(estimate.clean)}: make both from one task."
        )
    scale = max(np.abs(exact.clean).max(), np.abs(exact.corrupted).max())
    for name in ("clean", "corrupted"):
        apart = np.abs(getattr(exact, name) - getattr(estimate, name))
        if apart.max() > _SAME * scale:
            prompt = int(apart.argmax())
            raise ValueError(
                f"the metric of the {name} prompt {prompt} is {getattr(exact, name)[prompt]:.4g} "
                f"with the exact effects and {getattr(estimate, name)[prompt]:.4g} with the "
                "estimates: make both from one model and one task."
            )


def _described(effects: Effects) -> str:
    sizes = (f"{len(axis.labels)} {axis.name}s" for axis in effects.axes)
    return " x ".join(sizes) or "one place"


def _storable(value: Any) -> Any:
    """JSON has no NaN and no infinities: they are written as text."""
    if isinstance(value, dict):
        return {key: _storable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(one) for one in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
