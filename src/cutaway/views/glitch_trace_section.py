"""The section on one token through the layers, in the report of `cutaway glitch`."""

from __future__ import annotations

import numpy as np

from ..tokens.glitch_frames import ROUTES
from .curve import CurveSeries, CurveView
from .glitch_data import GlitchReportData
from .heatmap import HeatmapView
from .layout import Beside, Section
from .markup import tag
from .numbers import number
from .view import Part

_ROUTE_TITLES = {
    "say to token": "From where it has to be said, back to the token",
    "follower to token": "From the one after it, back to the token",
    "again to follower": "From where it has come again, to what followed it",
}


def trace_section(data: GlitchReportData) -> Section:
    """Norms, lens, attention and patches of the traced token, beside ordinary ones."""
    trace = data.trace
    curves = (
        ("norm", "Norm of the stream where it stands", "length"),
        ("log_probability", "Log-probability where it has to be said", "nats"),
        ("floor", "Floor of its logit: another token stood there", "logit above the mean"),
        ("rise", "Rise of its logit: it stood there itself", "logits"),
        ("follower", "Log-probability of its follower, when it has come again", "nats"),
    )
    drawn = [_curve(data, *one) for one in curves]
    paragraphs = (
        "In lists of ordinary tokens that come twice, a b X c d a b X, the model has to say X "
        "after the second b, and c after the second X. Each measure is taken of "
        f"{data.traced} and of {len(trace.ordinary)} ordinary tokens in its place."
    )
    return Section(
        f"Through the layers: {data.traced}",
        paragraphs,
        Beside(*drawn[:2]),
        Beside(*drawn[2:4]),
        drawn[4],
        *_attention(data),
        *_patches(data),
    )


def _curve(data: GlitchReportData, name: str, title: str, unit: str) -> CurveView:
    trace = data.trace
    values = trace.means(name)
    x = [float(at) for at in range(len(trace.points))]
    ordinary = values[1:]
    return CurveView(
        [CurveSeries(data.traced, x, values[0].tolist())],
        control=CurveSeries(
            f"{len(trace.ordinary)} ordinary tokens",
            x,
            ordinary.mean(0).tolist(),
            ordinary.min(0).tolist(),
            ordinary.max(0).tolist(),
        ),
        title=title,
        x_label="layers that have run",
        y_label=unit,
        references=((0.0, ""),) if name == "rise" else (),
        interval_name="lowest to highest",
    )


def _attention(data: GlitchReportData) -> list[Part]:
    trace = data.trace
    means = trace.attention.mean(2)  # [route, run, layer, head]
    layers, heads = (tuple(map(str, range(n))) for n in means.shape[2:])
    parts: list[Part] = [tag("h3", "Where heads look")]
    for row, route in enumerate(ROUTES):
        maps = [
            HeatmapView(
                values,
                layers,
                heads,
                title=f"{_ROUTE_TITLES[route]}: {who}",
                caption=f"Attention, mean over the sequences{more}.",
                row_axis="layer",
                column_axis="head",
                limit=1.0,
                legend=not more,
            )
            for who, values, more in (
                (data.traced, means[row, 0], ""),
                ("ordinary tokens", means[row, 1:].mean(0), " and the tokens"),
            )
        ]
        parts.append(Beside(*maps))
    return parts


def _patches(data: GlitchReportData) -> list[Part]:
    trace = data.trace
    titles = {
        "say": "Saying the token",
        "follow": "Finding its follower",
    }
    parts: list[Part] = [
        tag("h3", "An ordinary token's stream in its place"),
        tag(
            "p",
            "Rows are layers before whose input the stream is replaced. The number is by how many "
            "logits the ordinary run's answer comes back. The control replaces the stream of one "
            "ordinary token by that of another.",
        ),
    ]
    for question, title in titles.items():
        largest = max(
            float(np.abs(trace.patches[name].mean).max())
            for name in (question, f"{question}, control")
        )
        maps = []
        for name, who in ((question, data.traced), (f"{question}, control", "control")):
            patch = trace.patches[name]
            gap = patch.whole_gap()
            maps.append(
                HeatmapView(
                    patch.mean,
                    tuple(str(layer) for layer in range(len(patch.mean))),
                    patch.places,
                    title=f"{title}: {who}",
                    caption=f"The whole gap is {number(gap.estimate)} "
                    f"[{number(gap.low)}, {number(gap.high)}] logits.",
                    row_axis="layer",
                    column_axis="place",
                    value_label="logits",
                    limit=largest,
                    legend=name == question,
                )
            )
        parts.append(Beside(*maps))
    return parts
