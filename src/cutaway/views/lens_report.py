"""The page of `cutaway lens`: grids, trajectories, convergence, components, lenses, inputs."""

from __future__ import annotations

from . import lens_sentences as say
from .bars import Bar, BarsView
from .key_numbers import KeyNumber, KeyNumbers
from .layout import Disclosure, Items, Note, Section
from .lens_data import RANDOM, LensReportData
from .lens_parts import (
    components_table,
    convergence_table,
    differences_table,
    errors_view,
    gap_view,
    inputs_views,
    probability_view,
    rank_view,
)
from .origin_section import how_it_was_made
from .page import Page
from .view import Part

REFERENCES = (
    "nostalgebraist 2020, interpreting GPT: the logit lens.",
    "Belrose et al. 2023, Eliciting Latent Predictions from Transformers with the Tuned Lens.",
    "Geva et al. 2022, Transformer Feed-Forward Layers Build Predictions by Promoting Concepts in "
    "the Vocabulary Space.",
    "Elhage et al. 2021, A Mathematical Framework for Transformer Circuits: the frozen scale.",
    "Benjamini and Hochberg 1995: many differences at once.",
)
_N_BARS = 12


def lens_report(data: LensReportData) -> Page:
    """The report of `cutaway lens`.

    Args:
        data: everything read; sections whose data are missing are left out.

    Example:
        >>> lens_report(data).html()  # doctest: +SKIP
    """
    read = data.task or "a text"
    page = Page(
        f"What each layer of {data.model} would predict",
        "If the model stopped after a layer and its stream were read as the last one is, what "
        "would it say?",
        facts=(
            ("model", data.model),
            ("read", read),
            ("prompts", str(data.n_prompts)),
            ("points", str(len(data.readings.points))),
        ),
        footer="Written by Cutaway. This file needs no network and fetches nothing.",
    )
    page.add(_in_short(data), _grids(data), _way(data), _components(data))
    if data.errors is not None:
        page.add(_lenses(data))
    if data.inputs is not None:
        page.add(_inputs(data))
    page.add(_method(data))
    return page


def _in_short(data: LensReportData) -> Section:
    found = data.convergences
    last = data.trajectories[0].intervals()[-1]
    what = "Answer" if data.task else "Next token"
    stands = "layers until the top token stands"
    numbers = [
        KeyNumber(what, last, "its probability in the end"),
        KeyNumber("Logit lens", found["logit lens"].mean(), stands),
        KeyNumber("Random weights", found[RANDOM].mean(), stands),
    ]
    if "tuned lens" in found:
        numbers.insert(2, KeyNumber("Tuned lens", found["tuned lens"].mean(), stands))
    if data.n_prompts == 1:  # no interval to show
        numbers = [
            KeyNumber(one.name, one.value.estimate, one.caption)  # type: ignore[union-attr]
            for one in numbers
        ]
    warnings = say.warnings(data)
    parts: list[Part] = [KeyNumbers(tuple(numbers)), Items(say.findings(data))]
    if warnings:
        parts.append(Note("caution", *warnings))
    return Section("In short", *parts)


def _grids(data: LensReportData) -> Section:
    return Section(
        "Layer by layer",
        "Each row is the stream after a layer, read through the final norm and the unembedding; "
        "the top row is the model's own output. Each column is a position, and what stands in a "
        "cell is the token that would come after it.",
        *data.grids,
    )


def _way(data: LensReportData) -> Section:
    gap = gap_view(data)
    return Section(
        "The way of the target",
        probability_view(data),
        rank_view(data),
        *([] if gap is None else [gap]),
        convergence_table(data),
        Note("finding", say.converges(data)),
        Disclosure("When this misleads", *_CAUTIONS),
    )


_CAUTIONS = (
    "Early layers need not speak the unembedding's language. What the logit lens cannot read may "
    "be there all the same, in another basis; a tuned lens tells the two apart as far as an "
    "affine map can.",
    "A lens says what could be read, not what the model uses. Whether a layer's state matters for "
    "the answer is for patching to say.",
    "The top token standing early is not the computation being over: probability can go on moving "
    "from one half to one, and a prompt that is easy (a frequent word) stands early without any.",
    "The first position sees nothing but itself, and in many models its stream is unlike all "
    "others: leave it out of means where it matters.",
)


def _components(data: LensReportData) -> Section:
    first, second = data.contrast
    ranked = data.components.ranked(first, second)[:_N_BARS]
    over = "the wrong token" if second == "wrong" else "the same tokens at other places"
    is_single = data.n_prompts == 1
    bars = BarsView(
        tuple(Bar(name, one.estimate if is_single else one) for name, one in ranked),
        title=f"What each part writes of the target over {over}",
        caption="Heads are named layer.head. By size, of either sign. The sum over all parts is "
        "the model's own difference of logits.",
        value_label="logits",
    )
    return Section(
        "What each part promotes",
        "Here the final norm's scale is frozen at that of the whole stream, so that the parts add "
        "up to the logits. Above, each point was read with the scale of its own.",
        bars,
        *components_table(data, tuple(name for name, _ in ranked)),
    )


def _lenses(data: LensReportData) -> Section:
    return Section(
        "Logit lens and tuned lens",
        "A tuned lens first maps each point's stream by an affine map that was trained to say what "
        f"the model will say. Trained on {data.trained_on}; tested on sequences it has not seen.",
        *errors_view(data),
        Note("finding", say.lenses(data)),
        Note(
            "caution",
            "The tuned lens is trained to be right, so that it can know what the layer does not "
            "use. The grey line reads a stream of random weights by a lens trained in the same "
            "way: what lies below it is the model's.",
        ),
    )


def _inputs(data: LensReportData) -> Section:
    return Section(
        "Kinds of input",
        data.kinds,
        *inputs_views(data),
        differences_table(data),
        Note("finding", *say.inputs(data)),
    )


def _method(data: LensReportData) -> Section:
    return how_it_was_made(
        data.settings,
        data.timings,
        Disclosure(
            "How the figures are computed",
            "logits(x) = norm(x) W_U + b_U for the stream x at each point. Rank: how many tokens "
            "are more probable. Stands after: the first point from which the token that the model "
            "itself puts first is on top and stays there.",
            "Means are over the places of each prompt, and then over prompts; intervals are 95% "
            "percentile bootstrap over prompts. Ranks are averaged as log(1 + rank).",
            "Shuffled targets: the same tokens, dealt out to other places. Random weights: a model "
            "of the same shape, not trained.",
        ),
        references=REFERENCES,
    )
