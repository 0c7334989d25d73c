"""Privileged bases: does it matter along which axes the hidden space is read?

Where no nonlinearity acts on the hidden dimensions, the model is the same in every rotation of
them, and no single dimension can mean more than another direction. Where a ReLU acts on each, its
axes are neurons, and features align with them (Elhage et al. 2022, "Superposition in a Privileged
Basis").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from ..array_files import Array
from .trained import TrainedToys

_SMALL = 1e-12
_LEAST_NEURON = 0.25  # of squared norm: a dimension that reads less does nothing


@dataclass(frozen=True, eq=False)
class Rotations:
    """What turning the hidden space did; all arrays are [importance, density, seed, rotation]."""

    loss: Float[Array, "importance density seed rotation"]
    """After the rotation, on fresh data."""
    loss_before: Float[Array, "importance density seed"]
    """Before it, on the same data."""
    moved: Float[Array, "importance density seed rotation"]
    """Mean squared change of the output over the mean squared output."""
    alignment: Float[Array, "importance density seed rotation"]
    """Of the rotated weights; see `alignment`."""


def alignment(W: Float[Array, "*grid hidden feature"]) -> Float[Array, "*grid"]:
    """How much each hidden dimension is about one feature: the largest share of its squared weights
    that one feature has, on average over the dimensions that read anything.

    1: every dimension reads one feature. Dimensions of squared norm below 1/4 are left out; with
    none left it is NaN.

    Example:
        >>> float(alignment(np.eye(2, 3)))
        1.0
    """
    squared = W**2
    whole = squared.sum(-1)  # [..., hidden]
    share = squared.max(-1) / np.maximum(whole, _SMALL)
    is_used = whole > _LEAST_NEURON
    n_used = is_used.sum(-1)
    mean = (share * is_used).sum(-1) / np.maximum(n_used, 1)
    return np.where(n_used > 0, mean, np.nan)


def random_rotation(n: int, rng: np.random.Generator) -> Float[Array, "row column"]:
    """An orthogonal matrix, all of them equally likely (Stewart 1980)."""
    q, r = np.linalg.qr(rng.normal(size=(n, n)))
    return np.asarray(q * np.sign(np.diag(r)))


@torch.no_grad()
def rotate_hidden(
    trained: TrainedToys,
    n_rotations: int = 20,
    n_samples: int = 4096,
    seed: int = 0,
    device: str = "cpu",
) -> Rotations:
    """Turn the hidden space of every instance at random: W becomes Q W, and is read by (Q W)^T.

    Without a hidden nonlinearity Q^T Q falls out, and nothing can change but rounding.

    Args:
        trained: of any kind.
        n_rotations: the same for every instance.
        n_samples: fresh data.
        seed: of rotations and data.
        device: where.

    Raises:
        ValueError: no rotation or no sample.

    Example:
        >>> rotate_hidden(found).moved.max() < 1e-10  # of a "relu-output" model  # doctest: +SKIP
        True
    """
    if n_rotations < 1 or n_samples < 1:
        raise ValueError(f"n_rotations={n_rotations}, n_samples={n_samples}: at least 1 each.")
    model, grid = trained.model, trained.losses.shape
    rng = np.random.default_rng(seed)
    weights = trained.tensors(device, torch.float64)
    x, importance = _data(trained, n_samples, rng, device)
    target, before = model.target(x), model.output(weights, x)

    def loss_of(output: torch.Tensor) -> torch.Tensor:
        return ((output - target) ** 2).mean(1).mul(importance).sum(1)

    columns: dict[str, list[Any]] = {"loss": [], "moved": [], "alignment": []}
    for _ in range(n_rotations):
        q = torch.as_tensor(random_rotation(model.n_hidden, rng), device=device)
        turned = {**weights, "W_in": q @ weights["W_in"]}
        if not model.is_tied:
            turned["W_out"] = weights["W_out"] @ q.mT
        after = model.output(turned, x)
        columns["loss"].append(loss_of(after))
        columns["moved"].append(
            ((after - before) ** 2).mean((1, 2)) / (before**2).mean((1, 2)).clamp_min(_SMALL)
        )
        columns["alignment"].append(torch.as_tensor(alignment(turned["W_in"].cpu().numpy())))
    arrays = {name: torch.stack(each, -1).unflatten(0, grid) for name, each in columns.items()}
    found = {name: value.cpu().numpy() for name, value in arrays.items()}
    return Rotations(loss_before=loss_of(before).unflatten(0, grid).cpu().numpy(), **found)


def _data(
    trained: TrainedToys, n_samples: int, rng: np.random.Generator, device: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Features [instance, sample, feature] and importances [instance, feature]."""
    grid, n = trained.losses.shape, trained.model.n_features
    uniform = torch.as_tensor(rng.random((1, n_samples, n)), device=device)
    density = torch.as_tensor(trained.densities, device=device, dtype=torch.float64)
    x = trained.model.features.draw(uniform, density.view(-1, 1, 1))  # [density, sample, feature]
    x = x[None, :, None].expand(grid[0], -1, grid[2], -1, -1).flatten(0, 2)
    importance = torch.as_tensor(trained.importances, device=device, dtype=torch.float64)
    return x, importance[:, None, None].expand(*grid, -1).flatten(0, 2)
