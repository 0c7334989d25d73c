"""Sparse features: each is zero most of the time, and otherwise uniform (Elhage et al. 2022).

One uniform number decides for each feature both whether it is there and how large it is, and it is
the same number at every density. So instances that differ only in their density see the same
draws, and what one of them sees does not depend on which others are trained beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

Pairs = Literal["independent", "together", "apart"]


@dataclass(frozen=True)
class SparseFeatures:
    """What the features of a toy model are: how many, and what pairs of them have in common.

    The density 1 - S is the probability with which a feature is there, the same for all.

    Raises:
        ValueError: no feature, pairs of an odd number of features, or pairs of an unknown kind.

    Example:
        >>> SparseFeatures(4, "together").covariance(0.5)[0].tolist()
        [0.10416666666666666, 0.0625, 0.0, 0.0]
    """

    n_features: int
    pairs: Pairs = "independent"
    """Of features 0 and 1, 2 and 3, ...: "together", both are there or neither, with values of
    their own; "apart", never both."""
    signed: bool = False
    """Uniform from -1 to 1; else from 0 to 1."""

    def __post_init__(self) -> None:
        if self.n_features < 1:
            raise ValueError(f"n_features={self.n_features} is too few: at least 1.")
        if self.pairs not in get_args(Pairs):
            raise ValueError(f"pairs={self.pairs!r} is none of {', '.join(get_args(Pairs))}.")
        if self.pairs != "independent" and self.n_features % 2:
            raise ValueError(
                f"n_features={self.n_features} is odd: {self.pairs} is said of pairs of features."
            )

    def check_density(self, density: float) -> None:
        """Refuse what is no probability.

        Raises:
            ValueError: a density outside 0 to 1, or above 1/2 where pairs are never both there.
        """
        most = 0.5 if self.pairs == "apart" else 1.0
        if not 0 < density <= most:
            why = ": of a pair that is apart each is there at most half of the time" * (most < 1)
            raise ValueError(f"density={density} must be above 0 and at most {most:g}{why}.")

    def draw(
        self, uniform: Float[Tensor, "*batch feature"], density: Float[Tensor, "*any"] | float
    ) -> Float[Tensor, "*more feature"]:
        """Features from uniform numbers.

        Args:
            uniform: [..., feature], from 0 to 1.
            density: of every feature; broadcasts against `uniform`.

        Example:
            >>> SparseFeatures(2).draw(torch.tensor([0.05, 0.7]), 0.1)
            tensor([0.5000, 0.0000])
        """
        if self.pairs == "independent":
            # Below the density the number is uniform again, from 0 to the density.
            value, is_there = uniform / density, uniform < density
        else:
            value, is_there = self._of_pairs(uniform, density)
        if self.signed:
            value = 2 * value - 1
        return value.masked_fill_(~is_there, 0.0)

    def _of_pairs(
        self, uniform: Float[Tensor, "*batch feature"], density: Float[Tensor, "*any"] | float
    ) -> tuple[Tensor, Tensor]:
        """The first number of a pair decides which of it is there; the values are independent."""
        gate, other = uniform[..., 0::2], uniform[..., 1::2]
        first = gate / density
        if self.pairs == "together":
            second, there = other.expand_as(first), (gate < density, gate < density)
        else:
            second = first - 1  # uniform from 0 to 1 where the second is there
            there = (gate < density, (gate >= density) & (gate < 2 * density))
        shape = (*first.shape[:-1], self.n_features)
        value, is_there = first.new_empty(shape), there[0].new_empty(shape)
        value[..., 0::2], value[..., 1::2] = first, second
        is_there[..., 0::2], is_there[..., 1::2] = there
        return value, is_there

    def mean(self, density: float) -> float:
        """Of a feature; of its absolute value where features are signed."""
        return density / 2

    def variance(self, density: float) -> float:
        """Of a feature that is not signed, and of the absolute value of one that is:
        density / 3 - density^2 / 4."""
        return density / 3 - density**2 / 4

    def covariance(self, density: float) -> NDArray[np.float64]:
        """[feature, feature], of features that are not signed.

        Raises:
            ValueError: they are signed, or the density is none.
        """
        if self.signed:
            raise ValueError("the covariance is that of features that are not signed.")
        self.check_density(density)
        found = np.eye(self.n_features) * self.variance(density)
        shared = {"independent": 0.0, "together": (density - density**2) / 4}
        between = shared.get(self.pairs, -(density**2) / 4)
        for first in range(0, self.n_features - 1, 2):
            found[first, first + 1] = found[first + 1, first] = between
        return found
