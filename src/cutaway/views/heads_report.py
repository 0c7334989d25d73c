"""The page of `cutaway heads`: classes, maps of the scores, patterns, roles, random weights."""

from __future__ import annotations

import numpy as np

from ..evidence import Interval
from ..heads.head_classes import ANTI_COPYING, COPIES, COPYING
from ..heads.readings import LOOKS, WRITES
from ..heads.scores import SCORES
from .attention import AttentionView
from .heads_data import HeadsReportData
from .heads_sentences import findings
from .heads_tables import classes_table, head_table, random_table, roles_table, thresholds_table
from .heatmap import HeatmapView
from .key_numbers import KeyNumber, KeyNumbers
from .layout import Beside, Disclosure, Items, Note, Section
from .origin_section import how_it_was_made
from .page import Page
from .view import Part

_FOOTER = "Written by Cutaway. This file needs no network and fetches nothing."
_MOST_DETAILED = 400  # heads whose scores a click on the map shows


def heads_report(data: HeadsReportData) -> Page:
    """The report of `cutaway heads`."""
    found = data.taxonomy
    layers, heads = found.shape
    facts = (
        ("model", found.model),
        ("heads", f"{layers} × {heads}"),
        ("prompts of each kind", str(found.scores.settings["n_prompts"])),
        ("half", f"{found.scores.settings['half_length']} tokens"),
    )
    page = Page(
        f"The heads of {found.model}",
        "What does each head look at, what does it copy, and what would random weights be called?",
        facts=facts,
        footer=_FOOTER,
    )
    page.add(
        Section("In short", _key_numbers(data), Items(findings(data))),
        Section("Which head is what", classes_table(data), _generality_map(data)),
        Section("Every score", *_maps(data)),
        *_patterns(data),
        Section("Beside random weights", random_table(data), Note("caution", _CAUTION)),
        *_roles(data),
        _method(data),
    )
    return page


_CAUTION = (
    "A score says where a head looks on random tokens. Whether the model uses it, and whether the "
    "head does the same on text, is for patching and ablation to say."
)


def _key_numbers(data: HeadsReportData) -> KeyNumbers:
    def numbered(name: str) -> KeyNumber:
        head, _ = data.highest(name)
        layer, at = map(int, head.split("."))
        value, low, high = (float(one[layer, at]) for one in data.taxonomy.intervals[name])
        n = int(data.taxonomy.scores.settings["n_prompts"])
        return KeyNumber(f"Highest {name}", Interval(value, low, high, 0.95, n), f"head {head}")

    named = sum(map(bool, data.taxonomy.classes.values()))
    return KeyNumbers(
        (
            KeyNumber("Heads with a class", named, f"of {len(data.taxonomy.heads)}"),
            *(numbered(name) for name in ("previous-token", "induction", "first-token")),
        )
    )


def _labels(n: int) -> tuple[str, ...]:
    return tuple(map(str, range(n)))


def _generality_map(data: HeadsReportData) -> HeatmapView:
    found = data.taxonomy
    layers, heads = found.shape
    entropy, low, high = found.generality
    details: dict[tuple[int, int], Part] | None = None
    if layers * heads <= _MOST_DETAILED:
        details = {
            (layer, head): head_table(data, layer, head)
            for layer, head in np.ndindex(layers, heads)
        }
    return HeatmapView(
        entropy,
        _labels(layers),
        _labels(heads),
        low=low,
        high=high,
        title="Specialised (0) or general (1)",
        caption="Entropy of a head's above-chance attention over five places (previous, duplicate, "
        "induction, first, current token), over ln 5. Hatched: it looks at none of them more than "
        "uniform attention does.",
        row_axis="layer",
        column_axis="head",
        value_label="entropy / ln 5",
        limit=1.0,
        details=details,
    )


def _maps(data: HeadsReportData) -> list[Part]:
    """One map of layers by heads for each score, two beside each other."""
    found = data.taxonomy
    layers, heads = found.shape
    maps: list[Part] = []
    for name, (value, low, high) in found.intervals.items():
        score = SCORES[name]
        by_chance = f" Uniform attention has {found.scores.by_chance[name]:.2f}."
        chance = by_chance if score.is_share else ""
        maps.append(
            HeatmapView(
                value,
                _labels(layers),
                _labels(heads),
                low=low,
                high=high,
                title=name.capitalize(),
                caption=f"{score.definition[:1].upper()}{score.definition[1:]}.{chance} "
                f"Threshold {found.threshold(name):.2f}. {score.source}.",
                row_axis="layer",
                column_axis="head",
                limit=1.0,
            )
        )
    if found.copying is not None:
        maps.append(
            HeatmapView(
                np.asarray(found.copying.scores),
                _labels(layers),
                _labels(heads),
                title="Copying",
                caption="Sum of the eigenvalues of W_E W_V W_O W_U over the sum of their sizes: "
                "+1 raises the token it attends to, −1 lowers it. By weights alone, so there is no "
                "interval over prompts. Elhage et al. 2021.",
                row_axis="layer",
                column_axis="head",
                limit=1.0,
            )
        )
    return [Beside(*maps[at : at + 2]) for at in range(0, len(maps), 2)]


def _patterns(data: HeadsReportData) -> list[Section]:
    if not data.shown:
        return []
    view = AttentionView(
        data.examples,
        tuple(head for head, _ in data.shown),
        tuple(name for _, name in data.shown),
        title="The first head of each class",
        caption="On random tokens: a prompt in which the first half comes twice, one in which no "
        "token comes twice, and one of a few tokens.",
    )
    return [Section("Look at them", view)]


def _roles(data: HeadsReportData) -> list[Section]:
    if data.no_roles:
        return []
    roles = data.taxonomy.roles
    assert roles is not None
    parts: list[Part] = [roles_table(data)]
    if not roles.does_task:
        parts.insert(0, Note("caution", "The model does not do this task: no head has a role."))
    definitions = Items(
        (
            f"Name mover: END looks at IO (above {LOOKS}) and the head adds more than {WRITES} of "
            "the direct logit difference. Negative name mover: it takes as much away.",
            f"S-inhibition: END looks at S2 (above {LOOKS}), and the path from the head to the "
            "name movers' queries carries more than 0.02 of the effect.",
            "Backup: without the name movers (mean over other names in their place) the head adds "
            f"more than {WRITES}, at least 0.02 more than with them.",
            "Of every share the interval excludes 0. Wang et al. 2022, sections 3.1 to 3.4.",
        )
    )
    parts.append(Disclosure("How the roles are defined", definitions))
    return [Section("Roles in indirect object identification", *parts)]


def _method(data: HeadsReportData) -> Section:
    copying = (
        f"{COPYING} and {ANTI_COPYING}: copying score above {COPIES} or below −{COPIES}, and no "
        "random head with the same singular values reaches it (false discovery rate 5%)."
    )
    set_by = Disclosure("How the thresholds were set", thresholds_table(data), copying)
    return how_it_was_made(data.settings, data.timings, set_by)
