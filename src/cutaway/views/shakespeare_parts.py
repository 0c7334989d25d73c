"""Tables and maps of the Shakespeare study's report, from its record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .heatmap import HeatmapView
from .recorded import NOT_MEASURED, Recorded, interval_of, shown
from .table import Cell, TableView
from .view import View


def of_models(
    record: Recorded,
    rows: Sequence[tuple[str, str, bool]],
    title: str,
    caption: str = "",
    first: str = "",
) -> TableView:
    """A column for each model, a row for each (label, path, is a share)."""
    cells = [record.row(label, path, share=share) for label, path, share in rows]
    return TableView(
        (first, *record.names),
        [[label, *values] for label, values in cells],
        title=title,
        caption=caption,
    )


def floats(rows: Any) -> np.ndarray:
    """Numbers of a record as a matrix, NaN where there is none."""
    return np.array([[np.nan if one is None else one for one in row] for row in rows], dtype=float)


def classes_table(record: Recorded) -> TableView:
    """The taxonomy of every model."""
    kinds: dict[str, list[str]] = {}
    for at in range(record.n_models):
        own = dict(record.get(f"models/{at}/heads/classes") or {})
        in_text = record.get(f"models/{at}/heads/text_heads") or {}
        own |= {f"in text: {kind}": heads for kind, heads in in_text.items()}
        for kind, heads in own.items():
            kinds.setdefault(kind, [""] * record.n_models)[at] = ", ".join(heads)
    shares = [
        record.row("share with a class", "heads/share_named", share=True),
        record.row("with shuffled weights", "heads/share_named_random/shuffled", share=True),
    ]
    rows = [[kind, *heads] for kind, heads in kinds.items() if any(heads)]
    return TableView(
        ("class", *record.names),
        [*([label, *cells] for label, cells in shares), *rows],
        title="Heads and their classes",
        caption="By attention on random characters; in text, beyond what the same pattern gives to "
        "another window's characters.",
    )


def scores_map(record: Recorded) -> HeatmapView | None:
    """Every head's scores, first model."""
    rows = record.get("models/0/heads/heads")
    if not rows:
        return None
    names = [name.removesuffix("_low") for name in rows[0] if name.endswith("_low")]
    names = [name for name in names if name != "generality"]
    arrays = [
        floats([[row[f"{name}{end}"] for name in names] for row in rows])
        for end in ("", "_low", "_high")
    ]
    return HeatmapView(
        arrays[0],
        [f"{row['layer']}.{row['head']}" for row in rows],
        names,
        arrays[1],
        arrays[2],
        title=f"Scores of heads, {record.names[0]}",
        row_axis="head",
        value_label="score",
        limit=1.0,
    )


def orders_table(record: Recorded) -> TableView:
    """The nearest order after each layer."""
    rows: list[list[Cell]] = []
    for at, name in enumerate(record.names):
        for lens, found in (record.get(f"models/{at}/prediction/orders") or {}).items():
            cells = [f"{one['order']} ({one['low']} to {one['high']})" for one in found["nearest"]]
            rows.append([f"{name}, {lens}", *cells])
    points = record.get("models/0/prediction/points") or []
    return TableView(
        ("", *points),
        rows,
        title="The nearest order of n-grams after each layer",
        caption="In brackets where 95% of the resamples of windows put it.",
    )


def order_maps(record: Recorded) -> list[View]:
    """KL between lens and n-grams of the first model, by lens."""
    views: list[View] = []
    for lens, found in (record.get("models/0/prediction/orders") or {}).items():
        values, low, high = (
            np.array([[one[key] for one in row] for row in found["kl"]], dtype=float)
            for key in ("estimate", "low", "high")
        )
        views.append(
            HeatmapView(
                values,
                record.get("models/0/prediction/points"),
                [str(order) for order in found["orders"]],
                low,
                high,
                title=f"{lens.capitalize()} beside n-grams, {record.names[0]}",
                row_axis="after layer",
                column_axis="order",
                value_label="KL(lens ‖ n-grams), nats",
            )
        )
    return views


def sizes_table(record: Recorded) -> TableView | None:
    """The sweep over sizes."""
    rows = record.get("sizes/rows")
    if not rows:
        return None
    return TableView(
        (
            "size",
            "weights",
            "loss",
            "beats order",
            "A B ... A, less bigrams",
            "passage gain",
            "induction score",
        ),
        [
            [
                row["size"],
                f"{row['n_parameters']:,}",
                interval_of(row["loss"]),
                str(row["beats_order"]),
                interval_of(row["above_bigram"]),
                interval_of(row["gain"]),
                interval_of(row["induction"]["score"]),
            ]
            for row in rows
        ],
        title=f"Layers × width, {record.text('sizes/n_steps')} steps each",
        caption="One seed each. Beats order: the highest order of n-grams whose loss is clearly "
        "higher. The induction score is that of the highest head.",
    )


def failures_table(record: Recorded) -> TableView:
    """Whether right answers can be told from wrong ones."""
    rows = []
    for kind, words in (("one_repeat", "A B ... A"), ("passages", "passage read again")):
        for name in ("attention", "confidence"):
            base = f"failures/{kind}/{name}"
            rows.append((f"{words}: {name}", f"{base}/auroc", False))
            rows.append(("right and wrong dealt out at random", f"{base}/shuffled", False))
    return of_models(
        record,
        rows,
        "Are failures foretold?",
        "AUROC: how often a right answer has the higher value than a wrong one. Attention: of the "
        "suspected heads from END to B; confidence: the model's highest probability.",
    )


def criteria_table(record: Recorded) -> TableView:
    """Every criterion in every model."""
    rows: list[list[Cell]] = []
    for row in record.get("replication/criteria") or []:
        cells = [
            verdict if value is None else f"{verdict}: {shown(value)}"
            for verdict, value in zip(row["verdicts"], row["observed"], strict=True)
        ]
        rows.append([str(row["finding"]), row["statement"], row["expected"], *cells])
    return TableView(
        ("finding", "criterion", "expected", *record.names),
        rows,
        title="Criteria",
        caption=f"Hold in every model: {record.text('replication/share_held', share=True)}.",
    )


def cost_table(record: Recorded) -> TableView:
    """Milliseconds per layer."""
    words = {
        "plain_run": "a plain run",
        "patching_layer": "patching one part of every layer",
        "patching_heads": "patching every head",
        "attention": "recording attention",
        "lens": "logit lens",
    }
    return TableView(
        ("method", "ms per layer"),
        [[name, record.text(f"methods/cost/ms_per_layer/{key}", 2)] for key, name in words.items()],
        title="What each method costs",
        caption=f"On {record.text('methods/cost/n_prompts')} prompts; median of several, with the "
        f"least and the most. {NOT_MEASURED.capitalize()} where this says so.",
    )
