"""Least-squares concept erasure: activations from which no linear probe can read a label.

Belrose et al. (2023), "LEACE: Perfect linear concept erasure in closed form", section 4.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from ..array_files import load_arrays, save_arrays
from ..patching.values import Affine
from .labels import Labels

_TENSORS = ("mean", "left", "right", "unwhiten")
_ROUNDING = 1e-12  # of float32 activations, squared
_SMALLEST = 1e-9  # eigenvalues and singular values below this share of the largest are rounding


@dataclass(frozen=True, eq=False)
class Eraser:
    """An affine map that takes a concept out: x -> x - (x - mean) right^T left^T.

    Example:
        >>> eraser = erase(data.at(layer=2, position="END"), data.labels)
        >>> ca.Intervention("resid_post", 2, eraser.value(), positions="END")
    """

    mean: Float[Tensor, " d"]
    """Of the activations that it was made from."""
    left: Float[Tensor, "d rank"]
    """W^+ U: along what is taken out (W whitens; U spans the concept there, orthonormal)."""
    right: Float[Tensor, "rank d"]
    """U^T W: how much of it."""
    unwhiten: Float[Tensor, "d support"]
    """The columns of W^+, as of a factor: whitened axes in units of the activations."""
    concept: str = ""
    """What is erased."""

    @property
    def rank(self) -> int:
        """How many dimensions are taken out: of k classes at most k - 1."""
        return int(self.left.shape[1])

    def __call__(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """Activations without the concept."""
        centred = x.to(self.mean.dtype) - self.mean
        return x - (centred @ self.right.T @ self.left.T).to(x.dtype)

    @property
    def share(self) -> float:
        """The share of the activations' variance that is taken out."""
        whole = float(self.unwhiten.square().sum())
        return float(self.left.square().sum()) / whole if whole > 0 else 0.0

    def value(self) -> Affine:
        """The same as something to put into a run: see `cutaway.patching.values`."""
        matrix = torch.eye(len(self.mean), dtype=self.mean.dtype, device=self.mean.device)
        matrix = matrix - self.left @ self.right
        offset = self.mean - matrix @ self.mean
        return Affine(matrix.float(), offset.float())

    def random(self, seed: int) -> Eraser:
        """The control: as many dimensions of the same activations, drawn at random.

        They are drawn where the activations are white, so that each takes out as many units of
        standardised variance as the concept did.

        Args:
            seed: of the draw.
        """
        if self.rank == 0:
            return dataclasses.replace(self, concept=f"random {seed}")
        generator = torch.Generator().manual_seed(seed)
        support = self.unwhiten.shape[1]
        drawn = torch.randn(support, self.rank, generator=generator, dtype=torch.double)
        axes, _ = torch.linalg.qr(drawn.to(self.mean.device, self.mean.dtype))
        return Eraser(
            mean=self.mean,
            left=self.unwhiten @ axes,
            right=axes.T @ torch.linalg.pinv(self.unwhiten),
            unwhiten=self.unwhiten,
            concept=f"random {seed}",
        )

    def save(self, path: str | Path) -> None:
        """Write one safetensors file."""
        arrays = {name: getattr(self, name).cpu().numpy() for name in _TENSORS}
        save_arrays(path, "eraser", arrays, {"concept": self.concept})

    @classmethod
    def load(cls, path: str | Path) -> Eraser:
        """The inverse of `save`.

        Raises:
            ValueError: the file is missing, or is not one that `save` wrote.
        """
        arrays, described = load_arrays(path, "eraser")
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return cls(concept=described["concept"], **tensors)


def erase(x: Float[Tensor, "prompt d"], labels: Labels, shrinkage: float = 0.0) -> Eraser:
    """The affine map that hides a label from every linear probe and changes x least.

    Of all affine maps r for which the cross-covariance of r(x) and the label is 0, it has the
    smallest mean |r(x) - x|^2 (Belrose et al. 2023, section 4; by their section 3 the covariance is
    0 exactly where no linear probe, under any convex loss, beats a constant). That holds on the
    prompts given: on others something is left over, the more the fewer prompts there were for d.

    Args:
        x: activations of one place: leave the test prompts out.
        labels: of these prompts; classes or numbers.
        shrinkage: from 0 to 1, how much of the covariance is replaced by a multiple of the
            identity before whitening. The label is hidden all the same; the change is no longer the
            least on these prompts, but is estimated more stably where they are few.

    Raises:
        ValueError: as many labels as prompts are needed.

    Example:
        >>> eraser = erase(data.at(layer=2, position="END")[parts.train], train_labels)
        >>> eraser.rank
        1
    """
    if len(x) != len(labels):
        raise ValueError(f"there are {len(x)} prompts and {len(labels)} labels.")
    if not 0 <= shrinkage <= 1:
        raise ValueError(f"shrinkage={shrinkage} is not between 0 and 1.")
    x = x.double()
    z = torch.from_numpy(labels.columns()).to(x.device)
    mean = x.mean(0)
    centred = x - mean
    covariance = centred.T @ centred / len(x)  # [d, d]
    crossed = centred.T @ (z - z.mean(0)) / len(x)  # [d, concept]
    if shrinkage:
        isotropic = torch.eye(len(mean), dtype=x.dtype, device=x.device)
        isotropic = isotropic * covariance.trace() / len(mean)
        covariance = (1 - shrinkage) * covariance + shrinkage * isotropic
    squares, axes = torch.linalg.eigh(covariance)
    # Where all prompts have the same activation, nothing is kept, and nothing is erased.
    kept = squares > _SMALLEST * squares[-1] + _ROUNDING * x.square().mean()
    axes, lengths = axes[:, kept], squares[kept].sqrt()
    whiten, unwhiten = (axes / lengths).T, axes * lengths  # [support, d], [d, support]
    left, sizes, _ = torch.linalg.svd(whiten @ crossed, full_matrices=False)
    # Correlations with standardised labels, so that there is a scale for what is rounding.
    spread = (z - z.mean(0)).square().mean(0).sum().sqrt()
    span = left[:, sizes > 1e-9 * spread]  # [support, rank]
    return Eraser(
        mean=mean,
        left=unwhiten @ span,
        right=span.T @ whiten,
        unwhiten=unwhiten,
        concept=labels.name,
    )
