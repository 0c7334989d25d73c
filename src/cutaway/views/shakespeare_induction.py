"""The first section of the Shakespeare study's report: induction, from its record."""

from __future__ import annotations

import numpy as np

from .attention import AttentionExample, AttentionView
from .bars import Bar, BarsView
from .heatmap import HeatmapView
from .layout import Note
from .recorded import NOT_MEASURED, Recorded, interval_of, shown
from .shakespeare_parts import floats, of_models
from .table import Cell, TableView
from .view import View

WHERE = {
    "A B ... A": "induction/one_repeat/where",
    "passage read again": "induction/passages/where",
    "far context": "prediction/far_context",
}
"""Kind of prompts -> where their layers stand in a model's record."""
_SITES = {"attn_out": "attention", "mlp_out": "MLP"}


def capability_table(record: Recorded) -> TableView:
    """What the models make of A B ... A, and of a passage read twice."""
    one, again = "induction/one_repeat", "induction/passages"
    return of_models(
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
            arrays[:, i, : len(row[0])] = floats(row)
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
