"""The page of `cutaway sae features`: all features of a dictionary, to search and to browse."""

from __future__ import annotations

from collections.abc import Sequence

from ..evidence import Interval, proportion
from ..sae.rules import Rule
from .feature_data import FeatureReportData
from .feature_sentences import findings, kinds_of_rules
from .key_numbers import KeyNumber, KeyNumbers
from .layout import Items, Note, Section
from .numbers import number
from .origin_section import how_it_was_made
from .page import Page
from .table import Cell, Column, TableView

_REFERENCES = (
    "Bricken et al. 2023, Towards Monosemanticity: features read by examples of all strengths.",
    "Cunningham et al. 2023, Sparse Autoencoders Find Highly Interpretable Features, "
    "arXiv:2309.08600.",
    "Wang et al. 2022, Interpretability in the Wild, arXiv:2211.00593: the task.",
    "Wilson 1927: intervals of precision and recall.",
)
_MOST = 12


def feature_report(data: FeatureReportData) -> Page:
    """The report of `cutaway sae features`.

    Args:
        data: what was read.

    Example:
        >>> feature_report(data).html()  # doctest: +SKIP
    """
    cfg = data.cfg
    kind = cfg.kind if cfg.k is None else f"{cfg.kind}, k = {cfg.k}"
    page = Page(
        f"Features of {data.dictionary}",
        "What each fires on, what it writes, and which of them a simple rule describes.",
        facts=(
            ("model", data.model),
            ("hook", cfg.hook),
            ("features", f"{cfg.d_features:,}"),
            ("kind", kind),
        ),
        footer="Written by Cutaway. This file needs no network and fetches nothing.",
    )
    page.add(_in_short(data), Section("All features", data.browser), _rules(data))
    for name, values in data.effects.items():
        page.add(_effects(data, name, values))
    page.add(_made(data))
    return page


def _in_short(data: FeatureReportData) -> Section:
    n = data.cfg.d_features
    described = sum(rule is not None for rule in data.rules)
    numbers = KeyNumbers(
        [
            KeyNumber("Alive", proportion(data.n_alive, n), "fire at least once", share=True),
            KeyNumber(
                "Described",
                proportion(described, max(data.n_alive, 1)),
                "of those, by a simple rule",
                share=True,
            ),
        ]
    )
    return Section("In short", numbers, Items(findings(data)))


def _rules(data: FeatureReportData) -> Section:
    rows: list[list[Cell]] = [
        [kind, len(rules), *_means(rules)] for kind, rules in kinds_of_rules(data.rules).items()
    ]
    table = TableView(
        ("rule", "features", "precision, mean", "recall, mean"),
        rows,
        caption="Rules were chosen on one half of the text and counted on the other. Precision: of "
        "the tokens that a rule names, the share at which its feature fires; recall: of the tokens "
        "at which it fires, the share that the rule names.",
    )
    note = Note(
        "caution",
        "A rule says when a feature fires, and nothing of what the model does with it. One that "
        "is not described may be a clear feature that no rule of this kind fits, or none.",
    )
    return Section("Simple rules", table, note)


def _means(rules: Sequence[Rule]) -> list[Cell]:
    return [
        sum(getattr(rule, what).estimate for rule in rules) / len(rules)
        for what in ("precision", "recall")
    ]


def _effects(data: FeatureReportData, name: str, values: Sequence[Interval | None]) -> Section:
    known = [(feature, one) for feature, one in enumerate(values) if one is not None]
    ranked = sorted(known, key=lambda pair: -abs(pair[1].estimate))[:_MOST]
    rows: list[list[Cell]] = []
    for feature, effect in ranked:
        rule = data.rules[feature]
        fires = "–" if rule is None else rule.text(data.words)
        rows.append([str(feature), fires, float(data.browser.density[feature]), effect])
    table = TableView(
        ("feature", "fires", Column("density", "right", 3), Column("effect", "right", 3)),
        rows,
        caption="Share of the difference between clean and corrupted prompts that goes when the "
        "feature is set to 0 at all positions of the clean prompt, exactly, the error term held; "
        "negative: the task goes better without it. Intervals over prompts.",
    )
    total = sum(one.estimate for _, one in known)
    added = f"All effects of single features add up to {number(total, 2)}."
    return Section(name[0].upper() + name[1:], table, added)


def _made(data: FeatureReportData) -> Section:
    return how_it_was_made(data.settings, data.timings, references=_REFERENCES)
