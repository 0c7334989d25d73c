"""What an audit of memory found, in words. Every sentence is chosen by a stated rule."""

from __future__ import annotations

from .audit_data import LAYERS, LEAKING, OURS, STAGES, WHOLE, AuditData, Measured, size
from .numbers import number, percent


def findings(data: AuditData) -> tuple[str, ...]:
    """Cache, growth, control, activations, weights, passes, fits; of a shape what is foretold."""
    if data.measured is None:
        return (foretold(data), parts(data), fits(data))
    found = data.measured
    return (
        cache(data, found),
        growth(found),
        control(found),
        activations(found),
        weights(found),
        passes(found),
        fits(data),
    )


def formula(data: AuditData) -> str:
    """The formula with this model's numbers."""
    return (
        f"2 × {data.n_layers} layers × {data.n_key_value_heads} key-value heads × {data.d_head} "
        f"× {data.number_bytes} bytes = {data.per_token:,} bytes per token"
    )


def foretold(data: AuditData) -> str:
    """Without a run."""
    last = data.last
    return (
        f"{formula(data)} of a sequence ({data.dtype}): {size(last.kv_cache)} for "
        f"{_sequences(last.batch)} of {last.n_tokens:,} tokens. Foretold, not measured."
    )


def parts(data: AuditData) -> str:
    """What a context costs beside the cache."""
    last = data.last
    return (
        f"Read at once, {last.n_tokens:,} tokens need {size(last.total)} in all: weights "
        f"{size(last.weights)}, cache {size(last.kv_cache)}, in passing about "
        f"{size(last.working.peak)} (most of it {STAGES[last.working.stage]})."
    )


def cache(data: AuditData, found: Measured) -> str:
    """Measured beside the formula."""
    audit = found.in_chunks
    n, batch = int(audit.tokens[-1]), audit.shape.batch
    steps = len(audit.tokens) + len(found.caches[OURS].tokens)
    held = f"{size(audit.filled[-1].sum())} for {_sequences(batch)} of {n:,} tokens"
    if audit.is_exact and found.caches[OURS].is_exact:
        return (
            f"The cache holds {audit.bytes_per_token:,.0f} bytes per token, {held}: exactly "
            f"what the formula says, in every layer after each of {steps} calls, and nothing else "
            "stays behind."
        )
    worst = max((found.in_chunks, found.caches[OURS]), key=lambda one: abs(one.excess).max())
    return (
        f"The cache holds {audit.bytes_per_token:,.0f} bytes per token, {held}, and the "
        f"formula says {data.per_token:,} per token: up to {size(abs(worst.excess).max())} in one "
        "layer are not accounted for."
    )


def growth(found: Measured) -> str:
    """What concatenation costs meanwhile."""
    n = int(found.caches[OURS].tokens[-1])
    rows = []
    for kind in (LAYERS, WHOLE):
        audit = found.caches[kind]
        ratio = audit.cache_peak[-1] / audit.filled[-1].sum()
        copied = audit.copied.sum() / found.caches[OURS].copied.sum()
        rows.append((number(ratio), number(copied, 1)))
    return (
        f"A cache that grows by concatenation takes, at {n} tokens, {rows[0][0]} times what it "
        f"holds while each layer grows by itself, and {rows[1][0]} times where all layers are one "
        f"tensor; over {n} tokens the two write {rows[0][1]} and {rows[1][1]} times as many bytes "
        "as one that is allocated once."
    )


def control(found: Measured) -> str:
    """Whether the audit sees a fault."""
    audit = found.caches[LEAKING]
    if audit.is_exact:
        return "The control, a cache that keeps copies, was NOT seen: do not trust this audit."
    return (
        f"The control, a cache that keeps copies, is seen: {size(audit.excess[-1].sum())} too "
        f"much after {int(audit.tokens[-1])} tokens."
    )


def activations(found: Measured) -> str:
    """By name."""
    plain, every = found.activations, found.on_demand
    first, second = list(plain.by_kind().items())[:2]
    exact = "as foretold by name" if plain.is_exact and every.is_exact else "NOT as foretold"
    return (
        f"run_with_cache keeps {size(plain.total)} of {_sequences(plain.batch)} of "
        f"{plain.n_tokens} tokens ({exact}), most in {first[0]} ({size(first[1])}) and "
        f"{second[0]} ({size(second[1])}); with all that is computed on demand {size(every.total)}."
    )


def weights(found: Measured) -> str:
    """Parameters."""
    one = found.weights
    exact = "as foretold" if one.is_exact else f"foretold were {size(one.n_bytes_predicted)}"
    tied = (
        f" W_U is W_E and counts once; by name it would be {size(one.n_bytes_by_name)}."
        if one.is_tied
        else ""
    )
    zeros = f" and {one.n_zero_biases:,} zeros for biases that are off" if one.n_zero_biases else ""
    return f"Weights: {one.n_parameters:,} parameters{zeros}, {size(one.n_bytes)} ({exact}).{tied}"


def passes(found: Measured) -> str:
    """The peak beside its estimate."""
    one = found.passes
    errors = [abs(error) for error in one.error]
    errors += [abs(a / b - 1) for a, b in zip(found.estimated_peaks, found.in_chunks.peak,
                                              strict=True)]  # fmt: skip
    return (
        f"At most {size(one.measured[-1])} at once beside the weights in a pass over "
        f"{int(one.tokens[-1]):,} tokens ({one.peak_by}), {STAGES[one.stages[-1]]}; over "
        f"{len(errors)} passes the estimate is off by at most {percent(max(errors))}."
    )


def fits(data: AuditData) -> str:
    """What fits."""
    one, exact = data.fit, data.exact_fit
    if not one.context:
        alone = size(data.last.weights)
        return f"Into {size(one.memory)} it does not fit: the weights alone are {alone}."
    by_memory = ""
    if one.context_by_memory is not None:
        by_memory = (
            f" (memory would do for {one.context_by_memory:,}, the model for {data.n_ctx:,})"
        )
    batch = "any number of" if one.batch_at is None else f"{one.batch_at:,}"
    also = "" if exact.batch_at is None else f"; weights and cache alone: {exact.batch_at:,}"
    return (
        f"Into {size(one.memory)} fit {one.context:,} tokens at {_sequences(one.batch)}{by_memory},"
        f" and {batch} sequences of {one.n_tokens:,} tokens read at once{also}."
    )


def _sequences(batch: int) -> str:
    return "1 sequence" if batch == 1 else f"{batch} sequences"
