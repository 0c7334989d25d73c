"""Sparse probing: how well a label is read from one, two or five features alone.

A dictionary is useful for reading if single features say what a dense probe needs all dimensions
for (Gurnee et al. 2023). Features are chosen, and probes fitted, on the train rows; scores are
those of test rows from other groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ..array_files import load_arrays, save_arrays
from ..evidence import Interval, bootstrap_ratio

Array = NDArray[np.float64]
DENSE, COORDINATES, RANDOM, FEATURES = "dense probe", "coordinates", "random features", "features"
SOURCES = (FEATURES, RANDOM, COORDINATES, DENSE)
"""Best k features of the dictionary; k that were drawn among those alive; best k coordinates of the
activations; all of the activations."""
_TEST_SHARE = 0.4
_LEAST_ROWS = 5  # of a class, in train and in test
_PENALTY = 1.0


@dataclass(frozen=True, eq=False)
class SparseProbes:
    """Balanced accuracies of one-against-the-rest probes: 0.5 is a guess, 1 is perfect.

    Example:
        >>> found = sparse_probes(features, x, labels, groups)
        >>> found.score("features", k=1), found.score("random features", k=1)
    """

    classes: tuple[str, ...]
    ks: tuple[int, ...]
    correct: dict[str, Float[Array, "class k group"]]
    """Of each source: rows that are right, weighed so that both sides of a class weigh alike,
    summed over the rows of each test group. The dense probe has the same for every k."""
    weight: Float[Array, "class group"]
    """Sum of the weights of each test group's rows."""
    chosen: Int[NDArray[Any], "class k_most"]
    """The best features of each class, the best first."""
    n_train: int
    n_test: int

    def score(self, source: str = FEATURES, k: int = 1) -> Interval:
        """Mean balanced accuracy over classes; the interval resamples groups of test rows."""
        return self._interval(self.correct[source][:, self._at(k)].sum(0), self.weight.sum(0))

    def of_class(self, name: str, source: str = FEATURES, k: int = 1) -> Interval:
        """Balanced accuracy of one class."""
        if name not in self.classes:
            raise ValueError(f"there is no class {name!r}; there are {', '.join(self.classes)}.")
        i = self.classes.index(name)
        return self._interval(self.correct[source][i, self._at(k)], self.weight[i])

    def _at(self, k: int) -> int:
        if k not in self.ks:
            raise ValueError(f"k={k} was not tried; tried were {', '.join(map(str, self.ks))}.")
        return self.ks.index(k)

    def _interval(self, top: Array, bottom: Array) -> Interval:
        value, low, high = bootstrap_ratio(top, bottom, n_resamples=2000)
        return Interval(float(value), float(low), float(high), 0.95, len(bottom))

    def to_frame(self) -> list[dict[str, Any]]:
        """One row (a dict) for each class, source and k."""
        rows = []
        for i, name in enumerate(self.classes):
            for source in self.correct:
                for k in self.ks:
                    one = self.of_class(name, source, k)
                    row = {"class": name, "source": source, "k": k, "accuracy": one.estimate}
                    row |= {"low": one.low, "high": one.high}
                    best = self.chosen[i, :k].tolist() if source == FEATURES else []
                    rows.append({**row, "features": best})
        return rows

    def save(self, path: str | Path) -> None:
        """Write one safetensors file."""
        arrays = {f"correct {source}": values for source, values in self.correct.items()}
        arrays |= {"weight": self.weight, "chosen": self.chosen}
        described = {name: getattr(self, name) for name in ("classes", "ks", "n_train", "n_test")}
        save_arrays(path, "sparse probes", arrays, described)

    @classmethod
    def load(cls, path: str | Path) -> SparseProbes:
        """The inverse of `save`.

        Raises:
            ValueError: the file is missing, or is not one that `save` wrote.
        """
        arrays, described = load_arrays(path, "sparse probes")
        return cls(
            classes=tuple(described["classes"]),
            ks=tuple(described["ks"]),
            correct={source: arrays[f"correct {source}"] for source in SOURCES},
            weight=arrays["weight"],
            chosen=arrays["chosen"],
            n_train=described["n_train"],
            n_test=described["n_test"],
        )


def sparse_probes(
    features: Float[Tensor, "row feature"],
    x: Float[Tensor, "row d"],
    labels: Sequence[str],
    groups: Sequence[int],
    ks: Sequence[int] = (1, 2, 5),
    n_random: int = 5,
    seed: int = 0,
    classes: Sequence[str] | None = None,
) -> SparseProbes:
    """Fit probes of each class against the rest, by logistic regression of balanced classes.

    The best features are those whose means differ most between the class and the rest, in units
    of the feature's standard deviation, on the train rows.

    Args:
        features: of a dictionary.
        x: the activations they are features of.
        labels: of each row.
        groups: of each row; train and test share none: sequences, templates.
        ks: how many features a probe may read.
        n_random: draws of random features, averaged.
        seed: of the split and the draws.
        classes: labels that are asked about, the rest being "the rest"; None is all.

    Raises:
        ValueError: lengths that differ, fewer than two groups, no class with enough rows.

    Example:
        >>> sparse_probes(features, x, labels, groups).score(k=1)
    """
    f, dense = (rows.detach().cpu().double().numpy() for rows in (features, x))
    names = np.asarray(labels)
    if not len(f) == len(dense) == len(names) == len(groups):
        raise ValueError(
            f"there are {len(f)} rows of features, {len(dense)} of activations, {len(names)} "
            f"labels and {len(groups)} groups: as many of each are needed."
        )
    train, test, group = _parts(np.asarray(groups), seed)
    asked = _enough(names, train, test, classes)
    keep = [k for k in sorted(set(ks)) if 1 <= k <= f.shape[1]]
    if not keep:
        raise ValueError(f"ks={tuple(ks)} has to hold a number from 1 to {f.shape[1]}.")
    scaled, coordinates = _standardised(f, train), _standardised(dense, train)
    alive = np.flatnonzero(f[train].std(0) > 0)
    rng = np.random.default_rng(seed)
    correct = {source: np.zeros((len(asked), len(keep), group.max() + 1)) for source in SOURCES}
    weight = np.zeros((len(asked), group.max() + 1))
    chosen = np.zeros((len(asked), max(keep)), dtype=np.int64)
    for i, name in enumerate(asked):
        one = _Class(names == name, train, test, group)
        weight[i] = one.weight
        best, best_of_x = one.best(scaled), one.best(coordinates)
        chosen[i] = best[: max(keep)]
        correct[DENSE][i] = one.correct(coordinates)
        for j, k in enumerate(keep):
            correct[FEATURES][i, j] = one.correct(scaled[:, best[:k]])
            correct[COORDINATES][i, j] = one.correct(coordinates[:, best_of_x[:k]])
            draws = [rng.choice(alive, min(k, len(alive)), replace=False) for _ in range(n_random)]
            correct[RANDOM][i, j] = np.mean([one.correct(scaled[:, d]) for d in draws], axis=0)
    return SparseProbes(tuple(asked), tuple(keep), correct, weight, chosen, len(train), len(test))


class _Class:
    """One class against the rest."""

    def __init__(
        self, is_it: NDArray[np.bool_], train: NDArray[Any], test: NDArray[Any], group: NDArray[Any]
    ) -> None:
        self.is_it, self.train, self.test, self.group = is_it, train, test, group
        share = is_it[test].mean()
        self.row_weight = np.where(is_it[test], 0.5 / share, 0.5 / (1 - share))
        self.weight = self._by_group(self.row_weight)

    def best(self, values: Array) -> NDArray[Any]:
        """Columns by how far apart the means are, the furthest first."""
        of, rest = values[self.train][self.is_it[self.train]], values[self.train]
        rest = rest[~self.is_it[self.train]]
        return np.asarray(np.argsort(-np.abs(of.mean(0) - rest.mean(0)), kind="stable"))

    def correct(self, values: Array) -> Array:
        """Fit on the train rows; weights of the test rows that are right, by group."""
        from sklearn.linear_model import LogisticRegression

        probe = LogisticRegression(C=1 / _PENALTY, class_weight="balanced", max_iter=1000)
        probe.fit(values[self.train], self.is_it[self.train])
        right = probe.predict(values[self.test]) == self.is_it[self.test]
        return self._by_group(self.row_weight * right)

    def _by_group(self, values: Array) -> Array:
        return np.asarray(np.bincount(self.group, values, self.group.max() + 1), np.float64)


def _parts(groups: NDArray[Any], seed: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.int64]]:
    """Train rows, test rows, and the group of each test row, counted from 0."""
    names = np.unique(groups)
    if len(names) < 2:
        raise ValueError("there is one group of rows: train and test need groups of their own.")
    order = np.random.default_rng(seed).permutation(names)
    held_out = order[: max(1, round(_TEST_SHARE * len(names)))]
    is_test = np.isin(groups, held_out)
    test = np.flatnonzero(is_test)
    _, group = np.unique(groups[test], return_inverse=True)
    return np.flatnonzero(~is_test), test, group.ravel()


def _enough(
    names: NDArray[Any],
    train: NDArray[Any],
    test: NDArray[Any],
    classes: Sequence[str] | None,
) -> list[str]:
    """Classes with some rows, and some rows of others, in train and in test."""
    found = [
        str(name)
        for name in (np.unique(names) if classes is None else classes)
        if all(
            min(np.sum(names[part] == name), np.sum(names[part] != name)) >= _LEAST_ROWS
            for part in (train, test)
        )
    ]
    if not found:
        raise ValueError(
            f"no label has {_LEAST_ROWS} rows, and {_LEAST_ROWS} others beside it, in train and in "
            "test: give more rows, or more groups."
        )
    return found


def _standardised(values: Array, train: NDArray[Any]) -> Array:
    """By mean and standard deviation of the train rows."""
    spread = values[train].std(0)
    return np.asarray((values - values[train].mean(0)) / np.where(spread > 0, spread, 1))
