"""What the readings of lenses say in words. Every sentence is chosen by a stated rule."""

from __future__ import annotations

from ..lenses.comparison import CONVERGENCE
from .lens_data import RANDOM, LensReportData
from .numbers import interval_text, number, percent

_RATE = 0.05  # false discovery rate of differences between kinds of input
_MOST = 0.5


def findings(data: LensReportData) -> tuple[str, ...]:
    """What was found: trajectory, convergence, components, lenses, inputs."""
    found = [target(data), converges(data)]
    if data.ahead is not None:
        found.append(overtakes(data))
    found.append(components(data))
    if data.errors is not None:
        found.append(lenses(data))
    if data.inputs is not None:
        found += inputs(data)
    return tuple(found)


def point_name(label: str) -> str:
    """A point in words.

    Example:
        >>> point_name("embed"), point_name("3"), point_name("3.mid")
        ('the embedding', 'after layer 3', 'after the attention of layer 3')
    """
    if label == "embed":
        return "the embedding"
    layer, _, part = label.partition(".")
    return f"after the attention of layer {layer}" if part else f"after layer {layer}"


def target(data: LensReportData) -> str:
    """From where on the target is more likely than not, and what the control has at most."""
    way = data.trajectories[0].intervals()
    control = next(
        one.intervals()
        for one in data.trajectories
        if one.token == data.tokens[-1] and one.quantity == "probability"
    )
    at = next((i for i, one in enumerate(way) if one.estimate > _MOST), None)
    what = "The answer" if data.task else "The token that really comes next"
    ends = interval_text(way[-1]) if data.n_prompts > 1 else number(way[-1].estimate)
    beside = (
        f"the same tokens dealt out to other places have at most "
        f"{number(max(one.estimate for one in control))}"
    )
    if at is None:
        return (
            f"{what} never has more than one half on average; its probability in the end is "
            f"{ends}; {beside}."
        )
    return (
        f"{what} first has more than one half on average at the point {data.readings.points[at]} "
        f"({point_name(data.readings.points[at])}), and {ends} in the end; {beside}."
    )


def converges(data: LensReportData) -> str:
    """After how many layers the top token stands, beside random weights."""
    found, control = data.convergences[data.readings.lens], data.convergences[RANDOM]
    n_layers = data.depths[-1]
    one, other = (
        interval_text(x.mean()) if data.n_prompts > 1 else number(x.mean().estimate)
        for x in (found, control)
    )
    return (
        f"By the logit lens the model's top token stands after {one} of {n_layers:g} layers on "
        f"average; in a model of random weights after {other}."
    )


def overtakes(data: LensReportData) -> str:
    """From where on the answer is ahead of the wrong token."""
    assert data.ahead is not None
    intervals, shares = data.ahead
    ahead = [i for i in range(len(shares)) if all(one.low > 0 for one in intervals[i:])]
    if not ahead:
        return (
            "The answer is not reliably ahead of the wrong token at the end: "
            f"{interval_text(intervals[-1])} in log-probability."
        )
    at = ahead[0]
    return (
        f"The answer overtakes the wrong token at the point {data.readings.points[at]} "
        f"({point_name(data.readings.points[at])}): from there on the interval of the difference "
        f"lies above 0 ({interval_text(intervals[at])} nats there, ahead in {percent(shares[at])} "
        f"of the prompts), in the end {interval_text(intervals[-1])}."
    )


def components(data: LensReportData) -> str:
    """What adds most to the answer over the other token."""
    first, second = data.contrast
    ranked = data.components.ranked(first, second)[:3]
    said = ", ".join(
        f"{name} ({interval_text(one) if data.n_prompts > 1 else number(one.estimate)})"
        for name, one in ranked
    )
    over = "the wrong token" if second == "wrong" else "the same tokens at other places"
    return f"Read by themselves, these write most of the target over {over}, in logits: {said}."


def lenses(data: LensReportData) -> str:
    """How far each lens is from the output, in the middle of the model."""
    assert data.errors is not None
    errors = data.errors
    found = {name: errors.intervals(name) for name in ("tuned lens", "logit lens")}
    gains = {
        point: found["logit lens"][point].estimate - found["tuned lens"][point].estimate
        for point in errors.points[:-1]
    }
    most = max(gains, key=lambda point: gains[point])
    middle = errors.points[(len(errors.points) - 1) // 2]

    def both(point: str) -> str:
        tuned, plain = (found[name][point] for name in ("tuned lens", "logit lens"))
        return f"{point_name(point)} {interval_text(tuned)} against {interval_text(plain)}"

    said = " and ".join(both(point) for point in dict.fromkeys((most, middle)))
    mean = errors.interval("mean prediction", errors.points[0])
    return (
        "KL to the model's output on held-out text, tuned lens against logit lens, in nats: "
        f"{said}. A prediction that looks at nothing has {interval_text(mean)}."
    )


def inputs(data: LensReportData) -> list[str]:
    """How kinds of input differ in convergence, and in how many other comparisons."""
    assert data.inputs is not None
    found = data.inputs
    means = ", ".join(
        f"{kind} {interval_text(found.convergence(kind).mean())}" for kind in found.kinds
    )
    sure = [one for one in found.differences if one.q_value <= _RATE]
    of_layers = [one for one in sure if one.what == CONVERGENCE]
    named = "; ".join(
        f"{one.first} less {one.second} {interval_text(one.difference.interval)}"
        for one in of_layers
    )
    return [
        f"Layers until the top token stands: {means}.",
        f"{len(sure)} of {len(found.differences)} differences between kinds survive at a false "
        f"discovery rate of {_RATE:g}"
        + (f"; of the layers: {named}." if named else ", none of them of the layers."),
    ]


def warnings(data: LensReportData) -> tuple[str, ...]:
    """What is shaky about the numbers as such."""
    found = []
    if data.n_prompts == 1:
        found.append("This is one text: its numbers have no intervals, and are an example.")
    elif data.n_prompts < 20:
        found.append(f"There are only {data.n_prompts} prompts; intervals from so few are narrow.")
    never = data.convergences["above one half"].share_never()
    if never.estimate > 0:
        found.append(
            f"In {percent(never.estimate)} of the places the model's own top token has no more "
            "than one half in the end, so that it never converges by that criterion; these count "
            "as one more than all layers."
        )
    return tuple(found)
