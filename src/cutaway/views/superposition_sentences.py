"""What the superposition study found, in words. Every sentence is chosen by a stated rule."""

from __future__ import annotations

import numpy as np

from ..evidence import Interval
from .numbers import interval_text, number, percent
from .superposition_data import BASES, SHAPES_ALONE, Superposition
from .superposition_more import (
    BasisRow,
    PairRow,
    Phases,
    basis_rows,
    computation_rows,
    pair_rows,
    phases,
)

_COMMON = 5  # features on a plateau from which it is told


def findings(found: Superposition) -> tuple[str, ...]:
    """Shapes, counts, plateaus, phases, pairs, linear, bases, computing."""
    return (
        plane(found),
        counts(found),
        linear(found),
        plateaus(found),
        shapes(found),
        phase(phases(found)),
        pairs(pair_rows(found)),
        bases(basis_rows(found)),
        computing(found),
    )


def density(value: float) -> str:
    """A density as short as it can be said."""
    return f"{value:g}"


def at_density(value: float) -> str:
    """As a caption says it."""
    return f"1 − S = {density(value)}"


def plane(found: Superposition) -> str:
    """Which shape is best at which density."""
    runs: list[tuple[str, float, float]] = []
    for row in found.plane:
        if runs and runs[-1][0] == row.shape:
            runs[-1] = (row.shape, runs[-1][1], row.density)
        else:
            runs.append((row.shape, row.density, row.density))
    parts = [
        f"{name} at {density(first)}" + (f" to {density(last)}" if last != first else "")
        for name, first, last in runs
    ]
    n = len(found.toys["five in a plane"].seeds)
    return (
        f"Five features in two dimensions, best of {n} seeds, by density 1 − S: {'; '.join(parts)}."
    )


def counts(found: Superposition) -> str:
    """How many features are represented, and how many dimensions each has."""
    rows = found.counts
    of = ", ".join(density(row.density) for row in rows)
    n = ", ".join(str(row.n_best) for row in rows)
    dims = ", ".join(number(row.dimensions_best) for row in rows)
    return (
        f"Twenty features in five dimensions, importance 0.7^i, best of {rows[0].n.n} seeds: "
        f"at 1 − S = {of} there are {n} features with a norm above 1/2, with {dims} dimensions "
        "for each (5 / ‖W‖²)."
    )


def linear(found: Superposition) -> str:
    """The linear model beside its closed form."""
    rows = found.counts
    most = max(abs(row.loss_linear / row.loss_closed - 1) for row in rows)
    n = sorted({row.n_linear.estimate for row in rows})
    last = rows[-1]
    kept = f"{n[0]:g}" if len(n) == 1 else f"{n[0]:.3g} to {n[-1]:.3g}"
    return (
        f"The linear model keeps {kept} features at every density; its loss is within "
        f"{percent(most)} of that of principal components. At 1 − S = {density(last.density)} the "
        f"ReLU model's is {percent(last.loss / last.loss_linear)} of it."
    )


def plateaus(found: Superposition) -> str:
    """On which plateaus features lie, beside random directions."""
    rows = [row for row in found.plateaus if row.name != "alone"]
    seen = [row for row in rows if row.n_parts]
    unseen = [row.name for row in rows if not row.n_parts]
    parts = [
        f"{number(row.value, 3)} ({row.name}) {percent(row.share.estimate)} against "
        f"{percent(row.share_random.estimate)}"
        for row in rows
    ]
    freely = ", ".join(f"{row.n_parts} × {row.name}" for row in seen) or "none"
    missing = f"; none: {', '.join(unseen)}" if unseen else ""
    return (
        "Of the represented features of forty in six dimensions, this share lies within 0.01 of a "
        f"plateau, against random directions of the same norms: {'; '.join(parts)}. Groups with "
        f"that very shape: {freely}{missing}."
    )


def shapes(found: Superposition) -> str:
    """Every shape with just as many features as it needs."""
    parts = [
        f"{row.name} ({row.n_features} in {row.n_hidden}) in {percent(row.share.estimate)} of "
        f"{row.share.n} seeds, best {number(row.low, 3)} to {number(row.high, 3)} for "
        f"{number(row.value, 3)}"
        for row in found.shapes
    ]
    assert len(parts) == len(SHAPES_ALONE)
    return f"Alone, the shapes come so: {'; '.join(parts)}."


def phase(found: Phases) -> str:
    """Whether theory tells what training finds."""
    ratio = found.loss_ratio
    return (
        "Two features in one dimension: training and theory agree in "
        f"{interval_text(found.agreement, share=True)} of {found.agreement.n} cells of importance "
        f"by density (always the commonest phase: {percent(found.commonest)}). The trained loss "
        f"is {number(float(np.median(ratio)))} times the theory's (median over cells)."
    )


def pairs(rows: tuple[PairRow, ...]) -> str:
    """Where pairs lie when they come together or apart."""
    parts = []
    for name in dict.fromkeys(row.name for row in rows):
        # The middle density: dense enough that a pair's habits show, sparse enough for all four.
        of_name = [row for row in rows if row.name == name]
        row = of_name[len(of_name) // 2]
        parts.append(
            f"{name} {percent(row.antipodal.estimate)} antipodal, "
            f"{percent(row.right.estimate)} at right angles, "
            f"{percent(row.same_side.estimate)} on one side (best: cosine "
            f"{number(row.cosine_best)})"
        )
    where = density(sorted({row.density for row in rows})[len({row.density for row in rows}) // 2])
    return f"Pairs of features at 1 − S = {where}, {rows[0].right.n} seeds: {'; '.join(parts)}."


def bases(rows: tuple[BasisRow, ...]) -> str:
    """What rotations change in either basis."""
    parts = []
    for name, _ in BASES:
        own = [row for row in rows if row.name == name]
        moved = [row.moved.estimate for row in own]
        ratio = [row.loss_ratio.estimate for row in own]
        first = own[0]
        if max(moved) < 1e-9:
            what = f"changes the output by at most {max(moved):.0e} of its mean square"
        else:
            what = (
                f"changes the output by {number(min(moved))} to {number(max(moved))} of its mean "
                f"square and multiplies the loss by {number(min(ratio), 1)} to "
                f"{number(max(ratio), 1)}"
            )
        parts.append(
            f"{name}: a random rotation of the hidden space {what}; at 1 − S = "
            f"{density(first.density)} the largest share of a dimension is "
            f"{_mean(first.alignment)}, rotated {number(first.alignment_rotated)}"
        )
    return f"Bases. {'. '.join(part[0].upper() + part[1:] for part in parts)}."


def computing(found: Superposition) -> str:
    """How many absolute values there are beside neurons."""
    rows = computation_rows(found)
    at = ", ".join(density(row.density) for row in rows)
    n = ", ".join(str(row.n_best) for row in rows)
    ratio = ", ".join(number(row.ratio_best) for row in rows)
    single = ", ".join(percent(row.monosemantic_best) for row in rows)
    return (
        f"Twelve absolute values, six neurons, best of {rows[0].n.n} seeds: at 1 − S = {at} there "
        f"are {n} computed (three without superposition), the loss is {ratio} times the least "
        f"without superposition, and {single} of the neurons read one feature."
    )


def _mean(interval: Interval) -> str:
    return interval_text(interval)
