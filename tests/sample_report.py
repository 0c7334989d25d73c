"""A report of made-up numbers, for the tests of the views: nothing in it was measured."""

from __future__ import annotations

import numpy as np

from cutaway.evidence import Interval
from cutaway.views.attention import AttentionExample
from cutaway.views.ioi_data import (
    Ablation,
    Behaviour,
    Comparison,
    EffectMap,
    Expectation,
    IOIReportData,
    PromptPair,
    RoleSwap,
    TopHead,
)

HOSTILE = "<script>window.stolen = true</script>"
LAYERS = tuple("0123")
HEADS = tuple("01234567")
POSITIONS = ("IO", "S1", "S2", "END")
TOKENS = ("<|endoftext|>", "When", " Mary", " and", " John", " left", ",", " John", " told")
PLACES = {"IO": 2, "S1": 4, "S2": 7, "END": 8}


def interval(estimate: float, half_width: float = 0.05, n: int = 32) -> Interval:
    return Interval(estimate, estimate - half_width, estimate + half_width, 0.95, n)


def effects(rows: tuple[str, ...], columns: tuple[str, ...], seed: int = 0) -> EffectMap:
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 0.2, (len(rows), len(columns)))
    half = np.abs(rng.normal(0, 0.15, values.shape))
    return EffectMap(values, values - half, values + half, rows, columns)


def patterns(n_heads: int, size: int, seed: int = 0) -> np.ndarray:
    """[head, query, key]: causal, each row of a query sums to 1."""
    scores = np.random.default_rng(seed).random((n_heads, size, size)) ** 4
    causal = np.tril(scores) + np.eye(size) * 1e-3
    return causal / causal.sum(-1, keepdims=True)


def example(size: int, n_heads: int, title: str = "", seed: int = 0) -> AttentionExample:
    tokens = tuple(TOKENS[i % len(TOKENS)] for i in range(size))
    marks = {name: place for name, place in PLACES.items() if place < size - 1} | {"END": size - 1}
    return AttentionExample(patterns(n_heads, size, seed), tokens, marks, title)


def behaviour(n: int = 32, mean: float = 3.0) -> Behaviour:
    rng = np.random.default_rng(1)
    return Behaviour(
        logit_difference=interval(mean, 0.4, n),
        corrupted=interval(-mean, 0.4, n),
        accuracy=Interval(0.97, 0.9, 0.99, 0.95, n),
        per_prompt=rng.normal(mean, 1, n),
        corrupted_per_prompt=rng.normal(-mean, 1, n),
        prompts=(HOSTILE, *[f"When Mary and John left, John told ({i})" for i in range(1, n)]),
        corruption="s2-flip",
    )


def report_data(n_prompts: int = 2, n_heads: int = 3, size: int = len(TOKENS)) -> IOIReportData:
    names = tuple(f"{3 - i // 8}.{i % 8}" for i in range(n_heads))
    corrupted = (*TOKENS[:7], " Mary", TOKENS[8])
    looks_at = {"IO": 0.7, "S1": 0.1, "S2": 0.1, "BOS": np.float32(0.05)}
    hostile = AttentionExample(
        patterns(n_heads, 4, 5), (HOSTILE, " Mary", "</script>", " to"), {"END": 3}, HOSTILE
    )
    return IOIReportData(
        model="sample",
        behaviour=behaviour(),
        example=PromptPair(TOKENS, corrupted, PLACES, " Mary", " John"),
        role_swaps=(
            RoleSwap("When Mary and John left, John told", " Mary", " John", 3.1),
            RoleSwap("When John and Mary left, Mary told", " John", " Mary", 2.4),
        ),
        maps={
            site: effects(LAYERS, POSITIONS, seed)
            for seed, site in enumerate(("resid_pre", "attn_out", "mlp_out"))
        },
        heads=effects(LAYERS, HEADS, 3),
        top_heads=tuple(TopHead(name, interval(0.3), looks_at) for name in names),
        attention=(
            *(example(size, n_heads, seed=i) for i in range(n_prompts)),
            hostile,
        ),
        attention_heads=names,
        ablations=(Ablation("zero", interval(-2.0), np.linspace(-0.5, 0.2, 10)),),
        ablated_heads=names,
        token_map=effects(LAYERS, TOKENS, 4),
        head_positions=effects(names, POSITIONS, 5),
        published=(Comparison("mean logit difference", 3.5, interval(3.0), "a paper"),),
        predictions=(Expectation("Which head?", "3.0", "3.0", True),),
        settings={"model": "sample", "seed": "0"},
        timings={"baseline": 1.25},
    )
