"""What probes found, in words. Every sentence is chosen by a stated rule."""

from __future__ import annotations

from ..evidence import LEAST_EFFECT
from ..probing.results import ProbeResults
from .numbers import interval_text, number, percent
from .probe_data import RATE, ErasureAt, ProbeReportData

_FEW_GROUPS = 10
_FEW_SEEN = 0.5
_LARGE_SHARE = 0.5


def findings(data: ProbeReportData) -> tuple[str, ...]:
    """Where the label is read best, beside what; where it is read at all; whether it is used."""
    found = [best(data), beside(data), count(data)]
    if data.erasure is not None:
        here = data.erased(data.best)
        found.append(erased_best(data, here))
        idle = data.read_not_used
        if idle is not None and idle != data.best:
            found.append(read_not_used(data, data.erased(idle)))
        most = data.most_used
        if most is not None:
            one = data.erased(most)
            if one.beyond.estimate - here.beyond.estimate > LEAST_EFFECT:
                found.append(most_used(data, one))
    return tuple(found)


def best(data: ProbeReportData) -> str:
    """The place that validation prefers."""
    results, place = data.results, data.best
    one = results.interval(**place)
    what = f"{len(results.classes)} classes" if results.classes else "numbers"
    guess = results.control("majority", **place).estimate
    beside_ = (
        f"the most frequent class has {number(guess)}"
        if results.classes
        else "a guess by the mean has 0"
    )
    return (
        f"A {results.method} probe reads {results.label!r} ({what}) best at {data.name(place)} of "
        f"{results.site}: {results.measure} {interval_text(one)} on {one.n} test prompts of "
        f"{len(set(results.groups))} groups that it was not fitted on; {beside_}."
    )


def beside(data: ProbeReportData) -> str:
    """The controls at that place."""
    results, place = data.results, data.best
    words = {
        "control task": "labels dealt out by word (the control task)",
        "shuffled labels": "shuffled labels",
        "random weights": "the same probe on random weights",
        "embeddings": "on the embeddings at that position",
    }
    listed = [
        f"{text} {number(results.control(name, **place).estimate)}"
        for name, text in words.items()
        if name in results.controls
    ]
    return (
        f"Beside it: {', '.join(listed)}. Selectivity, the gain over the control task: "
        f"{interval_text(results.selectivity(**place))}."
    )


def count(data: ProbeReportData) -> str:
    """At how many places anything is read."""
    n, read = data.read.size, int(data.read.sum())
    return (
        f"At {read} of {n} places the probe's answers have to do with the labels (p ≤ {RATE:g} for "
        "999 rearrangements of the test labels, corrected for all places)."
    )


def erased_best(data: ProbeReportData, one: ErasureAt) -> str:
    """Whether the behaviour goes where the label is read best."""
    verdict = (
        "the model misses it there"
        if _is_used(one)
        else "the model does not miss it there: what is read is not what is used"
    )
    return f"Erased at {data.name(one.place)}, {_effect(one)}: {verdict}."


def read_not_used(data: ProbeReportData, one: ErasureAt) -> str:
    """A place where it is read and not missed."""
    score = data.results.interval(**one.place)
    return (
        f"Read and not missed: at {data.name(one.place)} the {data.results.measure} is "
        f"{interval_text(score)}, and erased there, {_effect(one)}."
    )


def most_used(data: ProbeReportData, one: ErasureAt) -> str:
    """The place where erasure does most."""
    score = data.results.interval(**one.place)
    return (
        f"Erasure does most at {data.name(one.place)} ({data.results.measure} "
        f"{interval_text(score)}): {_effect(one)}. Being chosen for its size flatters it."
    )


def _effect(one: ErasureAt) -> str:
    return (
        f"{one.rank} dimension{'' if one.rank == 1 else 's'} ({percent(one.share)} of the "
        "variance), the effect is "
        f"{number(one.effect)}, of as many random ones {number(float(one.random.mean()))} on "
        f"average and {number(float(one.random.max()))} at most, beyond them "
        f"{interval_text(one.beyond)}"
    )


def _is_used(one: ErasureAt) -> bool:
    return one.beyond.low > 0 and one.beyond.estimate > LEAST_EFFECT


def warnings(data: ProbeReportData) -> tuple[str, ...]:
    """What makes these numbers shaky."""
    results = data.results
    found = []
    n_groups = len(set(results.groups))
    if n_groups < _FEW_GROUPS:
        found.append(
            f"The test prompts are of {n_groups} groups only, and groups are what the intervals "
            "resample: they are rough."
        )
    unseen = float(results.settings.get("unseen_labels", 0.0))
    if unseen > 0:
        found.append(
            f"{percent(unseen)} of the test prompts have a label that no train prompt has, and "
            "cannot be right: group the prompts in another way (--groups), or take more."
        )
    found += _few_seen(results)
    if int(results.settings.get("n_unconverged", 0)):
        found.append(
            f"{results.settings['n_unconverged']} fits had not converged: scale or penalise more."
        )
    if data.erasure is not None:
        one = data.erased(data.best)
        if one.share > _LARGE_SHARE and results.classes:
            found.append(
                f"Telling {len(results.classes)} classes apart takes {one.rank} dimensions and "
                f"{percent(one.share)} of the variance: so much erased does damage of its own. "
                "Compare with the random subspaces, or ask for fewer classes (--names)."
            )
    return tuple(found)


def _few_seen(results: ProbeResults) -> list[str]:
    few = [
        f"{position} ({percent(float(share))})"
        for position, share in zip(results.axes[-1].labels, results.seen_types, strict=True)
        if share < _FEW_SEEN
    ]
    if not few:
        return []
    return [
        f"At {', '.join(few)} few test prompts have a word that the train prompts have too: the "
        "control task cannot be learnt there, and selectivity says little."
    ]
