"""What the page of `cutaway audit kv` shows, and bytes as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int

from ..audit import ActivationAudit, Fits, ForwardPeak, KVAudit, MemoryPrediction, WeightAudit

OURS, LAYERS, WHOLE, LEAKING = "allocated once", "each layer grows", "one tensor grows", "leaks"
"""The kinds of cache; the last one is the control."""

STAGES = {"logits": "in the logits", "mlp": "in an MLP", "attention": "in attention"}
"""Where a pass holds most, in words."""

_UNITS = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


def size(n_bytes: float) -> str:
    """Bytes as a reader wants them: three figures, in powers of 1,024.

    Example:
        >>> size(73728), size(72 * 2**20), size(512)
        ('72.0 KiB', '72.0 MiB', '512 B')
    """
    for unit, name in _UNITS:
        if abs(n_bytes) >= unit:
            value = n_bytes / unit
            return f"{value:.{1 if value < 100 else 0}f} {name}"
    return f"{n_bytes:.0f} B"


@dataclass(frozen=True)
class OtherModel:
    """One row of the table of well-known models."""

    name: str
    n_layers: int
    n_heads: int
    n_key_value_heads: int
    d_head: int
    n_parameters: int
    n_ctx: int
    per_token: int
    """Bytes of keys and values of one token in half precision."""
    source: str


@dataclass(frozen=True, eq=False)
class Measured:
    """What was measured on a model that was run."""

    in_chunks: KVAudit
    """Over the whole length."""
    estimated_peaks: Int[np.ndarray, " step"]
    """What the peak of each of its calls was foretold to be."""
    caches: Mapping[str, KVAudit]
    """Kind of cache -> the first tokens, one at a time."""
    activations: ActivationAudit
    """All that are always computed."""
    on_demand: ActivationAudit
    """These and all that are computed on demand."""
    passes: ForwardPeak
    """Without a cache."""
    weights: WeightAudit


@dataclass(frozen=True, eq=False)
class AuditData:
    """Everything on the page."""

    model: str
    n_layers: int
    n_heads: int
    n_key_value_heads: int
    d_head: int
    d_vocab: int
    n_ctx: int
    dtype: str
    number_bytes: int
    n_parameters: int
    predictions: tuple[MemoryPrediction, ...]
    """By context, at the batch that was asked for."""
    activations: Mapping[int, int]
    """Tokens -> bytes that `run_with_cache` will keep, at that batch."""
    exact_fit: Fits
    """Weights and cache."""
    fit: Fits
    """And what a pass holds in passing."""
    others: tuple[OtherModel, ...]
    measured: Measured | None = None
    """None where only the shape is known."""
    settings: Mapping[str, str] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)

    @property
    def per_token(self) -> int:
        """Bytes of keys and values of one token of one sequence, by formula."""
        return 2 * self.n_layers * self.n_key_value_heads * self.d_head * self.number_bytes

    @property
    def last(self) -> MemoryPrediction:
        """At the longest context."""
        return self.predictions[-1]
