"""`predict_memory` before anything is run, and `what_fits` into a given memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..model.config import ModelConfig
from .formulas import check_sizes, kv_bytes, kv_bytes_per_token, logits_bytes, weight_bytes
from .working import Working, working_bytes


@dataclass(frozen=True)
class MemoryPrediction:
    """Bytes that a model will need for a context and a batch. `predict_memory` makes it."""

    n_tokens: int
    batch: int
    weights: int
    """Parameters, shared ones once, and the zeros of biases that are off: exact."""
    kv_cache: int
    """Keys and values of all tokens: exact."""
    working: Working
    """What a pass holds in passing: an estimate."""
    logits: int
    """Bytes of the logits of one call, which `working` holds too."""

    @property
    def total(self) -> int:
        """Weights, key-value cache and what a pass holds in passing."""
        return self.weights + self.kv_cache + self.working.peak

    def to_frame(self) -> list[dict[str, Any]]:
        """One row for each part."""
        parts = {
            "weights": self.weights,
            "key-value cache": self.kv_cache,
            "in passing": self.working.peak,
            "total": self.total,
        }
        return [{"part": part, "bytes": n_bytes} for part, n_bytes in parts.items()]


def predict_memory(
    cfg: ModelConfig,
    n_tokens: int | None = None,
    batch: int = 1,
    dtype: str | None = None,
    chunk: int | None = None,
) -> MemoryPrediction:
    """What generating up to `n_tokens` will need, by the configuration alone.

    Args:
        cfg: of the model.
        n_tokens: prompt and continuation; None is the model's context.
        batch: sequences.
        dtype: of weights and cache; None is the configuration's own.
        chunk: tokens that one call reads; None reads all at once, as `generate` does a prompt of
            this length, and holds the logits of all of them.

    Raises:
        ValueError: sizes that are not positive, an unknown dtype.

    Example:
        >>> gpt2 = ModelConfig(n_layers=12, d_model=768, n_heads=12, d_vocab=50257, n_ctx=1024)
        >>> predict_memory(gpt2).kv_cache / 2**20  # MiB
        72.0
    """
    n_tokens = cfg.n_ctx if n_tokens is None else n_tokens
    n_query = n_tokens if chunk is None else min(chunk, n_tokens)
    check_sizes(n_tokens=n_tokens, batch=batch, chunk=n_query)
    return MemoryPrediction(
        n_tokens,
        batch,
        weight_bytes(cfg, dtype),
        kv_bytes(cfg, n_tokens, batch, dtype),
        working_bytes(cfg, n_query, n_tokens - n_query, batch, dtype, with_cache=True),
        logits_bytes(cfg, n_query, batch, dtype),
    )


@dataclass(frozen=True)
class Fits:
    """What fits into a memory. `what_fits` makes it."""

    memory: int
    """Bytes."""
    context: int
    """The longest context at `batch` that fits; 0 if none does."""
    batch: int
    context_by_memory: int | None
    """The same without the model's own limit; None if memory sets none."""
    batch_at: int | None
    """The largest batch at `n_tokens` that fits; 0 if none does, None if memory sets no limit."""
    n_tokens: int

    @property
    def limited_by(self) -> str:
        """What ends the context: memory or the model."""
        if self.context_by_memory is not None and self.context == self.context_by_memory:
            return "memory"
        return "the model's context"


def what_fits(
    cfg: ModelConfig,
    memory: float,
    *,
    batch: int = 1,
    n_tokens: int | None = None,
    dtype: str | None = None,
    chunk: int | None = None,
    working: bool = True,
) -> Fits:
    """The longest context at a batch, and the largest batch at a context, that fit into `memory`.

    Everything grows with both, so each answer is the last size whose `predict_memory` is not more
    than the memory.

    Args:
        cfg: of the model.
        memory: bytes that may be used, weights included.
        batch: for the longest context.
        n_tokens: for the largest batch; None is the model's context.
        dtype: None is the configuration's own.
        chunk: tokens that one call reads; None reads all at once.
        working: count what a pass holds in passing as well, which is an estimate; False counts
            weights and cache, which are exact.

    Raises:
        ValueError: a memory or a size that is not positive.

    Example:
        >>> gpt2 = ModelConfig(n_layers=12, d_model=768, n_heads=12, d_vocab=50257, n_ctx=1024)
        >>> what_fits(gpt2, 2**30, working=False).batch_at
        5
    """
    if not memory > 0:
        raise ValueError(f"memory={memory} is not a positive number of bytes.")
    tokens_at = cfg.n_ctx if n_tokens is None else n_tokens
    check_sizes(batch=batch, n_tokens=tokens_at)

    def fits(n: int, many: int) -> bool:
        found = predict_memory(cfg, n, many, dtype, chunk)
        needed = found.total if working else found.weights + found.kv_cache
        return needed <= memory

    grows = working or kv_bytes_per_token(cfg, dtype) > 0
    longest = _last(lambda n: fits(n, batch)) if grows else None
    most = _last(lambda many: fits(tokens_at, many)) if grows else None
    if longest is None:
        context = cfg.n_ctx if fits(cfg.n_ctx, batch) else 0
    else:
        context = min(longest, cfg.n_ctx)
    return Fits(int(memory), context, batch, longest, most, tokens_at)


def _last(fits: Callable[[int], bool]) -> int:
    """The last positive number that fits, 0 if none does; whatever is above one that does not fit
    does not fit either."""
    if not fits(1):
        return 0
    low, high = 1, 2
    while fits(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
