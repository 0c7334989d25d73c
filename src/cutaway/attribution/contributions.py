"""`Contributions`: parts that add up to a number that the model gives, prompt by prompt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from .. import evidence, plotting
from ..array_files import Array, load_arrays, save_arrays
from ..evidence import Interval
from ..patching.effects import Axis

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_BARS = 30


@dataclass(frozen=True)
class Contribution:
    """The mean of one contribution over prompts, in logits, with its interval."""

    labels: dict[str, str]
    """Axis name -> label."""
    value: Interval

    @property
    def name(self) -> str:
        """The labels in words, as "9.6" or "9.6 from IO"."""
        return " from ".join(self.labels.values())

    def __str__(self) -> str:
        one = self.value
        return f"{self.name}: {one.estimate:+.3f} [{one.low:+.3f}, {one.high:+.3f}]"


@dataclass(frozen=True, eq=False)
class Contributions:
    """Parts that add up to a whole, for every sample (a prompt, or a position of a text).

    The last axis is the one that is summed over: `values.sum(-2)` is `total - residual_error`.
    """

    kind: ClassVar[str]
    """What files of this kind are marked with."""

    axes: tuple[Axis, ...]
    samples: Axis
    """What the contributions were taken of: prompts, or the positions of a text."""
    values: Float[Array, "*axes sample"]
    """In logits."""
    controls: dict[str, Float[Array, "*axes sample"]]
    """The same for answers that mean nothing: those of other prompts, and random tokens."""
    total: Float[Array, "*outer sample"]
    """The whole, measured and not summed."""
    residual_error: Float[Array, "*outer sample"]
    """`total` less the sum of the parts: rounding."""
    answer: str
    """What was attributed, as "logit difference"."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What made it: model, task, seeds."""

    def __post_init__(self) -> None:
        shape = tuple(len(axis.labels) for axis in (*self.axes, self.samples))
        whole = (*shape[:-2], shape[-1])
        given = [self.values.shape, self.total.shape, self.residual_error.shape]
        given += [control.shape for control in self.controls.values()]
        if given != [shape, whole, whole, *[shape] * len(self.controls)]:
            raise ValueError(
                f"values, total, residual_error and controls have the shapes {given}, the axes "
                f"with samples {shape}."
            )

    def mean(self) -> Float[Array, "*axes"]:
        """Over samples, in logits."""
        found: Array = self.values.mean(-1)
        return found

    def interval(
        self, level: float = 0.95, seed: int = 0
    ) -> tuple[Float[Array, "*axes"], Float[Array, "*axes"], Float[Array, "*axes"]]:
        """(mean, low, high) of each contribution: percentile bootstrap over samples."""
        return evidence.bootstrap_means(self.values, seed, level)

    def share(
        self, level: float = 0.95, seed: int = 0
    ) -> tuple[Float[Array, "*axes"], Float[Array, "*axes"], Float[Array, "*axes"]]:
        """(share, low, high): the mean of each contribution over the mean of the whole.

        Raises:
            ValueError: the whole is 0 on average.
        """
        if self.total.ndim == 1:
            return evidence.bootstrap_ratio(self.values, self.total, level=level, seed=seed)
        rows = [
            evidence.bootstrap_ratio(values, total, level=level, seed=seed)
            for values, total in zip(self.values, self.total, strict=True)
        ]
        value, low, high = (np.stack(part) for part in zip(*rows, strict=True))
        return value, low, high

    def ranked(self, level: float = 0.95, seed: int = 0) -> list[Contribution]:
        """Every contribution, the largest mean (of either sign) first."""
        return self.top(self.mean().size, level, seed)

    def top(self, k: int = 10, level: float = 0.95, seed: int = 0) -> list[Contribution]:
        """The k contributions with the largest means, of either sign."""
        order = np.argsort(-np.abs(self.mean()), axis=None, kind="stable")
        return self._chosen(order[:k], level, seed)

    def _chosen(self, places: NDArray[np.intp], level: float, seed: int) -> list[Contribution]:
        rows = self.values.reshape(-1, self.values.shape[-1])[places]
        n = rows.shape[1]
        found = evidence.bootstrap_means(rows, seed, level)
        return [
            Contribution(labels, Interval(float(mean), float(low), float(high), level, n))
            for labels, mean, low, high in zip(self._labels(places), *found, strict=True)
        ]

    def _labels(self, places: NDArray[np.intp]) -> Iterator[dict[str, str]]:
        shape = self.values.shape[:-1]
        for index in zip(*np.unravel_index(places, shape), strict=True):
            yield {axis.name: axis.labels[i] for axis, i in zip(self.axes, index, strict=True)}

    def to_frame(self) -> list[dict[str, Any]]:
        """One row (a dict) for each contribution, in the order of the axes, with the means of its
        controls; pandas takes it as is."""
        places = np.arange(self.mean().size)
        means = {name: control.mean(-1).ravel() for name, control in self.controls.items()}
        return [
            {
                **one.labels,
                "logits": one.value.estimate,
                "low": one.value.low,
                "high": one.value.high,
                **{name: float(control[i]) for name, control in means.items()},
            }
            for i, one in enumerate(self._chosen(places, 0.95, 0))
        ]

    def plot(self, title: str | None = None) -> Figure:
        """Bars of the largest contributions with their intervals; of two axes a heat map."""
        if len(self.axes) == 2:
            rows, columns = self.axes
            return plotting.heatmap(
                self.mean(),
                row_labels=list(rows.labels),
                column_labels=list(columns.labels),
                title=title or f"direct to the {self.answer}",
                row_axis=rows.name,
                column_axis=columns.name,
                value_label="logits",
            )
        shown, n = self.top(_MOST_BARS), self.mean().size
        which = f": the {_MOST_BARS} largest of {n:,}" if n > _MOST_BARS else ""
        return plotting.bars(
            [one.name for one in shown],
            [one.value.estimate for one in shown],
            title or f"direct to the {self.answer}{which}",
            low=[one.value.low for one in shown],
            high=[one.value.high for one in shown],
            value_label="logits",
        )

    def save(self, path: str | Path) -> None:
        """Write one safetensors file: arrays as float32, the rest as JSON in its header."""
        arrays: dict[str, NDArray[Any]] = {}
        described: dict[str, Any] = {}
        for name, value in ((f.name, getattr(self, f.name)) for f in fields(self)):
            if isinstance(value, np.ndarray):
                arrays[name] = value
            elif name == "controls":
                arrays |= {f"{name}/{key}": array for key, array in value.items()}
            elif name == "axes":
                described[name] = [asdict(axis) for axis in value]
            else:
                described[name] = asdict(value) if isinstance(value, Axis) else value
        arrays = {
            name: a.astype(np.float32 if a.dtype.kind == "f" else np.int32)
            for name, a in arrays.items()
        }
        save_arrays(path, self.kind, arrays, described)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The inverse of `save`.

        Raises:
            ValueError: the file is missing, or is not one that `save` of this kind wrote.
        """
        arrays, described = load_arrays(path, cls.kind)
        axes = tuple(_axis(one) for one in described.pop("axes"))
        samples = _axis(described.pop("samples"))
        controls = {
            name.removeprefix("controls/"): arrays.pop(name)
            for name in sorted(arrays)
            if name.startswith("controls/")
        }
        for name, value in described.items():
            described[name] = tuple(value) if isinstance(value, list) else value
        return cls(axes=axes, samples=samples, controls=controls, **arrays, **described)


def _axis(described: dict[str, Any]) -> Axis:
    return Axis(described["name"], tuple(described["labels"]))
