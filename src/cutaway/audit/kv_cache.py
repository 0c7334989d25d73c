"""`kv_cache`: the real forward pass is intercepted, and what its cache holds is counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from ..model.kv_cache import KVCache
from ..model.transformer import HookedTransformer
from .formulas import check_sizes
from .interception import Allocations, Place
from .kv_audit import CacheShape, KVAudit
from .spans import Spans, storage_key, tensors_in

INTERCEPTED = "intercepted allocations"
BY_CUDA = "torch.cuda.max_memory_allocated"


@torch.no_grad()
def kv_cache(
    model: HookedTransformer,
    n_tokens: int | None = None,
    batch: int = 1,
    chunk: int = 1,
    *,
    max_length: int | None = None,
    cache: Callable[..., KVCache] = KVCache,
    seed: int = 0,
    progress: Callable[[float], None] = lambda share: None,
) -> KVAudit:
    """Run the model on a growing sequence, and count after every call what its cache holds.

    Every tensor operation is intercepted, from the making of the cache on. A byte counts as
    *filled* if a layer was seen to write data to it, and as *allocated* if a tensor of the cache's
    layer covers it; whatever else is alive when the call is over is held *beside* the cache. Hooks
    that are attached (`with model.hooks(...)`) run along: what they keep is seen.

    Args:
        model: its device and number format are what is measured.
        n_tokens: how far the sequence grows; None is the model's context.
        batch: sequences.
        chunk: new tokens in every call: 1 is token by token.
        max_length: tokens that the cache is made for; None means n_tokens.
        cache: makes the cache from (model, batch, max_length).
        seed: of the tokens, which are random: bytes do not depend on them.
        progress: is told the share of the tokens that are done.

    Raises:
        ValueError: sizes that are not positive, a sequence longer than the context or than
            max_length.

    Example:
        >>> kv_cache(model, n_tokens=32).is_exact
        True
    """
    n_tokens = model.cfg.n_ctx if n_tokens is None else n_tokens
    check_sizes(n_tokens=n_tokens, batch=batch, chunk=chunk)
    model.check_length(n_tokens)
    if max_length is not None and max_length < n_tokens:
        raise ValueError(f"max_length={max_length} is less than n_tokens={n_tokens}.")
    max_length = n_tokens if max_length is None else max_length
    tokens = random_tokens(model, batch, n_tokens, seed)
    ends = [min(start + chunk, n_tokens) for start in range(0, n_tokens, chunk)]
    meter = Allocations()
    with meter, ExitStack() as stack:
        with meter.at(Place(None, in_cache=True)):
            held = cache(model, batch, max_length)
        stack.enter_context(_watched(model, held, meter))
        steps = []
        for start, end in zip([0, *ends], ends, strict=False):
            steps.append(_call(model, tokens[:, start:end], held, meter))
            progress(end / n_tokens)
    counted = {name: np.array([step[name] for step in steps]) for name in steps[0]}
    cfg = model.cfg
    return KVAudit(
        model=cfg.model_name,
        cache=type(held).__name__,
        shape=CacheShape(cfg.n_layers, cfg.n_key_value_heads, cfg.d_head, batch, cfg.dtype),
        max_length=max_length,
        chunk=chunk,
        device=str(model.device),
        peak_by=peak_by(model.device),
        tokens=np.array(ends),
        **counted,
    )


def peak_by(device: torch.device) -> str:
    """How the most memory at once is measured on this device."""
    return BY_CUDA if device.type == "cuda" else INTERCEPTED


def random_tokens(
    model: HookedTransformer, batch: int, n_tokens: int, seed: int
) -> Int[Tensor, "batch pos"]:
    """Tokens that are none of the tokenizer's special ones, since padding would need a mask."""
    names = ("pad_token_id", "bos_token_id", "eos_token_id")
    special = {getattr(model.tokenizer, name, None) for name in names}
    plain = [token for token in range(model.cfg.d_vocab) if token not in special] or [0]
    drawn = np.random.default_rng(seed).choice(np.array(plain), (batch, n_tokens))
    return torch.from_numpy(drawn).to(model.device)


@contextmanager
def _watched(model: HookedTransformer, cache: KVCache, meter: Allocations) -> Iterator[None]:
    """Inside, the meter knows which layer runs, and whether its cache does."""
    with ExitStack() as stack:
        for at, block in enumerate(model.blocks):
            enter = block.register_forward_pre_hook(lambda *_, at=at: _run_layer(meter, at))
            leave = block.register_forward_hook(lambda *_: _run_layer(meter, None))
            stack.callback(enter.remove)
            stack.callback(leave.remove)
            stack.enter_context(_watch_method(cache.layers[at], "extend", meter, at))
        stack.enter_context(_watch_method(cache, "extend_mask", meter, None))
        yield


def _run_layer(meter: Allocations, layer: int | None) -> None:
    meter.layer = layer


@contextmanager
def _watch_method(thing: Any, name: str, meter: Allocations, layer: int | None) -> Iterator[None]:
    """Inside, what the object's method makes belongs to the layer's cache."""
    own = getattr(thing, name)

    def watched(*args: Any, **kwargs: Any) -> Any:
        with meter.at(Place(layer, in_cache=True)):
            return own(*args, **kwargs)

    setattr(thing, name, watched)
    try:
        yield
    finally:
        delattr(thing, name)


def _call(
    model: HookedTransformer, tokens: Tensor, cache: KVCache, meter: Allocations
) -> dict[str, Any]:
    """Run the model once; what is held afterwards, and what was in between."""
    meter.reset_peaks()
    before = sum(n for place, n in meter.written_at.items() if place.in_cache)
    on_cuda = model.device.type == "cuda"
    others = 0
    if on_cuda:
        torch.cuda.reset_peak_memory_stats(model.device)
        others = torch.cuda.memory_allocated(model.device) - meter.live
    logits = model(tokens, past_kv_cache=cache)
    n_logits = logits.untyped_storage().nbytes()
    del logits
    peak = torch.cuda.max_memory_allocated(model.device) - others if on_cuda else meter.peak
    written = sum(n for place, n in meter.written_at.items() if place.in_cache)
    n_layers = len(cache.layers)
    return {
        **_held(cache, meter),
        "layer_peak": [meter.peak_at[Place(at, in_cache=True)] for at in range(n_layers)],
        "cache_peak": meter.cache_peak,
        "copied": written - before,
        "logits": n_logits,
        "peak": peak,
    }


def _held(cache: KVCache, meter: Allocations) -> dict[str, Any]:
    """Bytes of every layer: allocated, filled, and alive beside the cache."""
    n_layers = len(cache.layers)
    allocated, filled = [0] * n_layers, [0] * n_layers
    covered: dict[int, Spans] = {}
    for at, layer in enumerate(cache.layers):
        own: dict[int, Spans] = {}
        for tensor in tensors_in(layer):
            key = storage_key(tensor)
            if key in meter.storages:
                own.setdefault(key, Spans()).add(tensor)
                covered.setdefault(key, Spans()).add(tensor)
        for key, spans in own.items():
            found = meter.storages[key]
            allocated[at] += spans.n_bytes
            if found.is_filled:
                filled[at] += spans.n_bytes
            elif at in found.written:
                filled[at] += found.written[at].n_bytes
    beside = [0] * (n_layers + 1)
    for key, found in meter.storages.items():
        rest = found.n_bytes - (covered[key].n_bytes if key in covered else 0)
        beside[-1 if found.place.layer is None else found.place.layer] += rest
    return {"allocated": allocated, "filled": filled, "beside": beside}
