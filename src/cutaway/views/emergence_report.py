"""The page of `cutaway run emergence`: curves over training, transitions, what sets them off."""

from __future__ import annotations

import numpy as np

from . import emergence_sentences as say
from .emergence_charts import chart, clipped, line, of_one_seed
from .emergence_data import ALL, ANY, BEHAVIOUR, HEAD, MAIN, SAYS, TELLS, WHAT, Emergence
from .emergence_measures import (
    heads_section,
    losses_section,
    patching_section,
    probes_section,
    steering_section,
)
from .emergence_sweep_parts import sweep_section
from .key_numbers import KeyNumber, KeyNumbers
from .layout import Beside, Disclosure, Items, Note, Section
from .origin_section import how_it_was_made
from .page import Page
from .table import Cell, Column, TableView
from .view import Part

_REFERENCES = (
    "Olsson et al. 2022, In-context Learning and Induction Heads, arXiv:2209.11895: the phase "
    "change, and the in-context learning score.",
    "Elhage et al. 2021, A Mathematical Framework for Transformer Circuits: induction by two heads "
    "that compose.",
    "Hewitt and Liang 2019, Designing and Interpreting Probes with Control Tasks.",
    "Turner et al. 2023, Activation Addition, arXiv:2308.10248.",
    "nostalgebraist 2020, interpreting GPT: the logit lens.",
    "Golub and Pereyra 1973; Student 1908: how the S-curves are fitted, and their intervals over "
    "seeds.",
    "Cox 1961; Andrews 1993; Davidson and MacKinnon 2002: the change-point test.",
)
_CAUTIONS = (
    "One task, one architecture, one set of hyperparameters: that induction heads form at a step "
    "here says nothing of the step in another model. The order and the shape may carry over, the "
    "number does not.",
    "A curve that turns is no cause. That a head turns before the behaviour is what it would look "
    "like if the head made the behaviour, and patching says that it does in the end; that nothing "
    "else turned at the same time is not shown.",
    "Midpoints depend on how a score saturates: attention of 0.9 and accuracy of 0.9 are not the "
    "same thing. A small difference between midpoints of different scores may be only that.",
    "Of each seed the head is followed that has most in the end. It was chosen by the curve's last "
    "point.",
)


def emergence_report(found: Emergence) -> Page:
    """The report of `cutaway run emergence`.

    Args:
        found: everything measured.

    Example:
        >>> emergence_report(found).html()  # doctest: +SKIP
    """
    page = Page(
        "Watching induction heads form",
        "A ... B ... A → B: when does the model learn it, what turns first, and what sets it off?",
        facts=(
            ("models", f"{len(found.seeds)} seeds"),
            ("layers", str(found.n_layers)),
            ("steps", f"{int(found.steps[-1]):,}"),
            ("measured at", f"{len(found.steps)} steps"),
        ),
        footer="Written by Cutaway. This file needs no network and fetches nothing.",
    )
    page.add(_in_short(found), _s_curve(found), _transitions(found), heads_section(found))
    page.add(probes_section(found), losses_section(found))
    page.add(patching_section(found), steering_section(found))
    if found.sweep is not None:
        page.add(sweep_section(found.sweep))
    page.add(how_it_was_made(found.settings, found.timings, references=_REFERENCES))
    return page


def _in_short(found: Emergence) -> Section:
    numbers = [
        KeyNumber("Says B", clipped(found.final(SAYS)), "in the end, of all tokens", share=True)
    ]
    for name, what in (
        (TELLS, "tells B its A"),
        (HEAD, "looks from A to B"),
        (BEHAVIOUR, "picks B"),
    ):
        fits = found.fits[name]
        if fits.found.any():
            numbers.append(
                KeyNumber(f"Step: {what}", fits.midpoint(), "half-way, mean of seeds", digits=0)
            )
    parts: list[Part] = [KeyNumbers(tuple(numbers)), Items(say.findings(found))]
    if len(found.seeds) < 6:
        parts.append(
            Note(
                "caution",
                f"With {len(found.seeds)} seeds no p of an order can be below "
                f"{2 / 2 ** len(found.seeds):.2g}.",
            )
        )
    return Section("In short", *parts)


def _s_curve(found: Emergence) -> Section:
    main = chart(
        [line(found, name) for name in (*MAIN, ANY)],
        "The S-curve",
        "share, or attention",
        caption="Means over seeds; shaded: 95% interval over seeds (Student). Each seed turns at "
        "a step of its own, so that the mean is flatter than any one of them.",
    )
    values = found.curves[BEHAVIOUR]
    single = chart(
        [of_one_seed(found, f"seed {seed}", values[i]) for i, seed in enumerate(found.seeds)],
        "Behaviour, seed by seed",
        "share of prompts",
        caption="Share of prompts in which B is likelier than the B of every other pair.",
    )
    return Section(
        "The S-curve",
        "Behaviour: B is likelier than the B of every other pair of the prompt. Some B: the "
        "likeliest of all tokens is one of them. Induction head: attention from END, where A comes "
        "again, to B, minus that to the B of another pair. Probe: accuracy at END after the last "
        "layer of a linear probe for B, minus that of one for the B of another pair. Without what "
        "is subtracted both begin to rise with the first stage, in which END attends to every B "
        "alike. Along the bottom: training steps on a logarithmic scale; step 0 is left out.",
        Beside(main, single),
        Disclosure("When this misleads", *_CAUTIONS),
    )


def _transitions(found: Emergence) -> Section:
    rows: list[list[Cell]] = []
    for name in ALL:
        fits = found.fits[name]
        k = f"{int(fits.found.sum())} of {len(found.seeds)}"
        if not fits.found.any():
            rows.append([name, k, *[None] * 5, WHAT[name]])
            continue
        worst = float(np.nanmin(fits.of_seeds("r_squared")))
        levels = [f"{np.nanmean(fits.of_seeds(end)):.2f}" for end in ("lower", "upper")]
        numbers = (fits.onset(), fits.midpoint(), fits.width())
        rows.append([name, k, *numbers, " → ".join(levels), f"{worst:.3f}", WHAT[name]])
    table = TableView(
        (
            "score",
            Column("seeds", "right"),
            Column("a tenth, step", "right", 0),
            Column("half, step", "right", 0),
            Column("width, factor", "right"),
            Column("levels", "right"),
            Column("least R²", "right"),
            "what it is",
        ),
        rows,
        title="Logistic fits in the logarithm of the step",
        caption="Geometric means over seeds with Student's intervals. Width: steps at nine tenths "
        "of the rise over steps at one tenth. A seed has a transition if a logistic curve leaves "
        "at most half of what a straight line leaves, with both levels seen.",
    )
    return Section("Transitions and their order", table, _seed_table(found), _orders(found))


def _seed_table(found: Emergence) -> Disclosure:
    rows: list[list[Cell]] = []
    for name in MAIN:
        fits = found.fits[name]
        for at, seed in enumerate(found.seeds):
            if fits.curves[at] is None:
                rows.append([name, str(seed), None, None, fits.why_not[at]])
                continue
            test = found.breaks[name][at]
            said = "" if test is None else f"step {test.at:.0f}, p = {test.p:.3f}"
            ends = (fits.over_prompts(what, at) for what in ("midpoint", "width"))
            rows.append([name, str(seed), *ends, said])
    table = TableView(
        (
            "score",
            Column("seed", "right"),
            Column("midpoint", "right", 0),
            Column("width", "right"),
            "break",
        ),
        rows,
        caption="Intervals resample the prompts of a seed. Break: the best place for one, and how "
        "often a smooth curve with noise like this one's has as good a break (999 simulations).",
    )
    return Disclosure("Seed by seed", table)


def _orders(found: Emergence) -> TableView:
    words_of = {"onset": "it has begun", "midpoint": "it is half-way"}
    words = {
        "before": "first, then second",
        "after": "second, then first",
        "together": "together",
        "unknown": "cannot be told",
    }
    rows: list[list[Cell]] = [
        [
            one.first,
            one.second,
            words_of[one.of],
            one.ratio,
            f"{one.earlier} of {one.n}",
            f"{one.p:.3f}",
            words[one.verdict],
        ]
        for one in found.orders
    ]
    return TableView(
        (
            "first",
            "second",
            "step at which",
            Column("second / first", "right"),
            Column("first is earlier", "right"),
            Column("p", "right"),
            "verdict",
        ),
        rows,
        title="Which turns first?",
        caption="Ratios of steps, paired over seeds: where a tenth of the rise is done, and where "
        "half of it is. A score that rises slowly begins earlier than its midpoint says. p: "
        f"sign flips, two-sided; with {len(found.seeds)} seeds none is below "
        f"{2 / 2 ** len(found.seeds):.3f}. The verdict goes by the interval.",
    )
