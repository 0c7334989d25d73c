"""The page of `cutaway steer`: success, dose-response, cost, examples."""

from __future__ import annotations

import numpy as np

from ..evidence import Interval
from ..steering.response import DoseResponse
from . import steering_sentences as say
from .dose_response import DoseLine, DoseResponseView
from .heatmap import HeatmapView
from .key_numbers import KeyNumber, KeyNumbers
from .layout import Beside, Disclosure, Items, Note, Section
from .markup import tag
from .origin_section import how_it_was_made
from .page import Page
from .steering_data import SteeringReportData
from .table import Cell, Column, TableView
from .view import Part

_METHODS = {
    "embedding": "the row of W_E of the target minus that of the answer: what the target is when "
    "it is read",
    "unembedding": "the column of W_U of the target minus that of the answer: what the target is "
    "when it is said",
    "pair": "the stream of one text minus that of another, position by position from the front "
    "(ActAdd)",
    "mean": "the mean stream of some texts minus that of others, at their last token (CAA)",
}
_REFERENCES = (
    "Turner et al. (2023), Activation Addition: Steering Language Models Without Optimization, "
    "arXiv:2308.10248.",
    "Rimsky et al. (2024), Steering Llama 2 via Contrastive Activation Addition, arXiv:2312.06681.",
    "Li et al. (2023), Inference-Time Intervention, arXiv:2306.03341.",
    "Tan et al. (2024), Analyzing the Generalization and Reliability of Steering Vectors, "
    "arXiv:2407.12404: prompts that move the wrong way.",
    "Elhage et al. (2021), A Mathematical Framework for Transformer Circuits: the residual stream.",
)


def steering_report(data: SteeringReportData) -> Page:
    """The report of `cutaway steer`.

    Args:
        data: everything measured.

    Example:
        >>> steering_report(data).html()  # doctest: +SKIP
    """
    page = Page(
        f"Steering {data.model} on {data.task}",
        f"Can a direction in the residual stream make it say {data.target}?",
        facts=(
            ("model", data.model),
            ("task", data.task),
            ("vector", data.method),
            ("prompts", str(len(data.prompts))),
        ),
        footer="Written by Cutaway. This file needs no network and fetches nothing.",
    )
    page.add(_in_short(data), _vector(data), _maps(data), _doses(data), _costs(data))
    if data.continuations:
        page.add(_examples(data))
    page.add(_method(data))
    return page


def _in_short(data: SteeringReportData) -> Section:
    layer, coefficient = data.place[1:]
    control = data.control
    numbers = (
        KeyNumber(
            "Says the target",
            data.tested.success(layer, coefficient),
            f"{say.place(data)}; prompts it was not chosen on",
            share=True,
        ),
        KeyNumber(
            "Random directions",
            control.mean,
            f"mean of {len(control.each)} of equal norm, same place",
            share=True,
        ),
        KeyNumber(
            "Cost",
            data.tested.mean_cost(layer, coefficient),
            f"KL on neutral text, nats per token ({data.neutral})",
        ),
        KeyNumber(
            "Move the wrong way",
            data.tested.wrong_way(layer, coefficient),
            "share of these prompts",
            share=True,
        ),
    )
    parts: list[Part] = [KeyNumbers(numbers), Items(tuple(filter(None, say.findings(data))))]
    shaky = say.warnings(data)
    if shaky:
        parts.append(Note("caution", *shaky))
    rule = (
        "The place is the one where the vector succeeds most above the random directions on every "
        "second prompt (of equal ones the cheapest); its numbers are those of the other prompts. "
        "Success: the target is the likeliest token of the whole vocabulary at END."
    )
    return Section("In short", *parts, tag("p", rule, class_="ct-quiet"))


def _vector(data: SteeringReportData) -> Section:
    response = data.response
    lengths = response.settings["vector_norms"]
    rows: list[list[Cell]] = []
    for number, layer in enumerate(response.layers):
        norms: list[Cell] = [
            one.norms[number] if one.norms else None for one in data.responses.values()
        ]
        rows.append([str(layer), float(lengths[number]), *norms])
    columns = (
        Column("layer"),
        Column("vector", "right"),
        *(Column(f"stream at {position}", "right") for position in data.responses),
    )
    table = TableView(
        columns,
        rows,
        title="Mean lengths",
        caption="Of the vector as it is, and of the residual stream of the prompts where it is "
        "put. A coefficient counts the latter"
        + (", of all positions without the first token." if "all" in data.responses else "."),
    )
    origin = str(response.settings["vector"])
    return Section(
        "The vector",
        f"It is {_METHODS[data.method]}.",
        tag("p", "At the first layer measured: ", tag("code", origin), "."),
        table,
    )


def _maps(data: SteeringReportData) -> Section:
    shown: list[Part] = []
    for position, response in data.responses.items():
        where = "all positions" if position == "all" else position
        shown.append(
            Beside(
                _map(response, 0, f"The vector, at {where}", legend=True),
                _map(response, None, f"Random directions, at {where}", legend=False),
            )
        )
    return Section(
        "Where it works",
        "The share of prompts that say the target, at every layer and coefficient; beside it the "
        "mean of the random directions of equal norm. Choose a cell of the left map for its "
        "numbers.",
        *shown,
    )


def _map(response: DoseResponse, line: int | None, title: str, legend: bool) -> HeatmapView:
    values = response.control_map().mean(0) if line is None else response.success_map(line)
    details = None
    if line is not None:
        details = {
            (i, j): _cell_detail(response, i, j)
            for i in range(len(response.layers))
            for j in range(len(response.coefficients))
        }
    return HeatmapView(
        values,
        [str(layer) for layer in response.layers],
        [say.number_of(c) for c in response.coefficients],
        title=title,
        row_axis="layer",
        column_axis="coefficient",
        value_label="share of prompts",
        limit=1.0,
        cell_labels=True,
        legend=legend,
        details=details,
    )


def _cell_detail(response: DoseResponse, i: int, j: int) -> TableView:
    """One layer and coefficient: every line's numbers."""
    layer, coefficient = response.layers[i], response.coefficients[j]
    rows: list[list[Cell]] = []
    for line, name in enumerate(response.lines):
        rows.append(
            [
                name,
                response.success(layer, coefficient, line),
                float(response.first[line, i, j].mean()),
                float(response.probability[line, i, j].mean()),
                float(response.shift[line, i, j].mean()),
                float(response.wrong[line, i, j].mean()),
                float(response.kl[line, i, j].mean()),
            ]
        )
    return TableView(
        (
            "line",
            Column("top token", "right"),
            Column("first of the answers", "right"),
            Column("probability", "right"),
            Column("shift, logits", "right", 1),
            Column("wrong way", "right"),
            Column("KL", "right"),
        ),
        rows,
        title=f"Layer {layer}, coefficient {say.number_of(coefficient)}",
    )


def _doses(data: SteeringReportData) -> Section:
    response, (position, chosen, _) = data.response, data.place
    lines = [_line(response, 0, i, f"layer {at}") for i, at in enumerate(response.layers)]
    at = response.layers.index(chosen)
    lines += [
        _line(response, line, at, f"{response.lines[line]}, layer {chosen}", is_control=True)
        for line in response.controls
    ]
    view = DoseResponseView(
        lines,
        title=f"Dose and response at {'all positions' if position == 'all' else position}",
        caption="Change of logit(target) − logit(answer) by the coefficient: mean over all "
        f"prompts. Grey: random directions of equal norm, in layer {chosen}. Choose a line to see "
        "its single prompts; those that move against the mean are drawn dashed.",
        x_label=f"coefficient ({data.unit})",
        y_label="shift, logits",
        prompt_labels=data.prompts,
    )
    return Section("Dose and response", view)


def _line(
    response: DoseResponse, line: int, layer: int, name: str, is_control: bool = False
) -> DoseLine:
    """One line's shifts at one layer; adding nothing moves nothing, so that 0 is known."""
    doses, shift = np.asarray(response.coefficients), response.shift[line, layer]
    if response.settings.get("operation") == "add" and 0 not in doses:
        at = int(np.searchsorted(doses, 0.0))
        doses, shift = np.insert(doses, at, 0.0), np.insert(shift, at, 0.0, axis=0)
    mean, low, high = response.intervals(shift)
    return DoseLine(name, doses.tolist(), mean, low, high, shift.T, is_control)


def _costs(data: SteeringReportData) -> Section:
    response, (_, layer, _) = data.response, data.place
    i = response.layers.index(layer)
    control = response.control_map().mean(0)
    rows: list[list[Cell]] = []
    for j, coefficient in enumerate(response.coefficients):
        kl: Interval = response.mean_cost(layer, coefficient)
        rows.append(
            [
                say.number_of(coefficient),
                response.success(layer, coefficient),
                float(control[i, j]),
                response.wrong_way(layer, coefficient),
                kl,
                response.mean_cost(layer, coefficient, of="loss"),
                float(response.kl[response.controls, i, j].mean()),
            ]
        )
    table = TableView(
        (
            Column("coefficient", "right"),
            Column("says the target", "right"),
            Column("random", "right"),
            Column("wrong way", "right"),
            Column("KL", "right"),
            Column("loss", "right"),
            Column("KL, random", "right"),
        ),
        rows,
        title=f"Layer {layer}",
        caption=f"On all prompts; KL and change of the loss in nats per token, on {data.neutral} "
        "(unsteered loss "
        f"{float(response.base_loss.mean()):.2f}), over the tokens from the first steered one on. "
        "Where prompts are steered at a position, neutral texts are steered at a random one.",
    )
    return Section("Benefit and cost", table)


def _examples(data: SteeringReportData) -> Section:
    rows = [[one.text, one.plain, one.steered, one.random] for one in data.continuations]
    table = TableView(
        ("text", "as it is", "steered", "random direction"),
        rows,
        title=f"Steered in {say.place(data)}",
        caption="Greedy continuations. Prompts are steered where they were measured and what "
        "follows is left to the model; texts of your own at their last token, or at all tokens, "
        "new ones included, where that was measured.",
    )
    return Section("What it says", table)


def _method(data: SteeringReportData) -> Section:
    computed = (
        "The vector is added to the residual stream at one place, and everything that this can "
        "change is run again; nothing is estimated. Each random direction is as long as the "
        "vector, prompt by prompt. A prompt moves the wrong way if its logit difference changes "
        "against the sign of the coefficient. Intervals are 95%: Wilson for shares, percentile "
        "bootstrap over prompts (or neutral texts) for means."
    )
    cautions = (
        "Success can come from breaking something: where the target is the model's next-best "
        "answer, a random direction reaches it too. Read the map beside.",
        "A vector found at one place need not mean anything at another: at layer 0 an embedding "
        "difference exchanges a token, further up nobody may read it.",
        "The mean hides prompts that move the other way; they are in the dose-response.",
        "That a direction steers does not show that the model uses it.",
    )
    return how_it_was_made(
        data.settings,
        data.timings,
        Disclosure("How the figures are computed", computed),
        Disclosure("When this misleads", *cautions),
        references=_REFERENCES,
    )
