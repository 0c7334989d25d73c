"""The figures of FINDINGS.md, drawn from results.json alone; those without data are left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ... import plotting
from ...files import atomic_path, write_text
from ...views.recorded import Recorded
from ...views.shakespeare_curves import CURVES

_DPI = 110
_PATHS = ("induction/one_repeat/where", "induction/passages/where", "prediction/far_context")
_PARTS = {"attn_out": "attention", "mlp_out": "MLP"}


def draw(results: Mapping[str, Any], place: Callable[[str], Path]) -> dict[str, str]:
    """Draw every figure that there are data for.

    Args:
        results: what results.json holds.
        place: name of a file -> where to write it.

    Returns:
        Name of the figure -> its path beside the document.
    """
    record = Recorded(results)
    drawn = {}
    for name, curve in CURVES.items():
        view = curve(record)
        if view is not None:
            write_text(place(f"{name}.svg"), view.svg())
            drawn[name] = f"figures/{name}.svg"
    for name, make in _PICTURES.items():
        figure = make(record)
        if figure is not None:
            with atomic_path(place(f"{name}.png")) as path:
                figure.savefig(path, dpi=_DPI, format="png")
            drawn[name] = f"figures/{name}.png"
    return drawn


def _effects(record: Recorded) -> Any:
    """What each layer's attention and MLP bring back, in the first model that can be patched."""
    for path in _PATHS:
        for at, name in enumerate(record.names):
            layers = record.get(f"models/{at}/{path}/layers")
            if layers is None:
                continue
            rows = [(site, row) for site in _PARTS for row in layers.get(site, [])]
            title = {"one": "A B ... A", "pas": "a passage read again", "pre": "far context"}
            words = title[path.split("/")[-2][:3]]
            return plotting.bars(
                [f"{_PARTS[site]} {row['layer']}" for site, row in rows],
                [row["effect"] for _, row in rows],
                f"Patching layers, {words}, {name}",
                low=[row["low"] for _, row in rows],
                high=[row["high"] for _, row in rows],
                value_label="share of clean less corrupted that comes back",
            )
    return None


def _scores(record: Recorded) -> Any:
    """Every head's score of every class, of the first model."""
    rows = record.get("models/0/heads/heads")
    if not rows:
        return None
    skipped = ("layer", "head", "classes", "generality", "copying")
    names = [
        name
        for name in rows[0]
        if name not in skipped and not name.endswith(("_low", "_high", "_p"))
    ]
    values = np.array([[np.nan if r[n] is None else r[n] for n in names] for r in rows])
    return plotting.heatmap(
        values,
        [f"{row['layer']}.{row['head']}" for row in rows],
        names,
        f"Scores of heads, {record.names[0]}",
        row_axis="head",
        value_label="score",
        limit=1.0,
    )


def _orders(record: Recorded) -> Any:
    """KL between lens and n-grams, layer by order, of the first model."""
    base = "models/0/prediction/orders/logit lens"
    kl = record.get(f"{base}/kl")
    if not kl:
        return None
    return plotting.heatmap(
        np.array([[one["estimate"] for one in row] for row in kl]),
        record.get("models/0/prediction/points"),
        [str(order) for order in record.get(f"{base}/orders")],
        f"Logit lens beside n-grams, {record.names[0]}",
        row_axis="after layer",
        column_axis="order of the n-gram model",
        value_label="KL(lens || n-grams), nats",
    )


def _pattern(record: Recorded) -> Any:
    """Where the strongest suspect looks on one prompt."""
    found = record.get("models/0/induction/pattern")
    if not found:
        return None
    words = [word.replace("\n", "↵") for word in found["characters"]]
    return plotting.heatmap(
        np.array(found["patterns"][found["number"]]),
        words,
        words,
        f"Attention of head {found['head']}, {record.names[0]}",
        row_axis="query",
        column_axis="key",
        limit=1.0,
        cell_labels=False,
    )


_PICTURES: dict[str, Callable[[Recorded], Any]] = {
    "induction_patching_effects": _effects,
    "induction_attention": _pattern,
    "head_scores": _scores,
    "lens_and_ngrams": _orders,
}
