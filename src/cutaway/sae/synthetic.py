"""Activations whose features are known: sparse sums of given directions, for methods to find."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..training.source import generator

KNOWN = 21
"""Stream of random numbers: known directions."""
_NO_PARENT = -1


@dataclass(frozen=True)
class SyntheticConfig:
    """What the known features are like.

    Raises:
        ValueError: values that do not fit together.

    Example:
        >>> known_features(SyntheticConfig(d=64, n_features=128, n_active=4), seed=0)
    """

    d: int = 64
    """Width of the activations."""
    n_features: int = 128
    """Known features; more than `d` of them are in superposition."""
    n_active: float = 4.0
    """Active features of a row, on average (without the children of a hierarchy)."""
    falloff: float = 1.0
    """How many times more often the first feature is active than the last; 1: all alike."""
    group_size: int = 1
    """Features in a group whose members tend to be active together."""
    correlation: float = 0.0
    """Of the normal variables by which the members of a group are switched on, 0 to 1."""
    n_children: int = 0
    """Children of each parent: features that are active only where their parent is."""
    n_parents: int = 0
    """The first so many features are parents, and their children follow behind all parents."""
    p_child: float = 0.25
    """How often a child is active where its parent is."""
    weakest: float = 0.5
    """Active features have strengths from this one up to 1.5, evenly spread."""
    noise: float = 0.0
    """Standard deviation of what is added to each of the d numbers."""

    def __post_init__(self) -> None:
        for name, least in (("d", 1), ("n_features", 1), ("group_size", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)} is too few: at least {least}.")
        if not 0 < self.n_active <= self.n_roots:
            raise ValueError(
                f"n_active={self.n_active} has to be above 0 and at most {self.n_roots}, the "
                "number of features that are nobody's child."
            )
        for name in ("correlation", "p_child"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)} has to lie between 0 and 1.")
        if self.falloff < 1 or self.noise < 0 or not 0 < self.weakest < _STRONGEST:
            raise ValueError(
                f"falloff={self.falloff} has to be at least 1, noise={self.noise} at least 0, and "
                f"weakest={self.weakest} between 0 and {_STRONGEST}."
            )

    @property
    def n_roots(self) -> int:
        """Features that are nobody's child.

        Raises:
            ValueError: parents and children do not fit into the features.
        """
        roots = self.n_features - self.n_parents * self.n_children
        if min(self.n_parents, self.n_children) < 0 or roots < max(self.n_parents, 1):
            raise ValueError(
                f"{self.n_parents} parents with {self.n_children} children each need "
                f"{self.n_parents * (1 + self.n_children)} features; there are {self.n_features}."
            )
        return roots


_STRONGEST = 1.5


@dataclass(frozen=True, eq=False)
class KnownRows:
    """Activations, and the features that they are made of."""

    x: Float[Tensor, "row d"]
    features: Float[Tensor, "row feature"]
    """Strengths, 0 where a feature is not active."""


@dataclass(frozen=True, eq=False)
class KnownFeatures:
    """A known dictionary from which activations are drawn: x = features @ directions + noise.

    Example:
        >>> known = known_features(SyntheticConfig(), seed=0)
        >>> rows = known.draw(1000, torch.Generator().manual_seed(1))
        >>> source = DrawnRows(known.drawing(512), "128 known features in 64 dimensions", seed=1)
    """

    cfg: SyntheticConfig
    directions: Float[Tensor, "feature d"]
    """Of length 1."""
    probability: Float[Tensor, "feature"]
    """How often each is active; of a child, where its parent is."""
    parent: Int[Tensor, "feature"]
    """The feature without which a child is never active; -1 of all others."""

    @property
    def device(self) -> torch.device:
        """Where activations are drawn."""
        return self.directions.device

    def draw(self, n: int, generator: torch.Generator) -> KnownRows:
        """Rows of activations.

        Args:
            n: how many.
            generator: of random numbers, on the device of the directions.
        """
        active = self._switched_on(n, generator)
        strength = torch.rand(active.shape, generator=generator, device=self.device)
        strength = self.cfg.weakest + (_STRONGEST - self.cfg.weakest) * strength
        features = torch.where(active, strength, 0)
        x = features @ self.directions
        if self.cfg.noise:
            x = x + self.cfg.noise * torch.randn(x.shape, generator=generator, device=self.device)
        return KnownRows(x, features)

    def drawing(self, n: int) -> Callable[[torch.Generator], Tensor]:
        """A function of a generator that gives `n` rows of activations: for `DrawnRows`."""
        return lambda generator: self.draw(n, generator).x

    def _switched_on(self, n: int, generator: torch.Generator) -> Tensor:
        """Which features are active: [row, feature]."""
        shape = (n, len(self.directions))
        own = torch.randn(shape, generator=generator, device=self.device)
        if self.cfg.correlation and self.cfg.group_size > 1:
            n_groups = -(-shape[1] // self.cfg.group_size)
            shared = torch.randn((n, n_groups), generator=generator, device=self.device)
            shared = shared.repeat_interleave(self.cfg.group_size, dim=1)[:, : shape[1]]
            rho = self.cfg.correlation
            own = math.sqrt(rho) * shared + math.sqrt(1 - rho) * own
        # A normal variable lies below this as often as the feature is active, whatever the others.
        active = own < torch.special.ndtri(self.probability.double()).to(own.dtype)
        is_child = self.parent >= 0
        allowed: Tensor = ~is_child | active[:, self.parent.clamp(min=0)]
        both: Tensor = active & allowed
        return both


def known_features(
    cfg: SyntheticConfig, seed: int = 0, device: torch.device | str = "cpu"
) -> KnownFeatures:
    """Random directions of length 1, and how often each feature is active.

    Members of a group share a normal variable (a Gaussian copula), which leaves alone how often
    each of them is active. Children follow the roots: those of parent p are the features
    n_roots + p n_children and on.

    Args:
        cfg: what the features are like.
        seed: of the directions.
        device: where they are to be.

    Raises:
        ValueError: a feature would have to be active more often than always.

    Example:
        >>> known_features(SyntheticConfig(d=16, n_features=32)).directions.shape
        torch.Size([32, 16])
    """
    # A stream of its own: a dictionary of the same seed and shape would begin with the answer.
    drawn = generator(seed, KNOWN, 0).standard_normal((cfg.n_features, cfg.d))
    directions = torch.from_numpy(drawn).float()
    directions = torch.nn.functional.normalize(directions, dim=-1)
    roots = cfg.n_roots
    weight = cfg.falloff ** -(torch.arange(roots) / max(roots - 1, 1))
    root_probability = cfg.n_active * weight / weight.sum()
    if float(root_probability.max()) > 1:
        raise ValueError(
            f"with falloff={cfg.falloff} and n_active={cfg.n_active} the first feature would have "
            f"to be active in {float(root_probability.max()):.2f} of the rows: lower one of them."
        )
    probability = torch.full((cfg.n_features,), cfg.p_child)
    probability[:roots] = root_probability
    parent = torch.full((cfg.n_features,), _NO_PARENT)
    parent[roots:] = torch.arange(cfg.n_parents).repeat_interleave(cfg.n_children)
    return KnownFeatures(cfg, directions.to(device), probability.to(device), parent.to(device))
