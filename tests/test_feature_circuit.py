"""Circuits of features: runs that keep some, against full runs with hooks; sizes and controls."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cutaway.model.config import ModelConfig
from cutaway.patching.sweep import sweep
from cutaway.sae import DictionaryError, FeatureCircuit, feature_circuit, features, run_kept
from cutaway.sae.kept import Case, Node, nodes_of
from feature_oracles import dictionaries, features_of, random_dictionary, through
from random_models import configs, random_model, small_task, tasks

CFG = ModelConfig(n_layers=3, d_model=16, n_heads=4, d_vocab=17, n_ctx=12, init_range=0.4)
HOOK = "blocks.1.hook_resid_post"


@torch.no_grad()
def kept_by_hooks(model, task, dictionary, case: Case) -> np.ndarray:
    """One full run, features chosen one by one."""
    other, left_out = features_of(model, task.corrupted, dictionary), {}
    through(model, task.corrupted, dictionary, lambda f: f, lambda e: left_out.setdefault("e", e))
    chosen = torch.zeros_like(other, dtype=torch.bool)
    for node in case.nodes:
        for prompt in range(len(task)):
            at = int(task.positions[node.position][prompt]) if node.position else slice(None)
            chosen[prompt, at, node.feature] = True
    clean = chosen if case.kept else ~chosen
    logits = through(
        model,
        task.clean,
        dictionary,
        lambda f: torch.where(clean, f, other),
        lambda e: e if case.error else left_out["e"],
    )
    return task.metric(task.metric.read(logits)).numpy()


@settings(max_examples=8)
@given(st.data())
def test_runs_that_keep_some_features_equal_full_runs_with_hooks(data) -> None:
    cfg = data.draw(configs())
    task = data.draw(tasks(cfg))
    model, dictionary = random_model(cfg).double(), data.draw(dictionaries(cfg)).double()
    nodes = [Node(1, "A"), Node(3), Node(4, "END"), Node(4, "B")]
    cases = [
        Case(),
        Case(nodes),
        Case(nodes, kept=False, error=True),
        Case(nodes, error=True),
        Case(nodes, kept=False),
    ]
    found = run_kept(model, task, dictionary, cases)
    expected = np.array([kept_by_hooks(model, task, dictionary, case) for case in cases])
    np.testing.assert_allclose(found, expected, atol=1e-9 * max(1, np.abs(expected).max()))


@pytest.fixture(scope="module")
def circuit():
    model, task = random_model(CFG), small_task(CFG, n_prompts=12)
    dictionary = random_dictionary(CFG, "standard", HOOK, d_features=30)
    scores = sweep(model, task, features(dictionary), positions="named", mode="noising")
    found = feature_circuit(model, task, dictionary, scores, n_random=4, n_subsets=3)
    return model, task, dictionary, scores, found


def test_ends_are_the_clean_and_the_corrupted_run(circuit) -> None:
    _, task, _, scores, found = circuit
    np.testing.assert_allclose(found.whole, scores.clean, atol=1e-5)
    np.testing.assert_allclose(found.empty, scores.corrupted, atol=1e-5)
    assert found.share(found.whole).estimate == pytest.approx(1.0)
    assert found.hook == HOOK and found.metric == task.metric.name


def test_the_circuit_is_the_shortest_beginning_that_reaches_the_target(circuit) -> None:
    model, task, dictionary, scores, found = circuit
    candidates, effects = nodes_of(scores)
    n = len(found.nodes)
    assert tuple(candidates[:n]) == found.nodes and (np.diff(effects) <= 0).all()
    assert len(candidates) == found.n_candidates
    one_less, same = run_kept(model, task, dictionary, [Case(found.nodes[:-1]), Case(found.nodes)])
    np.testing.assert_allclose(same, found.circuit, atol=1e-5)
    wanted = 0.9 * found.share(found.features).estimate
    assert found.share(one_less).estimate < wanted <= found.faithfulness.estimate
    expected = kept_by_hooks(model, task, dictionary, Case(found.nodes[1:]))
    np.testing.assert_allclose(found.left_out[0], expected, atol=1e-4)
    assert found.to_frame()[0]["lost"] == pytest.approx(
        found.faithfulness.estimate - found.share(expected).estimate, abs=1e-4
    )


def test_controls_are_of_the_same_size_and_depend_on_the_seed_alone(circuit) -> None:
    model, task, dictionary, scores, found = circuit
    again = feature_circuit(model, task, dictionary, scores, n_random=4, n_subsets=3)
    other = feature_circuit(model, task, dictionary, scores, n_random=4, n_subsets=3, seed=1)
    assert np.array_equal(again.random, found.random)
    assert not np.array_equal(other.random, found.random)
    assert np.array_equal(other.circuit, found.circuit)
    assert found.random.shape == (4, 12) and found.random_curve.shape == found.curve.shape
    # The largest set of the curve is all candidates, drawn at random or not.
    np.testing.assert_allclose(found.random_curve[-1], found.curve[-1], atol=1e-5)
    assert found.random_as_faithful == int(
        (found.shares(found.random) >= found.faithfulness.estimate).sum()
    )


def test_a_complete_circuit_has_no_gap(circuit) -> None:
    *_, found = circuit
    whole = dataclasses.replace(found, subset_circuit=found.subset_whole)
    assert whole.gap.estimate == 0.0
    assert found.gap.estimate > 0.0


def test_what_is_said_of_a_circuit(circuit, tmp_path) -> None:
    *_, found = circuit
    text = str(found)
    assert f"{HOOK}: {len(found.nodes)} nodes of {found.n_candidates} reach" in text
    assert "error alone" in text and "random" in text and "all at END" in text
    found.save(tmp_path / "circuit.safetensors")
    loaded = FeatureCircuit.load(tmp_path / "circuit.safetensors")
    assert str(loaded) == text and loaded.nodes == found.nodes and loaded.sizes == found.sizes


def test_features_over_all_positions_can_be_a_circuit_too(circuit) -> None:
    model, task, dictionary, _, _ = circuit
    scores = sweep(model, task, features(dictionary), positions="all", mode="noising")
    found = feature_circuit(model, task, dictionary, scores, n_random=1, n_subsets=1)
    assert all(node.position == "" for node in found.nodes)
    everything = run_kept(model, task, dictionary, [Case([Node(i) for i in range(30)])])
    np.testing.assert_allclose(everything[0], found.features, atol=1e-5)


def test_bad_input_is_one_clear_sentence(circuit) -> None:
    model, task, dictionary, scores, _ = circuit
    with pytest.raises(DictionaryError, match="target=1.5 is not a share"):
        feature_circuit(model, task, dictionary, scores, target=1.5)
    with pytest.raises(DictionaryError, match="scores over layer x head are not those of features"):
        feature_circuit(model, task, dictionary, sweep(model, task, "z"))
    with pytest.raises(DictionaryError, match="there is no feature 30: the dictionary has 30"):
        run_kept(model, task, dictionary, [Case([Node(30)])])
    with pytest.raises(ValueError, match="has no position 'S3'"):
        run_kept(model, task, dictionary, [Case([Node(3, "S3")])])
    silent = dataclasses.replace(
        scores, patched=np.broadcast_to(scores.clean, scores.patched.shape)
    )
    with pytest.raises(DictionaryError, match="no feature at .* does anything"):
        feature_circuit(model, task, dictionary, silent)
    same = dataclasses.replace(task, corrupted=task.clean)
    with pytest.raises(DictionaryError, match="the same mean metric"):
        feature_circuit(model, same, dictionary, scores)
