"""Everything that `cutaway audit kv` measures on a model that is run."""

from __future__ import annotations

from ...audit import (
    ConcatenatingCache,
    LeakingCache,
    WholeCache,
    activations,
    estimated_peaks,
    forward_peak,
    kv_cache,
    weights,
)
from ...audit.kv_cache import random_tokens
from ...model.kv_cache import KVCache
from ...model.transformer import HookedTransformer
from ...views.audit_data import LAYERS, LEAKING, OURS, WHOLE, Measured
from ..steps import Steps
from .settings import AuditKvSettings

_N_CALLS = 16
_CACHES = {OURS: KVCache, LAYERS: ConcatenatingCache, WHOLE: WholeCache, LEAKING: LeakingCache}


def measure(
    model: HookedTransformer, n_tokens: int, settings: AuditKvSettings, steps: Steps
) -> Measured:
    """The cache in chunks over the whole length; four caches token by token; activations by name;
    passes of several lengths; weights.

    Args:
        model: which is run.
        n_tokens: how far the sequence grows.
        settings: batch and lengths.
        steps: each is one step.

    Example:
        >>> measure(model, 64, AuditKvSettings(), steps).in_chunks.is_exact
        True
    """
    batch, seed = settings.batch, settings.seed
    chunk = settings.chunk or -(-n_tokens // _N_CALLS)
    n_single, n_cached = min(settings.n_single, n_tokens), min(settings.n_cached, n_tokens)
    with steps("the cache, in chunks") as progress:
        in_chunks = kv_cache(model, n_tokens, batch, chunk, seed=seed, progress=progress)
    caches = {}
    with steps("other caches, token by token") as progress:
        for at, (kind, cache) in enumerate(_CACHES.items()):
            caches[kind] = kv_cache(model, n_single, batch, cache=cache, seed=seed)
            progress((at + 1) / len(_CACHES))
    with steps("activations by name") as progress:
        tokens = random_tokens(model, batch, n_cached, seed)
        plain = activations(model, tokens)
        progress(0.3)
        every = activations(model, tokens, lambda name: True)
    with steps("passes without a cache") as progress:
        lengths = sorted({max(n_tokens // part, 1) for part in (16, 4, 2, 1)})
        passes = forward_peak(model, lengths, batch, seed=seed, progress=progress)
    return Measured(
        in_chunks,
        estimated_peaks(in_chunks, model.cfg),
        caches,
        plain,
        every,
        passes,
        weights(model),
    )
