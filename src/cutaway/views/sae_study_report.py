"""The page of `cutaway run sae`: from dictionaries to a circuit of features."""

from __future__ import annotations

from . import sae_study_sentences as say
from .key_numbers import KeyNumber, KeyNumbers
from .layout import Disclosure, Items, Note, Section
from .origin_section import how_it_was_made
from .page import Page
from .sae_study_data import SaeStudyData
from .sae_study_parts import (
    agreement_table,
    circuits_table,
    curves,
    nodes_table,
    pages_table,
    quality_table,
    where_map,
)

_REFERENCES = (
    "Bricken et al. 2023, Towards Monosemanticity; Cunningham et al. 2023, arXiv:2309.08600.",
    "Bussmann et al. 2024, BatchTopK Sparse Autoencoders: the default kind.",
    "Marks et al. 2024, Sparse Feature Circuits, arXiv:2403.19647: features and errors as nodes, "
    "attribution, faithfulness and completeness.",
    "Wang et al. 2022, Interpretability in the Wild, arXiv:2211.00593: the task, the criteria.",
    "Nanda 2023; Syed et al. 2023; Kramár et al. 2024: attribution patching.",
)
_CAUTIONS = (
    "Features are what one dictionary makes of the stream; another seed or size gives others.",
    "A circuit of features is as good as its dictionary: what the error term carries alone is "
    "missing from every feature.",
    "One feature per name: an effect over prompts with many names is spread over many features, "
    "and each looks small.",
    "At one hook of the stream, effects of later layers on one another are not taken apart: the "
    "circuit says what passes there, not who reads it.",
)


def sae_study_report(data: SaeStudyData) -> Page:
    """The report of `cutaway run sae`.

    Args:
        data: everything measured; sections on a task are left out without one.

    Example:
        >>> sae_study_report(data).html()  # doctest: +SKIP
    """
    cfg = data.middle.found.cfg
    facts = [
        ("model", data.model),
        ("dictionaries", f"{len(data.layers)}, each {cfg.d_features:,} features, {cfg.kind}"),
    ]
    if data.baseline is not None:
        facts += [("task", data.task), ("prompts", str(data.baseline.clean.n))]
    page = Page(
        f"Features of {data.model}",
        "Dictionaries of the residual stream: how good they are, what their features fire on, and "
        "which of them carry an answer."
        if data.task
        else "Dictionaries of the residual stream: how good they are, and what their features "
        "fire on.",
        facts=tuple(facts),
        footer="Written by Cutaway. This file needs no network and fetches nothing.",
    )
    page.add(_in_short(data), _quality(data), _read(data))
    if data.middle.carried is not None:
        page.add(_where(data), _circuits(data), _estimates(data))
    page.add(
        how_it_was_made(
            data.settings,
            data.timings,
            Disclosure("When this misleads", Items(_CAUTIONS)),
            references=_REFERENCES,
        )
    )
    return page


def _in_short(data: SaeStudyData) -> Section:
    one, carried = data.middle, data.middle.carried
    losses = one.found.losses
    assert losses is not None
    at = f"after layer {one.layer}"
    numbers = [
        KeyNumber("Explained", one.found.dictionary.explained_variance(), at, share=True),
        KeyNumber("Loss up by", losses.increase("dictionary"), f"nats per token, {at}", digits=3),
    ]
    if carried is not None:
        found = carried.circuit
        numbers += [
            KeyNumber("Faithfulness", found.faithfulness, f"{len(found.nodes)} nodes alone, {at}"),
            KeyNumber(
                "Random sets",
                float(found.shares(found.random).mean()),
                f"mean of {len(found.random)} of the same size",
            ),
            KeyNumber("Error alone", found.share(found.error), "what no feature says"),
        ]
    return Section("In short", KeyNumbers(numbers), Items(say.findings(data)))


def _quality(data: SaeStudyData) -> Section:
    return Section(
        "The dictionaries, beside their baselines",
        f"Trained on {data.text}; measured on held-out sequences.",
        quality_table(data),
    )


def _read(data: SaeStudyData) -> Section:
    return Section(
        "What features fire on",
        "Every feature has its strongest examples, a histogram, what it promotes, and a rule where "
        "a simple one fits on text that it was not chosen on.",
        pages_table(data),
    )


def _where(data: SaeStudyData) -> Section:
    baseline = data.baseline
    assert baseline is not None
    return Section(
        "Where the answer is carried",
        f"The {baseline.metric} is {baseline.clean} on clean prompts and {baseline.corrupted} on "
        "corrupted ones. Below, the stream after a layer is cut: only some features pass with "
        "their clean values.",
        where_map(data),
        Note("finding", say.where(data)),
        curves(data),
    )


def _circuits(data: SaeStudyData) -> Section:
    one, carried = data.middle, data.middle.carried
    assert carried is not None
    others = [
        nodes_table(other, other.carried, data)
        for other in data.layers
        if other.carried is not None and other is not one
    ]
    return Section(
        "Circuits of features",
        f"Nodes are ordered on {data.n_fit} prompts and tested on others. A circuit is the "
        "beginning of that order that reaches its share of what all features do.",
        circuits_table(data),
        Note("finding", say.beside(one, carried), say.error(one, carried)),
        nodes_table(one, carried, data),
        Note("finding", say.share_of_names(one, carried)),
        *([Disclosure("The other layers' circuits", *others)] if others else []),
    )


def _estimates(data: SaeStudyData) -> Section:
    one, carried = data.middle, data.middle.carried
    assert carried is not None
    return Section(
        "Estimated beside exact",
        "Attribution patching takes two runs and one gradient for all features. Here it stands "
        "beside the exact sweep.",
        agreement_table(data),
        Note("finding", say.estimated(one, carried)),
    )
