"""The geometry of features in the hidden space: how many, how many dimensions each, which shapes.

Weights are W [..., hidden, feature]: column i is the direction W_i of feature i.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Bool, Float, Int

from ..array_files import Array

LEAST_NORM = 0.5
"""From this norm on a feature counts as represented; 1 is read back in full."""
_LEAST_COSINE = 0.1  # between features of one shape
_SHAPE_TOLERANCE = 0.1  # of every cosine
_LEAST_SPREAD = 0.15  # a direction counts for the rank from this share of the largest on
_SMALL = 1e-12


def represented(
    W: Float[Array, "*grid hidden feature"], least: float = LEAST_NORM
) -> Bool[np.ndarray, "*grid feature"]:
    """Which features have a norm above `least`.

    Example:
        >>> represented(np.eye(2, 3)).tolist()
        [True, True, False]
    """
    return np.asarray(np.linalg.norm(W, axis=-2) > least)


def dimensions_per_feature(
    W: Float[Array, "*grid hidden feature"],
) -> Float[Array, "*grid"]:
    """m / ||W||_F^2 (Elhage et al. 2022, "The Geometry of Superposition"): 1 without
    superposition, 1/2 where features share dimensions in pairs.

    Example:
        >>> float(dimensions_per_feature(np.eye(2, 3)))
        1.0
    """
    return np.asarray(W.shape[-2] / np.maximum((W**2).sum((-2, -1)), _SMALL))


def feature_dimensionality(
    W: Float[Array, "*grid hidden feature"],
) -> Float[Array, "*grid feature"]:
    """D_i = ||W_i||^2 / sum_j (W_i / ||W_i|| . W_j)^2: the share of a dimension that a feature has.

    Elhage et al. (2022), "The Geometry of Superposition". 1: a dimension of its own; 1/2: one of
    an antipodal pair; 0: not represented.

    Example:
        >>> feature_dimensionality(np.array([[1.0, -1.0, 0.0], [0.0, 0.0, 1.0]])).tolist()
        [0.5, 0.5, 1.0]
    """
    squared = (W**2).sum(-2)
    overlaps = np.einsum("...hi,...hj->...ij", W, W)
    shared = (overlaps**2).sum(-1) / np.maximum(squared, _SMALL)
    return np.where(squared > _SMALL, squared / np.maximum(shared, _SMALL), 0.0)


def interference(
    W: Float[Array, "*grid hidden feature"],
) -> Float[Array, "*grid feature"]:
    """sum over j != i of (W_i / ||W_i|| . W_j)^2: how much of the others falls on a feature.

    Example:
        >>> interference(np.array([[1.0, -0.5]])).tolist()
        [0.25, 1.0]
    """
    squared = (W**2).sum(-2)
    overlaps = np.einsum("...hi,...hj->...ij", W, W)
    others = (overlaps**2).sum(-1) - squared**2
    return np.where(squared > _SMALL, others / np.maximum(squared, _SMALL), 0.0)


@dataclass(frozen=True)
class Part:
    """Features that interfere with each other, directly or through others of the part."""

    name: str
    """Of its shape, or "irregular"."""
    features: tuple[int, ...]
    rank: int
    """Dimensions that they span."""
    dimensionality: float
    """The mean of theirs."""


# Shapes by the number of features and the dimensions they span.
_SHAPES = {
    (1, 1): "alone",
    (2, 1): "digon",
    (3, 2): "triangle",
    (4, 3): "tetrahedron",
    (5, 2): "pentagon",
    (8, 3): "square antiprism",
}
PLATEAUS = {name: rank / size for (size, rank), name in _SHAPES.items()}
"""Shape -> the dimensionality of each of its features."""


def parts(W: Float[Array, "hidden feature"], least: float = LEAST_NORM) -> tuple[Part, ...]:
    """The represented features as groups without interference between them, each with its shape.

    Two features are in one group if the cosine between them exceeds 0.1 in absolute value. A group
    has a shape if all its cosines, in order, are within 0.1 of that shape's.

    Args:
        W: of one instance.
        least: norm from which a feature counts.

    Example:
        >>> [part.name for part in parts(np.array([[1.0, -1.0, 0.0], [0.0, 0.0, 1.0]]))]
        ['digon', 'alone']
    """
    kept = np.flatnonzero(represented(W, least))
    units = W[:, kept] / np.linalg.norm(W[:, kept], axis=0)
    cosines = units.T @ units
    found = []
    for group in _groups(np.abs(cosines) > _LEAST_COSINE):
        spread = np.linalg.svd(W[:, kept[group]], compute_uv=False)
        rank = int((spread > _LEAST_SPREAD * spread[0]).sum())
        own = feature_dimensionality(W)[kept[group]]
        name = _name(cosines[np.ix_(group, group)], rank)
        features = tuple(int(i) for i in kept[group])
        found.append(Part(name, features, rank, float(own.mean())))
    return tuple(sorted(found, key=lambda part: (-len(part.features), part.features)))


def shape(W: Float[Array, "hidden feature"], least: float = LEAST_NORM) -> str:
    """All parts of an instance in words.

    In a plane: "orthogonal" (two features, each with a dimension of its own), "digon and one",
    "square" (two antipodal pairs at right angles), "triangle", "pentagon". Elsewhere the parts are
    counted, as in "2 digon + 1 alone".

    Example:
        >>> shape(np.array([[1.0, 0.0, -1.0], [0.0, 1.0, 0.0]]))
        'digon and one'
    """
    found = parts(W, least)
    counted = Counter(part.name for part in found)
    if W.shape[0] == 2:
        in_plane = {
            (("alone", 2),): "orthogonal",
            (("alone", 1), ("digon", 1)): "digon and one",
            (("digon", 2),): "square",
        }
        named = in_plane.get(tuple(sorted(counted.items())))
        if named is not None:
            return named
    if len(found) == 1:
        return found[0].name
    return " + ".join(f"{n} {name}" for name, n in counted.most_common()) or "nothing"


def random_directions(
    W: Float[Array, "*grid hidden feature"], seed: int = 0
) -> Float[Array, "*grid hidden feature"]:
    """Directions at random with the norms of these: the control of every geometry.

    Example:
        >>> np.linalg.norm(random_directions(2 * np.eye(3)), axis=0).round(6).tolist()
        [2.0, 2.0, 2.0]
    """
    drawn = np.random.default_rng(seed).normal(size=W.shape)
    norms = np.linalg.norm(W, axis=-2, keepdims=True)
    return np.asarray(drawn / np.linalg.norm(drawn, axis=-2, keepdims=True) * norms)


def _groups(linked: Bool[np.ndarray, "one other"]) -> list[Int[np.ndarray, " member"]]:
    """Connected components, in the order of their first member."""
    left, groups = list(range(len(linked))), []
    while left:
        group, fresh = {left[0]}, {left[0]}
        while fresh:
            reached = {int(j) for i in fresh for j in np.flatnonzero(linked[i])}
            fresh = reached - group
            group |= fresh
        left = [one for one in left if one not in group]
        groups.append(np.array(sorted(group)))
    return groups


def _name(cosines: Float[Array, "one other"], rank: int) -> str:
    name = _SHAPES.get((len(cosines), rank), "irregular")
    if name in ("alone", "irregular"):
        return name
    above = np.sort(cosines[np.triu_indices(len(cosines), 1)])
    return name if np.abs(above - _cosines_of(name)).max() < _SHAPE_TOLERANCE else "irregular"


@cache
def _cosines_of(name: str) -> Float[Array, " pair"]:
    """The cosines between the corners of a shape, in order."""
    corners = _corners(name)
    corners = corners / np.linalg.norm(corners, axis=1, keepdims=True)
    return np.sort((corners @ corners.T)[np.triu_indices(len(corners), 1)])


def _corners(name: str) -> Float[Array, "corner axis"]:
    if name == "digon":
        return np.array([[1.0], [-1.0]])
    if name == "tetrahedron":
        return np.array([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    if name == "square antiprism":
        # Two squares, turned against each other; this height gives every corner 3/8 of a dimension.
        turns = np.arange(8) * np.pi / 4
        height = np.where(np.arange(8) % 2, 0.5**0.5, -(0.5**0.5))
        return np.stack([np.cos(turns), np.sin(turns), height], axis=1)
    turns = 2 * np.pi * np.arange({"triangle": 3, "pentagon": 5}[name]) / PLATEAU_SIZE[name]
    return np.stack([np.cos(turns), np.sin(turns)], axis=1)


PLATEAU_SIZE = {name: size for (size, _), name in _SHAPES.items()}
"""Shape -> how many features it holds."""
