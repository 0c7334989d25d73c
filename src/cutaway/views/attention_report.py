"""The page of `cutaway attention`: a text, how surprising its tokens are, where the heads look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .attention import AttentionExample, AttentionView
from .coloured_tokens import ColouredTokensView
from .key_numbers import KeyNumber, KeyNumbers
from .layout import Disclosure, Items, Note, Section
from .markup import code, join, tag, visible_space
from .numbers import number, percent
from .origin_section import how_it_was_made
from .page import Page
from .table import Cell, Column, Share, TableView
from .view import Part

Floats = NDArray[np.floating]

_MOST_ROWS = 16
_SHOWN = 3  # heads named for each kind of key


@dataclass(frozen=True, eq=False)
class Reading:
    """What the model makes of one prompt."""

    example: AttentionExample
    """Its tokens, and the patterns of the heads."""
    loss: Floats
    """[pos], how badly each token was predicted from those before it, in nats; NaN for the
    first."""
    guesses: tuple[str, ...]
    """What the model held likeliest in the place of each token; empty for the first."""
    guess_probability: Floats
    """[pos], how likely."""


@dataclass(frozen=True, eq=False)
class AttentionReportData:
    """Everything that the page shows."""

    model: str
    task: str
    """The task that the prompts are of; empty for a text of one's own."""
    heads: tuple[str, ...]
    """As "layer.head", in the order of the patterns."""
    readings: tuple[Reading, ...]
    """One for each prompt."""
    rates: Mapping[str, Floats]
    """Kind of key to the mean attention of each head to it, [head]; NaN where there is none."""
    uniform: Mapping[str, float]
    """The same of a head that looks at all tokens so far alike."""
    settings: Mapping[str, str]
    timings: Mapping[str, float]

    @property
    def known_rates(self) -> dict[str, Floats]:
        """The rates that this text has."""
        return {name: values for name, values in self.rates.items() if np.isfinite(values).any()}

    @property
    def mean_loss(self) -> float:
        """Over all predicted tokens, in nats."""
        return float(np.nanmean(np.concatenate([one.loss for one in self.readings])))


def findings(data: AttentionReportData) -> tuple[str, ...]:
    """What the numbers say, in sentences."""
    said = [_of_loss(data)]
    for name, values in data.known_rates.items():
        order = np.argsort(-values)[:_SHOWN]
        heads = ", ".join(f"{data.heads[at]} ({percent(float(values[at]))})" for at in order)
        said.append(
            f"Most attention to {_KEYS[name]}: {heads}; looking at all tokens alike would give "
            f"{percent(data.uniform[name])}."
        )
    return tuple(said)


_KEYS = {
    "previous token": "the previous token",
    "first token": "the first token",
    "itself": "the token itself",
    "earlier copy": "earlier copies of the token",
}


def _of_loss(data: AttentionReportData) -> str:
    worst = max(data.readings, key=lambda one: np.nanmax(one.loss))
    at = int(np.nanargmax(worst.loss))
    token = visible_space(worst.example.tokens[at])
    n_tokens = sum(int(np.isfinite(one.loss).sum()) for one in data.readings)
    return (
        f"{data.model} predicts the {n_tokens} tokens with a mean loss of "
        f"{number(data.mean_loss)} nats; the most surprising is {token!r} "
        f"({number(float(worst.loss[at]))} nats)."
    )


def attention_report(data: AttentionReportData) -> Page:
    """The report of `cutaway attention`.

    Args:
        data: everything that was read from the model.

    Example:
        >>> attention_report(data).html()  # doctest: +SKIP
    """
    of = f"the prompts of {data.task}" if data.task else "a text"
    page = Page(
        f"Attention of {data.model}",
        f"Where its heads look on {of}, and how surprising each token is to it.",
        facts=(("model", data.model), *((("task", data.task),) if data.task else ())),
        footer="Written by Cutaway. This file needs no network and fetches nothing.",
    )
    page.add(_in_short(data), _loss(data), _look(data), _table(data), _method(data))
    return page


def _in_short(data: AttentionReportData) -> Section:
    n_tokens = sum(len(one.example.tokens) for one in data.readings)
    n_prompts = len(data.readings)
    where = f"in {n_prompts} prompts" if n_prompts > 1 else "of the text, as the model reads it"
    numbers = (
        KeyNumber("Tokens", str(n_tokens), where),
        KeyNumber("Heads", str(len(data.heads)), "shown"),
        KeyNumber("Mean loss", data.mean_loss, "nats for each token"),
    )
    return Section("In short", KeyNumbers(numbers), Items(findings(data)))


def _loss(data: AttentionReportData) -> Section:
    largest = max(float(np.nanmax(one.loss)) for one in data.readings)
    views = [
        ColouredTokensView(
            one.example.tokens,
            one.loss,
            limit=largest or 1.0,
            notes=_notes(one),
            title=f"Prompt {at + 1}" if len(data.readings) > 1 else "The loss of each token",
            caption="The darker (in the dark theme, the brighter), the less the model expected the "
            "token after those before it. Pointing at one says what it expected instead."
            if at == len(data.readings) - 1
            else "",
            value_label="nats",
        )
        for at, one in enumerate(data.readings)
    ]
    return Section("How surprising each token is", *views)


def _notes(one: Reading) -> list[str]:
    """The probability of each token, and what was likeliest in its place."""
    said = []
    for at, loss in enumerate(one.loss):
        if np.isnan(loss):
            said.append("Nothing comes before it.")
            continue
        guess = visible_space(one.guesses[at])
        said.append(
            f"probability {number(float(np.exp(-loss)), 3)}; "
            f"likeliest: {guess} {number(float(one.guess_probability[at]), 3)}"
        )
    return said


def _look(data: AttentionReportData) -> Section:
    view = AttentionView(
        [one.example for one in data.readings],
        data.heads,
        head_scores={name: list(map(float, v)) for name, v in data.known_rates.items()},
        caption="Choose a head, and point at a token to see where it looks, or who looks at it. "
        "A dot stands for the space before a word.",
    )
    return Section("Where the heads look", view)


def _table(data: AttentionReportData) -> Section:
    rates = data.known_rates
    excess = np.stack([np.nan_to_num(values - data.uniform[k]) for k, values in rates.items()])
    order = np.argsort(-excess.max(0), kind="stable")
    columns: tuple[Column | str, ...] = ("head", *(Column(name, "right") for name in rates))
    alike: list[Cell] = ["all alike", *(Share(data.uniform[name]) for name in rates)]

    def row(at: int) -> list[Cell]:
        name = data.heads[at]
        link = tag("a", name, href="#where-the-heads-look", data_head=name)
        return [link, *(Share(float(values[at])) for values in rates.values())]

    parts: list[Part] = [
        TableView(
            columns,
            [*(row(int(at)) for at in order[:_MOST_ROWS]), alike],
            title="Mean attention of each head",
            caption="The heads that look at one of these most, compared with a head that looks at "
            "all tokens so far alike (last row). Means over all tokens but the first; of earlier "
            "copies over the tokens that have one.",
        )
    ]
    if len(order) > _MOST_ROWS:
        every = TableView(columns, [*map(row, range(len(data.heads))), alike])
        parts.append(Disclosure(f"All {len(order)} heads", every))
    parts.append(
        Note(
            "caution",
            join(
                "Where a head looks does not say whether what it finds there matters for the "
                "answer: ",
                code("cutaway patch"),
                " tests that. On one text a head can look at a token for several reasons; "
                "classes of heads need many texts.",
            ),
        )
    )
    return Section("What each head does here", *parts)


def _method(data: AttentionReportData) -> Section:
    return how_it_was_made(
        data.settings,
        data.timings,
        Disclosure(
            "How the figures are computed",
            "Attention is the pattern after the softmax, in one run of the model on each prompt. "
            "The loss of a token is minus the natural logarithm of its probability after the "
            "tokens before it. In the page the weights have one byte each, off by at most 0.002; "
            "results.safetensors has them in full.",
        ),
    )
