"""Tables and figures of the circuit study's report."""

from __future__ import annotations

from .circuit_story_data import CircuitStory
from .curve import CurveSeries, CurveView
from .table import Cell, Column, Share, TableView
from .view import View

_N_PAIRS = 10


def methods_table(story: CircuitStory) -> TableView:
    """Each method's circuit: its size, what it does alone, the areas of its curve, its cost."""
    rows: list[list[Cell]] = []
    for row in story.methods:
        one, curve = row.circuit, row.curve
        size = f"{len(one)} ({len(one.heads)} heads)"
        rows.append([one.method, size, row.faithfulness, curve.cpr, curve.cmd, row.seconds])
    first = story.methods[0].curve
    random: list[Cell] = [
        "random circuits",
        f"{len(first.random)} at each size",
        float(story.evaluation.faithfulness.random.mean()),
        float(first.random_cpr.mean()),
        float(first.random_cmd.mean()),
        None,
    ]
    return TableView(
        (
            "method",
            "edges",
            Column("faithfulness", "right"),
            Column("CPR", "right", 3),
            Column("CMD", "right", 3),
            Column("seconds", "right", 1),
        ),
        [*rows, random],
        title="The methods' circuits",
        caption="CPR is the area under the curve below (larger is better), CMD the area between it "
        "and 1 (smaller is better). Seconds are those of the search.",
    )


def curves_view(story: CircuitStory) -> CurveView:
    """Faithfulness over sizes of all methods, beside random circuits."""

    def series(name: str, frame: list[dict[str, float]]) -> CurveSeries:
        return CurveSeries(
            name,
            [row["size"] for row in frame],
            [row["faithfulness"] for row in frame],
            [row["low"] for row in frame],
            [row["high"] for row in frame],
        )

    frame = story.methods[0].curve.to_frame()
    random = story.methods[0].curve.random
    control = CurveSeries(
        "random circuits",
        [row["size"] for row in frame],
        random.mean(0).tolist(),
        random.min(0).tolist(),
        random.max(0).tolist(),
    )
    return CurveView(
        [series(row.circuit.method, row.curve.to_frame()) for row in story.methods],
        control,
        title="The strongest edges alone, over sizes",
        caption="On prompts that no method has seen. Shaded: 95% intervals; of random circuits, "
        "from the least to the most faithful.",
        x_label="edges in the circuit, at most",
        log_x=True,
    )


def agreement_tables(story: CircuitStory) -> list[View]:
    """Shared edges, shared nodes, and the order of all edges, of every two methods."""
    table = story.agreement
    jaccard = "Jaccard index; random circuits of this size: "
    of = {
        "Shared edges": (table.edges, f"{jaccard}{table.random_edges:.2f}."),
        "Shared nodes": (table.nodes, f"{jaccard}{table.random_nodes:.2f}."),
        "The order of all edges": (table.scores, "Rank correlation of the sizes of scores."),
    }
    return [
        TableView(
            ("", *table.methods),
            [
                [name, *(Share(max(0.0, float(value))) for value in row)]
                for name, row in zip(table.methods, values, strict=True)
            ],
            title=title,
            caption=caption,
        )
        for title, (values, caption) in of.items()
    ]


def stability_table(story: CircuitStory) -> TableView:
    """Whether the search finds the same again."""
    return TableView(
        (
            "searched again on",
            Column("shared edges", "right"),
            Column("random", "right"),
            Column("shared nodes", "right"),
            Column("random", "right"),
            Column("in every circuit", "right"),
        ),
        [
            [
                f"{one.edges.n} {one.over}",
                one.edges,
                one.random_edges,
                one.nodes,
                one.random_nodes,
                f"{len(one.always)} edges",
            ]
            for one in story.stability
        ],
        title="Stability",
        caption="Mean Jaccard index over pairs of circuits; intervals by resampling circuits. "
        "Resamples of prompts are of the tested method, other prompts of EAP-IG.",
    )


def choices_table(story: CircuitStory) -> TableView:
    """The same circuit in every way of running it alone."""
    return TableView(
        (
            "level",
            "outside",
            Column("faithfulness", "right"),
            Column("random, mean", "right"),
            Column("random, most", "right"),
            Column("empty circuit", "right"),
        ),
        [
            [
                one.level,
                one.outside,
                one.faithfulness.ratio,
                float(one.faithfulness.random.mean()),
                float(one.faithfulness.random.max()),
                one.faithfulness.empty,
            ]
            for one in story.choices
        ],
        title="The same circuit, run alone in other ways",
        caption="At the level of nodes all edges between the circuit's nodes carry this run's "
        "values. The empty circuit is in the metric's unit.",
    )


def heads_table(story: CircuitStory) -> TableView:
    """The circuit's heads: effect, attention, role."""
    places = list(dict.fromkeys(place for row in story.heads for place in row.looks_at))
    with_paper = any(row.published for row in story.heads)
    rows: list[list[Cell]] = []
    for row in story.heads:
        looks: list[Cell] = [Share(row.looks_at.get(place, 0.0)) for place in places]
        rows.append(
            [row.name, row.effect, *looks, row.role, *([row.published] if with_paper else [])]
        )
    return TableView(
        (
            "head",
            Column("effect", "right"),
            *places,
            "by its readings",
            *(["in the paper"] if with_paper else []),
        ),
        rows,
        title="The heads of the circuit",
        caption="Effect: what the answer loses when this head alone is taken from the corrupted "
        "prompt, as a share of the difference."
        + (" Then its mean attention from END." if places else ""),
    )


def pairs_table(story: CircuitStory) -> TableView:
    """The largest interactions."""
    return TableView(
        ("head", "and", Column("beyond the sum of both", "right", 3)),
        [[one.first, one.second, one.interaction] for one in story.pairs[:_N_PAIRS]],
        title="Heads in pairs",
        caption="Both noised together, less the sum of each alone, as a share of the difference. "
        "Positive: each can do the other's work (backup). Negative: both are steps of one "
        f"computation. The {min(_N_PAIRS, len(story.pairs))} largest of {len(story.pairs)}.",
    )


def expectations_table(story: CircuitStory) -> TableView:
    """What was expected, and what came."""
    verdicts = {True: "as expected", False: "not as expected", None: "not graded"}
    return TableView(
        ("expectation", "expected", "found", "verdict"),
        [
            [one.question, one.expected, one.observed, verdicts[one.held]]
            for one in story.expectations
        ],
    )
