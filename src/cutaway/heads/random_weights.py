"""Random weights of a head's shape: what measures on weights are held against.

Two kinds. "gaussian": independent normal numbers. "rotated": the head's own singular values,
with the directions that it reads and writes drawn anew. The second is the fairer control for a
trained head. Training concentrates a head on few singular values, and a matrix of low rank has
large eigenvalue ratios and overlaps by chance: a matrix of rank one has a copying score of +1 or -1
whatever it does. Only the second control has that much luck as well.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

Control = Literal["rotated", "gaussian"]


def check_control(control: str, n_draws: int) -> None:
    """Refuse an unknown control, or one without draws.

    Raises:
        ValueError: either of them.
    """
    if control not in get_args(Control):
        known = ", ".join(map(repr, get_args(Control)))
        raise ValueError(f"control={control!r} is unknown; it can be {known}.")
    if n_draws < 1:
        raise ValueError(f"n_draws={n_draws} must be at least 1: it is what scores are held to.")


def normal(
    *shape: int, generator: torch.Generator, like: Tensor, dtype: torch.dtype | None = None
) -> Tensor:
    """Standard normal numbers, the same on every device, where `like` lies."""
    # Drawn by the generator's own device: a GPU's generator would give other numbers.
    drawn = torch.empty(shape, dtype=torch.float64, device=generator.device)
    return drawn.normal_(generator=generator).to(like.device, dtype or like.dtype)


def frame(
    d_model: int, d_head: int, *, generator: torch.Generator, like: Tensor
) -> Float[Tensor, "d_model d_head"]:
    """Orthonormal columns in directions drawn uniformly: Q of a normal matrix G = Q L^T.

    L is the Cholesky factor of G^T G. Its diagonal is positive, which makes Q uniform (Stewart
    1980), and it takes half the time of QR.
    """
    G = normal(d_model, d_head, generator=generator, like=like)
    L = torch.linalg.cholesky(G.T @ G)
    Q: Tensor = torch.linalg.solve_triangular(L.T, G, upper=True, left=False)
    return Q
