"""Tables and figures of the report of `cutaway lens`."""

from __future__ import annotations

import numpy as np

from ..evidence import Interval
from ..lenses.comparison import CONVERGENCE
from ..lenses.points import depths
from .curve import CurveSeries, CurveView
from .lens_data import LensReportData
from .lens_sentences import point_name
from .markup import visible_space
from .table import Cell, Column, Share, TableView
from .view import View

_X = "layers that have run"
_NAMES = {
    "target": "target",
    "wrong": "wrong token",
    "predicted": "what the model will say",
    "shuffled": "shuffled targets",
}
_RANDOM_STREAM = "stream of random weights"


def _series(name: str, x: tuple[float, ...], intervals: list[Interval]) -> CurveSeries:
    middle = [one.estimate for one in intervals]
    if intervals[0].n == 1:  # one text has no intervals
        return CurveSeries(name, x, middle)
    return CurveSeries(
        name, x, middle, [one.low for one in intervals], [one.high for one in intervals]
    )


def _ways(data: LensReportData, quantity: str) -> tuple[list[CurveSeries], CurveSeries]:
    """One line for each token; the last is the control."""
    lines = [
        _series(_NAMES[one.token], data.depths, one.intervals())
        for one in data.trajectories
        if one.quantity == quantity
    ]
    return lines[:-1], lines[-1]


def probability_view(data: LensReportData) -> CurveView:
    """The probability of each token through the layers."""
    lines, control = _ways(data, "probability")
    return CurveView(
        lines,
        control,
        title="Probability through the layers, logit lens",
        caption=f"Means over {_prompts(data)}. Grey: the same tokens dealt out to other places.",
        x_label=_X,
        y_label="probability",
    )


def rank_view(data: LensReportData) -> CurveView:
    """The rank of each token through the layers."""
    lines, control = _ways(data, "rank")
    return CurveView(
        lines,
        control,
        title="Rank through the layers, logit lens",
        caption="How many tokens are more probable, 0 is the top; geometric means of 1 + rank, "
        "less 1.",
        x_label=_X,
        y_label="rank",
        references=((0.0, ""),),
    )


def gap_view(data: LensReportData) -> CurveView | None:
    """Where the answer overtakes the wrong token."""
    if data.ahead is None:
        return None
    return CurveView(
        (_series("answer less wrong token", data.depths, data.ahead[0]),),
        title="Where the answer overtakes the wrong token",
        caption="Difference of logits, as the logit lens reads it; above the line the answer is "
        "ahead.",
        x_label=_X,
        y_label="logit difference",
        references=((0.0, ""),),
    )


def _prompts(data: LensReportData) -> str:
    return "the positions of the text" if data.n_prompts == 1 else f"{data.n_prompts} prompts"


def convergence_table(data: LensReportData) -> TableView:
    """By each lens: when the prediction stands, and at which points it does."""
    rows: list[list[Cell]] = []
    for name, one in data.convergences.items():
        mean: Cell = one.mean() if data.n_prompts > 1 else one.mean().estimate
        shares: list[Cell] = [Share(found.estimate) for found in one.share_by()]
        rows.append([name, mean, *shares, Share(one.share_never().estimate)])
    return TableView(
        ("", Column("layers", "right"), *data.readings.points, "never"),
        rows,
        title="From which layer on the prediction stands",
        caption="Layers: mean over prompts. Then the share of places that have converged at each "
        "point. Above one half: the logit lens gives the model's top token more than one half from "
        "there on. Random weights: logit lens of an untrained model. At the last point the top "
        "token stands by definition.",
    )


def components_table(data: LensReportData, chosen: tuple[str, ...]) -> list[View]:
    """The tokens that the strongest parts promote and suppress in the first prompt.

    Without words for tokens (a grid shows them) there is no table.
    """
    words = data.words
    found = data.components
    place = int(np.flatnonzero(found.real[0])[-1])
    rows: list[list[Cell]] = []
    for name in chosen:
        at = found.components.index(name)
        lists = []
        for tokens, values in (
            (found.top_tokens, found.top_logits),
            (found.bottom_tokens, found.bottom_logits),
        ):
            pairs = zip(tokens[at, 0, place], values[at, 0, place], strict=True)
            lists.append(
                ", ".join(
                    f"{visible_space(words[int(token)])} {value:+.1f}".replace("-", "−")
                    for token, value in pairs
                )
            )
        rows.append([name, *lists])
    return [
        TableView(
            ("part", "promotes", "suppresses"),
            rows,
            title="Which tokens they promote and suppress",
            caption="In the first prompt, at the last place that was read; in logits beside the "
            "mean over the vocabulary.",
        )
    ]


def errors_view(data: LensReportData) -> list[View]:
    """KL of each lens at each point, as lines and as a table."""
    errors = data.errors
    assert errors is not None
    x = dict(zip(data.readings.points, data.depths, strict=True))
    found = {lens: errors.intervals(lens) for lens in errors.lenses}

    def line(lens: str) -> CurveSeries:
        return _series(lens, tuple(x[p] for p in found[lens]), list(found[lens].values()))

    shown = [name for name in errors.lenses if name != _RANDOM_STREAM]
    curve = CurveView(
        [line(name) for name in shown],
        line(_RANDOM_STREAM) if _RANDOM_STREAM in errors.lenses else None,
        title="How far each lens is from the model's output",
        caption="KL(model's output || lens) on held-out text, means over "
        f"{found['logit lens'][errors.points[0]].n} sequences.",
        x_label=_X,
        y_label="KL in nats",
        references=((0.0, ""),),
    )
    rows: list[list[Cell]] = [
        [point, *(found[lens].get(point) for lens in errors.lenses)] for point in errors.points
    ]
    heads = [Column(lens, "right", 3) for lens in errors.lenses]
    return [curve, TableView(("point", *heads), rows, caption="KL in nats.")]


def inputs_views(data: LensReportData) -> list[View]:
    """Trajectories of each kind of input, and when predictions stand."""
    found = data.inputs
    assert found is not None
    x = depths(found.points)
    lines = [
        _series(kind, x, found.trajectory(kind, quantity="probability").intervals())
        for kind in found.kinds
    ]
    shuffled = [found.trajectory(kind, "shuffled", "probability") for kind in found.kinds]
    most = max(shuffled, key=lambda one: float(one.per_prompt.mean()))
    curve = CurveView(
        lines,
        _series("shuffled targets", x, most.intervals()),
        title="Probability of the target, by kind of input",
        caption="Logit lens. Grey: shuffled targets, of the kind where they are most probable.",
        x_label=_X,
        y_label="probability",
    )
    rows: list[list[Cell]] = []
    for kind in found.kinds:
        one = found.convergence(kind)
        shares: list[Cell] = [Share(share.estimate) for share in one.share_by()]
        rows.append([kind, one.mean(), *shares, found.control_convergence(kind).mean()])
    table = TableView(
        ("", Column("layers", "right"), *found.points, Column("random weights", "right")),
        rows,
        title="From which layer on the prediction stands, by kind of input",
        caption="Means over prompts, and the share of places that have converged at each point.",
    )
    return [curve, table]


def differences_table(data: LensReportData) -> TableView:
    """Every comparison between two kinds."""
    assert data.inputs is not None
    rows: list[list[Cell]] = [
        [
            f"{one.first} less {one.second}",
            "layers" if one.what == CONVERGENCE else f"log p, {point_name(one.what)}",
            one.difference.interval,
            one.difference.p_value,
            one.q_value,
        ]
        for one in data.inputs.differences
    ]
    return TableView(
        (
            "kinds",
            "in",
            Column("difference", "right"),
            Column("p", digits=4),
            Column("q", digits=4),
        ),
        rows,
        title="How they differ",
        caption="Layers: until the top token stands. log p: of the target, in nats. p of a "
        "permutation test over prompts; q: the false discovery rate at which it survives among "
        "all of these.",
    )
