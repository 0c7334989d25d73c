"""What steering puts in place of a value: the value plus a vector, or with one component set."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..patching.values import Place, Preparation, Value

Operation = Literal["add", "set"]


def check_operation(operation: str) -> None:
    """Raise ValueError if there is no such operation."""
    if operation not in get_args(Operation):
        raise ValueError(f"operation={operation!r} is neither 'add' nor 'set'.")


def steered(
    old: Float[Tensor, "*where d"],
    vector: Float[Tensor, "... d"],
    factor: float | Float[Tensor, "... 1"],
    operation: Operation,
) -> Float[Tensor, "*where d"]:
    """The stream after steering; where the vector is zero nothing happens.

    add: x + f v. set: x - (x . u) u + f v with u = v / |v|, so that the component along v is f |v|
    whatever it was; f = 0 removes it.
    """
    if operation == "add":
        return old + factor * vector
    length = vector.norm(dim=-1, keepdim=True)
    unit = vector / torch.where(length > 0, length, 1)
    return old - (old * unit).sum(-1, keepdim=True) * unit + factor * vector


@dataclass(frozen=True, eq=False)
class Steer(Value):
    """A vector added to what stands there, or the component along it set, for each prompt its own.

    With one vector for all prompts, "add" is `ca.values.Add(factor * vector)`, and "set" with the
    factor 0 is `ca.values.Remove(vector)`.

    Args:
        vector: [d], [prompt, d] or [prompt or 1, pos, d], positions counted without padding.
        factor: what the vector is multiplied with.
        operation: "add" or "set" (see `steered`).

    Example:
        >>> Intervention("resid_pre", 2, Steer(vectors, 4.0), positions="END")  # doctest: +SKIP
    """

    vector: Float[Tensor, "*where d"] = dataclasses.field(repr=False)
    factor: float = 1.0
    operation: Operation = "add"

    def __post_init__(self) -> None:
        check_operation(self.operation)
        if not isinstance(self.vector, Tensor) or self.vector.ndim not in (1, 2, 3):
            raise ValueError("Steer takes a tensor [d], [prompt, d] or [prompt, pos, d].")
        if not bool(self.vector.isfinite().all()):
            raise ValueError("Steer holds numbers that are NaN or infinite.")

    @property
    def name(self) -> str:
        return f"{self.operation} {self.factor:+.3g} v in"

    @property
    def width(self) -> int | None:
        return int(self.vector.shape[-1])

    def prepare(self, preparation: Preparation) -> Value:
        vector, n_prompts = self.vector, len(preparation.task)
        if vector.ndim > 1 and (vector.ndim == 2 or len(vector) != 1):
            if len(vector) != n_prompts:
                raise ValueError(
                    f"the vectors are for {len(vector)} prompts, and the task has {n_prompts}."
                )
            vector = vector[preparation.prompts]
        model = preparation.model
        return dataclasses.replace(self, vector=vector.to(model.device, model.dtype))

    def __call__(
        self, old: Float[Tensor, "row *value"], place: Place
    ) -> Float[Tensor, "row *value"]:
        base = place.base
        index = torch.arange(base.tokens.shape[1], device=base.tokens.device)[None]
        if base.mask is not None:
            index = index - (~base.mask).sum(1, keepdim=True)
        vector = place.pick(at_positions(self.vector, index.expand(len(base.tokens), -1)))
        return steered(old, vector, self.factor, self.operation)


def at_positions(
    vector: Float[Tensor, "*where d"], index: Int[Tensor, "prompt pos"]
) -> Float[Tensor, "prompt pos d"]:
    """A steering vector laid over tokens; zero where it has no position for a token.

    Args:
        vector: [d], [prompt, d] or [prompt or 1, position, d].
        index: of each token in its text; negative at padding in front.
    """
    n, n_pos = index.shape
    if vector.ndim < 3:
        rows = vector if vector.ndim == 1 else vector[:, None]
        return rows.expand(n, n_pos, -1)
    known = (index >= 0) & (index < vector.shape[1])
    at = index.clamp(0, vector.shape[1] - 1)[..., None].expand(-1, -1, vector.shape[-1])
    laid = vector.expand(n, -1, -1).gather(1, at)
    return torch.where(known[..., None], laid, 0)


def restricted(
    old: Float[Tensor, "batch pos d"],
    new: Float[Tensor, "batch pos d"],
    where: Bool[Tensor, "batch pos"],
) -> Float[Tensor, "batch pos d"]:
    """The new values at some positions, the old ones elsewhere."""
    return torch.where(where[..., None], new, old)
