"""The page of `cutaway sae eval`: a dictionary's numbers, each beside its baselines."""

from __future__ import annotations

import numpy as np

from ..sae.sparse_probing import COORDINATES, DENSE, FEATURES, RANDOM
from ..sae.spliced_loss import ABLATIONS, MEAN, ZERO
from . import dictionary_sentences as say
from .curve import CurveSeries, CurveView
from .dictionary_data import DictionaryReportData
from .key_numbers import KeyNumber, KeyNumbers
from .layout import Disclosure, Items, Note, Section
from .origin_section import how_it_was_made
from .page import Page
from .table import Cell, Column, TableView
from .view import Part

_REFERENCES = (
    "Bricken et al. 2023, Towards Monosemanticity: density, dead features, loss recovered.",
    "Rajamanoharan et al. 2024, Improving Dictionary Learning with Gated Sparse Autoencoders: "
    "relative reconstruction bias.",
    "Gao et al. 2024, Scaling and evaluating sparse autoencoders.",
    "Karvonen et al. 2025, SAEBench: a suite of measures, few of which agree.",
    "Gurnee et al. 2023, Finding Neurons in a Haystack: sparse probing.",
    "Paulo and Belrose 2025, Sparse Autoencoders Trained on the Same Data Learn Different "
    "Features.",
    "Kuhn 1955: the assignment.",
)
_CAUTIONS = (
    "A high explained variance may be the mean and a few large directions. Compare it with the "
    "components beside it, which know nothing of features.",
    "Loss recovered depends on what it is recovered from. Where an ablation is a catastrophe, 99% "
    "of a catastrophe is easily recovered; the nats that are lost are the same for all.",
    "L0 of kinds that are not told how many features to use, and explained variance, can be traded "
    "for one another: compare dictionaries at the same L0.",
    "None of these numbers says that a feature means something, or that the model uses it.",
)
_N_BINS = 24


def dictionary_report(data: DictionaryReportData) -> Page:
    """The report of `cutaway sae eval`.

    Args:
        data: everything measured.

    Example:
        >>> dictionary_report(data).html()  # doctest: +SKIP
    """
    cfg = data.found.cfg
    hook = cfg.hook if cfg.hook_out in ("", cfg.hook) else f"{cfg.hook} to {cfg.hook_out}"
    page = Page(
        f"How good is {data.dictionary}?",
        "How sparse it is, how well it rebuilds what it reads, what its model loses by it, and "
        "what other means do with as many numbers.",
        facts=(
            ("model", data.model),
            ("hook", hook),
            ("features", f"{cfg.d_features:,}"),
            ("kind", data.kind),
        ),
        footer="Written by Cutaway. This file needs no network and fetches nothing.",
    )
    page.add(_in_short(data), _rebuilt(data), _in_place(data), _densities(data))
    if data.probes is not None:
        page.add(_probes(data))
    if data.stability is not None:
        page.add(_stability(data))
    page.add(_made(data))
    return page


def _in_short(data: DictionaryReportData) -> Section:
    rows, losses = data.found.dictionary, data.losses
    against = MEAN if losses.is_meaningful(MEAN) else ZERO
    numbers = KeyNumbers(
        (
            KeyNumber("L0", rows.l0(), "features active in a row", digits=1),
            KeyNumber("Explained", rows.explained_variance(), "of the variance", share=True),
            KeyNumber("Loss up by", losses.increase("dictionary"), "nats per token", digits=3),
            KeyNumber(
                "Recovered",
                losses.loss_recovered("dictionary", against),
                f"of the loss, against {against}",
                share=True,
            ),
            KeyNumber("Dead", rows.n_dead, f"of {len(rows.density):,} on {rows.n:,} rows"),
        )
    )
    parts: list[Part] = [numbers, Items(say.findings(data))]
    warnings = say.warnings(data)
    if warnings:
        parts.append(Note("caution", *warnings))
    return Section("In short", *parts)


def _rebuilt(data: DictionaryReportData) -> Section:
    rows: list[list[Cell]] = [
        [
            name,
            one.l0(),
            one.explained_variance(),
            one.mean_cosine(),
            one.centred_bias(),
            one.relative_bias(),
        ]
        for name, one in data.found.rows.items()
    ]
    table = TableView(
        (
            "in place",
            Column("L0", "right", 1),
            Column("explained variance", "right", 3),
            Column("cosine", "right", 3),
            Column("bias, centred", "right", 3),
            Column("bias", "right", 3),
        ),
        rows,
        title="What is rebuilt",
        caption="Explained variance: 1 − E|x − x′|² / E|x − mean|², over all rows at once. Bias: "
        "E|x′|² / E[x·x′]; below 1 the output is too short; centred: the mean is taken out first. "
        "Intervals (95%) resample sequences.",
    )
    return Section(
        "Rebuilt, beside the baselines",
        "Random directions: as many as there are features, of which each row takes those that it "
        "points along most, with the best coefficients. Principal components: the first ones, the "
        "same for each row. Largest components: of all of them, each row's own largest. All have "
        "as many numbers for a row as the dictionary has active features.",
        table,
        Disclosure("When this misleads", *_CAUTIONS),
    )


def _in_place(data: DictionaryReportData) -> Section:
    losses = data.losses
    rows: list[list[Cell]] = [
        [
            name,
            losses.increase(name),
            losses.kl(name),
            losses.loss_recovered(name, MEAN),
            losses.loss_recovered(name, ZERO),
            losses.kl_recovered(name, MEAN),
        ]
        for name in (*data.found.rows, *ABLATIONS)
    ]
    table = TableView(
        (
            "in place",
            Column("up by", "right", 3),
            Column("KL", "right", 3),
            Column("recovered (mean)", "right", 3),
            Column("recovered (zero)", "right", 3),
            Column("KL recovered (mean)", "right", 3),
        ),
        rows,
        title="What the model loses",
        caption="Nats per predicted token. Recovered: (ablated − in place) / (ablated − clean), "
        "against mean and against zero ablation; n/a where the ablation does no clear harm. The "
        "untouched model has "
        f"{losses.clean_loss().estimate:.3f}. Intervals (95%) resample sequences.",
    )
    return Section("In its place in the model", table)


def _densities(data: DictionaryReportData) -> Section:
    rows = data.found.dictionary
    density = rows.density[rows.density > 0]
    if not len(density):
        return Section("How often features fire", "None of them does.")
    low = np.floor(np.log10(density.min()) * 2) / 2
    edges = np.linspace(low, 0, _N_BINS + 1)
    counts, _ = np.histogram(np.log10(density), edges)
    middles = 10 ** ((edges[:-1] + edges[1:]) / 2)
    view = CurveView(
        (CurveSeries("features", tuple(map(float, middles)), tuple(map(float, counts))),),
        title="How often features fire",
        caption=f"Features by the share of rows in which they are active. {rows.n_dead:,} that "
        "never fire here are left out. A bump at the right end are features that are nearly always "
        "on; one at the left end, features that are nearly dead.",
        x_label="share of rows",
        y_label="features",
        log_x=True,
        references=((0.0, ""),),
    )
    return Section("How often features fire", view)


def _probes(data: DictionaryReportData) -> Section:
    assert data.probes is not None
    probes = data.probes
    first, most = probes.ks[0], probes.ks[-1]
    asked = [(FEATURES, k) for k in probes.ks]
    asked += [(RANDOM, first), (COORDINATES, most), (DENSE, first)]
    rows: list[list[Cell]] = [["all", None, *(probes.score(of, k) for of, k in asked)]]
    for i, name in enumerate(probes.classes):
        scores = [probes.of_class(name, of, k).estimate for of, k in asked]
        rows.append([f"“{name}”", int(probes.chosen[i, 0]), *scores])
    table = TableView(
        (
            "token",
            Column("feature", "right"),
            *(Column(f"best {k}", "right") for k in probes.ks),
            Column(f"random {first}", "right"),
            Column(f"coordinates, best {most}", "right"),
            Column("dense", "right"),
        ),
        rows,
        title="Balanced accuracy: 0.5 is a guess",
        caption="Logistic regression on so many features (or coordinates of the activation, or all "
        "of it) alone, each token against the rest; the best feature has its number. "
        f"Features are chosen on {probes.n_train:,} rows; the scores are of {probes.n_test:,} rows "
        "of other sequences. Intervals (95%) resample those.",
    )
    return Section(
        "What single features say",
        f"How well {data.label} is read from the best few features, beside random features of the "
        "dictionary, the best coordinates of the activation, and all of it.",
        table,
    )


def _stability(data: DictionaryReportData) -> Section:
    assert data.stability is not None
    names = (data.dictionary, *data.others)
    rows: list[list[Cell]] = [
        [names[one.first], names[one.second], one.cosine, one.shared, one.random]
        for one in data.stability.pairs
    ]
    table = TableView(
        (
            "one",
            "other",
            Column("mean cosine", "right"),
            Column(f"cosine ≥ {data.stability.threshold:g}", "right"),
            Column("random", "right"),
        ),
        rows,
        title="Features found again",
        caption="Decoder rows matched one to one so that the sum of cosines is largest. Random: "
        "the same of random directions of these shapes.",
    )
    return Section("With another seed", table)


def _made(data: DictionaryReportData) -> Section:
    return how_it_was_made(data.settings, data.timings, references=_REFERENCES)
