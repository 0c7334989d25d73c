"""The findings of `cutaway glitch` in words, chosen by rule."""

from __future__ import annotations

import numpy as np

from ..tokens.glitch_verification import STRONG, WEAK
from ..tokens.undertrained_detection import RANDOM
from .glitch_data import GlitchReportData, quoted
from .numbers import interval_text, number, percent

_MOST_NAMED = 5
_CAN_REPEAT = 0.8  # of ordinary tokens: below it a verification says little
_WEIGHS = 2 / 3  # share of a deficit from which on it is called the reason


def findings(data: GlitchReportData) -> tuple[str, ...]:
    """Suspects and their verification, the control, the truth where known, the trace."""
    return (_suspects(data), _control(data), *_truth(data), *_trace(data))


def warnings(data: GlitchReportData) -> tuple[str, ...]:
    """What makes these findings doubtful."""
    found = []
    control = data.control.share("repeats")
    if control.low < _CAN_REPEAT:
        found.append(
            f"The model repeats only {percent(control.estimate)} of ordinary tokens in these "
            "prompts, so that a token it does not repeat need not be undertrained."
        )
    n = len(data.indicators.unused.tokens)
    if n < 8 and data.indicators.tied:
        found.append(
            f"The reference holds {n} known-unused tokens: the cosines lean on the few that are "
            "known."
        )
    return tuple(found)


def _suspects(data: GlitchReportData) -> str:
    found = data.verification
    strong, weak = found.share("strong"), found.share("weak")
    n = len(found.tokens)
    n_strong, n_weak = (sum(v == name for v in found.verdicts) for name in ("strong", "weak"))
    named = [one for one in data.suspects(n) if one.verdict == "strong"][:_MOST_NAMED]
    listed = ", ".join(quoted(one.text) for one in named)
    first = f" The most suspicious of them: {listed}." if named else ""
    return (
        f"Of the {n} tokens that {data.chosen} suspects most, {n_strong} are strongly "
        f"undertrained ({percent(strong.estimate)}: probability below {STRONG:g} in every prompt "
        f"that asks for them again) and {n_weak} weakly ({percent(weak.estimate)}: below "
        f"{WEAK:g}).{first}"
    )


def _control(data: GlitchReportData) -> str:
    share = data.control.share("repeats")
    median = float(np.median(data.control.highest))
    return (
        f"Control: of {share.n} ordinary tokens {percent(share.estimate)} "
        f"[{percent(share.low)}, {percent(share.high)}] are repeated in the same prompts, with a "
        f"median probability of {number(median, 3)}."
    )


def _truth(data: GlitchReportData) -> list[str]:
    truth = data.truth
    if truth is None:
        return []
    best = max(truth.areas, key=lambda name: truth.areas[name].estimate)
    worst = min(truth.areas, key=lambda name: truth.areas[name].estimate)
    precision = truth.hits[data.chosen][0]
    halves = truth.halves
    left_out = ", ".join(
        f"{name} {number(halves.mean(name, 'area'), 3)}" for name in (*truth.areas, RANDOM)
    )
    sentences = [
        f"The training text is known: {truth.never.size} of its tokens never came. {data.chosen} "
        f"puts them below the {truth.used.size} others with an area under the curve of "
        f"{interval_text(truth.areas[data.chosen], 3)}; of the {truth.never.size} lowest "
        f"{percent(precision.estimate)} never came. Best: {best} "
        f"({number(truth.areas[best].estimate, 4)}), worst: {worst} "
        f"({number(truth.areas[worst].estimate, 4)}).",
        f"Half of the unused tokens found by the other half (mean area of "
        f"{halves.area.shape[1]} splits): {left_out}.",
    ]
    rows = data.by_count()
    able = next((row for row in rows if row.repeats.estimate >= 0.5), None)
    if able is not None:
        sentences.append(
            f"A token is repeated from about {able.count:,} training sequences on: of those that "
            f"stood in so many {percent(able.repeats.estimate)} "
            f"[{percent(able.repeats.low)}, {percent(able.repeats.high)}] (n={able.n})."
        )
    return sentences


def _trace(data: GlitchReportData) -> list[str]:
    return [outside(data), reason(data), patched(data)]


def outside(data: GlitchReportData) -> str:
    """From which point on which measure of the traced token is beyond all ordinary tokens."""
    trace = data.trace
    words = {
        "norm": "the norm of the stream at it",
        "floor": "the floor of its logit",
        "rise": "the rise of its logit",
        "follower": "the probability of its follower",
    }
    points = {what: trace.first_outside(name) for name, what in words.items()}
    left = [f"{what} {point_name(point)}" for what, point in points.items() if point is not None]
    stayed = [what for what, point in points.items() if point is None]
    n = len(trace.ordinary)
    said = f"The trace of {data.traced} (number {trace.token}), beside {n} ordinary tokens"
    parts = [f"beyond all of them, to the end, from here on: {', '.join(left)}"] if left else []
    if stayed:
        parts.append(f"among them in the end: {', '.join(stayed)}")
    return (
        f"{said}, is {'; '.join(parts)}. One of them would end beyond the others in "
        f"{percent(2 / (n + 1))} of cases for each measure."
    )


def reason(data: GlitchReportData) -> str:
    """Whether its logit lacks floor or rise, in the end."""
    trace = data.trace
    floor, rise = (trace.means(name)[:, -1] for name in ("floor", "rise"))
    lack_floor, lack_rise = (float(one[1:].mean() - one[0]) for one in (floor, rise))
    lack = lack_floor + lack_rise
    said = (
        f"Where it has to be said its logit is {number(lack)} below that of ordinary tokens: "
        f"{number(lack_floor)} of the floor (what it has when another token stood in its place) "
        f"and {number(lack_rise)} of the rise"
    )
    whole = floor + rise
    if whole[0] >= whole[1:].min():
        return f"{said}; some ordinary token has as little."
    if lack_floor / lack >= _WEIGHS:
        return f"{said}. So the unembedding keeps it down, whatever was read."
    if lack_rise / lack >= _WEIGHS:
        return f"{said}. So it is not carried from where it stood."
    return f"{said}. So both are at fault: it is not carried, and it is kept down."


def patched(data: GlitchReportData) -> str:
    """Where an ordinary token's stream mends what the token cost, and until which layer."""
    parts = []
    for question, words in (("say", "saying the token"), ("follow", "finding its follower")):
        patch, control = data.trace.patches[question], data.trace.patches[f"{question}, control"]
        gap = patch.whole_gap()
        start = f"{words}: between its run and an ordinary one lie {interval_text(gap)} logits"
        beside = f"between two ordinary ones {number(control.whole_gap().estimate)}"
        held = {place: patch.last_layer(place) for place in patch.places}
        if not gap.low > 0:
            parts.append(f"{start} ({beside}), which is not above 0: nothing to mend")
            continue
        where = [
            f"at {place_name(place)} up to the input of layer {layer}"
            for place, layer in held.items()
            if layer is not None
        ]
        mended = " and ".join(where) or "at no single place"
        parts.append(f"{start} ({beside}); more than half comes back {mended}")
    return "Patching an ordinary token's stream in. " + ". ".join(map(_upper, parts)) + "."


def point_name(label: str) -> str:
    """A point of the stream in words.

    Example:
        >>> point_name("embed"), point_name("1")
        ('at the embedding', 'after layer 1')
    """
    return "at the embedding" if label == "embed" else f"after layer {label}"


def place_name(place: str) -> str:
    """A place of the traced sequences in words."""
    return {
        "token": "the token",
        "token, both times": "the token, both times",
        "follower": "the one after it",
        "follower and end": "the one after it and the end",
    }.get(place, "the end")


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
