"""Bytes by formula, from a configuration alone: nothing is run, no weights are needed."""

from __future__ import annotations

from math import prod

from ..model.config import ModelConfig
from ..model.loading.checkpoint import expected_shapes

NUMBER_BYTES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}
"""Number format -> bytes of one number."""


def number_bytes(cfg: ModelConfig, dtype: str | None = None) -> int:
    """Bytes of one number.

    Args:
        cfg: whose own format is taken where `dtype` is None.
        dtype: float32, float64, float16 or bfloat16.

    Raises:
        ValueError: a format that models do not have.
    """
    name = str(dtype or cfg.dtype).removeprefix("torch.")
    if name not in NUMBER_BYTES:
        raise ValueError(f"dtype={name!r} is unknown; it can be {', '.join(NUMBER_BYTES)}.")
    return NUMBER_BYTES[name]


def check_sizes(**sizes: int) -> None:
    """Raise ValueError for a number of tokens or sequences that is not positive."""
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f"{name}={value} is not a positive whole number.")


def kv_bytes_per_token(cfg: ModelConfig, dtype: str | None = None) -> int:
    """Bytes of keys and values of one token of one sequence, over all layers:
    2 x layers x key-value heads x d_head x bytes of a number.

    Example:
        >>> gpt2 = ModelConfig(n_layers=12, d_model=768, n_heads=12, d_vocab=50257, n_ctx=1024)
        >>> kv_bytes_per_token(gpt2)
        73728
    """
    return 2 * cfg.n_layers * cfg.n_key_value_heads * cfg.d_head * number_bytes(cfg, dtype)


def kv_bytes(cfg: ModelConfig, n_tokens: int, batch: int = 1, dtype: str | None = None) -> int:
    """Bytes of the keys and values of `batch` sequences of `n_tokens` each.

    Padding counts: a sequence takes the room of the longest of its batch. A sliding window does
    not: what has left it is kept.

    Example:
        >>> gpt2 = ModelConfig(n_layers=12, d_model=768, n_heads=12, d_vocab=50257, n_ctx=1024)
        >>> kv_bytes(gpt2, 1024) / 2**20  # MiB
        72.0
    """
    check_sizes(n_tokens=n_tokens, batch=batch)
    return kv_bytes_per_token(cfg, dtype) * n_tokens * batch


def n_parameters(cfg: ModelConfig) -> int:
    """Numbers that are learned and saved; W_U counts only where it is not W_E.

    Example:
        >>> gpt2 = ModelConfig(n_layers=12, d_model=768, n_heads=12, d_vocab=50257, n_ctx=1024,
        ...     tie_word_embeddings=True)
        >>> n_parameters(gpt2)
        124439808
    """
    return sum(prod(shape) for shape in expected_shapes(cfg).values())


def n_zero_biases(cfg: ModelConfig) -> int:
    """Numbers of the biases that are off: `HookedTransformer` holds zeros in their place."""
    per_layer = 0
    if not cfg.qkv_bias:
        per_layer += (cfg.n_heads + 2 * cfg.n_key_value_heads) * cfg.d_head
    if not cfg.attn_out_bias:
        per_layer += cfg.d_model
    if not cfg.mlp_bias and not cfg.attn_only:
        per_layer += cfg.d_model + cfg.d_mlp * (2 if cfg.gated_mlp else 1)
    return cfg.n_layers * per_layer + (0 if cfg.unembed_bias else cfg.d_vocab)


def weight_bytes(cfg: ModelConfig, dtype: str | None = None) -> int:
    """Bytes that a `HookedTransformer` holds: its parameters, and the zeros of biases that are
    off."""
    return (n_parameters(cfg) + n_zero_biases(cfg)) * number_bytes(cfg, dtype)


def logits_bytes(cfg: ModelConfig, n_query: int, batch: int = 1, dtype: str | None = None) -> int:
    """Bytes of the logits of `n_query` tokens of each sequence."""
    return batch * n_query * cfg.d_vocab * number_bytes(cfg, dtype)
