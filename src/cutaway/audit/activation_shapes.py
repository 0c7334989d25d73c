"""The shape of every activation that `run_with_cache` can keep, from a configuration alone."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch

from ..model.config import ModelConfig
from ..model.hooks import NamesFilter
from ..model.transformer import HookedTransformer
from .formulas import check_sizes, number_bytes

_SPLIT = ("hook_attn_in", "hook_q_input", "hook_k_input", "hook_v_input")


@dataclass(frozen=True)
class Activation:
    """What one hook point will keep."""

    name: str
    shape: tuple[int, ...]
    number_bytes: int
    """Of one number; norms, scores and patterns are in float32 where the model is in half
    precision."""
    shares: str = ""
    """The name whose tensor this one is too, so that it costs nothing; empty if it has its own."""

    @property
    def n_bytes(self) -> int:
        """Bytes of its tensor."""
        return prod(self.shape) * self.number_bytes


def activation_shapes(
    cfg: ModelConfig,
    n_tokens: int,
    batch: int = 1,
    names_filter: NamesFilter = None,
    dtype: str | None = None,
) -> tuple[Activation, ...]:
    """What `run_with_cache(tokens, names_filter=...)` will keep, in the order of the hook points.

    Args:
        cfg: of the model; its switches (`use_attn_result` and the like) count.
        n_tokens: of each sequence.
        batch: sequences.
        names_filter: as of `run_with_cache`: a name, a list, a predicate; None is all that are
            always computed.
        dtype: None is the configuration's own.

    Raises:
        UnknownHook: a filter that matches nothing.

    Example:
        >>> cfg = ModelConfig(n_layers=1, d_model=64, n_heads=4, d_vocab=50, n_ctx=32)
        >>> activation_shapes(cfg, 10, names_filter="blocks.0.attn.hook_pattern")[0].n_bytes
        1600
    """
    check_sizes(n_tokens=n_tokens, batch=batch)
    names = shape_only(cfg).match_hook_names(names_filter)
    size = number_bytes(cfg, dtype)
    shared = _shared(cfg, size)
    split = {name.rsplit(".", 1)[0] for name in names if name.endswith(_SPLIT)}
    found = []
    for name in dict.fromkeys(names):
        shape = (batch, n_tokens, *_per_token(cfg, name, n_tokens, name.split(".ln1")[0] in split))
        if name.endswith(("hook_attn_scores", "hook_pattern")):
            shape = (batch, cfg.n_heads, n_tokens, n_tokens)
        shares = shared.get(name, "")
        found.append(Activation(name, shape, _size(name, size), shares if shares in names else ""))
    return tuple(found)


def total_bytes(activations: tuple[Activation, ...]) -> int:
    """Bytes of all of them together; what is shared counts once."""
    return sum(one.n_bytes for one in activations if not one.shares)


def shape_only(cfg: ModelConfig) -> HookedTransformer:
    """A model whose tensors have shapes and no memory: for its names."""
    with torch.device("meta"):
        return HookedTransformer(cfg, init_weights=False, device="meta")


def _per_token(cfg: ModelConfig, name: str, n_tokens: int, is_split: bool) -> tuple[int, ...]:
    """The axes behind batch and position."""
    tail = name.rsplit(".", 1)[-1].removeprefix("hook_")
    heads, kv, d = cfg.n_heads, cfg.n_key_value_heads, cfg.d_model
    if tail in ("scale", "normalized"):
        # Where heads are split the norm runs for each input, and the last one is the values'.
        per_head = (kv,) if is_split and ".ln1." in name else ()
        return (*per_head, 1 if tail == "scale" else d)
    shapes: dict[str, tuple[int, ...]] = {
        "q": (heads, cfg.d_head),
        "rot_q": (heads, cfg.d_head),
        "z": (heads, cfg.d_head),
        "k": (kv, cfg.d_head),
        "rot_k": (kv, cfg.d_head),
        "v": (kv, cfg.d_head),
        "result": (heads, d),
        "attn_in": (heads, d),
        "q_input": (heads, d),
        "k_input": (kv, d),
        "v_input": (kv, d),
        "pre": (cfg.d_mlp,),
        "pre_linear": (cfg.d_mlp,),
        "post": (cfg.d_mlp,),
        "out": (cfg.d_vocab,),
    }
    return shapes.get(tail, (d,))


def _size(name: str, size: int) -> int:
    in_float32 = ("hook_scale", "hook_normalized", "hook_attn_scores", "hook_pattern")
    return max(size, 4) if name.endswith(in_float32) else size


def _shared(cfg: ModelConfig, size: int) -> dict[str, str]:
    """Hook point -> the one before it that the same value passes."""
    posts = [f"blocks.{layer}.hook_resid_post" for layer in range(cfg.n_layers)]
    shared = {f"blocks.{at + 1}.hook_resid_pre": post for at, post in enumerate(posts[:-1])}
    is_stream = cfg.positional_embedding_type != "standard"
    if is_stream and posts:
        shared["blocks.0.hook_resid_pre"] = "hook_embed"
    last = posts[-1] if posts else "hook_embed" if is_stream else ""
    if cfg.normalization_type is None:
        shared["unembed.hook_in"] = last
    elif cfg.normalization_type in ("LNPre", "RMSPre") and size >= 4:
        shared["unembed.hook_in"] = "ln_final.hook_normalized"
    return shared
