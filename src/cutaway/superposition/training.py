"""Training: a whole grid of importances, densities and seeds at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from .toy_model import ToyModel
from .trained import TrainedToys

Progress = Callable[[float], None]
_START, _TRAIN, _TEST = range(3)  # streams of random numbers
_TEST_CHUNK = 2048


@dataclass(frozen=True)
class ToyTraining:
    """How toy models are trained: Adam (Kingma and Ba 2015), fresh data in every step.

    Raises:
        ValueError: a number that is too small.
    """

    n_steps: int = 3000
    batch_size: int = 256
    """Samples of every instance in every step."""
    learning_rate: float = 0.01
    """Of the first half of the steps; in the second it goes down to 0 in a straight line."""
    n_test: int = 32_768
    """Samples that the losses are measured on, the same for all seeds."""

    def __post_init__(self) -> None:
        for name in ("n_steps", "batch_size", "n_test"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} is too few: at least 1.")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate={self.learning_rate} is not positive.")

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        return self.learning_rate * min(1.0, 2 * (1 - step / self.n_steps))


@torch.no_grad()
def train_toys(
    model: ToyModel,
    densities: Sequence[float],
    importances: float | ArrayLike = 1.0,
    seeds: Sequence[int] = (0,),
    training: ToyTraining | None = None,
    *,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    progress: Progress | None = None,
) -> TrainedToys:
    """Train one instance for every importance, density and seed, all of them at once.

    A seed decides the start and the data. Instances that differ in density or importance share
    both, so that what becomes of an instance does not depend on the others.

    Args:
        model: shape and kind.
        densities: 1 - S, the probabilities with which features are there.
        importances: one number q for importances q^i, or [importance, feature] as they are.
        seeds: of start and data.
        training: how long, how fast.
        device: where.
        dtype: of weights and data.
        progress: told the share that is done.

    Raises:
        ValueError: no density, no seed, one given twice, importances that do not fit or are
            negative, or a loss that is no number.

    Example:
        >>> found = train_toys(ToyModel(5, 2), (1.0, 0.1), importances=0.9, seeds=range(4))
        >>> found.W_in.shape  # [importance, density, seed, hidden, feature]
        (1, 2, 4, 2, 5)
    """
    settings = training or ToyTraining()
    weighed = importance_rows(importances, model.n_features)
    _check_grid(model, densities, seeds)
    grid = (len(weighed), len(densities), len(seeds))
    density = torch.tensor(densities, device=device, dtype=dtype).view(-1, 1, 1, 1)
    importance = torch.tensor(weighed, device=device, dtype=dtype)
    importance = importance[:, None, None].expand(*grid, -1).flatten(0, 2)
    start = model.start([_generator(seed, _START, device) for seed in seeds], device, dtype)
    weights = {
        name: value.expand(*grid[:2], *value.shape).flatten(0, 2).clone()
        for name, value in start.items()
    }
    data = [_generator(seed, _TRAIN, device) for seed in seeds]
    uniform = torch.empty(
        len(seeds), settings.batch_size, model.n_features, device=device, dtype=dtype
    )
    optimiser = torch.optim.Adam(list(weights.values()), lr=settings.learning_rate)
    for step in range(settings.n_steps):
        for seed, generator in enumerate(data):
            torch.rand(uniform.shape[1:], generator=generator, out=uniform[seed])
        x = _for_every_instance(model.features.draw(uniform, density), grid)
        for name, gradient in model.gradients(weights, x, importance).items():
            weights[name].grad = gradient
        optimiser.param_groups[0]["lr"] = settings.rate(step)
        optimiser.step()
        if progress is not None and step % 50 == 0:
            progress(step / settings.n_steps)
    errors = _test(model, weights, density, grid, settings.n_test)
    return TrainedToys(
        model=model,
        densities=tuple(map(float, densities)),
        importances=weighed,
        seeds=tuple(map(int, seeds)),
        weights={name: value.unflatten(0, grid).cpu().numpy() for name, value in weights.items()},
        errors=errors.unflatten(0, grid).double().cpu().numpy(),
        training={name: getattr(settings, name) for name in ToyTraining.__dataclass_fields__},
    )


def importance_rows(importances: float | ArrayLike, n_features: int) -> NDArray[np.float64]:
    """Importances as [importance, feature]: q^i for a number q, else what was given.

    Raises:
        ValueError: a shape that does not fit, or numbers that are not positive.

    Example:
        >>> importance_rows(0.5, 3)
        array([[1.  , 0.5 , 0.25]])
    """
    given = np.asarray(importances, dtype=np.float64)
    rows = given ** np.arange(n_features) if given.ndim == 0 else np.atleast_2d(given)
    rows = np.atleast_2d(rows)
    if rows.ndim != 2 or rows.shape[1] != n_features:
        raise ValueError(
            f"importances have the shape {given.shape}; give one number, or a number for each of "
            f"{n_features} features."
        )
    if not (np.isfinite(rows).all() and (rows > 0).all()):
        raise ValueError("importances must be positive numbers.")
    return rows


def _check_grid(model: ToyModel, densities: Sequence[float], seeds: Sequence[int]) -> None:
    for name, values in (("densities", densities), ("seeds", seeds)):
        if not len(values) or len(set(values)) < len(values):
            raise ValueError(f"{name}={list(values)} must be different, and at least one.")
    if min(seeds) < 0:
        raise ValueError(f"seed={min(seeds)} is negative.")
    for one in densities:
        model.features.check_density(one)


def _generator(seed: int, stream: int, device: str) -> torch.Generator:
    state = np.random.SeedSequence([seed, stream]).generate_state(1, np.uint64)[0]
    return torch.Generator(device=device).manual_seed(int(state >> 1))


def _for_every_instance(
    x: Float[Tensor, "density seed batch feature"], grid: tuple[int, int, int]
) -> Float[Tensor, "instance batch feature"]:
    """The features are the same at every importance."""
    return x.expand(grid[0], *x.shape).flatten(0, 2)


def _test(
    model: ToyModel,
    weights: dict[str, Tensor],
    density: Tensor,
    grid: tuple[int, int, int],
    n_test: int,
) -> Float[Tensor, "instance feature"]:
    """Errors on data that no instance was trained on."""
    generator = _generator(0, _TEST, str(density.device))
    total, left = weights["b"].new_zeros(()), n_test
    while left:
        n = min(left, _TEST_CHUNK)
        uniform = torch.rand(
            1, n, model.n_features, generator=generator, device=density.device, dtype=density.dtype
        )
        x = model.features.draw(uniform, density).expand(-1, grid[2], -1, -1)
        total = total + n * model.errors(weights, _for_every_instance(x, grid))
        left -= n
    if not torch.isfinite(total).all():
        raise ValueError("the loss of an instance is no number: lower the learning rate.")
    return total / n_test
