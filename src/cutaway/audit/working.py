"""What a forward pass holds in passing, estimated from a configuration, at its three stages."""

from __future__ import annotations

from dataclasses import dataclass

from ..model.config import ModelConfig
from .formulas import check_sizes, logits_bytes, number_bytes


@dataclass(frozen=True)
class Working:
    """Bytes held at once beside the weights and the key-value cache, at the three places where a
    pass without gradients holds most."""

    attention: int
    """While a layer's heads read."""
    mlp: int
    """While a layer's MLP is computed."""
    logits: int
    """While the unembedding is."""

    @property
    def peak(self) -> int:
        """The largest of them."""
        return max(self.attention, self.mlp, self.logits)

    @property
    def stage(self) -> str:
        """Which of them is the largest."""
        stages = {"attention": self.attention, "mlp": self.mlp, "logits": self.logits}
        return max(stages, key=stages.__getitem__)


def working_bytes(
    cfg: ModelConfig,
    n_query: int,
    n_past: int = 0,
    batch: int = 1,
    dtype: str | None = None,
    with_cache: bool = False,
) -> Working:
    """Estimate what a pass over `n_query` new tokens holds at most, without gradients.

    Counted is what transformer.py holds at each place, with fused attention (the pattern is never
    written out). With hooks, gradients or another attention kernel it is more.

    Args:
        cfg: of the model.
        n_query: new tokens of each sequence.
        n_past: tokens that the key-value cache holds already.
        batch: sequences.
        dtype: None is the configuration's own.
        with_cache: keys and values are in the cache; otherwise they are held in passing.

    Example:
        >>> gpt2 = ModelConfig(n_layers=12, d_model=768, n_heads=12, d_vocab=50257, n_ctx=1024)
        >>> working_bytes(gpt2, 1024).stage
        'logits'
    """
    check_sizes(n_query=n_query, batch=batch)
    size, rows, n_key = number_bytes(cfg, dtype), batch * n_query, n_past + n_query
    d, kv = cfg.d_model, cfg.n_key_value_heads * cfg.d_head
    heads = cfg.n_heads * cfg.d_head
    norm = 0 if cfg.normalization_type is None else d
    mask, float_mask = _masks(cfg, n_query, n_key, size)
    context = 8 * n_query + mask
    if cfg.positional_embedding_type == "rotary":
        context += 2 * n_query * cfg.rotary_dim * size
    stream = d + norm  # the stream, and what the heads read
    held = stream + heads + (0 if with_cache else 2 * kv)  # with queries, keys and values
    reading = rows * size * (held + heads) + rows * cfg.n_heads * 4 + float_mask
    if cfg.heads_per_group > 1:  # one copy of keys and values for each query head
        reading += 2 * batch * n_key * heads * size
    writing = rows * size * (held + heads + d)
    turning = rows * size * (stream + _turned(cfg, heads, kv))
    norming = rows * d * _norm_bytes(cfg, size)
    attention = max(reading, writing, turning, rows * size * d + norming)
    if not cfg.n_layers:
        attention = rows * size * 3 * d  # words, positions and their sum
    hidden = 0
    if cfg.n_layers and not cfg.attn_only:
        streams = stream + 2 * d + norm  # what attention wrote, the sum, and what the MLP reads
        inner = (4 if cfg.gated_mlp else 2) * cfg.d_mlp
        outer = (2 if cfg.gated_mlp else 1) * cfg.d_mlp + d
        hidden = rows * size * (streams + max(inner, outer))
        hidden = max(hidden, rows * size * (stream + 2 * d) + norming)
    last = rows * size * d + max(logits_bytes(cfg, n_query, batch, dtype), norming)
    return Working(attention + context, hidden + context, last + context)


def _norm_bytes(cfg: ModelConfig, size: int) -> int:
    """Bytes per number of the stream while it is normalised, the result included."""
    kind = cfg.normalization_type
    if kind is None:
        return 0
    if kind in ("LN", "LNPre"):
        return size
    # RMSNorm is several operations, in float32 where the model is in half precision: the squares
    # or the quotient, and with weights their product.
    working = max(size, 4)
    before = working if size < 4 else 0
    return before + (2 * working if kind == "RMS" else working)


def _masks(cfg: ModelConfig, n_query: int, n_key: int, size: int) -> tuple[int, int]:
    """Bytes of the attention mask, and of the numbers that the kernel makes of it; 0 where plain
    causal attention will do."""
    windowed = cfg.sliding_window is not None and cfg.sliding_window < n_key
    if n_query in (1, n_key) and not windowed:
        return 0, 0
    return n_query * n_key, n_query * n_key * (size + 1)


def _turned(cfg: ModelConfig, heads: int, kv: int) -> int:
    """Numbers per token while rotary positions turn the queries, then the keys."""
    if cfg.positional_embedding_type != "rotary":
        return 0
    turned, whole = cfg.rotary_dim, cfg.d_head
    copies = max(4 * turned, 0 if turned == whole else whole + 2 * turned)
    n_heads, n_kv = heads // whole, kv // whole
    return max(heads + n_heads * copies, heads + kv + n_kv * copies)
