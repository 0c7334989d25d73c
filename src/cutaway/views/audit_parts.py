"""The figures and tables of the page of `cutaway audit kv`."""

from __future__ import annotations

import numpy as np

from .audit_data import LAYERS, LEAKING, OURS, STAGES, WHOLE, AuditData, Measured, size
from .bars import Bar, BarsView
from .curve import CurveSeries, CurveView
from .heatmap import HeatmapView
from .layout import Disclosure
from .numbers import number
from .table import Column, TableView

_MIB, _KIB = 2**20, 2**10
_N_BARS = 14


_MOST_POINTS, _MOST_COLUMNS = 64, 16


def _picked(n: int, most: int) -> list[int]:
    """At most so many of n steps, evenly, the last one among them."""
    return sorted({round((at + 1) * n / min(n, most)) - 1 for at in range(min(n, most))})


def _unit(largest: float) -> tuple[int, str]:
    return (_MIB, "MiB") if largest >= _MIB else (_KIB, "KiB")


def total_curve(found: Measured) -> CurveView:
    """All layers together over the tokens: filled, allocated, formula."""
    audit = found.in_chunks
    unit, name = _unit(audit.allocated[-1].sum())
    at = _picked(len(audit.tokens), _MOST_POINTS)
    x = audit.tokens[at].tolist()
    formula = CurveSeries("formula", x, (audit.formula.sum(1)[at] / unit).tolist())
    return CurveView(
        (
            CurveSeries("filled, measured", x, (audit.filled.sum(1)[at] / unit).tolist()),
            CurveSeries("allocated, measured", x, (audit.allocated.sum(1)[at] / unit).tolist()),
            CurveSeries("most at once in the call", x, (audit.peak[at] / unit).tolist()),
        ),
        control=formula,
        title="Bytes of the key-value cache as the sequence grows",
        caption="All layers. The cache is allocated once, for the whole length; what is filled "
        "lies on the formula (grey). The upper line is everything that was alive at once during "
        "the call, logits included and weights not.",
        x_label="tokens held",
        y_label=name,
        references=((0.0, ""),),
    )


def layer_map(found: Measured) -> HeatmapView:
    """Layers by tokens: bytes filled."""
    audit = found.in_chunks
    unit, name = _unit(float(audit.filled.max()))
    at = _picked(len(audit.tokens), _MOST_COLUMNS)
    even = bool((audit.filled == audit.filled[:, :1]).all())
    return HeatmapView(
        audit.filled[at].T / unit,
        [str(layer) for layer in range(audit.shape.n_layers)],
        [f"{n:,}" for n in audit.tokens[at].tolist()],
        title="Each layer",
        caption="Bytes that the layer was seen to write into its cache and that are still held."
        + (" Every layer holds as much as any other." if even else ""),
        row_axis="layer",
        column_axis="tokens held",
        value_label=name,
        cell_labels=True,
    )


def steps_table(found: Measured) -> Disclosure:
    """Every call."""
    audit = found.in_chunks
    rows = [
        (
            f"{int(audit.tokens[at]):,}",
            f"{int(audit.filled[at].sum()):,}",
            f"{int(audit.formula[at].sum()):,}",
            f"{int(audit.excess[at].sum()):,}",
            size(audit.allocated[at].sum()),
            size(audit.logits[at]),
            size(audit.peak[at]),
            size(found.estimated_peaks[at]),
        )
        for at in _picked(len(audit.tokens), _MOST_POINTS)
    ]
    heads = ["tokens held", "filled, bytes", "formula, bytes", "too much, bytes", "allocated"]
    heads += ["logits", "most at once", "estimated"]
    return Disclosure(
        "Every call",
        TableView([Column(head, "right") for head in heads], rows),
    )


def caches_table(found: Measured) -> TableView:
    """Kinds of cache."""
    ours = found.caches[OURS].copied.sum()
    rows = []
    for kind in (OURS, LAYERS, WHOLE, LEAKING):
        audit = found.caches[kind]
        held = int(audit.filled[-1].sum())
        rows.append(
            (
                kind + (" (control)" if kind == LEAKING else ""),
                size(held),
                size(audit.cache_peak[-1]),
                f"{number(audit.cache_peak[-1] / held)} ×",
                f"{number(audit.copied.sum() / ours, 1)} ×",
                size(audit.excess[-1].sum()) if audit.excess.any() else "none",
            )
        )
    columns = ["cache"] + [
        Column(name, "right")
        for name in ("held", "at most", "at most / held", "bytes written", "too much")
    ]
    n = int(found.caches[OURS].tokens[-1])
    return TableView(
        columns,
        rows,
        title=f"Four caches, {n} tokens, one at a time",
        caption="At most: bytes that the cache's own code had alive during the last call. Bytes "
        "written: over all calls, beside the cache that is allocated once. Too much: held beyond "
        "the formula after the last call.",
    )


def caches_curve(found: Measured) -> CurveView:
    """What is there at most, over the tokens."""
    largest = max(audit.cache_peak.max() for audit in found.caches.values())
    unit, name = _unit(float(largest))
    kinds = [
        CurveSeries(kind, audit.tokens.tolist(), (audit.cache_peak / unit).tolist())
        for kind, audit in found.caches.items()
        if kind != LEAKING
    ]
    leaking = found.caches[LEAKING]
    control = CurveSeries(LEAKING, leaking.tokens.tolist(), (leaking.cache_peak / unit).tolist())
    return CurveView(
        kinds,
        control=control,
        title="What each cache has alive at most while it takes one more token",
        caption="The cache that is allocated once has room for all tokens from the beginning.",
        x_label="tokens held",
        y_label=name,
        references=((0.0, ""),),
    )


def activation_bars(found: Measured) -> BarsView:
    """Kinds of activation, over all layers."""
    audit = found.on_demand
    always = set(found.activations.by_kind())
    unit, name = _unit(max(audit.by_kind().values()))
    bars = [
        Bar(kind, n_bytes / unit, note="" if kind in always else "on demand")
        for kind, n_bytes in list(audit.by_kind().items())[:_N_BARS]
    ]
    return BarsView(
        tuple(bars),
        title="What run_with_cache keeps, over all layers",
        caption=f"{audit.batch} × {audit.n_tokens} tokens. Patterns and scores grow with the "
        "square of the tokens, all else in proportion. Names marked on demand are kept only where "
        "a filter names them; here it names all, and ln1 then runs once for each head.",
        value_label=name,
    )


def activation_table(found: Measured) -> Disclosure:
    """Every name."""
    rows = [
        (
            row["name"],
            " × ".join(f"{one:,}" for one in row["shape"]),
            f"{row['measured']:,}" if row["measured"] else "shared",
            f"{row['predicted']:,}" if row["predicted"] else "shared",
        )
        for row in found.on_demand.to_frame()
    ]
    columns = ("name", "shape", Column("measured, bytes", "right"), Column("foretold", "right"))
    return Disclosure("Every name", TableView(columns, rows))


def passes_table(found: Measured) -> TableView:
    """Passes without a cache."""
    rows = [
        (
            f"{row['tokens']:,}",
            size(row["measured"]),
            size(row["estimated"]),
            f"{number(100 * row['error'], 1, signed=True)}%",
            STAGES[row["stage"]],
        )
        for row in found.passes.to_frame()
    ]
    return TableView(
        (
            Column("tokens", "right"),
            Column("measured", "right"),
            Column("estimated", "right"),
            Column("off by", "right"),
            "where",
        ),
        rows,
        title="The most at once in one pass, weights and cache aside",
        caption=f"Measured by {found.passes.peak_by}. Where: the stage that the estimate says "
        "holds most.",
    )


def prediction_table(data: AuditData) -> TableView:
    """Contexts."""
    rows = [
        (
            f"{one.n_tokens:,}",
            size(one.weights),
            size(one.kv_cache),
            size(one.working.attention),
            size(one.working.mlp),
            size(one.working.logits),
            size(one.total),
            size(data.activations[one.n_tokens]),
        )
        for one in data.predictions
    ]
    heads = ["tokens", "weights", "key-value cache", "attention", "MLP", "logits", "in all"]
    heads += ["activations"]
    return TableView(
        [Column(head, "right") for head in heads],
        rows,
        title=f"Foretold, {data.dtype}, batch {data.last.batch}, read at once",
        caption="In all: weights, cache, and the largest of the three stages of a pass. "
        "Activations: what run_with_cache without a filter would keep on top of that.",
    )


def others_table(data: AuditData) -> TableView:
    """Well-known models."""
    rows = [
        (
            one.name,
            one.n_layers,
            f"{one.n_key_value_heads} of {one.n_heads}",
            one.d_head,
            f"{one.n_parameters / 1e9:.2f}",
            f"{one.per_token:,}",
            f"{one.n_ctx:,}",
            size(one.per_token * one.n_ctx),
        )
        for one in data.others
    ]
    heads = ["layers", "key-value heads", "d_head", "parameters, 10⁹", "bytes per token"]
    heads += ["context", "cache at context"]
    sources = "; ".join(dict.fromkeys(one.source for one in data.others))
    return TableView(
        ("model", *(Column(head, "right") for head in heads)),
        rows,
        title="Well-known models in half precision, by their configuration",
        caption="One sequence. Each configuration gives exactly the number of parameters of "
        f"the published checkpoint, which the tests hold. From: {sources}.",
    )


def weights_rows(found: Measured) -> TableView:
    """Parameters, zeros, bytes."""
    one = found.weights
    rows = [
        ("parameters", f"{one.n_parameters:,}"),
        ("zeros for biases that are off", f"{one.n_zero_biases:,}"),
        ("bytes, foretold", f"{one.n_bytes_predicted:,}"),
        ("bytes, measured", f"{one.n_bytes:,}"),
        ("bytes by name, shared ones twice", f"{one.n_bytes_by_name:,}"),
    ]
    return TableView(("weights", Column("", "right")), rows)


def excess_total(found: Measured) -> int:
    """Bytes that are not accounted for, over all calls of our cache."""
    audits = (found.in_chunks, found.caches[OURS])
    return int(max(np.abs(audit.excess).max() for audit in audits))
