"""What the numbers of the IOI study say in words. Every sentence is chosen by a stated rule.

Nothing here knows what the answer ought to be: with other numbers the sentences change.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ..evidence import LEAST_EFFECT, Interval
from .ioi_data import Ablation, Behaviour, EffectMap, IOIReportData, RoleSwap, TopHead
from .numbers import bracket, interval_text, number

# A share of the metric or of a head's attention above this is called most of it.
HALF = 0.5
# Below this difference between clean and corrupted, in logits, normalised effects are shaky.
LEAST_GAP = 1.0
_MOST_NAMED = 5


def findings(data: IOIReportData) -> tuple[str, ...]:
    """The study in a few sentences, in the order of its sections."""
    return (
        behaviour(data.behaviour),
        role_swaps(data.role_swaps),
        positions(data.maps["resid_pre"]),
        heads(data.heads),
        attention(data.top_heads),
        *ablations(data),
    )


def behaviour(measured: Behaviour) -> str:
    """Whether the model does the task: the interval of the mean logit difference decides."""
    mean, n = measured.logit_difference, measured.logit_difference.n
    figures = (
        f"over {n} prompts the logit of the indirect object exceeds that of the subject by "
        f"{interval_text(mean)} on average, and in {interval_text(measured.accuracy, share=True)} "
        "of the prompts"
    )
    if mean.low > 0:
        return f"The behaviour is there: {figures}."
    if mean.high < 0:
        return f"The model prefers the subject: {figures}. What follows is not a circuit for IOI."
    return f"The behaviour is not established, since the interval includes 0: {figures}."


def corruption(measured: Behaviour) -> str:
    """What the corruption does to the metric, and whether there is enough to normalise by."""
    corrupted = measured.corrupted
    gap = measured.logit_difference.estimate - corrupted.estimate
    text = interval_text(corrupted)
    if corrupted.high < 0:
        said = f"On the corrupted prompts the preference is reversed ({text})."
    elif corrupted.low > 0:
        said = f"On the corrupted prompts the preference remains, at {text}."
    else:
        said = f"On the corrupted prompts no preference is left ({text})."
    if gap < LEAST_GAP:
        return (
            f"{said} Clean and corrupted differ by only {number(gap)} logits: the effects below "
            "are divided by that, and are unstable."
        )
    return f"{said} The whole difference, which counts as 1 below, is {number(gap)} logits."


def role_swaps(swaps: Sequence[RoleSwap]) -> str:
    """Whether the answer follows the role: all swaps positive, or not."""
    positive = sum(swap.logit_difference > 0 for swap in swaps)
    if not swaps:
        return "The roles of the names were not swapped in this run."
    if positive == len(swaps):
        least = min(swap.logit_difference for swap in swaps)
        return (
            f"All {len(swaps)} role swaps are positive (the least {number(least)}): on these "
            f"{len(swaps)} prompts, all of one template, the answer follows the role of a name, "
            "not the name."
        )
    return (
        f"Only {positive} of the {len(swaps)} role swaps are positive: here the answer depends on "
        "which names they are, not on their role alone."
    )


def positions(resid_pre: EffectMap) -> str:
    """In which layers each position of the residual stream carries more than half of the metric."""
    carried = []
    for column, name in enumerate(resid_pre.columns):
        layers = np.flatnonzero(resid_pre.values[:, column] > HALF)
        if len(layers):
            carried.append(f"at {name} in {_layers(resid_pre, layers)}")
    if not carried:
        return "No single position of the residual stream restores more than half of the metric."
    return f"The residual stream restores more than half of the metric {listed(carried)}."


def components(name: str, effects: EffectMap) -> str:
    """The strongest place of a kind of component, and how many of its places matter."""
    row, column = np.unravel_index(int(np.nanargmax(np.abs(effects.values))), effects.values.shape)
    value = number(effects.values[row, column])
    ends = bracket(effects.low[row, column], effects.high[row, column])
    matters = int(effects.matters().sum())
    place = f"layer {effects.rows[row]} at {effects.columns[column]}"
    return (
        f"{name}: {matters} of {effects.values.size} places matter, most of all {place}, "
        f"with {value} {ends}."
    )


def heads(effects: EffectMap) -> str:
    """How many heads matter, and which the most, in both directions."""
    matters = effects.matters()
    total = matters.size
    if not matters.any():
        return f"None of the {total} heads matters on its own."
    said = [f"{int(matters.sum())} of the {total} heads matter"]
    for sign, verb in ((1, "restore the answer"), (-1, "work against it")):
        names = _strongest(effects, matters & (np.sign(effects.values) == sign))
        if names:
            said.append(f"{listed(names)} {verb} most")
    return "; ".join(said) + "."


def attention(top: Sequence[TopHead]) -> str:
    """Which of the top heads put more than half of their attention from END on one position."""
    groups: dict[str, list[str]] = {}
    for head in top:
        place, share = max(head.looks_at.items(), key=lambda item: item[1], default=("", 0.0))
        if share > HALF:
            groups.setdefault(place, []).append(head.name)
    if not groups:
        return "From END, no top head puts more than half of its attention on one named position."
    said = [f"{listed(names)} on {place}" for place, names in groups.items()]
    return f"From END, more than half of the attention of a top head goes to: {listed(said, ';')}."


def ablation(measured: Ablation, data: IOIReportData) -> str:
    """Whether the ablated heads carry the behaviour: against its size, and against random sets."""
    intact = _intact(data).estimate
    effect, count = measured.effect, len(data.ablated_heads)
    how = {"zero": "Zero", "mean": "Mean", "resample": "Resample"}.get(measured.kind, measured.kind)
    plural = "head" if count == 1 else "heads"
    said = (
        f"{how} ablation of the {count} top {plural} changes the logit difference by "
        f"{interval_text(effect)}, from {number(intact)} to {number(intact + effect.estimate)}"
    )
    n_sets = len(measured.random_effects)
    if not n_sets:
        return f"{said}; no random heads were tried."
    as_large = _as_large(measured)
    mean = number(float(measured.random_effects.mean()))
    if as_large == 0:
        return f"{said}; none of {n_sets} random sets changes it as much (their mean is {mean})."
    return (
        f"{said}; {as_large} of {n_sets} random sets change it as much or more (their mean is "
        f"{mean}), so these heads are not special by this test."
    )


def ablations(data: IOIReportData) -> tuple[str, ...]:
    """All ways of ablating in one sentence, and whether any random set does as much."""
    if not data.ablations:
        return ()
    intact = number(_intact(data).estimate)
    changes = [f"{number(one.effect.estimate)} ({one.kind})" for one in data.ablations]
    n_sets = sum(len(one.random_effects) for one in data.ablations)
    as_large = sum(_as_large(one) for one in data.ablations)
    control = f"{as_large or 'none'} of {n_sets} ablations of random sets" if n_sets else ""
    verb = "change" if as_large > 1 else "changes"
    closing = f"; {control} {verb} it as much" if control else ""
    return (
        f"Taking out the {len(data.ablated_heads)} top heads changes the logit difference of "
        f"{intact} by {listed(changes)}{closing}.",
    )


def _intact(data: IOIReportData) -> Interval:
    return data.behaviour.logit_difference if data.intact is None else data.intact


def rule() -> str:
    """The rule by which something matters, in words."""
    return (
        f"An effect matters, here, if its interval excludes 0 and it is larger than "
        f"{number(LEAST_EFFECT)} in absolute value."
    )


def listed(items: Iterable[str], separator: str = ",") -> str:
    """Several items as one phrase.

    Example:
        >>> listed(["9.9", "9.6", "10.0"])
        '9.9, 9.6 and 10.0'
    """
    *first, last = items
    if separator == ";":
        return "; ".join([*first, last])
    return f"{', '.join(first)} and {last}" if first else last


def _as_large(measured: Ablation) -> int:
    """How many random sets change the metric as much as the top heads, in either direction."""
    return int((np.abs(measured.random_effects) >= abs(measured.effect.estimate)).sum())


def _strongest(effects: EffectMap, chosen: np.ndarray) -> list[str]:
    """The names of the chosen heads with the largest absolute effects, with their effects."""
    rows, columns = np.nonzero(chosen)
    order = np.argsort(-np.abs(effects.values[rows, columns]))[:_MOST_NAMED]
    return [
        f"{effects.rows[rows[i]]}.{effects.columns[columns[i]]} "
        f"({number(effects.values[rows[i], columns[i]])})"
        for i in order
    ]


def _layers(effects: EffectMap, layers: np.ndarray) -> str:
    """Layers as a phrase: runs of neighbours are joined."""
    runs = np.split(layers, np.flatnonzero(np.diff(layers) > 1) + 1)
    names = [
        effects.rows[run[0]]
        if len(run) == 1
        else f"{effects.rows[run[0]]} to {effects.rows[run[-1]]}"
        for run in runs
    ]
    return f"layer {names[0]}" if len(layers) == 1 else f"layers {listed(names)}"
