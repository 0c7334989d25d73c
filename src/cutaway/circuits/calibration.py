"""How well a method's scores single out the edges of a circuit that is known.

Edges are ranked by importance: the size of their score, of either sign. A learned gate has no sign;
its importance is how far it is open, so that a gate below 0 is closed like one at 0. Importances
below 1e-5 of the whole are set to 0, and the others rounded to four digits: effects are computed in
float32, where an edge that a method misses gets rounding instead of 0 and equal effects differ in
the sixth digit, and a ranking of rounding says nothing.

The area under the ROC curve is the chance that an edge of the circuit is ranked above one that is
not, ties counted as one half (Hanley and McNeil 1982): 0.5 for a guess.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from ..patching.graph import Graph
from .circuit import UNSIGNED, CircuitError
from .scores import EdgeScores
from .wiring import Wiring

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

ROUNDING = 1e-5
"""Importances below this share of the whole are 0."""
DIGITS = 4
"""Importances that agree in so many significant digits tie."""
LEAST_SHARE = 0.01
"""A detectable edge is missed if its importance is below this share of its exact effect."""


@dataclass(frozen=True)
class Calibration:
    """One method's scores beside the known answer of one task.

    Example:
        >>> known = KNOWN["induction"](0)
        >>> scores = ca.circuits.score(known.model, known.tasks["key"], "eap")
        >>> exact = ca.circuits.score(known.model, known.tasks["key"])
        >>> calibrate(scores, known.detectable["key"], known.written, exact.values).missed
        ('embed->0.1.v', '0.1->1.2.k')
    """

    method: str
    n_edges: int
    """Of the model."""
    n_detectable: int
    """The true size: how many edges the corruption can reveal."""
    auroc: float
    """Of the detectable edges among all."""
    auroc_written: float
    """The same of the written edges, which no method can find that only sees runs."""
    precision: float
    """Share of detectable edges among as many of the most important ones as there are detectable
    edges; of ties at the border the mean over all choices. At this size recall is the same."""
    worst_rank: int
    """How many edges have to be taken until all detectable ones are among them, ties counted
    against the method; at best `n_detectable`."""
    missed: tuple[str, ...]
    """Detectable edges with an importance below 1% of their exact effect."""
    wrong_sign: tuple[str, ...] | None
    """Detectable edges whose score has the wrong sign, rounding left out; None without signs."""
    largest_ratio: float
    """The largest importance of a detectable edge as a multiple of its exact effect."""
    outside: tuple[str, float] | None
    """The most important edge that is not detectable, and its score; None if all are 0."""
    n_kept: int | None
    """Size of the circuit that the method has chosen itself, where it chooses."""
    n_kept_right: int | None
    """How many of these are detectable."""
    seconds: float
    """What the scores took; NaN where nobody measured it."""
    scores: Mapping[str, float] = field(repr=False)
    """Score of each detectable edge, as the method gives it."""
    exact: Mapping[str, float] = field(repr=False)
    """Exact normalised effect of each detectable edge."""

    @property
    def recall(self) -> float:
        """Share of the detectable edges that were found; equal to `precision` at the true size."""
        return self.precision

    @property
    def perfect(self) -> bool:
        """Whether every detectable edge stands above every other, none with a wrong sign."""
        return self.auroc == 1 and not self.missed and not self.wrong_sign

    def to_frame(self) -> list[dict[str, Any]]:
        """One row (a dict) for each detectable edge: edge, exact, score, missed, wrong_sign."""
        wrong = self.wrong_sign
        return [
            {
                "method": self.method,
                "edge": edge,
                "exact": self.exact[edge],
                "score": score,
                "missed": edge in self.missed,
                "wrong_sign": None if wrong is None else edge in wrong,
            }
            for edge, score in self.scores.items()
        ]


def calibrate(
    scores: EdgeScores,
    detectable: Mapping[str, int],
    written: Collection[str],
    exact: Float[Floats, " edge"],
    seconds: float = math.nan,
) -> Calibration:
    """Compare a method's scores with the known answer.

    Args:
        scores: of every edge of a known model, on one of its tasks.
        detectable: the edges that this task can reveal, with the sign of their effect: +1 helps
            the answer (`KnownModel.detectable`).
        written: the edges of the circuit (`KnownModel.written`).
        exact: the exact normalised effect of every edge (the scores of "exact-edges").
        seconds: what the scores took.

    Raises:
        CircuitError: an edge that the model does not have; no edge, or every one, is detectable;
            `exact` is not one number for each edge.
    """
    names = Graph(scores.cfg).edge_names
    number = {name: i for i, name in enumerate(names)}
    if len(exact) != len(names):
        raise CircuitError(
            f"exact holds {len(exact)} effects, but {scores.cfg.model_name} has {len(names)} edges."
        )
    truth, in_weights = _flags(detectable, number), _flags(written, number)
    found = importance(scores)
    at = {edge: number[edge] for edge in names if edge in detectable}
    rows = np.array(list(at.values()))
    outside = int(np.argmax(np.where(truth, -1.0, found)))
    kept = None if scores.kept is None else scores.kept[Wiring(scores.cfg).allowed]
    return Calibration(
        method=scores.method,
        n_edges=len(names),
        n_detectable=len(at),
        auroc=auroc(found, truth),
        auroc_written=auroc(found, in_weights),
        precision=precision_at_size(found, truth),
        worst_rank=int((found >= found[truth].min()).sum()),
        missed=tuple(e for e, i in at.items() if found[i] < LEAST_SHARE * abs(exact[i])),
        wrong_sign=_wrong_signs(scores, detectable, at),
        largest_ratio=_largest_ratio(found[rows], exact[rows]),
        outside=(names[outside], float(scores.values[outside])) if found[outside] > 0 else None,
        n_kept=None if kept is None else int(kept.sum()),
        n_kept_right=None if kept is None else int((kept & truth).sum()),
        seconds=seconds,
        scores={edge: float(scores.values[i]) for edge, i in at.items()},
        exact={edge: float(exact[i]) for edge, i in at.items()},
    )


def importance(scores: EdgeScores) -> Float[Floats, " edge"]:
    """What edges are ranked by: the size of a signed score, the opening of a gate; rounded.

    Example:
        >>> importance(EdgeScores(cfg, "eap", np.array([-0.5, 1e-9]))).tolist()  # doctest: +SKIP
        [0.5, 0.0]
    """
    size = np.maximum(scores.values, 0) if scores.method in UNSIGNED else np.abs(scores.values)
    last = 10.0 ** (np.floor(np.log10(np.maximum(size, ROUNDING))) + 1 - DIGITS)
    rounded = np.round(np.round(size / last) * last, 12)  # 0.99999 and 1.00001 give one number
    return np.where(size < ROUNDING, 0.0, rounded)


def auroc(found: Float[Floats, " edge"], truth: Bool[Flags, " edge"]) -> float:
    """The area under the ROC curve: how often a true edge is ranked above another one.

    Counts all pairs, ties as one half (the Mann-Whitney statistic over the number of pairs).

    Raises:
        CircuitError: no edge is true, or every one.

    Example:
        >>> auroc(np.array([2.0, 0.0, 0.0]), np.array([True, True, False]))
        0.75
    """
    inside, others = found[truth], found[~truth]
    if not len(inside) or not len(others):
        raise CircuitError(
            f"{len(inside)} of {len(truth)} edges are true: a ranking can only be judged where "
            "some are and some are not."
        )
    above = (inside[:, None] > others).mean() + 0.5 * (inside[:, None] == others).mean()
    return float(above)


def precision_at_size(found: Float[Floats, " edge"], truth: Bool[Flags, " edge"]) -> float:
    """Share of true edges among the k most important ones, where k edges are true.

    Where several edges tie at the border, the mean over all ways to choose among them.

    Example:
        >>> precision_at_size(np.array([2.0, 0.0, 0.0]), np.array([True, True, False]))
        0.75
    """
    size = int(truth.sum())
    border = np.sort(found)[::-1][size - 1]
    above, tied = found > border, found == border
    places = size - above.sum()
    expected = (truth & above).sum() + places * (truth & tied).sum() / tied.sum()
    return float(expected / size)


def _flags(edges: Collection[str], number: Mapping[str, int]) -> Bool[Flags, " edge"]:
    for edge in edges:
        if edge not in number:
            raise CircuitError(f"{edge!r} is no edge of this model.")
    return np.array([name in edges for name in number])


def _wrong_signs(
    scores: EdgeScores, signs: Mapping[str, int], at: Mapping[str, int]
) -> tuple[str, ...] | None:
    if scores.method in UNSIGNED:
        return None
    return tuple(e for e, i in at.items() if scores.values[i] * signs[e] <= -ROUNDING)


def _largest_ratio(found: Float[Floats, " edge"], exact: Float[Floats, " edge"]) -> float:
    # An exact effect of 0 would be a fault of the known answer; it is left out, not divided by.
    seen = exact != 0
    return float((found[seen] / np.abs(exact[seen])).max(initial=0.0))
