"""More of what the superposition study found: phases, pairs, bases, computing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..array_files import Array
from ..evidence import Interval, proportion
from ..evidence.s_curve import student_mean
from ..superposition.basis import alignment
from ..superposition.computation import (
    loss_without_superposition,
    monosemantic_share,
    n_computed,
)
from ..superposition.geometry import feature_dimensionality, represented, shape
from ..superposition.phase import measured_phase, phase_losses, predicted_phase
from .superposition_data import BASES, COMPUTATION, PAIRS, PHASE, Superposition

_SMALL, _TINY = 1e-9, 1e-40
ANTIPODAL, RIGHT = -0.9, 0.1
"""Cosines: below the first a pair is antipodal, within the second of 0 it is at right angles."""


@dataclass(frozen=True, eq=False)
class Phases:
    """The phase diagram: [importance, density] of the seeds of least loss, beside theory."""

    importances: Array
    """Of the second feature; that of the first is 1."""
    densities: Array
    found: NDArray[np.str_]
    told: NDArray[np.str_]
    share: Array
    """Dimension that the second has, minus that of the first: from -1 to 1, 0 where they share."""
    share_told: Array
    agreement: Interval
    """Share of cells in which training and theory agree."""
    commonest: float
    """The share of the commonest phase of theory: what always saying that would reach."""
    loss_ratio: Array
    """Least loss of training over least loss of theory."""


def phases(found: Superposition) -> Phases:
    """Two features in one dimension."""
    toys = found.toys[PHASE]
    best = toys.of_best(toys.W_in)  # [importance, density, 1, 2]
    ratio, density = toys.importances[:, 1], np.array(toys.densities)
    grid = np.meshgrid(ratio, density, indexing="ij")
    told, trained = predicted_phase(*grid), measured_phase(best)
    own = feature_dimensionality(best) * represented(best)
    least = np.min(list(phase_losses(*grid).values()), axis=0)
    signs = {"first": -1.0, "second": 1.0}
    _, counts = np.unique(told, return_counts=True)
    return Phases(
        ratio,
        density,
        trained,
        told,
        own[..., 1] - own[..., 0],
        np.vectorize(lambda name: signs.get(name, 0.0))(told),
        proportion(int((told == trained).sum()), told.size),
        float(counts.max() / told.size),
        toys.losses.min(-1) / least,
    )


@dataclass(frozen=True)
class PairRow:
    """Where the two features of a pair lie, at one density; of the first pair of each seed."""

    name: str
    density: float
    cosine_best: float
    """Of the seed of least loss, mean over pairs."""
    antipodal: Interval
    right: Interval
    """At right angles."""
    same_side: Interval
    shape: str
    """Of the seed of least loss."""


def pair_rows(found: Superposition) -> tuple[PairRow, ...]:
    """Features that come together or apart, beside independent ones."""
    rows = []
    for name, _, _ in PAIRS:
        toys = found.toys[name]
        W = toys.W_in[0]  # [density, seed, 2, feature]
        units = W / np.maximum(np.linalg.norm(W, axis=-2, keepdims=True), _SMALL)
        cosines = (units[..., 0::2] * units[..., 1::2]).sum(-2)  # [density, seed, pair]
        for at, density in enumerate(toys.densities):
            best, first = int(toys.best[0, at]), cosines[at, :, 0]
            n = len(first)
            rows.append(
                PairRow(
                    name,
                    density,
                    float(cosines[at, best].mean()),
                    proportion(int((first < ANTIPODAL).sum()), n),
                    proportion(int((np.abs(first) <= RIGHT).sum()), n),
                    proportion(int((first > RIGHT).sum()), n),
                    shape(W[at, best]),
                )
            )
    return tuple(rows)


@dataclass(frozen=True)
class BasisRow:
    """What a rotation of the hidden space does, at one density; means over seeds."""

    name: str
    density: float
    alignment: Interval
    """The largest share of a dimension's squared weights that one feature has."""
    alignment_rotated: float
    """The same after random rotations."""
    aligned_more: Interval
    """The difference, paired over seeds."""
    moved: Interval
    """How much a rotation changes the output, mean square over mean square: geometric mean."""
    loss_ratio: Interval
    """Loss after a rotation over the loss before it: geometric mean."""
    monosemantic: Interval
    """Share of dimensions that read one feature."""


def basis_rows(found: Superposition) -> tuple[BasisRow, ...]:
    """The privileged basis beside the one that is not."""
    rows = []
    for name, _ in BASES:
        toys, turned = found.toys[name], found.rotations[name]
        own = alignment(toys.W_in)[0]  # [density, seed]
        rotated = turned.alignment[0].mean(-1)
        ratio = turned.loss[0].mean(-1) / turned.loss_before[0]
        single = monosemantic_share(toys.W_in)[0]
        for at, density in enumerate(toys.densities):
            rows.append(
                BasisRow(
                    name,
                    density,
                    student_mean(own[at]),
                    float(rotated[at].mean()),
                    student_mean(own[at] - rotated[at]),
                    _geometric(turned.moved[0, at].mean(-1)),
                    _geometric(ratio[at]),
                    _of_shares(single[at]),
                )
            )
    return tuple(rows)


def _geometric(values: Array) -> Interval:
    """Geometric mean over seeds, with Student's interval of the logarithms."""
    mean = student_mean(np.log(np.maximum(values, _TINY)))
    middle, low, high = (float(np.exp(end)) for end in (mean.estimate, mean.low, mean.high))
    return Interval(middle, low, high, mean.level, mean.n)


def _of_shares(values: Array) -> Interval:
    """Shares end at 0 and 1, which Student's interval does not know."""
    mean = student_mean(values)
    return Interval(mean.estimate, max(0.0, mean.low), min(1.0, mean.high), mean.level, mean.n)


@dataclass(frozen=True)
class ComputationRow:
    """Absolute values through a hidden layer, at one density."""

    density: float
    n_best: int
    """Features computed, at the seed of least loss."""
    n: Interval
    ratio_best: float
    """The least loss over the least without superposition."""
    ratio: Interval
    monosemantic_best: float
    """Share of neurons that read one feature, at the seed of least loss."""
    monosemantic: Interval


def computation_rows(found: Superposition) -> tuple[ComputationRow, ...]:
    """How many absolute values six neurons compute."""
    toys = found.toys[COMPUTATION]
    computed, single = n_computed(toys)[0], monosemantic_share(toys.W_in)[0]
    rows = []
    for at, density in enumerate(toys.densities):
        best = int(toys.best[0, at])
        without = loss_without_superposition(toys.importances[0], density, toys.model.n_hidden)
        ratio = toys.losses[0, at] / without
        rows.append(
            ComputationRow(
                density,
                int(computed[at, best]),
                student_mean(computed[at]),
                float(ratio.min()),
                student_mean(ratio),
                float(single[at, best]),
                _of_shares(single[at]),
            )
        )
    return tuple(rows)
