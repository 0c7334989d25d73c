"""The findings of `cutaway heads` in words, chosen by rule."""

from __future__ import annotations

import numpy as np

from ..heads.head_classes import ANTI_COPYING, COPYING
from ..heads.roles import ROLES
from ..heads.scores import PLACES, SCORES
from .heads_data import HeadsReportData
from .numbers import bracket, number, percent

_MOST_NAMED = 6  # heads that a sentence lists
_ONE = 1.5  # effective number of places below which a head is said to look at one


def findings(data: HeadsReportData) -> tuple[str, ...]:
    """What was found: classes with their heads, what fits none, what random weights give."""
    return (
        _counted(data),
        *_classes(data),
        *_roles(data),
        *_below(data),
        _general(data),
        _random(data),
    )


def _counted(data: HeadsReportData) -> str:
    found = data.taxonomy
    named = sum(map(bool, found.classes.values()))
    heads = len(found.heads)
    settings = found.scores.settings
    return (
        f"{named} of {heads} heads of {found.model} fit at least one class, on "
        f"{settings['n_prompts']} random prompts of each kind with halves of "
        f"{settings['half_length']} tokens."
    )


def _classes(data: HeadsReportData) -> list[str]:
    found, sentences = data.taxonomy, []
    for name in found.flags:
        if name in ROLES:
            continue
        heads = found.of_class(name)
        if not heads:
            continue
        listed = ", ".join(_scored(data, name, head) for head in heads[:_MOST_NAMED])
        more = f" and {len(heads) - _MOST_NAMED} more" if len(heads) > _MOST_NAMED else ""
        sentences.append(f"{name.capitalize()}: {listed}{more}.")
    missing = [name for name in found.flags if name in SCORES and not found.of_class(name)]
    if missing:
        sentences.append(f"No head is called {', '.join(missing)}.")
    return sentences


def _scored(data: HeadsReportData, name: str, head: str) -> str:
    """A head with its score."""
    layer, number_in_layer = map(int, head.split("."))
    at, found = (layer, number_in_layer), data.taxonomy
    if name in (COPYING, ANTI_COPYING):
        assert found.copying is not None
        return f"{head} {number(float(found.copying.scores[at]))}"
    value, low, high = (float(one[at]) for one in found.intervals[name])
    return f"{head} {number(value)} {bracket(low, high)}"


def _roles(data: HeadsReportData) -> list[str]:
    if data.no_roles:
        return [data.no_roles]
    roles = data.taxonomy.roles
    assert roles is not None
    if not roles.does_task:
        accuracy = roles.accuracy
        return [
            f"The model does not do the task (IO above S in {percent(accuracy.estimate)} of "
            f"{accuracy.n} prompts, {bracket(accuracy.low, accuracy.high)}), so no head has a role "
            "in it."
        ]
    named = [
        f"{role}: {', '.join(heads)}" for role in ROLES if (heads := data.taxonomy.of_class(role))
    ]
    if not roles.movers:
        return [
            "The model does the task, and no head of it is a name mover: none attends from END to "
            "IO and writes IO. So nobody can tell or back up name movers either."
        ]
    return [f"On the task: {'; '.join(named)}."]


def _below(data: HeadsReportData) -> list[str]:
    """Heads that do something more than chance would, without mainly doing it."""
    found, parts = data.taxonomy, []
    for name in PLACES:
        heads = [one for one in found.above_random(name) if one not in found.of_class(name)]
        if heads:
            listed = ", ".join(heads[:_MOST_NAMED]) + (", ..." if len(heads) > _MOST_NAMED else "")
            parts.append(f"{name} {len(heads)} ({listed})")
    if not parts:
        return []
    return ["Below the threshold, but above every shuffled head: " + "; ".join(parts) + "."]


def _general(data: HeadsReportData) -> str:
    entropy, _, _ = data.taxonomy.generality
    said = np.isfinite(entropy)
    places = len(PLACES) ** entropy[said]  # 1 for a single place, 2 for two alike, ...
    one = int((places < _ONE).sum())
    nothing = int((~said).sum())
    return (
        f"Specialised or general: of {int(said.sum())} heads that look at any of the five places "
        f"more than uniform attention does, {one} look at one (fewer than {_ONE} in effect, which "
        f"is 5 to the power of the entropy), {len(places) - one} share their attention among "
        f"several; {nothing} look elsewhere."
    )


def _random(data: HeadsReportData) -> str:
    found = data.taxonomy
    parts = []
    for weights in found.control:
        rates = found.false_positives(weights)
        called = {
            name: rate for name, rate in rates.items() if rate.estimate > 0 and name != "uniform"
        }
        n = next(iter(rates.values())).n
        words = (
            ", ".join(f"{name} {percent(rate.estimate)}" for name, rate in called.items())
            or "none is called anything"
        )
        uniform = rates["uniform"].estimate
        parts.append(f"{weights} ({n} heads): {words}, uniform {percent(uniform)}")
    return f"Random weights of the same shape, {'; '.join(parts)}."
