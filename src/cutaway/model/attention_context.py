"""Where the tokens of a forward pass stand: their positions, rotations and attention mask."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .config import ModelConfig


@dataclass(frozen=True)
class AttentionContext:
    """What every layer of one forward pass shares."""

    positions: Int[Tensor, "#batch query"]
    """Position of each new token in its sequence; padding on the left does not count."""
    cos: Float[Tensor, "#batch query 1 rotary"] | None
    sin: Float[Tensor, "#batch query 1 rotary"] | None
    mask: Bool[Tensor, "#batch 1 query key"] | None
    """True where a query sees a key; None means that every query sees all keys up to itself."""


def positions_from_mask(key_mask: Bool[Tensor, "batch key"]) -> Int[Tensor, "batch key"]:
    """Position of each token when the False entries in front are padding: they do not count."""
    return (key_mask.long().cumsum(-1) - 1).clamp(min=0)


def rotary_frequencies(cfg: ModelConfig, device: torch.device) -> Float[Tensor, " half"]:
    """Angle per position of each rotated pair: base^(-2i/rotary_dim) (Su et al. 2021), scaled."""
    exponent = torch.arange(0, cfg.rotary_dim, 2, device=device, dtype=torch.float32)
    frequency = 1.0 / cfg.rotary_base ** (exponent / cfg.rotary_dim)
    scaling = cfg.rotary_scaling
    if scaling is None:
        return frequency
    if scaling.kind == "linear":
        return frequency / scaling.factor
    wavelength = 2 * math.pi / frequency
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    blend = (scaling.original_n_ctx / wavelength - low) / (high - low)  # 0: slow, 1: fast
    blend = blend.clamp(0, 1)
    return (1 - blend) * frequency / scaling.factor + blend * frequency


def rotary_angles(
    cfg: ModelConfig, positions: Int[Tensor, "batch query"], dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Cosines and sines for these positions, each [batch, query, 1, rotary_dim]."""
    angle = positions[..., None].float() * rotary_frequencies(cfg, positions.device)
    if cfg.rotary_adjacent_pairs:
        angle = angle.repeat_interleave(2, dim=-1)  # [batch, query, rotary]
    else:
        angle = torch.cat([angle, angle], dim=-1)
    return angle.cos().to(dtype)[:, :, None], angle.sin().to(dtype)[:, :, None]


def rotate(
    cfg: ModelConfig, x: Float[Tensor, "batch query head d_head"], cos: Tensor, sin: Tensor
) -> Float[Tensor, "batch query head d_head"]:
    """Turn the first rotary_dim dimensions of each head by the position's angles."""
    turned, rest = x[..., : cfg.rotary_dim], x[..., cfg.rotary_dim :]
    if cfg.rotary_adjacent_pairs:
        partner = torch.stack([-turned[..., 1::2], turned[..., ::2]], dim=-1).flatten(-2)
    else:
        half = cfg.rotary_dim // 2
        partner = torch.cat([-turned[..., half:], turned[..., :half]], dim=-1)
    turned = turned * cos + partner * sin
    return turned if rest.shape[-1] == 0 else torch.cat([turned, rest], dim=-1)


def attention_mask(
    cfg: ModelConfig,
    query: Int[Tensor, "#batch query"],
    n_key: int,
    key_mask: Bool[Tensor, "batch key"] | None,
) -> Bool[Tensor, "#batch 1 query key"]:
    """Which of the first n_key keys the tokens at the indices `query` see.

    A token always sees itself, padding too: its row is then never empty, so nothing becomes NaN.
    What padding computes is never read by a real token.
    """
    query = query[:, None, :, None]  # [#batch, 1, query, 1]
    key = torch.arange(n_key, device=query.device)
    mask = key <= query  # [#batch, 1, query, key]
    if cfg.sliding_window is not None:
        mask = mask & (key > query - cfg.sliding_window)
    if key_mask is not None:
        mask = mask & (key_mask[:, None, None, :n_key] | (key == query))
    return mask


def attention_context(
    cfg: ModelConfig,
    query: Int[Tensor, "#batch query"],
    n_key: int,
    key_mask: Bool[Tensor, "batch key"] | None,
    dtype: torch.dtype,
    plain: bool = False,
) -> AttentionContext:
    """The context of the tokens at the indices `query`, which see keys among the first n_key.

    `plain` says that plain causal attention, without a mask, will do if nothing is padding and no
    window is set: all tokens are queries, or only the last one is.
    """
    positions = query
    if key_mask is not None:
        positions = positions_from_mask(key_mask).gather(1, query.expand(key_mask.shape[0], -1))
    cos = sin = None
    if cfg.positional_embedding_type == "rotary":
        cos, sin = rotary_angles(cfg, positions, dtype)
    windowed = cfg.sliding_window is not None and cfg.sliding_window < n_key
    if plain and key_mask is None and not windowed:
        return AttentionContext(positions, cos, sin, None)
    return AttentionContext(positions, cos, sin, attention_mask(cfg, query, n_key, key_mask))


def context_of(
    cfg: ModelConfig, x: Float[Tensor, "batch pos ..."], key_mask: Tensor | None = None
) -> AttentionContext:
    """The context of whole sequences, for a part of a model that is called alone.

    Args:
        cfg: of the model.
        x: what the part reads.
        key_mask: False at padding on the left; None where there is none.
    """
    n_pos = x.shape[1]
    query = torch.arange(n_pos, device=x.device)[None]
    mask = None if key_mask is None else key_mask.to(x.device).bool()
    return attention_context(cfg, query, n_pos, mask, x.dtype, plain=True)
