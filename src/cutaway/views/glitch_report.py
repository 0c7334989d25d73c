"""The page of `cutaway glitch`: suspects, how good indicators are, one token through the layers."""

from __future__ import annotations

import numpy as np

from ..tokens.glitch_verification import STRONG, WEAK
from ..tokens.undertrained_detection import RANDOM
from ..tokens.undertrained_references import KINDS
from . import glitch_sentences as say
from .curve import CurveSeries, CurveView
from .glitch_data import GlitchReportData, quoted
from .glitch_trace_section import trace_section
from .key_numbers import KeyNumber, KeyNumbers
from .layout import Disclosure, Items, Note, Section
from .numbers import number
from .origin_section import how_it_was_made
from .page import Page
from .table import Cell, Column, TableView
from .token_scatter import TokenDot, TokenScatterView
from .view import Part

_MOST_SHOWN = 40  # suspects in the table; all are in results.json
_RARE = 100  # training sequences up to which a token has a colour of its own in the scatter
_REFERENCES = (
    "Land and Bartolo (2024), Fishing for Magikarp: Automatically Detecting Under-trained Tokens "
    "in Large Language Models, arXiv:2405.05417: indicators and verification.",
    "Rumbelow and Watkins (2023), SolidGoldMagikarp: the tokens that the name comes from.",
    "nostalgebraist (2020), interpreting GPT: the logit lens.",
    "Meng et al. (2022), Locating and Editing Factual Associations in GPT, arXiv:2202.05262: "
    "putting a clean run's states into a corrupted one.",
    "Olsson et al. (2022), In-context Learning and Induction Heads: what repeats a list.",
)


def glitch_report(data: GlitchReportData) -> Page:
    """The report of `cutaway glitch`.

    Args:
        data: everything measured.

    Example:
        >>> glitch_report(data).html()  # doctest: +SKIP
    """
    found = data.indicators
    page = Page(
        f"Glitch tokens of {found.model}",
        "Which tokens was it hardly trained on, can it say them, and where do they go wrong?",
        facts=(
            ("model", found.model),
            ("tokens", f"{len(found.texts):,}"),
            ("embeddings", "tied" if found.tied else "not tied"),
            ("known unused", str(len(found.unused.tokens))),
        ),
        footer="Written by Cutaway. This file needs no network and fetches nothing.",
    )
    page.add(_in_short(data), _suspects(data))
    if data.truth is not None:
        page.add(_truth(data))
    page.add(_vocabulary(data), trace_section(data), _method(data))
    return page


def _in_short(data: GlitchReportData) -> Section:
    found = data.verification
    numbers = [
        KeyNumber(
            "Strongly undertrained",
            sum(one == "strong" for one in found.verdicts),
            f"of {len(found.tokens)} suspects: below {STRONG:g} in every prompt",
        ),
        KeyNumber(
            "Ordinary tokens repeated",
            data.control.share("repeats"),
            "the same prompts: the control",
            share=True,
        ),
    ]
    if data.truth is not None:
        area = data.truth.areas[data.chosen]
        numbers.append(
            KeyNumber(
                f"Area of {data.chosen}", area, "tokens that never came below the others", digits=3
            )
        )
    point = data.trace.first_outside("rise")
    numbers.append(
        KeyNumber(
            "Lost from here on",
            "nowhere" if point is None else say.point_name(point),
            f"the rise of the logit of {data.traced}",
        )
    )
    parts: list[Part] = [KeyNumbers(tuple(numbers)), Items(say.findings(data))]
    doubts = say.warnings(data)
    if doubts:
        parts.append(Note("caution", *doubts))
    return Section("In short", *parts)


def _suspects(data: GlitchReportData) -> Section:
    known = data.truth is not None
    rows: list[list[Cell]] = []
    for one in data.suspects(_MOST_SHOWN):
        row: list[Cell] = [
            quoted(one.text),
            one.token,
            one.value,
            f"{one.probability:.1e}" if one.probability < WEAK else number(one.probability, 3),
            one.verdict,
            ", ".join(map(quoted, one.said)),
        ]
        rows.append([*row, one.count] if known else row)
    columns: list[Column | str] = [
        "token",
        Column("number", "right"),
        Column(data.chosen, "right", 3),
        Column("probability", "right"),
        "verdict",
        "said instead",
    ]
    if known:
        columns.append(Column("came in", "right"))
    table = TableView(
        columns,
        rows,
        title="The most suspicious tokens",
        caption="The probability is the highest over the prompts. Said instead: the likeliest "
        "token at the end of each prompt."
        + (" Came in: training sequences that held it." if known else ""),
    )
    return Section(
        "Suspects",
        f"Ordered by {data.chosen}, which the paper takes where the unembedding is "
        f"{'the embedding transposed' if data.indicators.tied else 'a matrix of its own'}. Low is "
        "suspicious. Only tokens of text are asked for: special, partial and unreachable ones are "
        "left out, and so are those that the reference is made of.",
        _scatter(data),
        Disclosure(f"The first {len(rows)} of them", table, open_=True),
    )


def _scatter(data: GlitchReportData) -> TokenScatterView:
    found, values = data.indicators, data.indicators.values[data.chosen]
    truth = data.truth
    control = set(data.control.tokens.tolist())
    groups: tuple[str, ...] = ("suspects", "ordinary tokens")
    if truth is not None:
        groups = ("never came", f"came in 1 to {_RARE} training sequences", "came more often")

    def group(token: int) -> int:
        if truth is None:
            return 1 if token in control else 0
        count = int(truth.counts[token])
        return 0 if count == 0 else 1 if count <= _RARE else 2

    dots: dict[int, TokenDot] = {}
    for checked in (data.control, data.verification):
        for token, probability in zip(checked.tokens.tolist(), checked.highest, strict=True):
            note = "" if truth is None else f"came in {int(truth.counts[token]):,} sequences"
            value = float(values[token])
            dots[token] = TokenDot(
                found.texts[token], float(probability), value, group(token), note
            )
    return TokenScatterView(
        tuple(dots.values()),
        groups,
        thresholds=(STRONG, WEAK),
        value_label=data.chosen,
        title="Suspicion and verification",
        caption="Each dot is a token that was asked for. Left of the first dashed line "
        f"({STRONG:g}) it is strongly undertrained, between the two (to {WEAK:g}) weakly. "
        "Probabilities below 1e-8 stand at the left edge.",
    )


def _truth(data: GlitchReportData) -> Section:
    truth = data.truth
    assert truth is not None
    halves = truth.halves
    rows: list[list[Cell]] = []
    for name in (*truth.areas, RANDOM):
        own: list[Cell] = [None, None, None]
        if name in truth.areas:
            verified = truth.verified_areas.get(name)
            own = [truth.areas[name], truth.hits[name][0], verified]
        left_out = [halves.mean(name, rate) for rate in ("area", "precision", "recall")]
        rows.append([name, *own, *left_out])
    table = TableView(
        (
            "indicator",
            Column("area, never came", "right", 3),
            Column("precision", "right"),
            Column("area, cannot be repeated", "right", 3),
            Column("left out: area", "right", 3),
            Column("precision", "right"),
            Column("recall", "right"),
        ),
        rows,
        title="What the indicators are worth",
        caption=f"The first three columns use the run's own {len(data.indicators.unused.tokens)} "
        "known-unused tokens, which are not counted; precision is that of the "
        f"{truth.never.size} lowest. Left out: the reference is {halves.n_reference} of the "
        f"{truth.never.size} tokens that never came, the other {halves.n_found} are to be found, "
        "and the cutoff is where nine in ten of the reference stay below when each is measured "
        f"against the others; means of {halves.area.shape[1]} splits.",
    )
    return Section(
        "Beside the truth",
        "The training text of this model is known, and with it how often each token came.",
        table,
        _counts_table(data),
        _sizes(data),
    )


def _counts_table(data: GlitchReportData) -> TableView:
    names = tuple(data.indicators.values)
    rows: list[list[Cell]] = [
        [
            f"{row.count:,}",
            row.n,
            *(row.values[name] for name in names),
            f"{row.probability:.1e}" if row.probability < WEAK else number(row.probability, 3),
            row.repeats,
        ]
        for row in data.by_count()
    ]
    return TableView(
        (
            Column("came in", "right"),
            Column("tokens", "right"),
            *(Column(name, "right", 3) for name in names),
            Column("probability", "right"),
            Column("repeated", "right"),
        ),
        rows,
        title="By how often a token came",
        caption="Came in: training sequences that held the token. Indicators are means, the "
        "probability is the median of each token's highest; repeated: share of at least "
        f"{WEAK:g}.",
    )


def _sizes(data: GlitchReportData) -> CurveView:
    truth = data.truth
    assert truth is not None
    sizes = [float(n) for n in truth.by_size]

    def series(name: str) -> CurveSeries:
        runs = [one.area[one.names.index(name)] for one in truth.by_size.values()]
        mean, low, high = ([float(f(run)) for run in runs] for f in (np.mean, np.min, np.max))
        return CurveSeries(name, sizes, mean, low, high)

    return CurveView(
        [series(name) for name in truth.areas],
        control=series(RANDOM),
        title="How many known-unused tokens the reference needs",
        caption="Area under the curve for the unused tokens that the reference does not hold.",
        x_label="tokens of the reference",
        y_label="area",
        log_x=True,
        references=((0.5, "chance"), (1.0, "perfect")),
        interval_name="lowest to highest split",
    )


def _vocabulary(data: GlitchReportData) -> Section:
    found = data.indicators
    unused: list[list[Cell]] = []
    for token, reason in zip(found.unused.tokens, found.unused.reasons, strict=True):
        unused.append([quoted(found.texts[token]), token, reason])
    means = {
        "text": "an ordinary token",
        "special": "of no text",
        "partial": "bytes that are no whole character",
        "unreachable": "its text is read as other tokens",
        "outside": "a row that the tokenizer has no token for",
    }
    kinds: list[list[Cell]] = []
    for kind in KINDS:
        kinds.append([kind, means[kind], found.kinds.count(kind)])
    return Section(
        "The vocabulary",
        TableView(
            ("kind", "which is", Column("tokens", "right")),
            kinds,
            title="Tokens by kind",
            caption="An unreachable token was never trained on if the training text went through "
            "the same tokenizer.",
        ),
        Disclosure(
            f"Known to be unused: {len(found.unused.tokens)}",
            TableView(("token", Column("number", "right"), "because"), unused[:_MOST_SHOWN]),
        ),
    )


def _method(data: GlitchReportData) -> Section:
    indicators = Items(
        (
            "E_in norm: length of the token's row of W_E. E_in distance: its distance from the "
            "mean row of the known-unused tokens.",
            "Cosine: 1 minus the cosine between the token's column of W_U and the mean column of "
            "the known-unused tokens; without mean: the mean over the vocabulary is taken out of "
            "all columns first; without component: the first principal component is.",
            f"Verdicts: with p the highest probability over the prompts, strong is p < {STRONG:g}, "
            f"weak is below {WEAK:g} (the paper's threshold), otherwise the token is repeated.",
            "Outside: the token's mean lies below or above those of all ordinary tokens, at this "
            "point and at all later ones.",
        )
    )
    return how_it_was_made(
        data.settings,
        data.timings,
        Disclosure("How the measures are defined", indicators),
        references=_REFERENCES,
    )
