"""How other libraries lay out a matrix, turned into ours; a "linear" weight is [out, in]."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def heads_in(
    weight: Float[Tensor, "head_and_d_head d_model"], n_heads: int
) -> Float[Tensor, "head d_model d_head"]:
    """A linear weight that makes queries, keys or values, one matrix per head."""
    per_head: Tensor = weight.unflatten(0, (n_heads, -1))  # [head, d_head, d_model]
    return per_head.transpose(1, 2)


def heads_out(
    weight: Float[Tensor, "d_model head_and_d_head"], n_heads: int
) -> Float[Tensor, "head d_head d_model"]:
    """A linear weight that reads all heads' z, one matrix per head."""
    per_head: Tensor = weight.unflatten(1, (n_heads, -1))  # [d_model, head, d_head]
    return per_head.permute(1, 2, 0)
