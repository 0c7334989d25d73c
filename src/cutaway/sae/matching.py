"""Directions beside directions: what was found of the known ones, and what two seeds agree on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ..array_files import load_arrays, save_arrays
from ..evidence import Interval, bootstrap_mean, proportion
from ..training.source import generator

Array = NDArray[np.float64]
RANDOM = 22
"""Stream of random numbers: directions to compare with."""
_ARRAYS = ("best", "matched", "partner", "nearest", "nearest_true", "random_best")


@dataclass(frozen=True, eq=False)
class Matching:
    """How much of a known dictionary a learned one has found, and the same of random directions.

    Cosines have a sign: a feature is never negative, so its opposite is another feature.

    Example:
        >>> found = match(known.directions, dictionary.W_dec, alive=density > 0)
        >>> found.mean_best_cosine()
        >>> found.recall(), found.precision(), found.uniqueness()
    """

    threshold: float
    """From this cosine on a direction counts as found."""
    best: Float[Array, "known"]
    """Of each known direction, its highest cosine with a learned one."""
    matched: Float[Array, "known"]
    """The same where each learned direction serves one known direction only (the assignment of
    highest total, Kuhn 1955); NaN where there are fewer learned than known ones."""
    partner: Int[NDArray[Any], "known"]
    """The learned direction (its number in the dictionary) of that assignment; -1 for none."""
    nearest: Float[Array, "learned"]
    """Of each learned direction that is alive, its highest cosine with a known one."""
    nearest_true: Int[NDArray[Any], "learned"]
    """Which known one that is."""
    random_best: Float[Array, "known"]
    """`best` of as many random directions as there are learned ones: the control."""

    def mean_best_cosine(self) -> Interval:
        """Mean over known directions of the best cosine (Sharkey et al. 2022)."""
        return _mean(self.best)

    def mean_random_cosine(self) -> Interval:
        """The same of random directions."""
        return _mean(self.random_best)

    def mean_matched_cosine(self) -> Interval:
        """Mean over known directions that have a partner of the one-to-one assignment."""
        return _mean(self.matched[np.isfinite(self.matched)])

    def recall(self) -> Interval:
        """Share of the known directions that were found."""
        return proportion(int((self.best >= self.threshold).sum()), self.best.size)

    def precision(self) -> Interval:
        """Share of the learned directions that are known ones."""
        return proportion(int((self.nearest >= self.threshold).sum()), self.nearest.size)

    def uniqueness(self) -> float:
        """Different known directions among the learned ones that are known: 1 if none is there
        twice; NaN where none is known."""
        found = self.nearest_true[self.nearest >= self.threshold]
        return len(set(found.tolist())) / len(found) if len(found) else float("nan")

    def to_frame(self) -> list[dict[str, Any]]:
        """One row (a dict) for each known direction."""
        columns = {
            "best cosine": self.best,
            "matched cosine": self.matched,
            "random": self.random_best,
        }
        return [
            {
                "known": i,
                "partner": int(self.partner[i]),
                **{name: float(values[i]) for name, values in columns.items()},
                "found": bool(self.best[i] >= self.threshold),
            }
            for i in range(self.best.size)
        ]

    def save(self, path: str | Path) -> None:
        """Write one safetensors file."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        save_arrays(path, "a matching", arrays, {"threshold": self.threshold})

    @classmethod
    def load(cls, path: str | Path) -> Matching:
        """The inverse of `save`.

        Raises:
            ValueError: the file is missing, or is not one that `save` wrote.
        """
        arrays, described = load_arrays(path, "a matching")
        return cls(**arrays, **described)


def match(
    known: Float[Tensor, "known d"],
    learned: Float[Tensor, "learned width"],
    alive: Bool[Tensor, "learned"] | None = None,
    threshold: float = 0.9,
    seed: int = 0,
) -> Matching:
    """Compare learned directions with known ones.

    Args:
        known: directions of any length.
        learned: decoder rows, of any length but zero.
        alive: features that ever fire; the others count neither for nor against. None is all.
        threshold: cosine from which a direction counts as found, above 0 and below 1.
        seed: of the random directions that are the control.

    Raises:
        ValueError: widths that differ, no known direction, no feature alive, a bad threshold.

    Example:
        >>> match(torch.eye(4), torch.eye(4).flip(0)).mean_best_cosine().estimate
        1.0
    """
    if not 0 < threshold < 1:
        raise ValueError(f"threshold={threshold} has to lie between 0 and 1.")
    if known.shape[1] != learned.shape[1]:
        raise ValueError(
            f"the known directions have width {known.shape[1]}, the learned ones "
            f"{learned.shape[1]}: they are of different spaces."
        )
    which = torch.arange(len(learned)) if alive is None else alive.detach().cpu().nonzero()[:, 0]
    if not len(known) or not len(which):
        raise ValueError("there is nothing to compare: no known direction, or no feature alive.")
    table = cosines(known, learned)[:, which.numpy()]  # [known, learned]
    rows, columns = _assignment(table)
    matched, partner = np.full(len(known), np.nan), np.full(len(known), -1)
    matched[rows], partner[rows] = table[rows, columns], which.numpy()[columns]
    return Matching(
        threshold=threshold,
        best=table.max(1),
        matched=matched,
        partner=partner,
        nearest=table.max(0),
        nearest_true=table.argmax(0),
        random_best=cosines(known, random_directions(len(which), known.shape[1], seed)).max(1),
    )


@dataclass(frozen=True)
class Agreement:
    """How alike two dictionaries are that differ in their seed."""

    first: int
    """Number of the one."""
    second: int
    """Number of the other."""
    cosine: Interval
    """Mean cosine of partners, one to one."""
    shared: Interval
    """Share of the pairs of partners whose cosine reaches the threshold."""
    random: float
    """Mean cosine of partners of random directions of the same shapes: the control."""


@dataclass(frozen=True)
class Stability:
    """What dictionaries of several seeds agree on, pair by pair (Paulo and Belrose 2025).

    Example:
        >>> stability([one.W_dec, other.W_dec]).mean_cosine
    """

    threshold: float
    pairs: tuple[Agreement, ...]

    @property
    def mean_cosine(self) -> float:
        """Mean over pairs."""
        return float(np.mean([pair.cosine.estimate for pair in self.pairs]))

    @property
    def mean_shared(self) -> float:
        """Mean share of features that are found again."""
        return float(np.mean([pair.shared.estimate for pair in self.pairs]))

    @property
    def mean_random(self) -> float:
        """The control."""
        return float(np.mean([pair.random for pair in self.pairs]))

    def to_frame(self) -> list[dict[str, Any]]:
        """One row (a dict) for each pair."""
        return [asdict(pair) for pair in self.pairs]


def stability(
    dictionaries: Sequence[Float[Tensor, "feature d"]],
    alive: Sequence[Bool[Tensor, "feature"]] | None = None,
    threshold: float = 0.9,
    seed: int = 0,
) -> Stability:
    """Match every two dictionaries one to one.

    The assignment takes about n^3: a second for 1,500 features.

    Args:
        dictionaries: decoder rows of each.
        alive: features of each that ever fire; None is all.
        threshold: cosine from which a feature counts as found again.
        seed: of the random directions that are the control.

    Raises:
        ValueError: fewer than two dictionaries, widths that differ, none alive.

    Example:
        >>> stability([torch.eye(8), torch.eye(8).flip(0)]).mean_cosine
        1.0
    """
    if len(dictionaries) < 2:
        raise ValueError("stability compares two dictionaries or more.")
    pairs = []
    for a, b in combinations(range(len(dictionaries)), 2):
        one, other = (
            dictionaries[i] if alive is None else dictionaries[i][alive[i]] for i in (a, b)
        )
        found = match(one, other, threshold=threshold)
        partners = found.matched[np.isfinite(found.matched)]
        width = one.shape[1]
        chance = cosines(
            random_directions(len(one), width, seed), random_directions(len(other), width, seed + 1)
        )
        shared = proportion(int((partners >= threshold).sum()), partners.size)
        random = float(chance[_assignment(chance)].mean())
        pairs.append(Agreement(a, b, _mean(partners), shared, random))
    return Stability(threshold, tuple(pairs))


def cosines(
    first: Float[Tensor, "first d"], second: Float[Tensor, "second d"]
) -> Float[Array, "first second"]:
    """The cosine of every two directions; 0 where one has no length."""
    one, other = (
        torch.nn.functional.normalize(rows.detach().double().cpu(), dim=-1)
        for rows in (first, second)
    )
    return np.asarray((one @ other.t()).clamp(-1, 1).numpy())


def random_directions(n: int, d: int, seed: int) -> Float[Tensor, "n d"]:
    """Directions of length 1, drawn evenly."""
    # A stream of its own: neither known directions nor a fresh dictionary's of the same seed.
    drawn = torch.from_numpy(generator(seed, RANDOM, 0).standard_normal((n, d))).float()
    return torch.nn.functional.normalize(drawn, dim=-1)


def _assignment(table: Array) -> tuple[NDArray[Any], NDArray[Any]]:
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(table, maximize=True)
    return np.asarray(rows), np.asarray(columns)


def _mean(values: Array) -> Interval:
    return bootstrap_mean(values, n_resamples=2000)
