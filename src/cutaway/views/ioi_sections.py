"""The sections of the IOI report: each shows one step of the study and says what it found."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from . import ioi_conclusions as say
from .attention import AttentionView
from .bars import Bar, BarsView
from .heatmap import HeatmapView
from .ioi_data import EffectMap, IOIReportData
from .ioi_text import CAUTIONS, CORRUPTIONS, SITES
from .layout import Beside, Disclosure, Note, Section
from .markup import Markup, tag, visible_space
from .numbers import interval_text, number
from .table import Cell, Column, Share, TableView
from .tokens import TokenLine, TokensView
from .view import Part

ATTENTION = "attention"  # the anchor of that section
# Dots in one row; more would hide each other, and fill the file.
_MOST_DOTS = 400


def behaviour(data: IOIReportData) -> Section:
    """The baseline: the metric, an example, every prompt, the role swaps."""
    pair = data.example
    changed = {i for i, (a, b) in enumerate(zip(pair.clean, pair.corrupted, strict=True)) if a != b}
    name = data.behaviour.corruption
    meaning = CORRUPTIONS.get(name, "")
    example = TokensView(
        (
            TokenLine("clean", pair.clean, pair.positions, frozenset(), pair.correct),
            TokenLine("corrupted", pair.corrupted, {}, frozenset(changed)),
        ),
        title="One pair of prompts",
        caption=f"The corruption, {name}{f': {meaning}' if meaning else ''}. A dot stands for the "
        "space before a word; the named positions are those of the maps below.",
    )
    return Section(
        "The behaviour",
        tag(
            "p",
            "The metric is one number per prompt, read at the last token (END): ",
            tag("span", "logit difference = logit(IO) − logit(S)", class_="ct-formula"),
            f". In the pair below it is logit({pair.correct.strip()}) − "
            f"logit({pair.wrong.strip()}). It is positive if the model prefers the indirect "
            "object; a difference of 1 makes it e ≈ 2.7 times as likely as the subject.",
        ),
        example,
        _distribution(data),
        Note("finding", say.corruption(data.behaviour)),
        *_swaps(data),
        _caution("behaviour"),
    )


def _distribution(data: IOIReportData) -> BarsView:
    measured = data.behaviour
    n = len(measured.per_prompt)
    order = np.argsort(measured.per_prompt)
    shown = order[np.unique(np.linspace(0, n - 1, min(n, _MOST_DOTS)).astype(int))]
    labels = [measured.prompts[i] for i in shown]
    thinned = f" {len(shown)} of the {n} prompts are drawn." if len(shown) < n else ""
    return BarsView(
        (
            Bar("clean", measured.logit_difference, "", measured.per_prompt[shown], labels),
            Bar(
                f"corrupted ({measured.corruption})",
                measured.corrupted,
                "",
                measured.corrupted_per_prompt[shown],
                labels,
            ),
        ),
        title="The metric on every prompt",
        caption=f"Bars are means over {n} prompts. The corrupted prompts keep the clean prompts' "
        f"answers: the same two tokens are compared.{thinned}",
        value_label="logit difference",
        dots_name="one prompt",
    )


def _swaps(data: IOIReportData) -> tuple[Part, ...]:
    if not data.role_swaps:
        return ()
    bars = BarsView(
        tuple(
            Bar(f"IO {swap.io.strip()}, S {swap.s.strip()}", swap.logit_difference, swap.prompt)
            for swap in data.role_swaps
        ),
        title="The same sentence, its names in other roles",
        caption="Each bar is one prompt, so it has no interval.",
        value_label="logit difference",
    )
    return bars, Note("finding", say.role_swaps(data.role_swaps))


def positions(data: IOIReportData) -> Section:
    """The maps over layers and positions."""
    limit = max(_map(effects).colour_limit() for effects in data.maps.values())
    sites = [site for site in SITES if site in data.maps]
    maps = [
        _map(
            data.maps[site],
            title=SITES[site][0],
            caption=SITES[site][1],
            row_axis="layer",
            column_axis="position",
            limit=limit,
            legend=site == sites[0],
        )
        for site in sites
    ]
    words = [
        say.components(name, data.maps[site])
        for site, name in (("attn_out", "Attention layers"), ("mlp_out", "MLP layers"))
        if site in sites
    ]
    return Section(
        "Where: layers and positions",
        tag(
            "p",
            "The corrupted prompt runs, and one activation, at one layer and one token, is "
            "replaced by its value from the clean run. The effect is how much of the metric comes "
            "back: ",
            tag("span", "(patched − corrupted) / (clean − corrupted)", class_="ct-formula"),
            ". 0 means that nothing is restored, 1 that all is; below 0 the clean value makes it "
            "worse.",
        ),
        Beside(*maps),
        Note("finding", say.positions(data.maps["resid_pre"]), *words),
        *_token_map(data),
        _caution("positions"),
    )


def _token_map(data: IOIReportData) -> tuple[HeatmapView, ...]:
    if data.token_map is None:
        return ()
    tokens = tuple(visible_space(token) for token in data.token_map.columns)
    view = _map(
        replace(data.token_map, columns=tokens),
        title="Every token of one sentence",
        caption="The residual stream before each layer, as above, for the prompts of one template. "
        "The columns show the first of them. Tokens before the first difference between clean and "
        "corrupted cannot have an effect, since attention is causal.",
        row_axis="layer",
        cell_labels=False,
    )
    return (view,)


def heads(data: IOIReportData) -> Section:
    """The map over heads, and the table of the top ones."""
    every_head = _map(
        data.heads,
        title="Every head",
        caption="Blue heads restore the answer; orange heads write against it, as negative name "
        "movers do.",
        row_axis="layer",
        column_axis="head",
        cell_labels=False,
    )
    return Section(
        "Which heads",
        "The same patch, for the output of one attention head at a time (before it is written into "
        "the residual stream), at all positions at once. This finds heads, not what they do.",
        Beside(every_head, Note("finding", say.heads(data.heads), say.rule())),
        _head_table(data),
        *_head_positions(data),
        _caution("heads"),
    )


def _head_positions(data: IOIReportData) -> tuple[HeatmapView, ...]:
    if data.head_positions is None:
        return ()
    view = _map(
        data.head_positions,
        title="The top heads, one position at a time",
        caption="Where each head does its work: its output is patched at this position only.",
        row_axis="head",
        column_axis="position",
    )
    return (view,)


def _head_table(data: IOIReportData) -> TableView:
    places = list(dict.fromkeys(name for head in data.top_heads for name in head.looks_at))
    has_role = any(head.role for head in data.top_heads)
    has_published = any(head.published for head in data.top_heads)
    columns: list[Column | str] = ["head", Column("effect", "right")]
    columns += [Column(f"→ {name}", "right") for name in places]
    columns += ["measured role"] * has_role + ["published class"] * has_published
    rows: list[list[Cell]] = []
    for head in data.top_heads:
        shares: list[Cell] = [
            Share(head.looks_at[name]) if name in head.looks_at else None for name in places
        ]
        words = [head.role] * has_role + [head.published] * has_published
        rows.append([_head_name(head.name, data), head.effect, *shares, *words])
    return TableView(
        columns,
        rows,
        title="The top heads, and where they look from END",
        caption="Effect: share of the metric restored, with its interval. Arrows: attention from "
        "END to the named position, mean over the clean prompts; what is missing to 1 goes to "
        "other tokens.",
    )


def _head_name(name: str, data: IOIReportData) -> Markup:
    """The name in bold; a link to its attention where that is shown."""
    if not data.attention or name not in data.attention_heads:
        return tag("b", name)
    return tag("a", tag("b", name), href=f"#{ATTENTION}", data_head=name)


def attention(data: IOIReportData) -> tuple[Section, ...]:
    """The attention of the top heads, to walk through; nothing where it was not kept."""
    if not data.attention:
        return ()
    effects = {head.name: number(head.effect.estimate, signed=True) for head in data.top_heads}
    notes = [effects.get(name, "") for name in data.attention_heads]
    section = Section(
        "Where they look",
        "Choose a head, then point at a token, tap it, or walk with the arrow keys. Under each "
        "head stands its effect; under each token its share of the attention.",
        AttentionView(data.attention, data.attention_heads, notes),
        Note("finding", say.attention(data.top_heads)),
        _caution("attention"),
        anchor=ATTENTION,
    )
    return (section,)


def ablation(data: IOIReportData) -> tuple[Section, ...]:
    """The top heads taken out, against random ones; nothing where none was taken out."""
    if not data.ablations:
        return ()
    bars = tuple(
        Bar(
            one.kind,
            one.effect,
            "",
            one.random_effects,
            [f"random set {i + 1}" for i in range(len(one.random_effects))],
        )
        for one in data.ablations
    )
    count = len(data.ablated_heads)
    section = Section(
        "Are they needed?",
        "Patching shows what is enough to bring the answer back. Taking heads out of the clean run "
        f"shows what it needs. Here {count} are taken out together: "
        f"{say.listed(data.ablated_heads)}.{_other_prompts(data)}",
        BarsView(
            bars,
            title="Ablating the top heads, against as many random heads",
            caption="Zero: the heads write nothing. Mean: their mean output over prompts with "
            "unrelated names. Resample: their output on one such prompt. A negative change is a "
            "loss.",
            value_label="change of the logit difference",
            dots_name=f"a random set of {count} other heads",
        ),
        Note("finding", *(say.ablation(one, data) for one in data.ablations)),
        _caution("ablation"),
    )
    return (section,)


def _other_prompts(data: IOIReportData) -> str:
    """Why the intact model has another number here; nothing where it has the same."""
    if data.intact is None:
        return ""
    return (
        " The prompts are others than those that the heads were chosen on, since those would "
        f"flatter the choice; on these the intact model has {interval_text(data.intact)}."
    )


def _map(effects: EffectMap, **looks: Any) -> HeatmapView:
    """A map of normalised effects; `looks` are further fields of `HeatmapView`."""
    return HeatmapView(
        effects.values,
        effects.rows,
        effects.columns,
        effects.low,
        effects.high,
        value_label="share of the metric restored",
        **looks,
    )


def _caution(topic: str) -> Disclosure:
    return Disclosure("When this misleads", *CAUTIONS[topic])
