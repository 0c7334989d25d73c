"""What the emergence study found, in words. Every sentence is chosen by a stated rule."""

from __future__ import annotations

from collections.abc import Sequence

from ..evidence import Interval
from .emergence_data import (
    ANY,
    BEHAVIOUR,
    CLOSE,
    COPIES,
    HEAD,
    MAIN,
    PATCHED,
    PROBE,
    SAYS,
    STEER,
    STEERED,
    TELLS,
    WHAT,
    Emergence,
    Order,
)
from .emergence_sweep import Sweep
from .numbers import bracket, interval_text, number, percent

_WORKS = 0.5  # share of prompts from which steering is said to work


def findings(found: Emergence) -> tuple[str, ...]:
    """Behaviour, head, order, breaks, controls, steering, and what sets it off."""
    sentences = [
        transition(found, ANY),
        transition(found, BEHAVIOUR),
        transition(found, HEAD),
        transition(found, PROBE),
        beside_controls(found),
        how_order_is_told(found),
        *orders_in_words(found),
        breaks(found),
        patched(found),
        steering(found),
        in_context(found),
    ]
    if found.sweep is not None:
        sentences += sets_it_off(found.sweep)
    return tuple(sentences)


def transition(found: Emergence, name: str) -> str:
    """When a score turns, how suddenly, and between which levels."""
    fits, n = found.fits[name], len(found.seeds)
    k = int(fits.found.sum())
    what = f"{name[0].upper()}{name[1:]} ({WHAT[name]})"
    if not k:
        return f"{what}: no transition in any of {n} seeds; {fits.why_not[0]}"
    first = f"in all {n} seeds" if k == n else f"in {k} of {n} seeds"
    levels = (f"{float(fits.of_seeds(end)[fits.found].mean()):.2f}" for end in ("lower", "upper"))
    jumps = sum(curve is not None and curve.is_jump for curve in fits.curves)
    at_most = "at most " if jumps == k else ""
    return (
        f"{what} turns {first} from {' to '.join(levels)}: a tenth of it by step "
        f"{_steps(fits.onset())}, half by step {_steps(fits.midpoint())}; from a tenth to nine "
        "tenths of it the step grows by "
        f"{at_most}a factor of {interval_text(fits.width())}."
    )


def how_order_is_told(found: Emergence) -> str:
    """What the sentences on order count."""
    n = len(found.seeds)
    return (
        "Which turns first, paired over seeds: × is the step of the second over that of the first, "
        "then in how many seeds the first is the earlier one, and p by sign flips, which with "
        f"{n} seeds is at least {2 / 2**n:.3f}."
    )


def orders_in_words(found: Emergence) -> list[str]:
    """The main scores, the head that tells B its A, and copying, pair by pair."""
    kept = [one for one in found.orders if {one.first, one.second} <= {*MAIN, TELLS, COPIES}]
    pairs = dict.fromkeys((one.first, one.second) for one in kept)
    return [
        pair_in_words([one for one in kept if (one.first, one.second) == pair]) for pair in pairs
    ]


def pair_in_words(orders: Sequence[Order]) -> str:
    """Which of two comes first, by where they begin and where they are half-way. The two can
    differ, since scores saturate differently."""
    first, second = orders[0].first, orders[0].second
    parts = []
    for one in orders:
        what = {"onset": "begun (a tenth of the rise)", "midpoint": "half-way"}[one.of]
        verdict = {
            "before": f"the {first} is first",
            "after": f"the {second} is first",
            "together": f"together (within a factor of {CLOSE:g})",
            "unknown": "which is first cannot be told",
        }[one.verdict]
        ends = f"× {number(one.ratio.estimate)} {bracket(one.ratio.low, one.ratio.high)}"
        parts.append(f"{what}, {verdict} ({ends}, {one.earlier} of {one.n}, p = {one.p:.3f})")
    return f"{first[0].upper()}{first[1:]} and {second}: {'; '.join(parts)}."


def breaks(found: Emergence) -> str:
    """Change-point tests of the three main scores."""
    parts = []
    for name in MAIN:
        k, n = found.n_breaks(name)
        parts.append(f"{name} {k} of {n} seeds")
    return (
        "A break explains the curve better than a smooth bend does (change-point test, false "
        f"discovery rate 5%): {', '.join(parts)}."
    )


def beside_controls(found: Emergence) -> str:
    """What probes read in the end, beside their controls."""
    last = {
        name: found.over_seeds("", found.arrays[name][:, :, -1])[-1]
        for name in ("probe", "probe another", "probe shuffled labels", "probe control task")
    }
    return (
        f"In the end a probe after the last layer reads B in {_share(last['probe'])} of the test "
        f"prompts, the B of another pair in {_share(last['probe another'])}, shuffled labels in "
        f"{_share(last['probe shuffled labels'])}; labels dealt out by A, which it can learn by "
        f"heart, in {_share(last['probe control task'])}."
    )


def patched(found: Emergence) -> str:
    """The head that gains most, in logits and as a share of what there is to gain."""
    gain = found.curves[PATCHED][:, -1:]
    whole = found.over_seeds("", found.arrays["to gain"][:, -1:])[0]
    one = found.over_seeds("", gain)[0]
    share = one.estimate / whole.estimate if whole.estimate > 0 else float("nan")
    return (
        f"Put into the corrupted run in the end, the strongest head alone moves B over C by "
        f"{interval_text(one)} logits, {percent(share)} of the {number(whole.estimate)} that lie "
        "between the two runs."
    )


def steering(found: Emergence) -> str:
    """When Emb(C) - Emb(B) starts to work, where, and what random directions do."""
    last = found.arrays["steered"][:, -1].mean(-1)  # [seed, place]
    control = found.arrays["steered random"][:, -1].mean()
    works = [
        f"{position} before layer {layer}"
        for i, (position, layer) in enumerate(STEERED)
        if last[:, i].mean() > _WORKS
    ]
    fails = [
        f"{position} before layer {layer} ({percent(float(last[:, i].mean()))})"
        for i, (position, layer) in enumerate(STEERED)
        if last[:, i].mean() <= _WORKS
    ]
    if not works:
        return (
            "Emb(C) − Emb(B) makes the trained model say C at none of the places measured: "
            f"{', '.join(fails)}; random directions of equal length {percent(float(control))}."
        )
    pair = [one for one in found.orders if (one.first, one.second) == (STEER, SAYS)]
    about = f" {pair_in_words(pair)}" if pair else ""
    missed = f"; not at {', '.join(fails)}" if fails else ""
    return (
        f"Emb(C) − Emb(B) makes the trained model say C when it is added at "
        f"{' and at '.join(works)}{missed}; random directions of equal length do so in "
        f"{percent(float(control))}.{about}"
    )


def in_context(found: Emergence) -> str:
    """The in-context learning score at the end, and where it was read."""
    score = found.over_seeds("", found.in_context_score)
    early, late = (f"{one.start} to {one.stop - 1}" for one in found.places)
    again = found.over_seeds("", found.arrays["loss again"] - found.arrays["loss first"])
    return (
        f"The in-context score (loss at tokens {late} minus loss at tokens {early}) goes from "
        f"{number(score[0].estimate)} to {interval_text(score[-1])} nats; of the same names, again "
        f"minus the first time, from {number(again[0].estimate)} to {interval_text(again[-1])}."
    )


def sets_it_off(sweep: Sweep) -> list[str]:
    """How the midpoint moves with context, batch and width."""
    said = []
    missing = sweep.without(sweep.cells)
    if sweep.law is None:
        said.append("The sweep has too few transitions for a law of context and batch.")
    else:
        parts = [
            f"doubling the {name} multiplies the step by {_ends(sweep.law.doubled(name))}"
            for name in sweep.law.exponents
        ]
        left_out = (
            f"; {missing} without a transition within their steps are left out" if missing else ""
        )
        n = len(sweep.cells) - missing
        said.append(f"What sets it off ({n} small models{left_out}): {', '.join(parts)}.")
        batch = sweep.law.exponents.get("batch")
        if batch is not None:
            said.append(_counts(batch))
    if sweep.width_law is not None:
        said.append(
            f"Doubling the width multiplies the step by {_ends(sweep.width_law.doubled('width'))} "
            f"({len(sweep.widths) - sweep.without(sweep.widths)} models)."
        )
    return said


def _counts(batch: Interval) -> str:
    """Whether steps or sequences count."""
    if batch.contains(0) and not batch.contains(-1):
        what = "the number of steps decides, not the number of sequences"
    elif batch.contains(-1) and not batch.contains(0):
        what = "the number of sequences decides, not the number of steps"
    elif batch.low > -1 and batch.high < 0:
        what = "larger batches need fewer steps but more sequences"
    else:
        what = "whether steps or sequences decide cannot be told"
    return (
        f"The step goes as the batch to the power {number(batch.estimate)} "
        f"{bracket(batch.low, batch.high)} (0: steps count, −1: sequences count): {what}."
    )


def _steps(interval: Interval) -> str:
    return (
        f"{interval.estimate:,.0f} [{interval.low:,.0f}, {interval.high:,.0f}]"
        if interval.n > 1
        else f"{interval.estimate:,.0f}"
    )


def _ends(interval: Interval) -> str:
    return f"{number(interval.estimate)} {bracket(interval.low, interval.high)}"


def _share(interval: Interval) -> str:
    """Shares end at 0 and 1, which Student's interval does not know."""
    low, high = max(0.0, interval.low), min(1.0, interval.high)
    return f"{percent(interval.estimate)} [{percent(low)}, {percent(high)}]"
