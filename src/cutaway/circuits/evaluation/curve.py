"""The sufficiency curve: faithfulness over sizes of circuit, and the areas by it.

A method orders all edges; at each size the circuit of the strongest ones is run alone. CPR, the
area under the curve, rewards circuits that do much with few edges; CMD, the area between the curve
and 1, those that do just what the model does (Mueller et al. 2025, MIB). Sizes are shares of all
edges, joined by straight lines; with no edge faithfulness is 0 and with all it is 1, by definition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from ...evidence import Interval
from ...evidence.resampling import resampled_means
from ...patching.measure import Progress
from ..circuit import CircuitError
from ..random_circuits import random_circuits
from ..runs import CircuitRuns
from ..scores import EdgeScores, mean_gap
from ..selection import strongest
from .trial import ENDS

Floats = NDArray[np.float64]

SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""Of all edges: the sizes of the MIB benchmark, but for the whole."""
_N_RESAMPLES = 2_000


@dataclass(frozen=True)
class Curve:
    """Faithfulness of the strongest edges at every size, beside random circuits."""

    method: str
    how: str
    sizes: tuple[int, ...]
    """How many edges each circuit could have at most."""
    shares: tuple[float, ...]
    """The same as shares of all edges."""
    n_edges: tuple[int, ...]
    """How many it has: fewer where the next ones would complete longer ways."""
    faithfulness: tuple[Interval, ...]
    """(circuit - empty) / (model - empty) at each size."""
    random: Float[Floats, "circuit size"]
    """The same of each random circuit."""
    cpr: Interval
    """Area under the curve; larger is better, and it can exceed 1."""
    cmd: Interval
    """Area between the curve and 1; smaller is better."""
    random_cpr: Float[Floats, " circuit"]
    random_cmd: Float[Floats, " circuit"]

    def to_frame(self) -> list[dict[str, Any]]:
        """One row for each size."""
        return [
            {
                "method": self.method,
                "size": size,
                "edges": n_edges,
                "share": share,
                "faithfulness": found.estimate,
                "low": found.low,
                "high": found.high,
                "random_mean": float(random.mean()),
                "random_max": float(random.max()),
            }
            for size, n_edges, share, found, random in zip(
                self.sizes,
                self.n_edges,
                self.shares,
                self.faithfulness,
                self.random.T,
                strict=True,
            )
        ]


def sufficiency_curve(
    runs: CircuitRuns,
    scores: EdgeScores,
    shares: Sequence[float] = SHARES,
    n_random: int = 20,
    seed: int = 0,
    progress: Progress | None = None,
) -> Curve:
    """Run the strongest edges of a method alone, at many sizes.

    Args:
        runs: the task, with what stands outside.
        scores: of every edge. They should come from other prompts than those of `runs`, or the
            choice flatters the result.
        shares: of all edges, between 0 and 1.
        n_random: random circuits at every size.
        seed: of the random circuits and of the bootstrap.
        progress: called with the share that is done.

    Raises:
        CircuitError: shares that are none; a model and an empty circuit of one mean metric.
    """
    wiring = runs.wiring
    n_all = len(scores.values)
    if not len(shares) or not all(0 < share <= 1 for share in shares):
        raise CircuitError(f"shares={tuple(shares)} are not shares of all edges, above 0 up to 1.")
    sizes = sorted({max(1, round(share * n_all)) for share in shares})
    chosen = [strongest(wiring, scores.values, n).matrix for n in sizes]
    random = [random_circuits(wiring, n, n_random, seed + n) for n in sizes]
    matrices = torch.from_numpy(np.concatenate([np.stack(chosen), *random]))
    values = runs.measure(matrices, progress=progress).numpy()
    empty = runs.empty().numpy()
    mean_gap(runs.task.metric.name, runs.clean.numpy(), empty, ENDS)
    gap = runs.clean.numpy() - empty
    found = values[: len(sizes)] - empty  # [size, prompt]
    of_random = (values[len(sizes) :] - empty).mean(-1) / gap.mean()
    of_random = of_random.reshape(len(sizes), n_random).T  # [circuit, size]
    at = np.array(sizes) / n_all
    points, cpr, cmd = _with_intervals(found, gap, at, seed)
    return Curve(
        method=scores.method,
        how=f"edges at all positions, outside: {runs.value.name}",
        sizes=tuple(sizes),
        shares=tuple(at.tolist()),
        n_edges=tuple(int(matrix.sum()) for matrix in chosen),
        faithfulness=points,
        random=of_random,
        cpr=cpr,
        cmd=cmd,
        random_cpr=_area(of_random, at),
        random_cmd=_area(of_random, at, to_one=True),
    )


def _area(
    faithfulness: Float[Floats, "*curve size"], at: Float[Floats, " size"], to_one: bool = False
) -> Float[Floats, "*curve"]:
    """Under the curve, or between it and 1; from no edge (0) to all (1), by trapezoids."""
    y = np.pad(faithfulness, [(0, 0)] * (faithfulness.ndim - 1) + [(1, 1)])
    y[..., -1] = 1.0
    x = np.concatenate([[0.0], at, [1.0]])
    return np.asarray(np.trapezoid(np.abs(1 - y) if to_one else y, x, axis=-1), dtype=np.float64)


def _with_intervals(
    found: Float[Floats, "size prompt"],
    gap: Float[Floats, " prompt"],
    at: Float[Floats, " size"],
    seed: int,
    level: float = 0.95,
) -> tuple[tuple[Interval, ...], Interval, Interval]:
    """Every point and both areas, by one bootstrap over prompts."""
    means = resampled_means(np.concatenate([found, gap[None]]), seed, _N_RESAMPLES)
    curves = means[:, :-1] / np.where(means[:, -1:] == 0, np.nan, means[:, -1:])
    middle = found.mean(-1) / gap.mean()
    tails = [(1 - level) / 2, (1 + level) / 2]
    # As for every ratio: if the sign of what is divided by is not sure, nothing is.
    bounded = (np.sign(means[:, -1]) != np.sign(gap.mean())).mean() <= tails[0]

    def interval(estimate: float, resampled: Floats) -> Interval:
        low, high = np.nanquantile(resampled, tails) if bounded else (-np.inf, np.inf)
        return Interval(float(estimate), float(low), float(high), level, len(gap))

    points = tuple(interval(one, column) for one, column in zip(middle, curves.T, strict=True))
    cpr = interval(float(_area(middle, at)), _area(curves, at))
    cmd = interval(float(_area(middle, at, to_one=True)), _area(curves, at, to_one=True))
    return points, cpr, cmd
