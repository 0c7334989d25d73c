"""`forward_peak`: the most memory at once during a forward pass, measured beside the estimate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from ..model.config import ModelConfig
from ..model.transformer import HookedTransformer
from .formulas import check_sizes
from .interception import Allocations
from .kv_audit import KVAudit
from .kv_cache import peak_by, random_tokens
from .working import working_bytes


@dataclass(frozen=True, eq=False)
class ForwardPeak:
    """The most bytes at once beside the weights, of passes without gradients and without a cache.

    Example:
        >>> forward_peak(model, (16, 64)).error
        array([0.0, 0.0])
    """

    model: str
    batch: int
    dtype: str
    peak_by: str
    """How it was measured."""
    tokens: Int[np.ndarray, " length"]
    """Tokens of each sequence."""
    measured: Int[np.ndarray, " length"]
    """The most bytes that were alive at once."""
    estimated: Int[np.ndarray, " length"]
    """What `working_bytes` says."""
    stages: tuple[str, ...]
    """Where it says that the most is held."""

    @property
    def error(self) -> Float[np.ndarray, " length"]:
        """(estimated - measured) / measured: negative where the estimate is too low."""
        return (self.estimated - self.measured) / self.measured  # type: ignore[no-any-return]

    def to_frame(self) -> list[dict[str, Any]]:
        """One row for each length."""
        return [
            {
                "tokens": int(self.tokens[at]),
                "measured": int(self.measured[at]),
                "estimated": int(self.estimated[at]),
                "error": float(self.error[at]),
                "stage": self.stages[at],
            }
            for at in range(len(self.tokens))
        ]


@torch.no_grad()
def forward_peak(
    model: HookedTransformer,
    lengths: Sequence[int],
    batch: int = 1,
    *,
    seed: int = 0,
    progress: Callable[[float], None] = lambda share: None,
) -> ForwardPeak:
    """Run the model on sequences of several lengths, and measure what is held at most.

    On a CPU allocations are intercepted; on CUDA its allocator is asked. The two differ: the first
    sees no scratch memory of kernels, the second no more than its own rounding allows.

    Args:
        model: with its device and number format.
        lengths: tokens of each sequence, one pass for each.
        batch: sequences.
        seed: of the random tokens.
        progress: is told the share of the passes that are done.

    Raises:
        ValueError: a length or batch that is not positive, or longer than the context.

    Example:
        >>> forward_peak(model, (64,)).measured
        array([1250000])
    """
    check_sizes(batch=batch, **{"a length": min(lengths, default=0)})
    model.check_length(max(lengths))
    estimates = [working_bytes(model.cfg, n, batch=batch) for n in lengths]
    measured = []
    for at, n_tokens in enumerate(lengths):
        measured.append(_peak(model, n_tokens, batch, seed))
        progress((at + 1) / len(lengths))
    return ForwardPeak(
        model.cfg.model_name,
        batch,
        model.cfg.dtype,
        peak_by(model.device),
        np.array(lengths),
        np.array(measured),
        np.array([one.peak for one in estimates]),
        tuple(one.stage for one in estimates),
    )


def estimated_peaks(audit: KVAudit, cfg: ModelConfig) -> Int[np.ndarray, " step"]:
    """What the peak of each call of an audit ought to have been: the cache, and what
    `working_bytes` says of the call.

    Args:
        audit: of a cache that is allocated once.
        cfg: of the model.

    Example:
        >>> estimated_peaks(audit, model.cfg) / audit.peak
        array([1.0, 1.0])
    """
    ends: list[int] = audit.tokens.tolist()
    batch, cache = audit.shape.batch, audit.allocated.sum(1)
    passes = [
        working_bytes(cfg, end - start, start, batch, with_cache=True).peak
        for start, end in zip([0, *ends], ends, strict=False)
    ]
    return cache + np.array(passes, dtype=np.int64)  # type: ignore[no-any-return]


def _peak(model: HookedTransformer, n_tokens: int, batch: int, seed: int) -> int:
    tokens = random_tokens(model, batch, n_tokens, seed)
    if model.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(model.device)
        before = torch.cuda.memory_allocated(model.device)
        model(tokens)
        return int(torch.cuda.max_memory_allocated(model.device) - before)
    with Allocations() as seen:
        model(tokens)
    return int(seen.peak)
