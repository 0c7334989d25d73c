"""What `cutaway sae features` found, in words, chosen by rule."""

from __future__ import annotations

from collections.abc import Sequence

from ..sae.rules import Rule
from .feature_data import FeatureReportData
from .numbers import interval_text, percent

_MOST_NAMED = 4


def kinds_of_rules(rules: Sequence[Rule | None]) -> dict[str, list[Rule]]:
    """Rules by what they look at, the kind with the most of them first.

    Example:
        >>> list(kinds_of_rules(rules))
        ['on one token', 'after one token', 'on a name']
    """
    found: dict[str, list[Rule]] = {}
    for rule in rules:
        if rule is not None:
            found.setdefault(_kind(rule), []).append(rule)
    return dict(sorted(found.items(), key=lambda pair: (-len(pair[1]), pair[0])))


def _kind(rule: Rule) -> str:
    if rule.where == "at":
        return "at a position"
    what = rule.name or ("one token" if len(rule.members) == 1 else "one of a few tokens")
    return f"{rule.where} {what}"


def findings(data: FeatureReportData) -> tuple[str, ...]:
    """How many are alive and described, by which rules, and which the task needs most."""
    n, rules = data.cfg.d_features, [rule for rule in data.rules if rule is not None]
    sentences = [
        f"{data.n_alive} of {n} features fire on {data.n_tokens:,} tokens; {len(rules)} of them "
        "are described by a simple rule."
    ]
    kinds = kinds_of_rules(data.rules)
    if kinds:
        listed = ", ".join(f"{kind} ({len(own)})" for kind, own in list(kinds.items())[:6])
        sentences.append(f"What the rules say: {listed}.")
        best = sorted(rules, key=lambda rule: (-rule.f1, rule.feature))[:_MOST_NAMED]
        sentences.append(
            f"Best described, on text that the rule was not chosen on: {_best(data, best)}."
        )
    for name, values in data.effects.items():
        known = [(at, one) for at, one in enumerate(values) if one is not None]
        ranked = sorted(known, key=lambda pair: -pair[1].estimate)[:_MOST_NAMED]
        listed = ", ".join(f"{at}: {interval_text(one)}" for at, one in ranked)
        sentences.append(f"Largest {name} when one feature is taken out: {listed}.")
    return tuple(sentences)


def _best(data: FeatureReportData, rules: Sequence[Rule]) -> str:
    return ", ".join(
        f"{rule.feature} fires {rule.text(data.words)} (precision "
        f"{percent(rule.precision.estimate)}, recall {percent(rule.recall.estimate)})"
        for rule in rules
    )
