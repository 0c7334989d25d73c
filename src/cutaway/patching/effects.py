"""`Effects`: what a sweep measured, for every intervention and every prompt."""

from __future__ import annotations

import itertools
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from .. import evidence, plotting
from ..array_files import Array, load_arrays, save_arrays

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Mode = Literal["denoising", "noising"]
_UNITS = ("head", "key-value head", "neuron")
_MOST_BARS = 30
_KIND = "effects"


@dataclass(frozen=True)
class Axis:
    """One axis of a sweep: its name, and a label for each entry."""

    name: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Effect:
    """One intervention's normalised effect, with the interval of its bootstrap."""

    labels: dict[str, str]
    """Axis name -> label, as {"layer": "9", "head": "6"}."""
    effect: float
    low: float
    high: float

    @property
    def name(self) -> str:
        """ "9.6" for head (or neuron) 6 of layer 9, "5.5->9.6.q" for a path; labels of other axes
        follow, as in "9.6 END"."""
        parts = dict(self.labels)
        unit = ".".join(parts.pop(a) for a in ("layer", *_UNITS) if a in parts)
        path = "->".join(parts.pop(a) for a in ("sender", "receiver") if a in parts)
        return " ".join(filter(None, [unit, path, *parts.values()]))

    def __str__(self) -> str:
        return f"{self.name}: {self.effect:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


@dataclass(frozen=True)
class Effects:
    """The metric after each intervention, per prompt, beside what it is without any.

    The normalised effect is a ratio of means over prompts: for denoising (clean values put into
    the corrupted run) mean(patched - corrupted) / mean(clean - corrupted), so 0 is nothing
    restored and 1 all; for noising (corrupted values put into the clean run)
    mean(clean - patched) / mean(clean - corrupted), so 1 is all destroyed. Means come before
    the ratio because one prompt's difference can be close to 0.

    Example:
        >>> heads = ca.sweep(model, task, "z")
        >>> heads.top(3)
        >>> heads.normalised().shape
        (12, 12)
    """

    site: str
    """What was replaced: "z", "resid_pre", ..."""
    mode: Mode
    axes: tuple[Axis, ...]
    patched: Float[Array, "*axes prompt"]
    """The metric under each intervention."""
    clean: Float[Array, " prompt"]
    corrupted: Float[Array, " prompt"]
    metric: str
    settings: dict[str, Any] = field(default_factory=dict)
    """What made it: task, model, seeds."""

    def __post_init__(self) -> None:
        expected = (*(len(axis.labels) for axis in self.axes), len(self.clean))
        if self.patched.shape != expected or self.corrupted.shape != self.clean.shape:
            raise ValueError(
                f"patched has the shape {self.patched.shape}, its axes and prompts {expected}."
            )

    @property
    def per_prompt(self) -> Float[Array, "*axes prompt"]:
        """Change of the metric, in its own unit, in the direction that counts as an effect."""
        if self.mode == "denoising":
            return self.patched - self.corrupted
        return self.clean - self.patched

    def normalised(self) -> Float[Array, "*axes"]:
        """The normalised effect of each intervention."""
        return self.interval()[0]

    def interval(
        self, level: float = 0.95, seed: int = 0
    ) -> tuple[Float[Array, "*axes"], Float[Array, "*axes"], Float[Array, "*axes"]]:
        """(effect, low, high) of each intervention: percentile bootstrap over prompts."""
        return evidence.bootstrap_ratio(
            self.per_prompt, self.clean - self.corrupted, level=level, seed=seed
        )

    def ranked(self, level: float = 0.95, seed: int = 0) -> list[Effect]:
        """Every intervention, the largest effect (of either sign) first."""
        return self._ranked(level, seed, np.ones(self.patched.shape[:-1], dtype=np.bool_))

    def _ranked(self, level: float, seed: int, kept: NDArray[np.bool_]) -> list[Effect]:
        effect, low, high = self.interval(level, seed)
        order = np.argsort(-np.abs(effect), axis=None, kind="stable")
        places = list(np.ndindex(effect.shape))  # one, (), where there are no axes
        return [
            Effect(self._labels(index), float(effect[index]), float(low[index]), float(high[index]))
            for index in (places[number] for number in order)
            if kept[index]
        ]

    def top(self, k: int = 10, level: float = 0.95, seed: int = 0) -> list[Effect]:
        """The k interventions with the largest effects, of either sign."""
        return self.ranked(level, seed)[:k]

    def p_values(self, seed: int = 0, finest: float | None = None) -> Float[Array, "*axes"]:
        """That each intervention does nothing, two-sided: sign flips of its change over prompts.

        Args:
            seed: of the signs that are drawn where there are too many to count all.
            finest: a p-value that shall be attainable; `evidence.sign_flips` says how.

        Example:
            >>> heads.p_values().shape
            (12, 12)
        """
        return evidence.sign_flips(self.per_prompt, seed, finest=finest).p

    def discoveries(self, rate: float = 0.05, level: float = 0.95, seed: int = 0) -> list[Effect]:
        """The interventions that survive Benjamini and Hochberg's procedure, the largest first.

        All interventions of the sweep are one family of tests. On average at most `rate` of those
        that come back do nothing. Whether they do *much* is another question: an effect of 0.001
        that every prompt shows comes back too. Intervals are those of each effect alone.

        Args:
            rate: the false discovery rate.
            level: confidence level of the intervals.
            seed: of signs and resamples.

        Raises:
            ValueError: so few prompts that no p-value could be as small as `rate`; a bad rate.

        Example:
            >>> [effect.name for effect in heads.discoveries() if abs(effect.effect) > 0.02]
        """
        n_prompts, n_tests = self.clean.size, math.prod(self.patched.shape[:-1])
        if 2.0 ** (1 - n_prompts) > rate:
            raise ValueError(
                f"With {n_prompts} prompts no p-value is below {2.0 ** (1 - n_prompts):g}, so "
                f"nothing can be found at the rate {rate:g}: take more prompts."
            )
        # A single real effect among all of them shall not be missed for want of draws.
        p_values = self.p_values(seed, finest=min(1.0, rate / n_tests))
        found = evidence.benjamini_hochberg(p_values, rate).found
        return self._ranked(level, seed, found)

    def _labels(self, index: tuple[Any, ...]) -> dict[str, str]:
        return {axis.name: axis.labels[i] for axis, i in zip(self.axes, index, strict=True)}

    def to_frame(self) -> list[dict[str, Any]]:
        """One row (a dict) for each intervention, in the order of the axes; pandas takes it as is.

        Example:
            >>> pandas.DataFrame(heads.to_frame())
        """
        effect, low, high = self.interval()
        change = self.per_prompt.mean(-1)
        return [
            {
                **self._labels(index),
                "effect": float(effect[index]),
                "low": float(low[index]),
                "high": float(high[index]),
                "change": float(change[index]),
            }
            for index in np.ndindex(effect.shape)
        ]

    def plot(self, title: str | None = None) -> Figure:
        """A heat map of the normalised effects, whose columns are the last axis; of a single axis
        bars of the largest effects, with their intervals."""
        if len(self.axes) == 1:
            return self._bars(title)
        values = self.normalised()
        rows = [" ".join(labels) for labels in _products(self.axes[:-1])]
        return plotting.heatmap(
            values.reshape(-1, values.shape[-1]),
            row_labels=rows,
            column_labels=list(self.axes[-1].labels),
            title=title or f"{self.mode} {self.site}",
            row_axis=" ".join(axis.name for axis in self.axes[:-1]),
            column_axis=self.axes[-1].name,
        )

    def _bars(self, title: str | None) -> Figure:
        shown = self.top(_MOST_BARS)
        n = self.patched.shape[0]
        which = f"the {_MOST_BARS} largest of {n:,}" if n > _MOST_BARS else self.axes[0].name
        return plotting.bars(
            [effect.name for effect in shown],
            [effect.effect for effect in shown],
            title or f"{self.mode} {self.site}: {which}",
            low=[effect.low for effect in shown],
            high=[effect.high for effect in shown],
            value_label="normalised effect",
        )

    def save(self, path: str | Path) -> None:
        """Write one safetensors file: arrays as float32, the rest as JSON in its header."""
        arrays = {"patched": self.patched, "clean": self.clean, "corrupted": self.corrupted}
        described = {
            "site": self.site,
            "mode": self.mode,
            "axes": [asdict(axis) for axis in self.axes],
            "metric": self.metric,
            "settings": self.settings,
        }
        single = {name: np.asarray(array, np.float32) for name, array in arrays.items()}
        save_arrays(path, _KIND, single, described)

    @classmethod
    def load(cls, path: str | Path) -> Effects:
        """The inverse of `save`.

        Raises:
            ValueError: the file is missing, is a folder, or is not one that `save` wrote.
        """
        arrays, described = load_arrays(path, _KIND)
        axes = tuple(Axis(a["name"], tuple(a["labels"])) for a in described.pop("axes"))
        return cls(axes=axes, **arrays, **described)


def _products(axes: tuple[Axis, ...]) -> list[tuple[str, ...]]:
    return list(itertools.product(*(axis.labels for axis in axes)))
