"""Trained toy models: weights and errors of a grid of importances, densities and seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray

from ..array_files import Array, load_arrays, save_arrays
from .toy_model import ToyModel

_KIND = "toy models"


@dataclass(frozen=True, eq=False)
class TrainedToys:
    """What `train_toys` gives: every instance of a grid [importance, density, seed].

    Example:
        >>> found.best  # the seed of least loss  # doctest: +SKIP
        array([[2, 0, 3]])
    """

    model: ToyModel
    densities: tuple[float, ...]
    """1 - S."""
    importances: Float[Array, "importance feature"]
    seeds: tuple[int, ...]
    weights: Mapping[str, Array]
    """Name -> [importance, density, seed, ...]."""
    errors: Float[Array, "importance density seed feature"]
    """Mean squared error of every feature on fresh data, without its importance."""
    training: Mapping[str, Any]
    """The fields of `ToyTraining`."""

    @property
    def W_in(self) -> Float[Array, "importance density seed hidden feature"]:
        """Column i is the direction of feature i."""
        return self.weights["W_in"]

    @property
    def losses(self) -> Float[Array, "importance density seed"]:
        """sum_i I_i E(target_i - output_i)^2."""
        return np.asarray(np.einsum("idsf,if->ids", self.errors, self.importances))

    @property
    def best(self) -> Int[np.ndarray, "importance density"]:
        """The place, within `seeds`, of the instance of least loss."""
        return np.asarray(self.losses.argmin(-1))

    def of_best(self, values: NDArray[Any]) -> NDArray[Any]:
        """The values at the seed of least loss.

        Args:
            values: [importance, density, seed, ...].

        Returns:
            [importance, density, ...].
        """
        at = self.best.reshape(*self.best.shape, *[1] * (values.ndim - 2))
        return np.take_along_axis(values, at, axis=2)[:, :, 0]

    def unexplained(self) -> Float[Array, "importance density seed feature"]:
        """Error of each feature over its variance: 0 is perfect, 1 is as good as its mean."""
        variance = [self.model.features.variance(density) for density in self.densities]
        return np.asarray(self.errors / np.array(variance)[:, None, None])

    def tensors(
        self, device: str = "cpu", dtype: torch.dtype = torch.float32
    ) -> dict[str, torch.Tensor]:
        """The weights as `ToyModel` takes them: [instance, ...], seeds changing fastest."""
        return {
            name: torch.as_tensor(value, device=device, dtype=dtype).flatten(0, 2)
            for name, value in self.weights.items()
        }

    def to_frame(self) -> list[dict[str, Any]]:
        """One row for each instance."""
        losses = self.losses
        return [
            {
                "importance": at[0],
                "density": self.densities[at[1]],
                "seed": self.seeds[at[2]],
                "loss": float(losses[at]),
                "is_best": bool(self.best[at[:2]] == at[2]),
            }
            for at in np.ndindex(losses.shape)
        ]

    def save(self, path: str | Path) -> None:
        """Write one safetensors file."""
        arrays = {f"weights/{name}": value for name, value in self.weights.items()}
        described = {
            "model": dataclasses.asdict(self.model),
            "densities": self.densities,
            "seeds": self.seeds,
            "training": dict(self.training),
        }
        arrays |= {"errors": self.errors, "importances": self.importances}
        save_arrays(path, _KIND, arrays, described)

    @classmethod
    def load(cls, path: str | Path) -> TrainedToys:
        """The inverse of `save`.

        Raises:
            ValueError: the file is missing or holds something else.
        """
        arrays, described = load_arrays(path, _KIND)
        return cls(
            model=ToyModel(**described["model"]),
            densities=tuple(described["densities"]),
            importances=arrays["importances"],
            seeds=tuple(described["seeds"]),
            weights={
                name.removeprefix("weights/"): value
                for name, value in arrays.items()
                if name.startswith("weights/")
            },
            errors=arrays["errors"],
            training=described["training"],
        )
