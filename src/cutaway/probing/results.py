"""`ProbeResults`: what probes can read at every place, prompt by prompt, beside their controls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from .. import evidence, plotting
from ..array_files import load_arrays, save_arrays
from ..evidence import Interval
from ..patching.effects import Axis
from .controls import rearrangements
from .linear_probe import LinearProbe
from .places import Place, index_of, place_at

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]
CONTROLS = ("control task", "shuffled labels", "random weights", "embeddings", "majority")
_ARRAYS = ("score", "predicted", "target", "shuffled", "validation", "penalty", "seen_types")
_TEXTS = ("site", "label", "classes", "method", "groups", "settings")
_N_REARRANGED = 999
LEVEL = 0.95
"""Of every interval here."""


@dataclass(frozen=True, eq=False)
class ProbeResults:
    """The score of a probe on every test prompt, at every place, and of its controls.

    The mean score is accuracy, or of numbers R^2 (against the mean of the train prompts).
    `controls` holds, in the same form:

    - "control task": probes of labels dealt out by word (Hewitt and Liang 2019), mean over draws;
    - "shuffled labels": probes of labels in another order, mean over draws;
    - "random weights": the same probes on models with fresh weights;
    - "embeddings": the same probe before layer 0, at the same position;
    - "majority": the most frequent class of the train prompts, without looking at anything.

    Example:
        >>> found = probe(model, ca.tasks.ioi(model, 1024), "answer", positions=["S2", "END"])
        >>> found.interval(layer=3, position="END")
        >>> found.selectivity(layer=3, position="END")
    """

    site: str
    axes: tuple[Axis, ...]
    label: str
    """What was asked for."""
    classes: tuple[str, ...]
    """Empty where numbers were."""
    method: str
    score: Float[Array, "*axes prompt"]
    """Of test prompts: 1 where the class is right; of numbers 1 - error / mean error of a guess."""
    predicted: Float[Array, "*axes prompt"]
    """The class (index) or number that each test prompt was given."""
    target: Float[Array, " prompt"]
    """The class or number that it has."""
    groups: tuple[str, ...]
    """Of the test prompts: intervals resample groups, not prompts."""
    controls: dict[str, Float[Array, "*axes prompt"]]
    shuffled: Float[Array, "*axes shuffle"]
    """Mean score of each fit with shuffled labels."""
    validation: Float[Array, "*axes"]
    """Mean score on the validation prompts, by which places are chosen."""
    penalty: Float[Array, "*axes"]
    seen_types: Float[Array, " position"]
    """Share of test prompts whose word the control task has shown in training."""
    weights: Float[Tensor, "*axes k d"]
    """In the units of the activations."""
    bias: Float[Tensor, "*axes k"]
    curves: dict[str, Float[Array, "*axes epoch"]] = field(default_factory=dict)
    """Losses "train" and "validation" over epochs, of probes that are trained by gradient."""
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        """How many entries each axis has."""
        return tuple(len(axis.labels) for axis in self.axes)

    @property
    def measure(self) -> str:
        """What the mean score is called."""
        return "accuracy" if self.classes else "R²"

    def places(self) -> list[Place]:
        """Every place, in the order of the axes."""
        return [place_at(self.axes, index) for index in np.ndindex(*self.shape)]

    def best(self) -> Place:
        """The place with the highest score on the validation prompts; the first of equal ones."""
        return place_at(self.axes, _unravel(int(self.validation.argmax()), self.shape))

    def mean(self) -> Float[Array, "*axes"]:
        """Accuracy, or R^2, of every place."""
        return np.asarray(self.score.mean(-1))

    def interval(self, **place: str | int) -> Interval:
        """Accuracy, or R^2, of one place, as layer=2, position="END".

        Groups of test prompts are resampled. Where all prompts are right, or none is, that gives
        no width, and Wilson's interval over the number of groups takes its place.
        """
        return self._of(self.score[index_of(self.axes, place)])

    def control(self, name: str, **place: str | int) -> Interval:
        """The same of a control.

        Raises:
            ValueError: no such control was fitted.
        """
        return self._of(self._control(name)[index_of(self.axes, place)])

    def selectivity(self, **place: str | int) -> Interval:
        """Score minus that of the control task, on the same prompts (Hewitt and Liang 2019)."""
        return self.above("control task", **place)

    def above(self, name: str, **place: str | int) -> Interval:
        """Score minus a control's, on the same prompts, of one place."""
        index = index_of(self.axes, place)
        difference = self.score[index] - self._control(name)[index]
        return _interval(difference, self.groups)

    def map_above(
        self, name: str
    ) -> tuple[Float[Array, "*axes"], Float[Array, "*axes"], Float[Array, "*axes"]]:
        """(difference, low, high) of every place, as `above`."""
        return clustered(self.score - self._control(name), self.groups)

    def p_values(self, seed: int = 0) -> Float[Array, "*axes"]:
        """That a probe's answers have nothing to do with the labels, corrected for all places.

        The labels of the test prompts are put into 999 other orders (whole groups, where a label
        is the same throughout each), and for each order the best of all places is taken (Westfall
        and Young 1993): p = (1 + orders whose best place reaches this one's score) / 1000.
        """
        flat = self.predicted.reshape(-1, self.target.size)
        best = np.empty(_N_REARRANGED)
        for i, wanted in enumerate(rearrangements(self.target, self.groups, _N_REARRANGED, seed)):
            best[i] = self._mean_scores(flat, wanted).max()
        own = self._mean_scores(flat, self.target)
        reached = (best[None] >= own[:, None] - 1e-12).sum(1)
        return np.asarray((1 + reached) / (1 + _N_REARRANGED)).reshape(self.shape)

    def probe(self, **place: str | int) -> LinearProbe:
        """The fitted probe of one place."""
        index = index_of(self.axes, place)
        return LinearProbe(self.weights[index], self.bias[index], self.classes)

    def to_frame(self) -> list[dict[str, Any]]:
        """One row (a dict) for each place: score, its interval, and every control."""
        rows: list[dict[str, Any]] = []
        p_values = self.p_values()
        for index, place in zip(np.ndindex(*self.shape), self.places(), strict=True):
            one, selective = self.interval(**place), self.selectivity(**place)
            rows.append(
                {
                    **place,
                    self.measure: one.estimate,
                    "low": one.low,
                    "high": one.high,
                    "selectivity": selective.estimate,
                    "selectivity low": selective.low,
                    "selectivity high": selective.high,
                    **{name: float(of[index].mean()) for name, of in self.controls.items()},
                    "p": float(p_values[index]),
                    "penalty": float(self.penalty[index]),
                }
            )
        return rows

    def plot(self, title: str | None = None) -> Figure:
        """A heat map of the scores, whose columns are the positions."""
        rows = [" ".join(labels) for labels in _products(self.axes[:-1])]
        return plotting.heatmap(
            self.mean().reshape(-1, self.shape[-1]),
            row_labels=rows,
            column_labels=list(self.axes[-1].labels),
            title=title or f"{self.measure} of {self.label!r} in {self.site}",
            row_axis=" ".join(axis.name for axis in self.axes[:-1]),
            column_axis=self.axes[-1].name,
        )

    def save(self, path: str | Path) -> None:
        """Write one safetensors file: arrays as float32, the rest as JSON in its header."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        arrays |= {f"control {name}": of for name, of in self.controls.items()}
        arrays |= {f"curve {name}": of for name, of in self.curves.items()}
        arrays |= {name: getattr(self, name).cpu().numpy() for name in ("weights", "bias")}
        described = {
            "axes": [asdict(axis) for axis in self.axes],
            **{name: getattr(self, name) for name in _TEXTS},
        }
        save_arrays(
            path, "probes", {name: a.astype(np.float32) for name, a in arrays.items()}, described
        )

    @classmethod
    def load(cls, path: str | Path) -> ProbeResults:
        """The inverse of `save`.

        Raises:
            ValueError: the file is missing, or is not one that `save` wrote.
        """
        arrays, described = load_arrays(path, "probes")
        arrays = {name: array.astype(np.float64) for name, array in arrays.items()}
        described["axes"] = tuple(Axis(a["name"], tuple(a["labels"])) for a in described["axes"])
        described |= {name: tuple(described[name]) for name in ("classes", "groups")}

        def of_kind(kind: str) -> dict[str, Array]:
            return {
                name.removeprefix(kind): array
                for name, array in arrays.items()
                if name.startswith(kind)
            }

        return cls(
            **{name: arrays[name] for name in _ARRAYS},
            controls=of_kind("control "),
            curves=of_kind("curve "),
            weights=torch.from_numpy(arrays["weights"]),
            bias=torch.from_numpy(arrays["bias"]),
            **described,
        )

    def _control(self, name: str) -> Float[Array, "*axes prompt"]:
        if name not in self.controls:
            raise ValueError(
                f"there is no control {name!r}; fitted were {', '.join(self.controls)}."
            )
        return self.controls[name]

    def _of(self, scores: Float[Array, " prompt"]) -> Interval:
        n = len(set(self.groups))
        if self.classes and scores.min() == scores.max() and scores[0] in (0.0, 1.0):
            ends = evidence.proportion(n * int(scores[0]), n, LEVEL)
            return Interval(float(scores[0]), ends.low, ends.high, LEVEL, scores.size)
        return _interval(scores, self.groups)

    def _mean_scores(
        self, predicted: Float[Array, "place prompt"], wanted: NDArray[Any]
    ) -> Float[Array, " place"]:
        """Something that orders like the mean score, of these labels."""
        if self.classes:
            return np.asarray((predicted == wanted).mean(-1))
        return np.asarray(-((predicted - wanted) ** 2).mean(-1))


def _interval(values: Float[Array, " prompt"], groups: Sequence[str]) -> Interval:
    estimate, low, high = clustered(values, groups)
    return Interval(float(estimate), float(low), float(high), LEVEL, values.size)


def clustered(
    values: Float[Array, "*axes prompt"],
    groups: Sequence[str],
    level: float = LEVEL,
    seed: int = 0,
) -> tuple[Array, Array, Array]:
    """Means over prompts with intervals that resample whole groups of prompts.

    Prompts of one group (a template, a pair of names) are right or wrong together, so that they
    count for less than as many prompts of their own (Cameron, Gelbach and Miller 2008).

    Args:
        values: of every prompt.
        groups: of every prompt.
        level: of the intervals.
        seed: of the resamples.

    Returns:
        mean, low, high: each [*axes].
    """
    _, of_prompt = np.unique(np.asarray(groups), return_inverse=True)
    member = np.eye(int(of_prompt.max()) + 1)[of_prompt.ravel()]  # [prompt, group]
    return evidence.bootstrap_ratio(values @ member, member.sum(0), seed=seed, level=level)


def _unravel(place: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(place, shape))


def _products(axes: tuple[Axis, ...]) -> list[tuple[str, ...]]:
    return [
        tuple(axis.labels[i] for axis, i in zip(axes, index, strict=True))
        for index in np.ndindex(*(len(axis.labels) for axis in axes))
    ]
