"""Rewritings of the weights that make them easier to read and never change the log-probabilities.

Each function takes a configuration and a state dict and returns new ones; what it was given stays
as it was. They are those of the field (Elhage et al. 2021, "A Mathematical Framework", appendix;
Nanda and Bloom's TransformerLens), in any order and any selection.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .config import ModelConfig
from .factored import FactoredMatrix
from .loading import expected_shapes

State = dict[str, Tensor]


def process(
    cfg: ModelConfig,
    state: State,
    *,
    fold_ln: bool = True,
    center_writing_weights: bool = True,
    center_unembed: bool = True,
    fold_value_biases: bool = True,
    refactor_factored_attn_matrices: bool = False,
) -> tuple[ModelConfig, State]:
    """The rewritings that are asked for, one after the other.

    Example:
        >>> cfg, state = process(model.cfg, model.state_dict())
        >>> folded = HookedTransformer.from_state(cfg, state, model.tokenizer)
    """
    steps = (
        (fold_ln, fold_layer_norm),
        (center_writing_weights, center_writers),
        (center_unembed, center_unembedding),
        (fold_value_biases, fold_values),
        (refactor_factored_attn_matrices, refactor_heads),
    )
    for wanted, step in steps:
        if wanted:
            cfg, state = step(cfg, state)
    return cfg, state


def fold_layer_norm(cfg: ModelConfig, state: State) -> tuple[ModelConfig, State]:
    """Move each norm's w and b into the matrices that read from it: LN -> LNPre, RMS -> RMSPre.

    (x w + b) W = x (diag(w) W) + b W. After LayerNorm x has mean zero, so the mean of diag(w) W
    over its input dimension does nothing and is taken out; RMSNorm keeps the mean. A tied
    unembedding becomes a matrix of its own. Models without weights in their norms stay as they are.
    """
    if cfg.normalization_type not in ("LN", "RMS"):
        return cfg, state
    cfg, state = _untied(cfg, state)
    has_bias = cfg.normalization_type == "LN" and cfg.norm_bias
    if has_bias:
        cfg, state = _with_biases(cfg, state, qkv_bias=True, mlp_bias=True, unembed_bias=True)
    readers = {"ln_final": [("unembed.W_U", "unembed.b_U")]}
    for layer in range(cfg.n_layers):
        attn, mlp = f"blocks.{layer}.attn", f"blocks.{layer}.mlp"
        readers[f"blocks.{layer}.ln1"] = [(f"{attn}.W_{x}", f"{attn}.b_{x}") for x in "QKV"]
        if not cfg.attn_only:
            names = ("in", "gate") if cfg.gated_mlp else ("in",)
            readers[f"blocks.{layer}.ln2"] = [(f"{mlp}.W_{x}", f"{mlp}.b_{x}") for x in names]
    for norm, matrices in readers.items():
        w = state.pop(f"{norm}.w")[:, None]  # [d_model, 1]
        b = state.pop(f"{norm}.b") if has_bias else None
        for W_name, b_name in matrices:
            W = state[W_name]  # [(head,) d_model, out]
            if b is not None:
                state[b_name] = state[b_name] + b @ W
            folded = w * W
            if cfg.normalization_type == "LN":
                folded = folded - folded.mean(-2, keepdim=True)
            state[W_name] = folded
    kind = "LNPre" if cfg.normalization_type == "LN" else "RMSPre"
    return cfg.replace(normalization_type=kind), state


def center_writers(cfg: ModelConfig, state: State) -> tuple[ModelConfig, State]:
    """Take the mean over d_model out of everything that writes to the residual stream.

    Only where every reader is behind a LayerNorm, which subtracts that mean. RMSNorm does not, nor
    does a model without norms: there the mean is part of what is computed, and nothing is done.
    """
    if cfg.normalization_type not in ("LN", "LNPre"):
        return cfg, state
    cfg, state = _untied(cfg, state)
    writers = ("embed.W_E", "pos_embed.W_pos", "attn.W_O", "attn.b_O", "mlp.W_out", "mlp.b_out")
    for name, value in state.items():
        if name.endswith(writers):
            state[name] = value - value.mean(-1, keepdim=True)
    return cfg, state


def center_unembedding(cfg: ModelConfig, state: State) -> tuple[ModelConfig, State]:
    """Take the mean over the vocabulary out of W_U and b_U.

    All logits of a position shift by the same amount, which the softmax does not see.
    """
    cfg, state = _untied(cfg, state)
    state["unembed.W_U"] = state["unembed.W_U"] - state["unembed.W_U"].mean(-1, keepdim=True)
    if cfg.unembed_bias:
        state["unembed.b_U"] = state["unembed.b_U"] - state["unembed.b_U"].mean()
    return cfg, state


def fold_values(cfg: ModelConfig, state: State) -> tuple[ModelConfig, State]:
    """Move b_V through W_O into b_O, and leave b_V zero.

    The rows of an attention pattern sum to 1, so b_V reaches z unchanged from every position.
    """
    if not cfg.qkv_bias:
        return cfg, state
    cfg, state = _with_biases(cfg, state, attn_out_bias=True)
    for layer in range(cfg.n_layers):
        attn = f"blocks.{layer}.attn"
        b_V = state[f"{attn}.b_V"].repeat_interleave(cfg.heads_per_group, dim=0)  # [head, d_head]
        moved = torch.einsum("he,hed->d", b_V, state[f"{attn}.W_O"])
        state[f"{attn}.b_O"] = state[f"{attn}.b_O"] + moved
        state[f"{attn}.b_V"] = torch.zeros_like(state[f"{attn}.b_V"])
    return cfg, state


def refactor_heads(cfg: ModelConfig, state: State) -> tuple[ModelConfig, State]:
    """Write each head's two products in a standard form, by their singular value decompositions.

    Only W_Q W_K^T and W_V W_O matter. With W_Q W_K^T = U S V^T (the biases as one more row of
    each), W_Q becomes U sqrt(S) and W_K V sqrt(S); with W_V W_O = U S V^T, W_V becomes U S and W_O
    the orthonormal rows V^T, so that |z| is the length of what a head writes. b_V is folded first.

    Raises:
        ValueError: rotary positions turn queries and keys, and grouped heads share them; neither
            can be rewritten.
    """
    if cfg.positional_embedding_type == "rotary" or cfg.heads_per_group > 1:
        raise ValueError(
            f"the attention matrices of {cfg.model_name} cannot be refactored: it has rotary "
            "positions or grouped key-value heads."
        )
    cfg, state = fold_values(cfg, state)
    state = dict(state)
    for layer in range(cfg.n_layers):
        W_Q, W_K, W_V, W_O = (f"blocks.{layer}.attn.W_{letter}" for letter in "QKVO")
        b_Q, b_K = (f"blocks.{layer}.attn.b_{letter}" for letter in "QK")
        q, k = state[W_Q], state[W_K]  # [head, d_model, d_head]
        if cfg.qkv_bias:
            q = torch.cat([q, state[b_Q][:, None]], dim=1)  # [head, d_model + 1, d_head]
            k = torch.cat([k, state[b_K][:, None]], dim=1)
        u, s, v = FactoredMatrix(q, k.mT).svd()
        q, k = u * s[:, None].sqrt(), v * s[:, None].sqrt()
        if cfg.qkv_bias:
            state[b_Q], state[b_K] = q[:, -1], k[:, -1]
        state[W_Q], state[W_K] = q[:, : cfg.d_model], k[:, : cfg.d_model]
        u, s, v = FactoredMatrix(state[W_V], state[W_O]).svd()
        state[W_V], state[W_O] = u * s[:, None], v.mT
    return cfg, state


def _untied(cfg: ModelConfig, state: State) -> tuple[ModelConfig, State]:
    """A copy of the state, with W_U as a matrix of its own."""
    state = dict(state)
    if cfg.tie_word_embeddings:
        state["unembed.W_U"] = state["embed.W_E"].T
    return cfg.replace(tie_word_embeddings=False), state


def _with_biases(cfg: ModelConfig, state: State, **flags: bool) -> tuple[ModelConfig, State]:
    """A copy of the state, with the biases that the flags turn on as zeros where they were off."""
    cfg = cfg.replace(**flags)
    like = state["embed.W_E"]
    state = dict(state)
    for name, shape in expected_shapes(cfg).items():
        if name not in state:
            state[name] = torch.zeros(shape, dtype=like.dtype, device=like.device)
    return cfg, state
