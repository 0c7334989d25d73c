"""Models for the tests of what heads do by their weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cutaway.model.config import ModelConfig
from cutaway.model.transformer import HookedTransformer
from random_models import configs, random_model

__all__ = ["attention_only", "configs", "dense_ov", "precise", "random_model", "set_weight"]


def precise(model: HookedTransformer) -> HookedTransformer:
    """The model in float64, so that an oracle's rounding is no matter."""
    return model.double()


def attention_only(seed: int = 0, **changes: Any) -> HookedTransformer:
    """Two layers of three heads without MLPs and norms, with biases, in float64."""
    options: dict[str, Any] = {
        "n_layers": 2,
        "d_model": 16,
        "n_heads": 3,
        "d_head": 4,
        "d_vocab": 19,
        "n_ctx": 7,
        "attn_only": True,
        "normalization_type": None,
        "init_range": 0.5,
    }
    return precise(random_model(ModelConfig(**{**options, **changes}), seed))


def set_weight(model: HookedTransformer, name: str, layer: int, head: int, value: Tensor) -> None:
    """Write one head's W_Q, W_K, W_V or W_O."""
    with torch.no_grad():
        getattr(model.blocks[layer].attn, name)[head].copy_(value)


def dense_ov(model: HookedTransformer, layer: int, head: int) -> Tensor:
    """W_E W_V W_O W_U, multiplied out from the parameters themselves."""
    attn = model.blocks[layer].attn
    group = head // (model.cfg.n_heads // model.cfg.n_key_value_heads)
    return (model.W_E @ attn.W_V[group] @ attn.W_O[head] @ model.W_U).detach()
