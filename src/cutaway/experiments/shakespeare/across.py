"""What the models of several seeds have in common: numbers, layers, head classes."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from .record import NotMeasured, Record, find

_N_SHUFFLES = 500

# What is set beside each other; all within the record of a model.
NUMBERS = (
    "loss",
    "induction/one_repeat/accuracy",
    "induction/one_repeat/above_bigram",
    "induction/passages/gain",
    "heads/n_induction",
    "heads/n_previous_token",
    "heads/share_named",
    "heads/generality/mean",
    "prediction/orders/logit lens/nearest_after_first_layer",
    "prediction/orders/logit lens/nearest_at_output",
    "prediction/reach/late_less_early",
    "prediction/convergence/kinds/held-out text",
)


def across(record: Record, n_models: int, seed: int) -> None:
    """Ranges over models, and how alike their layers and heads are."""
    for path in NUMBERS:
        values = [_number(find(record.values, f"models/{at}/{path}")) for at in range(n_models)]
        there = [value for value in values if value is not None]
        if there:
            record.put(
                f"across/{path}",
                {
                    "mean": float(np.mean(there)),
                    "least": min(there),
                    "most": max(there),
                    "n": len(there),
                },
            )
        else:
            record.skip(f"across/{path}", "it was measured in no model")
    with record.attempt("across/patching"):
        record.put("across/patching", _profiles(record, n_models))
    with record.attempt("across/head_classes"):
        record.put("across/head_classes", _class_overlap(record, n_models, seed))


def _number(value: Any) -> float | None:
    if isinstance(value, dict):
        value = value.get("estimate")
    return None if value is None else float(value)


def _profiles(record: Record, n_models: int) -> dict[str, Any]:
    """Correlation, over layers and parts, of the effects that patching finds in two models."""
    path = "prediction/far_context/layers"
    found = []
    for at in range(n_models):
        sites = find(record.values, f"models/{at}/{path}")
        if sites is not None:
            parts = [row for site in ("attn_out", "mlp_out") for row in sites.get(site, [])]
            found.append([row["effect"] for row in parts])
    if len(found) < 2 or len({len(one) for one in found}) > 1:
        raise NotMeasured(
            f"layers were measured in {len(found)} models of one depth; to compare takes two"
        )
    pairs = [float(np.corrcoef(a, b)[0, 1]) for a, b in itertools.combinations(found, 2)]
    return {
        "mean_correlation": float(np.mean(pairs)),
        "least": min(pairs),
        "most": max(pairs),
        "n_models": len(found),
        "n_parts": len(found[0]),
    }


def _class_overlap(record: Record, n_models: int, seed: int) -> dict[str, Any]:
    """How alike two models are in how many heads of each class each layer has.

    Shared heads over all heads, counted by (class, layer), since heads of different models have no
    common number. The control deals the heads of each model out to other layers.
    """
    models = []
    for at in range(n_models):
        rows = find(record.values, f"models/{at}/heads/heads")
        if rows is not None:
            models.append([(row["layer"], row["classes"]) for row in rows])
    if len(models) < 2:
        raise NotMeasured(f"heads were scored in {len(models)} models; to compare takes two")
    rng = np.random.default_rng([8, seed])
    own = _mean_overlap([_counted(one) for one in models])
    if own is None:
        raise NotMeasured("no head of any model has a class")
    drawn = [
        _mean_overlap([_counted(_shuffled(one, rng)) for one in models]) or 0.0
        for _ in range(_N_SHUFFLES)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {
        "overlap": own,
        "shuffled_mean": float(np.mean(drawn)),
        "shuffled_low": float(low),
        "shuffled_high": float(high),
        "p": (1 + sum(one >= own for one in drawn)) / (1 + len(drawn)),
        "n_models": len(models),
    }


Heads = Sequence[tuple[int, str]]


def _counted(heads: Heads) -> Counter[tuple[str, int]]:
    return Counter(
        (name, layer) for layer, classes in heads for name in classes.split(", ") if name
    )


def _shuffled(heads: Heads, rng: np.random.Generator) -> Heads:
    layers = rng.permutation([layer for layer, _ in heads])
    return [(int(layer), classes) for layer, (_, classes) in zip(layers, heads, strict=True)]


def _mean_overlap(counted: Sequence[Counter[tuple[str, int]]]) -> float | None:
    """Mean over pairs of sum min / sum max; None where no model has any."""
    shares = []
    for a, b in itertools.combinations(counted, 2):
        whole = sum((a | b).values())
        if whole:
            shares.append(sum((a & b).values()) / whole)
    return float(np.mean(shares)) if shares else None
