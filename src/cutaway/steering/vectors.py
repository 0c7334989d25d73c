"""`SteeringVector`: a direction with its origin; and random ones beside it, the control."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..array_files import load_arrays, save_arrays

_KIND = "a steering vector"


@dataclass(frozen=True, eq=False)
class SteeringVector:
    """A direction in the residual stream, and where it comes from.

    Raises:
        ValueError: not a tensor of floats with one to three axes, numbers that are not finite,
            a prompt whose vector is zero.

    Example:
        >>> SteeringVector(torch.tensor([3.0, 4.0]), "given").norm
        5.0
    """

    vector: Float[Tensor, "*prompt_pos d_model"]
    """[d_model], one for all; [prompt, d_model], one for each prompt; or [prompt, pos, d_model],
    one for each position from the front (the axis prompt may be 1: the same for all)."""
    origin: str
    """What it was made of, in words."""
    layer: int | None = None
    """The layer that it was read at; None where it was not read in a run."""
    site: str = "resid_pre"
    """Where in that layer."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What else made it, and what is known of it."""

    def __post_init__(self) -> None:
        v = self.vector
        if not isinstance(v, Tensor) or not v.is_floating_point() or v.ndim not in (1, 2, 3):
            raise ValueError(
                "a steering vector is a tensor of floats [d_model], [prompt, d_model] or [prompt, "
                f"pos, d_model], not {tuple(v.shape) if isinstance(v, Tensor) else type(v)}."
            )
        if not bool(v.isfinite().all()):
            raise ValueError(f"the vector {self.origin!r} holds numbers that are not finite.")
        zero = (self.lengths == 0).flatten().nonzero().flatten().tolist()
        if zero:
            which = f" for prompt {zero[0]}" if v.ndim > 1 else ""
            raise ValueError(f"the vector {self.origin!r} is zero{which}: it has no direction.")

    @property
    def lengths(self) -> Float[Tensor, "*prompt"]:
        """The Euclidean length of each prompt's vector; of one with positions, the mean over those
        where it is not zero (both texts of a pair begin with the same BOS)."""
        norms: Tensor = torch.linalg.vector_norm(self.vector, dim=-1)
        if self.vector.ndim < 3:
            return norms
        counted = (norms > 0).sum(-1).clamp(min=1)
        return norms.sum(-1) / counted

    @property
    def norm(self) -> float:
        """Its length, on average over prompts."""
        return float(self.lengths.mean())

    @property
    def n_prompts(self) -> int | None:
        """How many prompts it is for; None where it is the same for all."""
        shape = self.vector.shape
        return None if len(shape) == 1 or (len(shape) == 3 and shape[0] == 1) else shape[0]

    def unit(self) -> SteeringVector:
        """The same directions, each prompt's scaled to the length 1."""
        lengths = self.lengths.reshape(-1, *[1] * (self.vector.ndim - 1))
        return dataclasses.replace(self, vector=self.vector / lengths.to(self.vector.dtype))

    def subset(self, indices: Sequence[int] | Int[Tensor, " chosen"]) -> SteeringVector:
        """The vectors of some prompts; one for all prompts stays as it is."""
        if self.n_prompts is None:
            return self
        chosen = torch.as_tensor(indices, dtype=torch.long, device=self.vector.device)
        return dataclasses.replace(self, vector=self.vector[chosen])

    def check_fits(self, d_model: int, n_prompts: int | None = None) -> None:
        """Raise ValueError if it is of another width, or for another number of prompts."""
        if self.vector.shape[-1] != d_model:
            raise ValueError(
                f"the vector {self.origin!r} has {self.vector.shape[-1]} numbers, the model's "
                f"stream has {d_model}."
            )
        if n_prompts is not None and self.n_prompts not in (None, n_prompts):
            raise ValueError(
                f"the vector {self.origin!r} is for {self.n_prompts} prompts, and there are "
                f"{n_prompts}."
            )

    def save(self, path: str | Path) -> None:
        """Write one safetensors file: the vector as float32, the rest as JSON in its header."""
        described = {
            "origin": self.origin,
            "layer": self.layer,
            "site": self.site,
            "settings": self.settings,
        }
        save_arrays(path, _KIND, {"vector": self.vector.detach().float().cpu().numpy()}, described)

    @classmethod
    def load(cls, path: str | Path) -> SteeringVector:
        """The inverse of `save`.

        Raises:
            ValueError: there is no such file, or it is not one that `save` wrote.
        """
        arrays, described = load_arrays(path, _KIND)
        return cls(vector=torch.from_numpy(arrays["vector"]), **described)


def random_like(vector: SteeringVector, n: int = 1, seed: int = 0) -> list[SteeringVector]:
    """Random directions of equal norm, the control of every steering vector.

    Each has the shape of `vector`: one for all prompts, or one for each, of the length that the
    vector has for that prompt (and position).

    Args:
        vector: what they stand beside.
        n: how many.
        seed: of the draws (torch's generator on the CPU, whatever the vector's device).

    Example:
        >>> random_like(SteeringVector(torch.tensor([3.0, 4.0]), "given"), seed=1)[0].norm
        5.0
    """
    if n < 1:
        raise ValueError(f"n={n} random directions are no control: give at least 1.")
    generator = torch.Generator().manual_seed(seed)
    found = []
    for number in range(n):
        drawn = torch.randn(vector.vector.shape, generator=generator, dtype=torch.float64)
        drawn = drawn / drawn.norm(dim=-1, keepdim=True)
        lengths = vector.vector.norm(dim=-1, keepdim=True)
        new = drawn.to(vector.vector.device, vector.vector.dtype) * lengths
        origin = f"random direction {number + 1} (seed {seed})"
        found.append(SteeringVector(new, origin, vector.layer, vector.site))
    return found
