"""Tables and maps of the Shakespeare study's report, from its record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .attention import AttentionExample, AttentionView
from .bars import Bar, BarsView
from .heatmap import HeatmapView
from .layout import Note
from .recorded import NOT_MEASURED, Recorded, interval_of, shown
from .table import Cell, TableView
from .view import View

WHERE = {
    "A B ... A": "induction/one_repeat/where",
    "passage read again": "induction/passages/where",
    "far context": "prediction/far_context",
}
"""Kind of prompts -> where their layers stand in a model's record."""
_SITES = {"attn_out": "attention", "mlp_out": "MLP"}
_LENS = "prediction/orders/logit lens"


def _of_models(
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


def capability_table(record: Recorded) -> TableView:
    """What the models make of A B ... A, and of a passage read twice."""
    one, again = "induction/one_repeat", "induction/passages"
    return _of_models(
        record,
        [
            ("A B ... A: accuracy", f"{one}/accuracy", True),
            ("bigram model", f"{one}/accuracy_bigram", True),
            ("n-grams of the highest order", f"{one}/accuracy_ngram", True),
            ("A's first place taken by another", f"{one}/accuracy_without_first", True),
            ("passage: loss after another", f"{again}/loss_after_another", False),
            ("passage: loss when read again", f"{again}/loss_again", False),
            ("passage: nats gained", f"{again}/gain", False),
        ],
        "Does it copy?",
        "Different characters drawn without replacement, then one of them again; and held-out "
        f"passages. Chance: {record.text('data/chance', share=True)}.",
    )


def control_table(record: Recorded) -> TableView:
    """The same tests where induction is known to be."""
    rows = [
        ("accuracy", "control/accuracy", True),
        ("A's first place taken by another", "control/accuracy_without_first", True),
        ("attention layer that matters most", "control/where/strongest_attention_layer", False),
        ("lost without the suspected heads", "control/where/ablation/lost", False),
        ("lost without random heads, mean", "control/where/ablation/random_mean", False),
        ("share of random sets that lose as much (p)", "control/where/ablation/p", False),
    ]
    heads = ", ".join(row["head"] for row in record.get("control/suspects") or [])
    return TableView(
        ("test", record.text("control/model")),
        [
            *([label, record.text(path, share=share)] for label, path, share in rows),
            ["suspected heads", heads or NOT_MEASURED],
        ],
        title="Would these tests find it?",
        caption="The control: a model that was trained to have induction heads, on A B ... A of "
        "words.",
    )


def layer_maps(record: Recorded) -> list[View]:
    """For each kind of prompts, what each layer's attention and MLP bring back."""
    views: list[View] = []
    for words, path in WHERE.items():
        rows, labels = [], []
        for at, name in enumerate(record.names):
            layers = record.get(f"models/{at}/{path}/layers")
            for site, part in _SITES.items():
                if site not in (layers or {}):
                    continue
                rows.append(
                    [[row[key] for row in layers[site]] for key in ("effect", "low", "high")]
                )
                labels.append(f"{name}, {part}")
        if not rows:
            views.append(
                Note(
                    "caution",
                    f"No layers for the prompts {words}: {record.why(f'models/0/{path}')}.",
                )
            )
            continue
        depth = max(len(row[0]) for row in rows)
        arrays = np.full((3, len(rows), depth), np.nan)
        for i, row in enumerate(rows):
            arrays[:, i, : len(row[0])] = _floats(row)
        views.append(
            HeatmapView(
                arrays[0],
                labels,
                [str(layer) for layer in range(depth)],
                arrays[1],
                arrays[2],
                title=f"Which layers: {words}",
                column_axis="layer",
                value_label="share that comes back",
            )
        )
    return views


def _floats(rows: Any) -> np.ndarray:
    return np.array([[np.nan if one is None else one for one in row] for row in rows], dtype=float)


def suspects_table(record: Recorded) -> TableView:
    """The heads that may do induction."""
    rows: list[list[Cell]] = []
    for at, name in enumerate(record.names):
        for one in record.get(f"models/{at}/induction/suspects") or []:
            rows.append(
                [
                    name,
                    one["head"],
                    interval_of(one["score"]) or shown(one["score"]),
                    interval_of(one["looks_at_b"]) or shown(one["looks_at_b"]),
                    ", ".join(one["classes"]) or "none",
                ]
            )
    why = record.get("models/0/induction/suspected_by")
    return TableView(
        ("model", "head", "induction score", "attention from END to B", "classes"),
        rows,
        title="Suspected induction heads",
        caption=f"Suspected because {why} (first model).",
    )


def ablation_bars(record: Recorded) -> View:
    """What is lost without the suspects, beside random heads."""
    bars = []
    for words, path in list(WHERE.items())[:2]:
        for at, name in enumerate(record.names):
            found = record.get(f"models/{at}/{path}/ablation")
            value = interval_of(found["lost"]) if found else None
            if found and value is not None:
                bars.append(
                    Bar(
                        f"{name}, {words}",
                        value,
                        note=f"without {', '.join(found['heads'])}; p = {found['p']:.3f}",
                        dots=found["random"],
                    )
                )
    if not bars:
        path = "models/0/induction/one_repeat/where"
        return Note("caution", f"No heads were taken out: {record.why(path)}.")
    return BarsView(
        bars,
        title="The answer without the suspected heads",
        value_label="logit difference lost (mean ablation)",
        dots_name="one random set of as many heads",
    )


def pattern_view(record: Recorded) -> AttentionView | None:
    """The heads of the first suspect's layer on one prompt."""
    found = record.get("models/0/induction/pattern")
    if not found:
        return None
    first = found["first"]
    example = AttentionExample(
        np.clip(np.array(found["patterns"]), 0, 1),
        found["characters"],
        {"A": first, "B": first + 1, "END": len(found["characters"]) - 1},
    )
    names = tuple(f"{found['layer']}.{head}" for head in range(len(found["patterns"])))
    return AttentionView((example,), names)


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
        _floats([[row[f"{name}{end}"] for name in names] for row in rows])
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
    return _of_models(
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
