"""What `cutaway run superposition` found: trained toy models by part, and what follows of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..array_files import Array, load_arrays, save_arrays
from ..evidence import Interval, proportion
from ..evidence.s_curve import student_mean
from ..superposition.basis import Rotations
from ..superposition.data import Pairs
from ..superposition.geometry import (
    PLATEAUS,
    dimensions_per_feature,
    feature_dimensionality,
    parts,
    random_directions,
    represented,
    shape,
)
from ..superposition.linear import best_linear_loss
from ..superposition.toy_model import Kind
from ..superposition.trained import TrainedToys

PLANE, SWEEP, LINEAR, PHASE = "five in a plane", "twenty in five", "linear", "phase diagram"
PLATEAUS_PART, COMPUTATION = "dimensionality", "absolute value"
BASES: tuple[tuple[str, Kind], ...] = (
    ("privileged", "relu-hidden"),
    ("not privileged", "relu-output"),
)
"""Name -> kind of model."""
PAIRS: tuple[tuple[str, Pairs, int], ...] = (
    ("independent", "independent", 4),
    ("together", "together", 4),
    ("apart", "apart", 4),
    ("three pairs together", "together", 6),
)
"""Name, what pairs have in common, features."""
SHAPES_ALONE = (
    ("digon", 2, 1, 0.3),
    ("triangle", 3, 2, 0.65),
    ("tetrahedron", 4, 3, 0.65),
    ("pentagon", 5, 2, 0.1),
    ("square antiprism", 8, 3, 0.1),
)
"""Shape, features, dimensions, and a density at which it is expected."""
NEAR = 0.01
"""A dimensionality this close to a plateau counts as on it."""
_KIND = "rotations of toy models"
_FIELDS = ("loss", "loss_before", "moved", "alignment")


@dataclass(frozen=True)
class PlaneRow:
    """Five features in a plane, at one density."""

    density: float
    shape: str
    """Of the seed of least loss."""
    n_represented: int
    """Of that seed."""
    loss: float
    """The least."""
    shares: Mapping[str, Interval]
    """Shape -> share of seeds, the commonest first."""


@dataclass(frozen=True)
class CountRow:
    """Twenty features in five dimensions, at one density."""

    density: float
    n_best: int
    """Features with a norm above 1/2, at the seed of least loss."""
    n: Interval
    """Over seeds."""
    dimensions_best: float
    """m / ||W||^2, at the seed of least loss."""
    dimensions: Interval
    n_linear: Interval
    """Of the linear model."""
    loss: float
    """The least."""
    loss_linear: float
    """The least of the linear model."""
    loss_closed: float
    """What principal components give."""


@dataclass(frozen=True)
class PlateauRow:
    """How many features have the dimensionality of a shape."""

    name: str
    value: float
    share: Interval
    """Of represented features, at the densities at which the shape was seen."""
    share_random: Interval
    """Of directions at random with the same norms."""
    n_parts: int
    """Groups of features that have this very shape."""
    least_inverse: float
    """1 / (1 - S) from which on it was seen; NaN: never."""
    most_inverse: float


@dataclass(frozen=True)
class ShapeRow:
    """A shape with just as many features and dimensions as it needs."""

    name: str
    n_features: int
    n_hidden: int
    density: float
    value: float
    """The dimensionality that it should have."""
    low: float
    """The least of its features, at the seed of least loss."""
    high: float
    best: str
    """The shape of that seed."""
    share: Interval
    """Of seeds that came to the shape."""


@dataclass(frozen=True, eq=False)
class Superposition:
    """All that the study trained.

    Example:
        >>> found = Superposition.load("runs/latest")  # doctest: +SKIP
        >>> [row.shape for row in found.plane][-1]  # doctest: +SKIP
        'pentagon'
    """

    toys: Mapping[str, TrainedToys]
    """By part."""
    rotations: Mapping[str, Rotations]
    """Of both bases."""
    settings: Mapping[str, str] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    """Of controls."""

    @cached_property
    def plane(self) -> tuple[PlaneRow, ...]:
        """From orthogonal to the pentagon."""
        toys = self.toys[PLANE]
        best, rows = toys.of_best(toys.W_in)[0], []
        for at, density in enumerate(toys.densities):
            seeds = [shape(W) for W in toys.W_in[0, at]]
            rows.append(
                PlaneRow(
                    density,
                    shape(best[at]),
                    int(represented(best[at]).sum()),
                    float(toys.losses[0, at].min()),
                    {name: proportion(k, len(seeds)) for name, k in Counter(seeds).most_common()},
                )
            )
        return tuple(rows)

    @cached_property
    def counts(self) -> tuple[CountRow, ...]:
        """Features represented and dimensions for each, beside the linear model."""
        toys, linear = self.toys[SWEEP], self.toys[LINEAR]
        n, of_each = represented(toys.W_in).sum(-1), dimensions_per_feature(toys.W_in)
        n_linear = represented(linear.W_in).sum(-1)
        rows = []
        for at, density in enumerate(toys.densities):
            best = (0, at, int(toys.best[0, at]))
            covariance = linear.model.features.covariance(density)
            closed = best_linear_loss(covariance, linear.importances[0], linear.model.n_hidden)
            rows.append(
                CountRow(
                    density,
                    int(n[best]),
                    student_mean(n[0, at]),
                    float(of_each[best]),
                    student_mean(of_each[0, at]),
                    student_mean(n_linear[0, at]),
                    float(toys.losses[0, at].min()),
                    float(linear.losses[0, at].min()),
                    closed,
                )
            )
        return tuple(rows)

    @cached_property
    def dimensionality(self) -> tuple[Array, Array, Array]:
        """Of every represented feature: 1 / (1 - S), its dimensionality, and that of random
        directions with the same norms; each [feature]."""
        toys = self.toys[PLATEAUS_PART]
        kept = represented(toys.W_in)
        inverse = 1 / np.array(toys.densities)
        x = np.broadcast_to(inverse[:, None, None], kept.shape)
        control = feature_dimensionality(random_directions(toys.W_in, self.seed))
        return x[kept], feature_dimensionality(toys.W_in)[kept], control[kept]

    @cached_property
    def plateaus(self) -> tuple[PlateauRow, ...]:
        """Which dimensionalities come again and again."""
        toys = self.toys[PLATEAUS_PART]
        seen: dict[str, list[float]] = {name: [] for name in PLATEAUS}
        for at, density in enumerate(toys.densities):
            for W in toys.W_in[0, at]:
                for part in parts(W):
                    seen.setdefault(part.name, []).append(1 / density)
        x, found, control = self.dimensionality
        rows = []
        for name, value in PLATEAUS.items():
            ends = (min(seen[name]), max(seen[name])) if seen[name] else (np.nan, np.nan)
            inside = (x >= ends[0]) & (x <= ends[1]) if seen[name] else np.full(len(x), True)
            share, by_chance = (
                proportion(int((np.abs(values[inside] - value) < NEAR).sum()), int(inside.sum()))
                for values in (found, control)
            )
            rows.append(PlateauRow(name, value, share, by_chance, len(seen[name]), *ends))
        return tuple(rows)

    @cached_property
    def shapes(self) -> tuple[ShapeRow, ...]:
        """Each shape alone."""
        rows = []
        for name, size, rank, density in SHAPES_ALONE:
            toys = self.toys[f"alone: {name}"]
            seeds = [shape(W, least=0.3) for W in toys.W_in[0, 0]]
            best = int(toys.best[0, 0])
            values = feature_dimensionality(toys.W_in[0, 0, best])
            share = proportion(seeds.count(name), len(seeds))
            ends = (float(values.min()), float(values.max()))
            rows.append(ShapeRow(name, size, rank, density, rank / size, *ends, seeds[best], share))
        return tuple(rows)

    def save(self, folder: str | Path) -> None:
        """Write a file for each part into a folder, and one with the rotations."""
        for name, toys in self.toys.items():
            toys.save(Path(folder) / toys_file(name))
        arrays = {
            f"{name}/{which}": getattr(one, which)
            for name, one in self.rotations.items()
            for which in _FIELDS
        }
        described: dict[str, Any] = {
            "parts": list(self.toys),
            "settings": dict(self.settings),
            "timings": dict(self.timings),
            "seed": self.seed,
        }
        save_arrays(Path(folder) / "rotations.safetensors", _KIND, arrays, described)

    @classmethod
    def load(cls, folder: str | Path) -> Superposition:
        """The inverse of `save`; a run folder is one.

        Raises:
            ValueError: a file is missing or holds something else.
        """
        arrays, described = load_arrays(Path(folder) / "rotations.safetensors", _KIND)
        names = dict.fromkeys(name.rpartition("/")[0] for name in arrays)
        return cls(
            toys={
                name: TrainedToys.load(Path(folder) / toys_file(name))
                for name in described["parts"]
            },
            rotations={
                name: Rotations(**{which: arrays[f"{name}/{which}"] for which in _FIELDS})
                for name in names
            },
            settings=described["settings"],
            timings=described["timings"],
            seed=described["seed"],
        )


def toys_file(part: str) -> str:
    """Where the instances of a part are, within the run's folder."""
    words = part.replace(":", "").replace(" ", "-")
    return f"toys/{words}.safetensors"
