"""Feature absorption where the truth is known: a parent's feature that is silent for its children.

Of two features, one of which (the child) is active only where the other (the parent) is, a sparse
dictionary can save one active feature: the child's takes over the parent's direction, and the
parent's keeps silent there (Chanin et al. 2024). What it seems to stand for, "starts with S", then
has holes that nobody sees in its examples.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ..array_files import load_arrays, save_arrays
from ..evidence import Interval, proportion
from .dictionary import Dictionary
from .matching import cosines
from .splicing import written_rows
from .synthetic import KnownFeatures, KnownRows

_ARRAYS = ("parent", "child", "latent", "cosine", "child_cosine", "with_child", "alone", "stranger")


@dataclass(frozen=True, eq=False)
class Absorption:
    """How often the parent's learned feature is absorbed, of every pair of parent and child.

    A row counts as absorbed if the parent is active, its learned feature is silent, and one other
    learned feature writes at least half of the parent's strength along the parent's direction.
    Each count is [pair, 3]: rows, rows where the learned feature is silent, absorbed rows.

    Example:
        >>> found = measure_absorption(dictionary, known, known.draw(20_000, generator))
        >>> found.rate(), found.rate("alone"), found.rate("stranger")
    """

    parent: Int[NDArray[Any], "pair"]
    """Known feature."""
    child: Int[NDArray[Any], "pair"]
    """Known feature."""
    latent: Int[NDArray[Any], "pair"]
    """The learned feature whose direction is nearest to the parent's."""
    cosine: Float[NDArray[Any], "pair"]
    """Of that one with the parent's direction."""
    child_cosine: Float[NDArray[Any], "pair"]
    """Of the child's learned feature with the parent's direction: about 0.7 where it has taken it
    over, about that of the two known directions where not."""
    with_child: Int[NDArray[Any], "pair 3"]
    """Rows where parent and child are active."""
    alone: Int[NDArray[Any], "pair 3"]
    """Rows where the parent is active and none of its children: the first control."""
    stranger: Int[NDArray[Any], "pair 3"]
    """Rows where the parent is active without children, together with a feature that is no
    relative of it, one drawn for each pair: the second control."""

    def rate(self, of: str = "with_child") -> Interval:
        """Absorbed share of the rows, all pairs together: "with_child", "alone" or "stranger".

        NaN where no row is of that kind.
        """
        return self._share(of, 2)

    def silent(self, of: str = "with_child") -> Interval:
        """Share of the rows in which the parent's learned feature is silent."""
        return self._share(of, 1)

    def _share(self, of: str, column: int) -> Interval:
        counts = getattr(self, of).sum(0)
        if not counts[0]:
            return Interval(float("nan"), -np.inf, np.inf, 0.95, 0)
        return proportion(int(counts[column]), int(counts[0]))

    def to_frame(self) -> list[dict[str, Any]]:
        """One row (a dict) for each pair."""
        rows = []
        for i in range(len(self.parent)):
            row: dict[str, Any] = {
                "parent": int(self.parent[i]),
                "child": int(self.child[i]),
                "latent": int(self.latent[i]),
                "cosine": float(self.cosine[i]),
                "child's cosine": float(self.child_cosine[i]),
            }
            for of in ("with_child", "alone", "stranger"):
                n, silent, absorbed = (int(count) for count in getattr(self, of)[i])
                row |= {
                    f"{of} rows": n,
                    f"{of} silent": silent / n if n else float("nan"),
                    f"{of} absorbed": absorbed / n if n else float("nan"),
                }
            rows.append(row)
        return rows

    def save(self, path: str | Path) -> None:
        """Write one safetensors file."""
        save_arrays(path, "absorption", {name: getattr(self, name) for name in _ARRAYS}, {})

    @classmethod
    def load(cls, path: str | Path) -> Absorption:
        """The inverse of `save`.

        Raises:
            ValueError: the file is missing, or is not one that `save` wrote.
        """
        arrays, _ = load_arrays(path, "absorption")
        return cls(**arrays)


@torch.no_grad()
def measure_absorption(
    dictionary: Dictionary, known: KnownFeatures, rows: KnownRows, seed: int = 0
) -> Absorption:
    """Count absorbed rows for every child of a known hierarchy.

    Args:
        dictionary: trained on activations of these features.
        known: a hierarchy: `SyntheticConfig(n_parents=..., n_children=...)`.
        rows: drawn from it.
        seed: of the strangers.

    Raises:
        ValueError: there is no hierarchy.

    Example:
        >>> measure_absorption(dictionary, known, known.draw(20_000, generator)).to_frame()[0]
    """
    parents = known.parent.cpu().numpy()
    children = np.flatnonzero(parents >= 0)
    if not len(children):
        raise ValueError(
            "there is no hierarchy: absorption is of SyntheticConfig(n_parents=..., n_children=...)"
        )
    features = dictionary.encode(rows.x)
    table = cosines(known.directions, dictionary.W_dec)  # [known, learned]
    alive = (features > 0).any(0).cpu().numpy()
    table[:, ~alive] = -np.inf
    nearest = table.argmax(1)
    active = rows.features > 0
    has_child = torch.zeros_like(active)
    for child in children:
        has_child[:, parents[child]] |= active[:, child]
    relatives = _strangers(parents, children, seed)
    counts = np.zeros((3, len(children), 3), dtype=np.int64)
    for i, child in enumerate(children):
        parent, latent = int(parents[child]), int(nearest[parents[child]])
        silent, absorbed = _absorbed(dictionary, features, known, rows, parent, latent)
        alone = active[:, parent] & ~has_child[:, parent]
        for kind, which in enumerate(
            (active[:, parent] & active[:, child], alone, alone & active[:, relatives[i]])
        ):
            counts[kind, i] = [
                int(which.sum()),
                int((which & silent).sum()),
                int((which & absorbed).sum()),
            ]
    of_parent = parents[children]
    return Absorption(
        parent=of_parent,
        child=children,
        latent=nearest[of_parent],
        cosine=table[of_parent, nearest[of_parent]],
        child_cosine=table[of_parent, nearest[children]],
        with_child=counts[0],
        alone=counts[1],
        stranger=counts[2],
    )


def _absorbed(
    dictionary: Dictionary,
    features: Float[Tensor, "row learned"],
    known: KnownFeatures,
    rows: KnownRows,
    parent: int,
    latent: int,
) -> tuple[Bool[Tensor, "row"], Bool[Tensor, "row"]]:
    """Where the learned feature is silent, and where another one writes the parent instead."""
    # What a unit of each learned feature writes along the parent's direction, in the model's units.
    along = written_rows(dictionary) @ known.directions[parent].to(dictionary.dtype)  # [learned]
    silent = features[:, latent] <= 0
    others = features * along
    others[:, latent] = 0
    strongest = others.max(1).values
    return silent, silent & (strongest >= 0.5 * rows.features[:, parent])


def _strangers(parents: NDArray[Any], children: NDArray[Any], seed: int) -> list[int]:
    """For each pair a feature that is neither parent nor child of anything, if there is one."""
    rng = np.random.default_rng(seed)
    relatives = set(children.tolist()) | set(parents[children].tolist())
    others = [i for i in range(len(parents)) if i not in relatives]
    return [
        int(rng.choice(others or [i for i in range(len(parents)) if i != parents[child]]))
        for child in children
    ]
