"""Causal scrubbing, against a slow recursion over full runs, and on circuits that are known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cutaway.circuits.known import KNOWN
from cutaway.circuits.known.base import KnownSettings
from cutaway.circuits.scrubbing import (
    Hypothesis,
    HypothesisError,
    causal_scrub,
    induction_features,
    induction_hypothesis,
)
from cutaway.circuits.scrubbing.runs import joint_codes
from cutaway.model.config import ModelConfig
from cutaway.patching.graph import Graph
from random_models import configs, random_model, small_task
from scrubbing_oracles import SlowScrub

CFG = ModelConfig(n_layers=2, d_model=16, n_heads=2, d_vocab=17, n_ctx=12, init_range=0.4)


def labels_of(n: int, seed: int) -> dict[str, list[int]]:
    rng = np.random.default_rng(seed)
    return {name: rng.integers(0, 3, n).tolist() for name in ("X", "Y")}


def random_claims(cfg: ModelConfig, seed: int) -> dict[str, tuple[str, ...]]:
    """Claims all of which are reached from the logits."""
    rng, graph = np.random.default_rng(seed), Graph(cfg)
    features = [(), ("X",), ("X", "Y"), ("Y",), ("prompt",)]

    def some() -> tuple[str, ...]:
        return features[rng.integers(len(features))]

    claims: dict[str, tuple[str, ...]] = {}
    receivers = [graph.receivers[-1]]
    while receivers and len(claims) < 9:
        receiver = receivers.pop(0)
        if rng.random() < 0.4:
            claims[receiver.name] = some()
        upstream = graph.senders[: graph.n_upstream(receiver)]
        for at in rng.permutation(len(upstream))[:2]:
            sender = upstream[at]
            claims[f"{sender.name}->{receiver.name}"] = some()
            kv = sender.head // cfg.heads_per_group
            inputs = {
                "head": [f"{sender.layer}.{sender.head}.q", f"{sender.layer}.{kv}.v"],
                "mlp": [sender.name],
                "embed": [],
            }[sender.kind]
            receivers += [graph.receiver(name) for name in inputs if rng.random() < 0.7]
    return claims


@settings(max_examples=60)
@given(st.data())
def test_scrubbing_equals_the_slow_recursion(data) -> None:
    cfg = data.draw(configs())
    model = random_model(cfg, data.draw(st.integers(0, 50)))
    task = small_task(cfg, n_prompts=5, n_pos=6, first=2)
    seed = data.draw(st.integers(0, 1000))
    hypothesis, labels = Hypothesis(random_claims(cfg, seed)), labels_of(len(task), seed)
    found = causal_scrub(model, task, hypothesis, labels, n_draws=2, seed=seed)
    with torch.no_grad():
        scale = max(1.0, float(model(task.clean).abs().max()))
    for draw in range(2):
        slow = SlowScrub(model, task, hypothesis, labels, (seed, draw)).metric().numpy()
        assert np.abs(found.scrubbed[draw] - slow).max() <= 2e-5 * scale
        slow = SlowScrub(model, task, Hypothesis({}), labels, (seed, draw)).metric().numpy()
        assert np.abs(found.random[draw] - slow).max() <= 2e-5 * scale


@settings(max_examples=20)
@given(st.integers(0, 100))
def test_what_depends_on_the_whole_prompt_loses_nothing(seed) -> None:
    model, task = random_model(CFG, seed), small_task(CFG)
    found = causal_scrub(model, task, Hypothesis({"logits": "prompt"}), {}, seed=seed)
    assert (found.scrubbed == found.clean).all() and found.recovered.estimate == 1.0
    assert found.unexplained.estimate == 0.0
    with torch.no_grad():
        expected = task.metric(task.metric.read(model(task.clean))).double().numpy()
    assert np.abs(found.clean - expected).max() < 1e-4


@settings(max_examples=20)
@given(st.integers(0, 100))
def test_a_tree_in_which_every_part_has_its_own_prompt_back_loses_nothing(seed) -> None:
    """All that is computed anew is what it was."""
    model, task = random_model(CFG, seed), small_task(CFG)
    claims = {name: ("prompt",) for name in random_claims(CFG, seed)}
    reached = {name.partition("->")[2] or name for name in claims}
    whole = {**claims, **dict.fromkeys(reached, ("prompt",))}
    graph = Graph(CFG)
    for receiver in graph.receivers:  # inputs beside a claimed one as well
        head = receiver.name.rpartition(".")[0]
        if any(name.rpartition(".")[0] == head for name in reached if "." in name and head):
            whole[receiver.name] = ("prompt",)
    found = causal_scrub(model, task, Hypothesis(whole), {}, seed=seed)
    assert np.abs(found.scrubbed - found.clean).max() < 1e-4


def test_what_depends_on_nothing_is_all_random() -> None:
    model, task = random_model(CFG), small_task(CFG)
    for claims in ({}, {"logits": ()}):
        found = causal_scrub(model, task, Hypothesis(claims), {})
        assert (found.scrubbed == found.random).all() and (found.shuffled == found.random).all()
        assert found.recovered.estimate == 0.0 and found.unexplained.estimate == 1.0


def test_prompts_that_agree_are_exchanged_and_no_others() -> None:
    """A claim on all that the logits read: its values are those of clean prompts that agree."""
    model, task = random_model(CFG), small_task(CFG, n_prompts=8)
    same = dataclasses.replace(task, metric=task.metric.subset(torch.full((8,), 1)))
    labels = {"X": [0, 0, 0, 1, 1, 2, 2, 2]}
    found = causal_scrub(model, same, Hypothesis({"logits": "X"}), labels, n_draws=60)
    for prompt in range(8):
        agree = [found.clean[i] for i in range(8) if labels["X"][i] == labels["X"][prompt]]
        assert set(found.scrubbed[:, prompt]) == set(agree)
    assert found.donors == {"logits": (3 * 3 + 2 * 2 + 3 * 3) / 8}
    assert len(set(found.clean)) == 8 and set(found.random[:, 0]) == set(found.clean)


def test_groups_exchange_nothing_between_them_and_may_differ_in_length() -> None:
    model, task = random_model(CFG), small_task(CFG, n_prompts=8)
    lengths = torch.tensor([9, 9, 9, 9, 7, 7, 7, 7])
    end = lengths - 1
    metric = dataclasses.replace(task.metric, positions=end[:, None])
    short = dataclasses.replace(task, lengths=lengths, metric=metric, positions={"END": end})
    features = {"form": ["long"] * 4 + ["short"] * 4, "X": [0, 0, 1, 1, 0, 0, 1, 1]}
    hypothesis = Hypothesis({"1.0->logits": "X", "embed->1.0.v": "X"})
    found = causal_scrub(model, short, hypothesis, features, within="form")
    one = dataclasses.replace(short.subset([0, 1, 2, 3]))
    half = causal_scrub(model, one, hypothesis, {"X": [0, 0, 1, 1]})
    assert np.abs(found.scrubbed[:, :4] - half.scrubbed).max() < 1e-5
    assert found.donors["1.0->logits"] == 2
    with pytest.raises(HypothesisError, match="7 to 9 tokens"):
        causal_scrub(model, short, hypothesis, features)


def test_labels_may_be_anything_that_can_be_compared() -> None:
    model, task = random_model(CFG), small_task(CFG)
    results = [
        causal_scrub(model, task, Hypothesis({"1.0->logits": "X"}), {"X": labels}).scrubbed
        for labels in (["a", "a", "b", "b", "c", "c"], torch.tensor([7, 7, 1, 1, 5, 5]))
    ]
    assert (results[0] == results[1]).all()


@given(st.integers(0, 1000))
def test_joint_codes_tell_apart_what_differs_in_any_feature(seed) -> None:
    labels = {name: np.array(v) for name, v in labels_of(12, seed).items()}
    codes = joint_codes(labels, ("X", "Y"), 12)
    for i in range(12):
        for j in range(12):
            same = all(values[i] == values[j] for values in labels.values())
            assert (codes[i] == codes[j]) == same


# ---- known answers ----


@pytest.fixture(scope="module")
def induction():
    known = KNOWN["induction"](0, KnownSettings(n_prompts=400))
    task = known.tasks["query"]
    return known.model, task, induction_features(task)


def recovered(induction, claims) -> float:
    return causal_scrub(*induction[:2], Hypothesis(claims), induction[2]).recovered.estimate


def test_the_written_induction_circuit_is_confirmed(induction) -> None:
    model, task, features = induction
    found = causal_scrub(model, task, induction_hypothesis(), features)
    assert found.recovered.estimate == pytest.approx(1, abs=1e-3)
    assert found.unexplained.estimate < 1e-3 and not found.notes
    assert abs(found.recovered_shuffled.estimate) < 0.1
    assert np.abs(found.of_each_draw - 1).max() < 0.05


@pytest.mark.parametrize(
    ("place", "features"),
    [
        ("embed->1.2.q", ()),  # it looks for A
        ("0.1->1.2.k", "A"),  # where A stood matters,
        ("0.1->1.2.k", "place"),  # and that it was A
        ("embed->1.2.v", "place"),  # it copies B
        ("embed->0.1.v", "place"),  # it is A that was there before
        ("1.2->logits", ()),
    ],
)
def test_each_claim_is_needed(induction, place, features) -> None:
    assert recovered(induction, {**induction_hypothesis().claims, place: features}) < 0.35


def test_the_wrong_heads_are_refuted(induction) -> None:
    assert recovered(induction, induction_hypothesis("0.0", "1.0").claims) < 0.05
    assert recovered(induction, induction_hypothesis("0.0", "1.2").claims) < 0.35


def test_a_golden_number() -> None:
    model, task = random_model(CFG), small_task(CFG)
    hypothesis = Hypothesis({"1.1->logits": "X", "0.0->1.1.v": "Y"})
    found = causal_scrub(model, task, hypothesis, labels_of(len(task), 0))
    assert found.recovered.estimate == pytest.approx(GOLDEN, abs=1e-5)


GOLDEN = -0.3278864320


# ---- bad input ----


@pytest.mark.parametrize(
    ("claims", "features", "message"),
    [
        ({"1.9->logits": ()}, {}, "has no sender '1.9'"),
        ({"1.0": ()}, {}, "say which of its inputs"),
        ({"1.0->0.0.q": ()}, {}, "writes after"),
        ({"0.0->1.0.k": ()}, {}, "no claim says that the output of 1.0 matters"),
        ({"1.0->logits": "X"}, {}, "labels for nothing"),
        ({"1.0->logits": "X"}, {"X": [1, 2]}, "has 2 values, and the task 6 prompts"),
    ],
)
def test_claims_that_cannot_be_tested_are_named(claims, features, message) -> None:
    with pytest.raises(HypothesisError, match=message):
        causal_scrub(random_model(CFG), small_task(CFG), Hypothesis(claims), features)


def test_prompts_that_cannot_be_exchanged_are_named() -> None:
    model, task = random_model(CFG), small_task(CFG)
    hypothesis = Hypothesis({"1.0->logits": "X"})
    unlike = {"X": list(range(6)), "form": list(range(6))}
    with pytest.raises(HypothesisError, match="one prompt that share 'form'"):
        causal_scrub(model, task, hypothesis, unlike, within="form")
    assert "hardly tested" in causal_scrub(model, task, hypothesis, unlike).notes[0]
    with pytest.raises(HypothesisError, match="n_draws=0"):
        causal_scrub(model, task, hypothesis, unlike, n_draws=0)
    left = dataclasses.replace(task, lengths=task.lengths - 2)
    with pytest.raises(HypothesisError, match="padded on the left"):
        causal_scrub(model, left, hypothesis, unlike)
    alike = dataclasses.replace(task, clean=task.clean[:1].expand(6, -1))
    with pytest.raises(HypothesisError, match="nothing to recover"):
        causal_scrub(model, alike, hypothesis, unlike)


def test_a_tree_that_is_too_large_is_refused() -> None:
    cfg = dataclasses.replace(CFG, n_layers=6)
    graph = Graph(cfg)
    everything = Hypothesis(dict.fromkeys(graph.edge_names, ()))
    with pytest.raises(HypothesisError, match="leave claims out"):
        causal_scrub(random_model(cfg), small_task(cfg), everything, {})
