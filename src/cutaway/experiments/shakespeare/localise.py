"""Where a model does something: layers, heads, and what is lost without them. Exact patching."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...evidence import Interval, bootstrap_mean, matters, paired_difference
from ...model.transformer import HookedTransformer
from ...patching.ablation import ablate_many, random_heads
from ...patching.effects import Effects
from ...patching.sweep import sweep
from ...tasks.task import Task
from ...views.numbers import interval_text
from .record import NotMeasured, Record

PARTS = ("attn_out", "mlp_out")


def behaviour(model: HookedTransformer, task: Task, record: Record, seed: int) -> None:
    """Whether the model tells the clean from the corrupted prompts at all.

    Raises:
        NotMeasured: it does not, so that there is no difference to take apart.
    """
    baseline = task.baseline(model, seed)
    difference = paired_difference(baseline.clean_values, baseline.corrupted_values, seed)
    record.put("clean", baseline.clean)
    record.put("corrupted", baseline.corrupted)
    record.put("difference", difference.interval)
    record.put("p", difference.p_value)
    if not difference.interval.low > 0:
        raise NotMeasured(
            "the model does not tell clean from corrupted prompts: its logit differences differ "
            f"by {interval_text(difference.interval)} (n = {difference.interval.n})"
        )


def layers(
    model: HookedTransformer, task: Task, record: Record, seed: int, max_memory: int | None
) -> None:
    """Effects of every layer's attention and MLP (all positions), and of the stream by position.

    An effect is the share of clean less corrupted that comes back when the clean value is put into
    the corrupted run.
    """
    found: dict[tuple[str, int], Interval] = {}
    parts = PARTS[:1] if model.cfg.attn_only else PARTS
    for site in parts:
        effects = sweep(model, task, site, positions="all", max_memory=max_memory)
        record.put(f"layers/{site}", effects.to_frame())
        for layer, one in enumerate(intervals(effects, seed)):
            found[site, layer] = one
    stream = sweep(model, task, "resid_post", positions="named", max_memory=max_memory)
    record.put("layers/resid_post", stream.to_frame())
    order = sorted(found, key=lambda key: -found[key].estimate)
    key = [
        {"site": site, "layer": layer, "effect": found[site, layer]}
        for site, layer in order
        if matters(found[site, layer].estimate, found[site, layer].low, found[site, layer].high)
    ]
    record.put("key_layers", key[:4])
    attention = max((k for k in found if k[0] == "attn_out"), key=lambda k: found[k].estimate)
    record.put("strongest_attention_layer", attention[1])
    depth = attention[1] / max(1, model.cfg.n_layers - 1)
    record.put("strongest_attention_depth", depth)


def heads(
    model: HookedTransformer, task: Task, record: Record, seed: int, max_memory: int | None
) -> Effects:
    """The effect of every head, all positions at once."""
    effects = sweep(model, task, "z", max_memory=max_memory)
    rows = [
        {"head": effect.name, "effect": effect.effect, "low": effect.low, "high": effect.high}
        for effect in effects.ranked(seed=seed)
    ]
    record.put("heads", rows)
    return effects


def top_heads(effects: Effects, k: int) -> list[str]:
    """The k heads that bring most back."""
    found = [one for one in effects.ranked() if one.effect > 0]
    return [one.name for one in found[:k]]


def taken_out(
    model: HookedTransformer,
    task: Task,
    chosen: Sequence[str],
    n_random: int,
    seed: int,
    max_memory: int | None,
    partners: Sequence[str] = (),
) -> dict[str, Any]:
    """What the answer loses without some heads (mean ablation), beside random sets of as many.

    `p` is the share of random sets that lose as much, the chosen one counted among them. Partners
    of the chosen heads, without which these could do nothing, are in no random set.

    Raises:
        NotMeasured: no heads, or too few others to draw from.
    """
    n_heads = model.cfg.n_layers * model.cfg.n_heads
    others_left = n_heads - len({*chosen, *partners})
    if not chosen or others_left < len(chosen):
        raise NotMeasured(f"{len(chosen)} of {n_heads} heads leave no other set to compare with")
    sets = random_heads(model, len(chosen), n_random, exclude=[*chosen, *partners], seed=seed)
    first, *others = ablate_many(model, task, [chosen, *sets], "mean", max_memory=max_memory)
    lost = -first.change(seed=seed).estimate
    random = [-other.change(seed=seed).estimate for other in others]
    reached = sum(one >= lost for one in random)
    return {
        "heads": list(chosen),
        "partners": list(partners),
        "lost": bootstrap_mean(first.clean - first.ablated, seed),
        "random": random,
        "random_mean": float(np.mean(random)),
        "random_most": float(np.max(random)),
        "p": (1 + reached) / (1 + len(random)),
    }


def intervals(effects: Effects, seed: int) -> list[Interval]:
    """Of effects over one axis."""
    columns = zip(*(end.ravel().tolist() for end in effects.interval(seed=seed)), strict=True)
    return [Interval(a, low, high, 0.95, effects.clean.size) for a, low, high in columns]
