"""What every loader returns, `Checkpoint`, and the check that it fits its configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..config import ModelConfig

if TYPE_CHECKING:
    from ..tokenizer import Tokenizer


class LoadError(ValueError):
    """A checkpoint that cannot be loaded; the message names the file, the fault and the way out."""


@dataclass
class Checkpoint:
    """A model on its way into `HookedTransformer`: configuration, weights, tokenizer."""

    cfg: ModelConfig
    """Shape and options."""
    state: dict[str, Tensor]
    """The weights, under the names that `HookedTransformer.state_dict` has."""
    tokenizer: Tokenizer | None = None
    """None where the checkpoint brings none."""

    def to(self, dtype: torch.dtype) -> Checkpoint:
        """The same checkpoint with its weights in another number format."""
        state = {name: value.to(dtype) for name, value in self.state.items()}
        cfg = self.cfg.replace(dtype=str(dtype).removeprefix("torch."))
        return Checkpoint(cfg, state, self.tokenizer)


def expected_shapes(cfg: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every weight that a model of this configuration has."""
    shapes: dict[str, tuple[int, ...]] = {"embed.W_E": (cfg.d_vocab, cfg.d_model)}
    if cfg.positional_embedding_type == "standard":
        shapes["pos_embed.W_pos"] = (cfg.n_ctx, cfg.d_model)
    for layer in range(cfg.n_layers):
        for name, shape in _block_shapes(cfg).items():
            shapes[f"blocks.{layer}.{name}"] = shape
    shapes |= _norm_shapes(cfg, "ln_final")
    if not cfg.tie_word_embeddings:
        shapes["unembed.W_U"] = (cfg.d_model, cfg.d_vocab)
    if cfg.unembed_bias:
        shapes["unembed.b_U"] = (cfg.d_vocab,)
    return shapes


def _block_shapes(cfg: ModelConfig) -> dict[str, tuple[int, ...]]:
    heads, kv_heads = cfg.n_heads, cfg.n_key_value_heads
    shapes: dict[str, tuple[int, ...]] = _norm_shapes(cfg, "ln1")
    for name, count in (("Q", heads), ("K", kv_heads), ("V", kv_heads)):
        shapes[f"attn.W_{name}"] = (count, cfg.d_model, cfg.d_head)
        if cfg.qkv_bias:
            shapes[f"attn.b_{name}"] = (count, cfg.d_head)
    shapes["attn.W_O"] = (heads, cfg.d_head, cfg.d_model)
    if cfg.attn_out_bias:
        shapes["attn.b_O"] = (cfg.d_model,)
    if cfg.attn_only:
        return shapes
    shapes |= _norm_shapes(cfg, "ln2")
    for name in ("in", "gate") if cfg.gated_mlp else ("in",):
        shapes[f"mlp.W_{name}"] = (cfg.d_model, cfg.d_mlp)
        if cfg.mlp_bias:
            shapes[f"mlp.b_{name}"] = (cfg.d_mlp,)
    shapes["mlp.W_out"] = (cfg.d_mlp, cfg.d_model)
    if cfg.mlp_bias:
        shapes["mlp.b_out"] = (cfg.d_model,)
    return shapes


def _norm_shapes(cfg: ModelConfig, name: str) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    if cfg.normalization_type in ("LN", "RMS"):
        shapes[f"{name}.w"] = (cfg.d_model,)
    if cfg.normalization_type == "LN" and cfg.norm_bias:
        shapes[f"{name}.b"] = (cfg.d_model,)
    return shapes


def check_state(cfg: ModelConfig, state: Mapping[str, Tensor], source: str | Path) -> None:
    """Raise LoadError unless `state` has exactly the names and shapes that `cfg` asks for."""
    expected = expected_shapes(cfg)
    missing = [name for name in expected if name not in state]
    if missing:
        raise LoadError(f"{source} lacks {count_and_list(missing)}.")
    unexpected = [name for name in state if name not in expected]
    if unexpected:
        raise LoadError(
            f"{source} holds {count_and_list(unexpected)}, "
            "which a model of this configuration does not have."
        )
    for name, shape in expected.items():
        check_shape(name, state[name], shape, source)


def check_shape(name: str, value: Tensor, shape: tuple[int, ...], source: str | Path) -> None:
    """Raise LoadError if a tensor does not have that shape."""
    if tuple(value.shape) != shape:
        raise LoadError(
            f"the tensor {name!r} in {source} has the shape {list(value.shape)}; "
            f"the configuration asks for {list(shape)}."
        )


def count_and_list(names: Iterable[str], limit: int = 4) -> str:
    """'the tensor a', or '7 tensors: a, b, c, d, ...'."""
    names = list(names)
    if len(names) == 1:
        return f"the tensor {names[0]!r}"
    more = ", ..." if len(names) > limit else ""
    return f"{len(names)} tensors ({', '.join(map(repr, names[:limit]))}{more})"
