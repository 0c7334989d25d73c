"""Virtual weights: what a path of heads amounts to, as one product of their weights.

Heads write to the stream and later heads read from it, so that a path of heads acts as one head
whose weights are a product (Elhage et al. 2021, "A Mathematical Framework", on virtual attention
heads). A value that goes through heads h1, h2, ... is moved by OV_h1 OV_h2 ... (V-composition). A
later head's QK circuit whose key (or query) was written by an earlier one reads its side through
that one's OV (K- and Q-composition).

What the weights do not say is *where* each head looks. In OV_h1 OV_h2 the value comes from where
h1 looks from where h2 looks; in a key read through h1 it is what h1 looks at from the key's
position. With a previous-token head as h1, the "key token" is the one *before* the key: this is
the induction circuit, whose matrix has large entries on its diagonal.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from ..model.factored import FactoredMatrix
from ..model.parts import at_least_float32
from ..model.transformer import HookedTransformer

Path = tuple[int, int] | Sequence[tuple[int, int]]
"""One head, (layer, head), or several in the order in which they write."""


def virtual_ov(model: HookedTransformer, path: Path) -> FactoredMatrix:
    """What a path of heads writes for what the first of them reads: OV_1 OV_2 ..., as factors.

    Args:
        model: any; its norms and biases on the way are left out.
        path: heads, each in a later layer than the one before.

    Returns:
        [d_model (read), d_model (written)].

    Raises:
        ValueError: no heads, heads that are not there, layers that do not rise.

    Example:
        >>> virtual_ov(model, [(0, 1), (1, 2)]).norm()
    """
    heads = check_path(model, path)
    if not heads:
        raise ValueError("path=() names no head: what should be written?")
    *before, last = heads
    W_V, W_O = value_weights(model, *last)
    return FactoredMatrix(through(model, None, before) @ W_V, W_O)


def virtual_qk(
    model: HookedTransformer,
    layer: int,
    head: int,
    query_through: Path = (),
    key_through: Path = (),
) -> FactoredMatrix:
    """A head's QK circuit with its sides read through earlier heads, over sqrt(d_head).

    x_query (OV ... W_Q) (OV ... W_K)^T x_key^T is a part of the head's attention score, before the
    softmax: the part that comes by these paths.

    Args:
        model: without rotary positions.
        layer: of the reader.
        head: of the reader.
        query_through: the heads that wrote what the query reads; () is the stream itself.
        key_through: likewise for the key.

    Returns:
        [d_model (query), d_model (key)].

    Raises:
        ValueError: heads that are not there or do not come before the reader; rotary positions.

    Example:
        >>> virtual_qk(model, 1, 2, key_through=(0, 1))  # an induction head's K-composition
    """
    if model.cfg.positional_embedding_type == "rotary":
        raise ValueError(
            f"{model.cfg.model_name} has rotary positions, which turn queries and keys by their "
            "distance: take weight_circuits.full_qk, which has a distance."
        )
    check_head(model, layer, head)
    W_Q, W_K = query_key_weights(model, layer, head)
    query = through(model, None, check_path(model, query_through, before=layer)) @ W_Q
    key = through(model, None, check_path(model, key_through, before=layer)) @ W_K
    return FactoredMatrix(query / model.cfg.scale, key.T)


def through(
    model: HookedTransformer,
    rows: Float[Tensor, "row d_model"] | None,
    heads: Sequence[tuple[int, int]],
    biases: bool = False,
) -> Float[Tensor, "row d_model"]:
    """What the path writes for each row that its first head reads; None is the identity.

    Args:
        model: whose heads.
        rows: what is read; without heads they come back.
        heads: from `check_path`.
        biases: each head's b_V is added to its values.
    """
    if rows is None:
        like = model.W_E
        rows = torch.eye(model.cfg.d_model, dtype=at_least_float32(like).dtype, device=like.device)
    for layer, head in heads:
        W_V, W_O = value_weights(model, layer, head)
        values = rows @ W_V  # [row, d_head]
        if biases:
            values = values + key_value(model, "b_V", layer, head)
        rows = values @ W_O
    return rows


def check_head(model: HookedTransformer, layer: int, head: int) -> None:
    """Refuse a head that the model does not have.

    Raises:
        ValueError: of another model.
    """
    cfg = model.cfg
    if not (0 <= layer < cfg.n_layers and 0 <= head < cfg.n_heads):
        raise ValueError(
            f"there is no head {layer}.{head}: {cfg.model_name} has the layers 0 to "
            f"{cfg.n_layers - 1} with the heads 0 to {cfg.n_heads - 1}."
        )


def check_path(
    model: HookedTransformer, path: Path, before: int | None = None
) -> list[tuple[int, int]]:
    """The path as a list of heads.

    Args:
        model: whose heads.
        path: one head or several.
        before: the layer of the reader, if one comes after.

    Raises:
        ValueError: a head that is not there, or one that cannot be heard by what comes after it.
    """
    pair = len(path) == 2 and all(isinstance(part, int) for part in path)
    heads: list[tuple[int, int]] = [(path[0], path[1])] if pair else list(path)  # type: ignore
    for layer, head in heads:
        check_head(model, layer, head)
    layers = [layer for layer, _ in heads] + ([] if before is None else [before])
    for earlier, later in pairwise(layers):
        if earlier >= later:
            raise ValueError(
                f"a head of layer {later} does not read what one of layer {earlier} writes: the "
                "layers of a path must rise."
            )
    return heads


def query_key_weights(model: HookedTransformer, layer: int, head: int) -> tuple[Tensor, Tensor]:
    """(W_Q, W_K) of one head, each [d_model, d_head], float32 at least."""
    W_Q = at_least_float32(model.blocks[layer].attn.W_Q[head].detach())
    return W_Q, key_value(model, "W_K", layer, head)


def value_weights(model: HookedTransformer, layer: int, head: int) -> tuple[Tensor, Tensor]:
    """(W_V [d_model, d_head], W_O [d_head, d_model]) of one head, float32 at least."""
    W_O = at_least_float32(model.blocks[layer].attn.W_O[head].detach())
    return key_value(model, "W_V", layer, head), W_O


def key_value(model: HookedTransformer, name: str, layer: int, head: int) -> Tensor:
    """A weight of the keys or values that a head uses; those of a group share one."""
    group = head // model.cfg.heads_per_group
    return at_least_float32(getattr(model.blocks[layer].attn, name)[group].detach())
