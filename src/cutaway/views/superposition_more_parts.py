"""More figures and tables of the superposition study's report: phases, pairs, bases, computing."""

from __future__ import annotations

import numpy as np

from ..array_files import Array
from ..evidence import Interval
from ..superposition.geometry import shape
from ..superposition.phase import least_density_of_both
from .curve import CurveSeries, CurveView
from .heatmap import HeatmapView
from .layout import Beside
from .matrices import MatricesView, Matrix
from .numbers import interval_text, percent
from .planes import Plane, PlanesView
from .superposition_data import BASES, COMPUTATION, PAIRS, Superposition
from .superposition_more import basis_rows, computation_rows, pair_rows, phases
from .superposition_sentences import at_density, density
from .table import Cell, Column, Share, TableView
from .view import Part

_PAIR_NAMES = (
    "first of pair A",
    "second of A",
    "first of B",
    "second of B",
    "first of C",
    "second of C",
)

# ---- phases ----


def phase_maps(found: Superposition) -> tuple[Part, ...]:
    """Training beside theory, and where they differ."""
    phase = phases(found)
    order = np.arange(len(phase.densities))[::-1]  # dense at the top
    labels = [f"{value:.2g}" for value in phase.densities[order]]
    columns = [f"{value:.2g}" for value in phase.importances]

    def drawn(values: Array, title: str, legend: bool) -> HeatmapView:
        return HeatmapView(
            values.T[order],
            labels,
            columns,
            title=title,
            row_axis="1 − S",
            column_axis="importance of the second",
            value_label="dimension: second minus first",
            limit=1.0,
            cell_labels=False,
            legend=legend,
        )

    border = CurveView(
        [
            CurveSeries(
                "theory",
                phase.importances.tolist(),
                least_density_of_both(phase.importances).tolist(),
            ),
            CurveSeries("training", phase.importances.tolist(), _borders(found)),
        ],
        title="Up to which density both are kept",
        caption="Training: the densest cell whose best seed is an antipodal pair. At importance 1 "
        "and full density every direction of the plane of features is as good as any other, which "
        "the three solutions of the theory do not know.",
        x_label="importance of the second feature",
        y_label="1 − S",
        log_x=True,
        references=(),
    )
    return (
        Beside(
            drawn(phase.share, "Trained", legend=True), drawn(phase.share_told, "Theory", False)
        ),
        f"Orange: the first has the dimension; blue: the second; pale: they share it, as an "
        f"antipodal pair. Agreement: {interval_text(phase.agreement, share=True)} of cells.",
        border,
    )


def _borders(found: Superposition) -> list[float]:
    phase = phases(found)
    both = phase.found == "both"
    return [float(phase.densities[row].max()) if row.any() else float("nan") for row in both]


# ---- pairs ----


def pair_planes(found: Superposition) -> tuple[Part, ...]:
    """The best seed of each kind of pairs at every density."""
    views = []
    for name, _, size in PAIRS:
        toys = found.toys[name]
        best = toys.of_best(toys.W_in)[0]
        drawn = [
            Plane(at_density(one), W, shape(W)) for one, W in zip(toys.densities, best, strict=True)
        ]
        groups = tuple(i // 2 for i in range(size))
        views.append(PlanesView(drawn, _PAIR_NAMES[:size], groups, title=name.capitalize()))
    return (Beside(*views[:2]), Beside(*views[2:]))


def pair_table(found: Superposition) -> TableView:
    """Where the first pair of each seed lies."""
    rows: list[list[Cell]] = [
        [
            row.name,
            density(row.density),
            row.cosine_best,
            *(interval_text(one, share=True) for one in (row.antipodal, row.right, row.same_side)),
        ]
        for row in pair_rows(found)
    ]
    return TableView(
        (
            "pairs",
            Column("1 − S", "right"),
            Column("cosine, best seed", "right"),
            Column("antipodal", "right"),
            Column("at right angles", "right"),
            Column("same side", "right"),
        ),
        rows,
        title="The two of a pair",
        caption="Of the first pair of each seed: cosine below −0.9, within 0.1 of 0, above 0.1. In "
        "a square of independent features a given pair is antipodal one time in three.",
    )


# ---- bases ----


def basis_matrices(found: Superposition) -> tuple[Part, ...]:
    """W of the best seeds in both bases."""
    views = []
    for name, _ in BASES:
        toys = found.toys[name]
        best = toys.of_best(toys.W_in)[0]
        drawn = [Matrix(at_density(one), W.T) for one, W in zip(toys.densities, best, strict=True)]
        views.append(
            MatricesView(
                drawn,
                "feature",
                "hidden dimension",
                limit=1.5,
                title=f"W in a basis that is {name}",
                caption="Rows are features, columns hidden dimensions; the seed of least loss.",
            )
        )
    return tuple(views)


def basis_table(found: Superposition) -> TableView:
    """What rotations do."""
    rows: list[list[Cell]] = [
        [
            row.name,
            density(row.density),
            row.alignment,
            row.alignment_rotated,
            row.aligned_more,
            row.monosemantic,
            _small(row.moved),
            row.loss_ratio,
        ]
        for row in basis_rows(found)
    ]
    n = found.rotations[BASES[0][0]].loss.shape[-1]
    return TableView(
        (
            "basis",
            Column("1 − S", "right"),
            Column("alignment", "right"),
            Column("rotated", "right"),
            Column("difference", "right"),
            Column("about one feature", "right"),
            Column("output moved", "right"),
            Column("loss ×", "right", 1),
        ),
        rows,
        title="Before and after a rotation of the hidden space",
        caption=f"{n} random rotations of every seed. Alignment: the largest share of a "
        "dimension's squared weights that one feature has. Moved: mean squared change of the "
        "output over its mean square. About one feature: share of hidden dimensions. Means over "
        "seeds with Student's intervals; of what is moved and of losses, geometric ones.",
    )


def _small(interval: Interval) -> Cell:
    return "0 (rounding)" if interval.estimate < 1e-12 else interval


# ---- computing ----


def computation_matrices(found: Superposition) -> MatricesView:
    """What every neuron reads and writes."""
    toys = found.toys[COMPUTATION]
    best_in, best_out = (toys.of_best(toys.weights[name])[0] for name in ("W_in", "W_out"))
    drawn = []
    for one, w_in, w_out in zip(toys.densities, best_in, best_out, strict=True):
        scale = np.sqrt(np.abs(w_out).max(0) / np.maximum(np.abs(w_in).max(1), 1e-9))
        drawn.append(Matrix(f"{at_density(one)}, reads", (w_in * scale[:, None]).T))
        drawn.append(Matrix("writes", w_out / np.maximum(scale, 1e-9)))
    return MatricesView(
        drawn,
        "feature",
        "neuron",
        limit=1.5,
        title="What every neuron reads, and what it writes",
        caption="The seed of least loss; rows are features, columns neurons. A neuron's input and "
        "output weights are brought to one scale, which changes nothing it computes. Dense: two "
        "neurons for a feature. Sparse: neurons read several.",
    )


def computation_table(found: Superposition) -> TableView:
    """Features computed, losses, neurons."""
    rows: list[list[Cell]] = [
        [
            density(row.density),
            row.n_best,
            row.n,
            row.ratio_best,
            row.ratio,
            Share(row.monosemantic_best),
            row.monosemantic,
        ]
        for row in computation_rows(found)
    ]
    return TableView(
        (
            Column("1 − S", "right"),
            Column("computed, best seed", "right"),
            Column("all seeds", "right", 1),
            Column("loss ×, best seed", "right"),
            Column("all seeds", "right"),
            Column("neurons about one feature", "right"),
            Column("all seeds", "right"),
        ),
        rows,
        title="Absolute values",
        caption="Computed: less than half of the variance of |xᵢ| is left. Loss: over the least "
        "that neurons reading one feature each can have (three features exactly, the others as "
        f"their mean). About one feature: {percent(0.9)} of the squared input weights or more.",
    )
