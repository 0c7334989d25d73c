"""What a toy model of superposition has learnt, as features that are known."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...sae.synthetic import KnownRows
from ...superposition import ToyModel, ToyTraining, train_toys
from ...superposition.data import SparseFeatures

_N_STEPS = 5000


@dataclass(frozen=True, eq=False)
class ToyFeatures:
    """The hidden activations of a toy model, and the features that it has a direction for.

    Example:
        >>> known = toy_features(n_features=5, width=2, density=0.05)
        >>> known.draw(100, torch.Generator().manual_seed(0)).x.shape
        torch.Size([100, 2])
    """

    data: SparseFeatures
    density: float
    W: Float[Tensor, "hidden feature"]
    """W_in of the toy model."""
    which: Int[Tensor, "known"]
    """Features whose column of W is longer than 1/2: the others have no direction to find."""

    @property
    def directions(self) -> Float[Tensor, "known hidden"]:
        """Columns of W, of length 1."""
        return torch.nn.functional.normalize(self.W[:, self.which].t(), dim=-1)

    @property
    def device(self) -> torch.device:
        """Where rows are drawn."""
        return self.W.device

    def draw(self, n: int, generator: torch.Generator) -> KnownRows:
        """Hidden activations, and how much of each represented feature is in them."""
        shape = (n, self.data.n_features)
        uniform = torch.rand(shape, generator=generator, device=self.device, dtype=self.W.dtype)
        values = self.data.draw(uniform, self.density)
        strength = values[:, self.which] * self.W[:, self.which].norm(dim=0)
        return KnownRows(values @ self.W.t(), strength)


def toy_features(
    n_features: int, width: int, density: float, seed: int = 0, device: str = "cpu"
) -> ToyFeatures:
    """Train a toy model (ReLU output, Elhage et al. 2022), the best of four seeds.

    Args:
        n_features: of the toy model.
        width: its hidden dimensions.
        density: how often each feature is there.
        seed: the first of the four.
        device: where.

    Raises:
        ValueError: a density that is none; a model that has learnt no feature.
    """
    model = ToyModel(n_features, width)
    seeds = range(seed, seed + 4)
    toys = train_toys(model, (density,), 1.0, seeds, ToyTraining(n_steps=_N_STEPS), device=device)
    W = torch.from_numpy(toys.W_in[0, 0, int(toys.best[0, 0])]).to(device)
    which = (W.norm(dim=0) > 0.5).nonzero()[:, 0]
    if not len(which):
        raise ValueError(
            f"the toy model of {n_features} features in {width} dimensions has learnt none at the "
            f"density {density:g}: give fewer features, or another density."
        )
    return ToyFeatures(model.features, density, W, which)
