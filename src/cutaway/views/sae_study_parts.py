"""Tables and curves of the study of dictionaries."""

from __future__ import annotations

import numpy as np

from ..evidence import Interval, bootstrap_ratio
from ..patching.effects import Effects
from ..sae.feature_circuits import FeatureCircuit
from ..sae.kept import Node
from ..sae.spliced_loss import MEAN
from .curve import CurveSeries, CurveView
from .heatmap import HeatmapView
from .layout import Disclosure
from .markup import tag
from .sae_study_data import CircuitOfLayer, LayerOfStudy, SaeStudyData
from .table import Cell, Column, TableView

_SHOWN = 20


def quality_table(data: SaeStudyData) -> TableView:
    """Every dictionary, each followed by its baselines."""
    rows: list[list[Cell]] = []
    for one in data.layers:
        losses = one.found.losses
        assert losses is not None
        for name, measured in one.found.rows.items():
            rows.append(
                [
                    str(one.layer) if name == "dictionary" else "",
                    name,
                    measured.l0(),
                    measured.explained_variance(),
                    losses.increase(name),
                    losses.loss_recovered(name, MEAN),
                    measured.n_dead if name == "dictionary" else None,
                ]
            )
    return TableView(
        (
            "layer",
            "in place",
            Column("L0", "right", 1),
            Column("explained variance", "right"),
            Column("loss up by", "right", 3),
            Column("recovered", "right"),
            Column("dead", "right"),
        ),
        rows,
        caption="In nats per token; recovered against the mean in its place. All baselines have as "
        "many numbers for a row as the dictionary has active features.",
    )


def pages_table(data: SaeStudyData) -> TableView:
    """The pages to browse."""
    rows: list[list[Cell]] = [
        [
            str(one.layer),
            one.n_alive,
            sum(rule is not None for rule in one.rules),
            tag("a", one.page, href=one.page),
        ]
        for one in data.layers
    ]
    return TableView(
        (
            "layer",
            Column("features that fire", "right"),
            Column("described by a simple rule", "right"),
            "all of them, to browse",
        ),
        rows,
        caption="The pages lie beside this report.",
    )


def where_map(data: SaeStudyData) -> HeatmapView:
    """Faithfulness of each layer's features at each position alone."""
    layers = [one for one in reversed(data.layers) if one.carried is not None]
    circuits = [one.carried.circuit for one in layers if one.carried is not None]
    names = list(dict.fromkeys(name for found in circuits for name in found.positions))
    labels = next(one.carried for one in layers if one.carried is not None).noising.axes[-1].labels
    columns = [name for name in labels if name in names] or names
    values, low, high = (np.full((len(layers), len(columns) + 2), np.nan) for _ in range(3))
    for row, found in enumerate(circuits):
        per_prompt = dict(zip(found.positions, found.at_position, strict=True))
        cells = [per_prompt.get(name) for name in columns]
        for column, prompts in enumerate([*cells, found.features, found.error]):
            # A position at which no feature does anything carries nothing.
            one = Interval(0.0, 0.0, 0.0, 0.95, 0) if prompts is None else found.share(prompts)
            values[row, column] = one.estimate
            low[row, column], high[row, column] = one.low, one.high
    return HeatmapView(
        values,
        [str(one.layer) for one in layers],
        [*(name or "all positions" for name in columns), "all features", "error alone"],
        low=low,
        high=high,
        title="Where features carry the answer",
        caption="Faithfulness of all features at one position alone: they have the clean prompt's "
        "values, all other features and the error the corrupted one's. 0 is the corrupted run, 1 "
        "the clean one. On the right all features at all positions, and the error term alone.",
        row_axis="layer",
        column_axis="what is clean",
        value_label="faithfulness",
        limit=1.0,
    )


def curves(data: SaeStudyData) -> CurveView:
    """Faithfulness by the number of nodes, for every layer."""
    series, controls = [], []
    for one in data.layers:
        if one.carried is None:
            continue
        found = one.carried.circuit
        series.append(_series(f"layer {one.layer}", found, found.curve))
        if one is data.middle:
            controls.append(_series(f"random, layer {one.layer}", found, found.random_curve))
    return CurveView(
        series,
        controls,
        title="How many features it takes",
        caption="Nodes (a feature at a position) in the order of their exact effects on other "
        "prompts; those alone have clean values, the error is corrupted. What keeps the curves "
        "from 1 is in the error, and in features at positions without a name.",
        x_label="nodes",
        log_x=True,
    )


def _series(name: str, found: FeatureCircuit, values: np.ndarray) -> CurveSeries:
    shares = [found.share(one) for one in values]
    return CurveSeries(
        name,
        found.sizes,
        [one.estimate for one in shares],
        [one.low for one in shares],
        [one.high for one in shares],
    )


def circuits_table(data: SaeStudyData) -> TableView:
    """Every layer's circuit beside its controls."""
    rows: list[list[Cell]] = []
    for one in data.layers:
        if one.carried is None:
            continue
        found = one.carried.circuit
        random, without = (_mean(found, values) for values in (found.random, found.random_without))
        rows.append(
            [
                str(one.layer),
                f"{len(found.nodes)} of {found.n_candidates}",
                found.faithfulness,
                random,
                found.share(found.features),
                found.share(found.error),
                found.share(found.without),
                without,
                found.gap.estimate,
            ]
        )
    return TableView(
        (
            "layer",
            "nodes",
            Column("alone", "right"),
            Column("random sets", "right"),
            Column("all features", "right"),
            Column("error alone", "right"),
            Column("left without it", "right"),
            Column("without random", "right"),
            Column("incompleteness", "right"),
        ),
        rows,
        title="Circuits of features, and their controls",
        caption="Faithfulness, (run − corrupted) / (clean − corrupted). Random sets have as many "
        "nodes, of those that do anything. Incompleteness: random halves of the circuit's nodes "
        "are taken out of the whole model, and of circuit with error; the mean difference.",
    )


def _mean(found: FeatureCircuit, values: np.ndarray) -> Interval:
    return found.share(values.mean(0))


def nodes_table(one: LayerOfStudy, carried: CircuitOfLayer, data: SaeStudyData) -> Disclosure:
    """The circuit's nodes, with exact effects in both directions and when they fire."""
    found, lost = carried.circuit, carried.circuit.to_frame()
    rows: list[list[Cell]] = [
        [
            str(node.feature),
            node.position or "all",
            one.says(node.feature, data.words),
            one.promoted[node.feature],
            effect_of(carried.noising, node),
            effect_of(carried.denoising, node),
            row["lost"],
        ]
        for node, row in zip(found.nodes[:_SHOWN], lost, strict=False)
    ]
    n = len(found.nodes)
    table = TableView(
        (
            Column("feature", "right"),
            "at",
            "fires",
            "promotes",
            Column("noising", "right", 3),
            Column("denoising", "right", 3),
            Column("lost without it", "right", 3),
        ),
        rows,
        caption="Promotes: the tokens whose logits the feature raises most by its direct path. "
        "Exact effects of single nodes, as shares of clean − corrupted, on the prompts "
        "that the order comes from; what the circuit alone loses without the node, on the others. "
        "A feature that stands for one name acts on the prompts with that name only, so that its "
        "mean over prompts is small.",
    )
    title = f"The circuit after layer {one.layer}: "
    return Disclosure(
        title + (f"its {n} nodes" if n <= _SHOWN else f"the first {_SHOWN} of {n} nodes"),
        table,
        open_=True,
    )


def effect_of(effects: Effects, node: Node) -> Interval:
    """The normalised effect of one node, with its interval."""
    index: tuple[int, ...] = (node.feature,)
    if len(effects.axes) > 1:
        index = (node.feature, effects.axes[1].labels.index(node.position))
    ratio = bootstrap_ratio(effects.per_prompt[index], effects.clean - effects.corrupted)
    estimate, low, high = map(float, ratio)
    return Interval(estimate, low, high, 0.95, len(effects.clean))


def agreement_table(data: SaeStudyData) -> TableView:
    """Estimates beside exact effects, for every layer."""
    rows: list[list[Cell]] = []
    for one in data.layers:
        if one.carried is None:
            continue
        for name, found in one.carried.agreements.items():
            rows.append(
                [
                    str(one.layer) if name == "base" else "",
                    name,
                    found.pearson,
                    found.spearman,
                    found.overlap(10).share if found.n_places > 10 else None,
                    found.mean_difference,
                    found.largest_difference,
                    one.carried.seconds[name],
                    one.carried.seconds["exact"] if name == "base" else None,
                ]
            )
    return TableView(
        (
            "layer",
            "gradient",
            Column("Pearson", "right"),
            Column("Spearman", "right"),
            Column("top 10 shared", "right"),
            Column("mean |difference|", "right", 4),
            Column("largest", "right", 3),
            Column("seconds", "right", 1),
            Column("exact sweep, s", "right", 1),
        ),
        rows,
        caption="Noising effects of every feature at every named position. Base: the clean run's "
        "gradient times what the feature writes; both ends: the mean with the corrupted run's; "
        "integrated: the mean of five runs between their embeddings.",
    )
