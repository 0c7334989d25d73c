"""The figures and tables of the superposition study's report."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..array_files import Array
from ..evidence import Interval
from ..superposition.geometry import PLATEAUS, interference, shape
from .curve import CurveSeries, CurveView
from .dots import DotsView
from .layout import Disclosure
from .matrices import MatricesView, Matrix
from .numbers import interval_text, number
from .planes import Plane, PlanesView
from .superposition_data import (
    PLANE,
    PLATEAUS_PART,
    SWEEP,
    Superposition,
)
from .superposition_sentences import at_density, density
from .table import Cell, Column, TableView

_FRACTIONS = {
    "alone": "1, alone",
    "tetrahedron": "3/4, tetrahedron",
    "triangle": "2/3, triangle",
    "digon": "1/2, digon",
    "pentagon": "2/5, pentagon",
    "square antiprism": "3/8, sq. antiprism",
}


def _names(importance: Array) -> tuple[str, ...]:
    return tuple(f"feature {i}, importance {number(q)}" for i, q in enumerate(importance))


# ---- five in a plane ----


def planes(found: Superposition) -> PlanesView:
    """The best seed at every density."""
    toys = found.toys[PLANE]
    best = toys.of_best(toys.W_in)[0]
    drawn = [
        Plane(at_density(row.density), W, row.shape)
        for row, W in zip(found.plane, best, strict=True)
    ]
    return PlanesView(
        drawn,
        _names(toys.importances[0]),
        title="From orthogonal to the pentagon",
        caption=f"The seed of least loss of {len(toys.seeds)}. In the circle a norm of 1. Point at "
        "an arrow for its feature and norm.",
    )


def plane_table(found: Superposition) -> TableView:
    """Shapes, losses, and how often each comes."""
    rows: list[list[Cell]] = [
        [
            density(row.density),
            row.shape,
            row.n_represented,
            f"{row.loss:.2g}",
            "; ".join(
                f"{name} {interval_text(share, share=True)}" for name, share in row.shares.items()
            ),
        ]
        for row in found.plane
    ]
    return TableView(
        (
            Column("1 − S", "right"),
            "best seed",
            Column("features", "right"),
            Column("loss", "right"),
            "how often each shape comes",
        ),
        rows,
        title="Shapes by their geometry",
        caption="A shape is told by the cosines between represented features (norm above 1/2), "
        "each within 0.1 of the ideal ones. Digon and one: an antipodal pair and one at a right "
        "angle to it. Square: two antipodal pairs. Intervals: Wilson, over seeds.",
    )


def every_seed(found: Superposition) -> Disclosure:
    """All seeds where they differ most."""
    toys = found.toys[PLANE]
    at = max(range(len(found.plane)), key=lambda i: _spread(found.plane[i].shares))
    order = np.argsort(toys.losses[0, at])
    drawn = [
        Plane(
            f"seed {toys.seeds[seed]}, loss {toys.losses[0, at, seed]:.3g}",
            toys.W_in[0, at, seed],
            shape(toys.W_in[0, at, seed]),
        )
        for seed in order
    ]
    view = PlanesView(drawn, _names(toys.importances[0]), title=at_density(toys.densities[at]))
    return Disclosure("Every seed, where they agree least", view)


def _spread(shares: Mapping[str, Interval]) -> float:
    """How far from one shape for all: 1 minus the share of the commonest."""
    return 1 - max(one.estimate for one in shares.values())


# ---- twenty in five ----


def grams(found: Superposition) -> MatricesView:
    """W^T W and norms at every density."""
    toys = found.toys[SWEEP]
    drawn = []
    for row, W in zip(found.counts, toys.of_best(toys.W_in)[0], strict=True):
        drawn.append(
            Matrix(
                at_density(row.density),
                W.T @ W,
                f"{row.n_best} features, {number(row.dimensions_best)} dimensions each",
                np.linalg.norm(W, axis=0).tolist(),
                interference(W).tolist(),
            )
        )
    return MatricesView(
        drawn,
        bar_label="norm",
        share_label="interference",
        title="WᵀW, and the norm of every feature",
        caption="The seed of least loss. Rows from the most important feature down. Bars: ‖Wᵢ‖; "
        "their colour: interference, the sum over the other features of (Wᵢ/‖Wᵢ‖ · Wⱼ)².",
    )


def counts_table(found: Superposition) -> TableView:
    """Features and dimensions, with intervals over seeds."""
    rows: list[list[Cell]] = [
        [
            density(row.density),
            row.n_best,
            row.n,
            row.dimensions_best,
            row.dimensions,
            row.n_linear,
        ]
        for row in found.counts
    ]
    return TableView(
        (
            Column("1 − S", "right"),
            Column("features, best seed", "right"),
            Column("all seeds", "right", 1),
            Column("dimensions each, best seed", "right"),
            Column("all seeds", "right"),
            Column("features, linear model", "right", 1),
        ),
        rows,
        title="Features represented, and dimensions for each",
        caption="Norm above 1/2; m / ‖W‖². Means over seeds with Student's intervals.",
    )


def losses(found: Superposition) -> CurveView:
    """ReLU and linear, beside the closed form."""
    rows = sorted(found.counts, key=lambda row: -row.density)
    x = [1 / row.density for row in rows]
    return CurveView(
        [
            CurveSeries("ReLU output", x, [row.loss / row.loss_closed for row in rows]),
            CurveSeries("linear", x, [row.loss_linear / row.loss_closed for row in rows]),
        ],
        title="ReLU beside linear",
        caption="Least loss over seeds, as a share of what principal components give in closed "
        "form. Without a nonlinearity sparsity is of no use.",
        x_label="1 / (1 − S)",
        y_label="loss / loss of principal components",
        log_x=True,
        references=((0.0, ""), (1.0, "principal components")),
    )


# ---- dimensionality ----


def dots(found: Superposition) -> DotsView:
    """The dimensionality of every represented feature."""
    toys = found.toys[PLATEAUS_PART]
    x, y, control = found.dimensionality
    mean = toys.model.n_hidden / (toys.W_in**2).sum((-2, -1))[0].mean(-1)
    inverse = 1 / np.array(toys.densities)
    return DotsView(
        x,
        y,
        x,
        control,
        heights=[(value, _FRACTIONS[name]) for name, value in PLATEAUS.items()],
        line=list(zip(inverse.tolist(), np.minimum(mean, 1.0).tolist(), strict=True)),
        line_name="dimensions per feature, m / ‖W‖²",
        control_name="random directions of the same norms",
        x_label="1 / (1 − S)",
        y_label="dimensionality",
        title="Feature dimensionality",
        caption=f"n = {toys.model.n_features}, m = {toys.model.n_hidden}, {len(toys.seeds)} seeds, "
        "features with a norm above 1/2. Dashed: what the features of each shape have.",
    )


def plateau_table(found: Superposition) -> TableView:
    """Shares on each plateau, beside chance."""
    rows: list[list[Cell]] = []
    for row in sorted(found.plateaus, key=lambda one: -one.value):
        where = (
            f"{number(row.least_inverse, 1)} to {number(row.most_inverse, 1)}"
            if row.n_parts
            else "never"
        )
        shares = [interval_text(one, share=True) for one in (row.share, row.share_random)]
        rows.append([_FRACTIONS[row.name], *shares, row.n_parts, where])
    return TableView(
        (
            "plateau",
            Column("features within 0.01", "right"),
            Column("random directions", "right"),
            Column("groups of this shape", "right"),
            Column("seen at 1 / (1 − S)", "right"),
        ),
        rows,
        title="Plateaus, beside random directions",
        caption="Groups: features that interfere with each other and with no others, with all "
        "cosines within 0.1 of the shape's. Intervals: Wilson, over features.",
    )


def shape_table(found: Superposition) -> TableView:
    """Each shape alone."""
    rows: list[list[Cell]] = [
        [
            row.name,
            f"{row.n_features} in {row.n_hidden}",
            density(row.density),
            row.value,
            f"{number(row.low, 3)} to {number(row.high, 3)}",
            row.best,
            interval_text(row.share, share=True),
        ]
        for row in found.shapes
    ]
    return TableView(
        (
            "shape",
            Column("features", "right"),
            Column("1 − S", "right"),
            Column("rank / size", "right", 3),
            Column("dimensionalities, best seed", "right"),
            "shape of that seed",
            Column("seeds that come to it", "right"),
        ),
        rows,
        title="Every shape alone",
        caption="With just as many features and dimensions as it needs, of equal importance.",
    )
