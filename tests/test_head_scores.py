"""Scores of attention patterns: against loops, on patterns made by hand, and by what must hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import cutaway as ca
from cutaway.circuits.known import KNOWN
from cutaway.heads.generality import generality
from cutaway.heads.measured import HeadScores, head_scores
from cutaway.heads.random_models import random_weight_model
from cutaway.heads.random_prompts import RandomPrompts, random_prompts
from cutaway.heads.scores import (
    PLACES,
    SCORES,
    WINDOW,
    attention_at_distance,
    uniform,
    uniform_attention,
)
from cutaway.tasks.prompts import TaskError
from random_models import configs, random_model

T, N = 9, 5
LENGTH = 1 + 2 * T


@pytest.fixture(scope="module")
def model() -> ca.HookedTransformer:
    return KNOWN["induction"](0).model


def prompts_of(kind: str, n: int = N, half: int = T, n_before: int = 1) -> RandomPrompts:
    cfg = ca.ModelConfig(n_layers=1, d_model=4, n_heads=1, d_vocab=60, n_ctx=64)
    bos = 0 if n_before else None
    return random_prompts(
        ca.HookedTransformer(cfg), kind, n, half, vocabulary=range(1, 60), bos_token=bos
    )


def random_patterns(prompts: RandomPrompts, n_heads: int = 2, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    size = prompts.length
    scores = torch.randn(len(prompts.tokens), n_heads, size, size, generator=generator)
    mask = torch.ones(size, size, dtype=torch.bool).tril()
    return scores.masked_fill(~mask, -torch.inf).softmax(-1)


def attending_to(prompts: RandomPrompts, key_of) -> torch.Tensor:
    """One-hot patterns: query i attends to key_of(prompt, i), or to itself where that is None."""
    size = prompts.length
    pattern = torch.zeros(len(prompts.tokens), 1, size, size)
    for p in range(len(pattern)):
        for i in range(size):
            key = key_of(p, i)
            pattern[p, 0, i, i if key is None or not 0 <= key <= i else key] = 1
    return pattern


# ---- prompts ----


@pytest.mark.parametrize("kind", ["repeated", "distinct", "few"])
def test_prompts_are_what_their_kind_says(kind) -> None:
    prompts = prompts_of(kind)
    assert prompts.tokens.shape == (N, LENGTH) and set(prompts.tokens[:, 0].tolist()) == {0}
    for row in prompts.tokens[:, 1:].tolist():
        if kind == "repeated":
            assert row[:T] == row[T:] and len(set(row)) == T
        elif kind == "distinct":
            assert len(set(row)) == 2 * T
        else:
            assert 1 < len(set(row)) <= max(3, T // 2)
    assert [tuple(r) for r in prompts_of(kind).tokens.tolist()] == [
        tuple(r) for r in prompts.tokens.tolist()
    ]


def test_a_half_takes_what_fits_and_no_more(model) -> None:
    assert random_prompts(model, bos_token=0).half_length == 4  # a context of nine
    with pytest.raises(TaskError, match="half_length=5 is not from 3 to 4"):
        random_prompts(model, half_length=5, bos_token=0)
    with pytest.raises(TaskError, match="two halves of 3 different tokens need 7 places"):
        random_prompts(model, vocabulary=range(1, 6), bos_token=0)
    with pytest.raises(TaskError, match="n_prompts=0 is too few"):
        random_prompts(model, n_prompts=0)


# ---- every score beside a loop ----


def slow_score(name: str, pattern: torch.Tensor, prompts: RandomPrompts) -> np.ndarray:
    A, size = pattern.double().numpy(), prompts.length
    second = range(1 + T, size)
    found = np.zeros(A.shape[:2])
    for p in range(A.shape[0]):
        tokens = prompts.tokens[p].tolist()
        for h in range(A.shape[1]):
            a = A[p, h]
            if name in PLACES:
                key = {
                    "previous-token": lambda i: i - 1,
                    "duplicate-token": lambda i: i - T,
                    "induction": lambda i: i - T + 1,
                    "first-token": lambda i: 0,
                    "current-token": lambda i: i,
                }[name]
                found[p, h] = np.mean([a[i, key(i)] for i in second])
            elif name == "equal-tokens":
                rows = []
                for i in range(size):
                    keys = [j for j in range(1, i) if tokens[j] == tokens[i]]
                    if keys:
                        rows.append(sum(a[i, j] for j in keys))
                found[p, h] = np.mean(rows)
            elif name == "local-window":
                rows = [a[i, i - WINDOW : i].sum() for i in range(WINDOW + 1, size)]
                found[p, h] = np.mean(rows)
            elif name == "uniform":
                rows = [
                    -sum(x * math.log(x) for x in a[i, : i + 1] if x > 0) / math.log(i + 1)
                    for i in range(1, size)
                ]
                found[p, h] = np.mean(rows)
    if name == "position-only":
        flat = np.array([[1 / (i + 1) if j <= i else 0 for j in range(size)] for i in range(size)])
        for h in range(A.shape[1]):
            whole = np.mean([((A[p, h] - flat) ** 2).sum() for p in range(len(A))])
            for p in range(len(A)):
                others = np.mean([A[q, h] for q in range(len(A)) if q != p], axis=0)
                found[p, h] = 1 - ((A[p, h] - others) ** 2).sum() / whole
    return found


@pytest.mark.parametrize("name", SCORES)
def test_a_score_is_what_the_loop_says(name) -> None:
    prompts = prompts_of(SCORES[name].kind)
    pattern = random_patterns(prompts)
    found = SCORES[name].of(pattern, prompts)
    np.testing.assert_allclose(found, slow_score(name, pattern, prompts), atol=1e-5)


# ---- patterns made by hand ----


def last_equal(prompts: RandomPrompts):
    def key(p: int, i: int) -> int | None:
        tokens = prompts.tokens[p].tolist()
        return next((j for j in range(i - 1, 0, -1) if tokens[j] == tokens[i]), None)

    return key


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("previous-token", lambda p, i: i - 1),
        ("duplicate-token", lambda p, i: i - T),
        ("induction", lambda p, i: i - T + 1),
        ("first-token", lambda p, i: 0),
        ("current-token", lambda p, i: i),
        ("local-window", lambda p, i: i - 3),
        ("position-only", lambda p, i: i // 2),
        ("equal-tokens", None),
    ],
)
def test_a_head_that_does_nothing_else_scores_exactly_1(name, key) -> None:
    prompts = prompts_of(SCORES[name].kind)
    pattern = attending_to(prompts, key or last_equal(prompts))
    assert SCORES[name].of(pattern, prompts).tolist() == [[1.0]] * N
    others = [one for one in PLACES if one != name]
    if name in PLACES:  # at most one place has the attention
        assert all(float(SCORES[one].of(pattern, prompts).abs().max()) == 0 for one in others)


def test_uniform_attention_scores_chance_and_is_uniform() -> None:
    for score in SCORES.values():
        prompts = prompts_of(score.kind)
        flat = uniform_attention(prompts.length, torch.zeros(1)).expand(N, 1, -1, -1)
        found = score.of(flat, prompts).double()
        if score.name == "uniform":
            torch.testing.assert_close(found, torch.ones_like(found), atol=1e-6, rtol=0)
        else:  # position-only, too: there is nothing to explain
            assert float(found.mean()) == pytest.approx(score.by_chance(prompts), abs=1e-6)


def test_without_bos_the_first_token_is_not_taken_for_a_duplicate() -> None:
    prompts = prompts_of("repeated", n_before=0)
    pattern = attending_to(prompts, lambda p, i: i - T)
    assert SCORES["duplicate-token"].of(pattern, prompts).tolist() == [[1.0]] * N
    assert SCORES["first-token"].of(pattern, prompts).tolist() == [[0.0]] * N


def test_a_query_without_such_a_key_is_refused() -> None:
    with pytest.raises(ValueError, match="have no key 3 positions before"):
        attention_at_distance(torch.eye(5)[None, None], 3, range(2, 5))


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.integers(1, 4))
def test_scores_lie_between_0_and_1_and_know_no_batch(seed, n_heads) -> None:
    for score in SCORES.values():
        prompts = prompts_of(score.kind)
        pattern = random_patterns(prompts, n_heads, seed)
        found = score.of(pattern, prompts)
        assert found.shape == (N, n_heads)
        if score.name == "position-only":  # the one score that compares prompts
            assert float(found.max()) <= 1
            continue
        assert float(found.min()) >= -1e-6 and float(found.max()) <= 1 + 1e-6
        part = RandomPrompts(prompts.kind, prompts.tokens[1:3], 1, T)
        torch.testing.assert_close(score.of(pattern[1:3], part), found[1:3])


def test_position_only_is_near_0_where_positions_say_nothing() -> None:
    prompts = prompts_of("few", n=40)
    assert abs(float(SCORES["position-only"].of(random_patterns(prompts), prompts).mean())) < 0.06
    with pytest.raises(ValueError, match="at least 2"):
        one = RandomPrompts("few", prompts.tokens[:1], 1, T)
        SCORES["position-only"].of(random_patterns(one), one)


# ---- of a model ----


@settings(max_examples=6)
@given(configs(), st.integers(0, 100))
def test_a_model_s_scores_are_those_of_its_patterns(cfg, seed) -> None:
    model = random_model(cfg.replace(sliding_window=None), seed)
    model.tokenizer = None
    found = head_scores(model, 3, 4, seed, bos_token=0, names=["induction", "uniform"])
    prompts = random_prompts(model, "repeated", 3, 4, seed, bos_token=0)
    _, cache = model.run_with_cache(prompts.tokens)
    for layer in range(cfg.n_layers):
        expected = SCORES["induction"].of(cache["pattern", layer].detach(), prompts)
        np.testing.assert_allclose(found.per_prompt["induction"][layer].T, expected, atol=1e-6)


def test_known_heads_have_their_scores(model) -> None:
    found = head_scores(model, 4, bos_token=0)
    assert found.mean("induction")[1, 2] == pytest.approx(1, abs=1e-6)
    assert found.mean("previous-token")[0, 1] == pytest.approx(1, abs=1e-6)
    assert found.above_chance("induction")[1, 2].mean() == pytest.approx(1, abs=1e-6)
    assert "local-window" not in found.per_prompt  # halves of 4 are too short for it
    value, low, high = found.interval("first-token")
    assert ((low <= value + 1e-9) & (value <= high + 1e-9)).all()


def test_what_cannot_be_measured_is_refused(model) -> None:
    with pytest.raises(ValueError, match="there is no score 'inducton'"):
        head_scores(model, 2, names=["inducton"], bos_token=0)
    with pytest.raises(ValueError, match="local-window needs halves of at least 8"):
        head_scores(model, 2, names=["local-window"], bos_token=0)
    with pytest.raises(ValueError, match="there is no score 'uniform'"):
        head_scores(model, 2, names=["induction"], bos_token=0).mean("uniform")


# ---- random weights ----


def test_shuffled_weights_are_the_same_numbers_and_as_sharp(model) -> None:
    prompts = random_prompts(model, "distinct", 6, bos_token=0)
    other = random_weight_model(model, "shuffled", 1, prompts)
    assert other.digest != model.digest
    for name in ("W_V", "W_O"):
        mine, its = (
            getattr(m.blocks[1].attn, name)[2].flatten().sort().values for m in (model, other)
        )
        torch.testing.assert_close(mine, its)
    for weights, compared in (("shuffled", other), ("fresh", None)):
        one = compared or random_weight_model(model, weights, 1, prompts)
        assert one.cfg.n_heads == model.cfg.n_heads
    entropies = []
    for one in (model, other):
        _, cache = one.run_with_cache(prompts.tokens)
        entropies.append(
            torch.stack([uniform(cache["pattern", at], prompts).mean(0) for at in (0, 1)])
        )
    torch.testing.assert_close(entropies[0], entropies[1], atol=1e-3, rtol=0)
    again = random_weight_model(model, "shuffled", 1, prompts)
    assert again.digest == other.digest
    with pytest.raises(ValueError, match="neither 'fresh' nor 'shuffled'"):
        random_weight_model(model, "permuted", 1, prompts)


# ---- specialised or general ----


def scores_with(**above: list[float]) -> HeadScores:
    """One head for each entry of the lists; every prompt alike, chance 0."""
    n = len(next(iter(above.values())))
    per_prompt = {
        name: np.repeat(np.array(above.get(name.replace("-", "_"), [0.0] * n))[None, :, None], 4, 2)
        for name in PLACES
    }
    return HeadScores(per_prompt, dict.fromkeys(PLACES, 0.0))


def test_generality_is_the_entropy_over_places() -> None:
    scores = scores_with(
        induction=[1.0, 0.5, 0.2, 0.01, 0.3],
        previous_token=[0.0, 0.5, 0.2, 0.0, 0.1],
        first_token=[0.0, 0.0, 0.2, 0.0, -0.4],
        duplicate_token=[0.0, 0.0, 0.2, 0.0, 0.0],
        current_token=[0.0, 0.0, 0.2, 0.0, 0.0],
    )
    entropy, low, high = (one[0] for one in generality(scores))
    one_in_four = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25)) / math.log(5)
    expected = [0, math.log(2) / math.log(5), 1, math.nan, one_in_four]
    np.testing.assert_allclose(entropy, expected, atol=1e-9)
    np.testing.assert_allclose(low, expected, atol=1e-9)  # all prompts alike
    np.testing.assert_allclose(high, expected, atol=1e-9)
