"""Faithfulness, completeness, minimality, curves and stability, each against a slow version."""

from __future__ import annotations

import dataclasses
import sys
from unittest import mock

import numpy as np
import pytest
import torch

from circuit_oracles import circuit_by_hooks
from cutaway.circuits.circuit import Circuit, CircuitError
from cutaway.circuits.discovery import discover, score
from cutaway.circuits.evaluation import (
    How,
    Trial,
    completeness,
    evaluate,
    faithfulness,
    minimality,
    stability,
    stability_over_prompts,
    sufficiency_curve,
)
from cutaway.circuits.known import KNOWN
from cutaway.circuits.runs import CircuitRuns
from cutaway.circuits.wiring import Wiring
from cutaway.model.config import ModelConfig
from cutaway.patching.edits import Intervention
from cutaway.patching.interventions import intervene
from cutaway.patching.values import Mean
from cutaway.tasks.ioi import ioi
from random_models import random_model, small_task

# Its package has a function of the same name.
minimality_module = sys.modules["cutaway.circuits.evaluation.minimality"]

CFG = ModelConfig(n_layers=2, d_model=16, n_heads=4, d_vocab=17, n_ctx=12, init_range=0.4)
EDGES = ("embed->0.1.v", "embed->0.3.k", "0.1->mlp0", "0.3->1.2.q", "mlp0->1.2.v", "1.2->logits")


@pytest.fixture(scope="module")
def model():
    return random_model(CFG)


@pytest.fixture(scope="module")
def task():
    return small_task(CFG, n_prompts=8)


@pytest.fixture(scope="module")
def circuit(model) -> Circuit:
    return Circuit.of(model, EDGES)


def slow(model, task, edges, outside="patch") -> np.ndarray:
    return circuit_by_hooks(model, task, set(edges), outside).numpy()


def everything() -> tuple[str, ...]:
    return Wiring(CFG).graph.edge_names


def without(edges, nodes) -> list[str]:
    return [name for name in edges if name.partition("->")[0] not in nodes]


@pytest.mark.parametrize("outside", ["patch", "zero", "mean"])
def test_faithfulness_is_the_share_of_what_the_model_does(outside, model, task, circuit) -> None:
    trial = Trial(model, task, circuit, How(outside))
    found = faithfulness(trial, n_random=3)
    whole, alone, empty = (slow(model, task, edges, outside) for edges in (everything(), EDGES, ()))
    expected = (alone - empty).mean() / (whole - empty).mean()
    assert found.ratio.estimate == pytest.approx(expected, abs=1e-4)
    assert found.difference.estimate == pytest.approx((whole - alone).mean(), abs=1e-4)
    assert found.distance.estimate == pytest.approx(np.abs(whole - alone).mean(), abs=1e-4)
    assert found.ratio.low <= found.ratio.estimate <= found.ratio.high
    assert found.how == f"edges at all positions, outside: {outside}"
    random = trial.random(3, 0)
    for matrix, ratio in zip(random, found.random, strict=True):
        names = Wiring(CFG).names(matrix)
        assert len(names) == len(EDGES)
        values = slow(model, task, names, outside)
        assert ratio == pytest.approx((values - empty).mean() / (whole - empty).mean(), abs=1e-4)


def test_the_whole_model_as_a_circuit_lacks_nothing(model, task) -> None:
    whole = Circuit.of(model, everything())
    found = evaluate(model, task, whole, n_random=2, n_subsets=4, minimal="nodes")
    assert found.faithfulness.ratio.estimate == pytest.approx(1.0, abs=1e-5)
    assert found.faithfulness.distance.estimate == pytest.approx(0.0, abs=1e-5)
    gaps = [found.completeness.nothing, found.completeness.worst, *found.completeness.random]
    assert all(abs(one.gap.estimate) < 1e-4 for one in gaps)
    assert len(found.minimality.strangers) == 0  # there is nothing to add


def test_completeness_takes_the_same_parts_out_of_both(model, task, circuit) -> None:
    found = completeness(Trial(model, task, circuit), n_subsets=4, n_greedy=2, n_random=2)
    gap = (slow(model, task, everything()) - slow(model, task, ())).mean()
    for one in (found.nothing, *found.random):
        ours = slow(model, task, without(EDGES, one.without))
        whole = slow(model, task, without(everything(), one.without))
        assert one.gap.estimate == pytest.approx((whole - ours).mean() / gap, abs=1e-4)
    assert len({one.without for one in found.random}) > 1
    assert all(set(one.without) <= set(circuit.nodes) - {"embed"} for one in found.random)
    assert found.worst.gap.n == 4  # measured on the half that it was not chosen on


def test_the_greedy_worst_case_is_chosen_on_one_half_alone(model, task, circuit) -> None:
    """Against a loop: the first node, and whether a second one follows."""
    trial = Trial(model, task, circuit)
    found = completeness(trial, n_subsets=1, n_greedy=1, n_random=1, seed=3)
    rng = np.random.default_rng(3)
    rng.random(len(trial.parts))  # the one random subset
    half, other = np.array_split(rng.permutation(8), 2)
    gaps = {
        nodes: slow(model, task, without(everything(), nodes))
        - slow(model, task, without(EDGES, nodes))
        for nodes in [(), *((part,) for part in trial.parts)]
    }
    chosen = max(gaps, key=lambda nodes: abs(gaps[nodes][half].mean()))
    assert found.worst.without == chosen
    expected = gaps[chosen][other].mean() / trial.gap[other].mean()
    assert found.worst.gap.estimate == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("of", ["nodes", "edges"])
def test_minimality_is_what_is_lost_beside_the_set_that_shows_most(
    of, model, task, circuit
) -> None:
    trial = Trial(model, task, circuit)
    found = minimality(trial, of, n_subsets=3, n_strangers=3, seed=1)
    names = set(trial.parts) if of == "nodes" else set(EDGES)
    assert {one.part for one in found.parts} == names
    rng = np.random.default_rng(1)
    half, other = np.array_split(rng.permutation(8), 2)

    def left(out) -> list[str]:
        return without(EDGES, out) if of == "nodes" else [e for e in EDGES if e not in out]

    for one in found.parts:
        change = slow(model, task, left(one.without)) - slow(
            model, task, left((*one.without, one.part))
        )
        expected = change[other].mean() / trial.gap[other].mean()
        assert one.change.estimate == pytest.approx(expected, abs=1e-4)
        alone = slow(model, task, EDGES) - slow(model, task, left((one.part,)))
        assert abs(change[half].mean()) >= abs(alone[half].mean()) - 1e-5
        assert one.part not in one.without
    assert len(found.strangers) == 3 and (found.strangers >= 0).all()


def test_nodes_alone_are_the_model_with_all_other_outputs_replaced(model, task, circuit) -> None:
    trial = Trial(model, task, circuit, How("mean", "nodes"))
    (found,) = trial.measure([trial.matrix])
    outside = [
        Intervention("z", layer, Mean(), units=[h for h in range(4) if f"{layer}.{h}" not in kept])
        for layer, kept in ((0, {"0.1", "0.3"}), (1, {"1.2"}))
    ]
    outside.append(Intervention("mlp_out", 1, Mean()))
    expected = intervene(model, task, outside, mode="noising").patched[0]
    assert np.abs(found - expected).max() < 1e-5


def test_a_circuit_is_held_to_its_positions(model, task) -> None:
    at = {"0.1": ("CHANGE",), "1.2": ("END",)}
    held = Circuit.of(model, EDGES, positions=at)
    for positions in (True, False):
        trial = Trial(model, task, held, How(positions=positions))
        (found,) = trial.measure([trial.matrix])
        expected = circuit_by_hooks(model, task, set(EDGES), "patch", at if positions else None)
        assert np.abs(found - expected.numpy()).max() < 1e-5
        where = "its own" if positions else "all"
        assert f"at {where} positions" in faithfulness(trial, 1).how


@pytest.mark.parametrize("name", ["induction", "ioi"])
def test_a_written_circuit_does_all_and_each_detectable_edge_is_needed(name) -> None:
    known = KNOWN[name](0)
    for corruption, task in known.tasks.items():
        circuit = Circuit.of(known.model, known.written)
        trial = Trial(known.model, task, circuit)
        assert faithfulness(trial, 3).ratio.estimate == pytest.approx(1.0, abs=1e-4)
        needed = minimality(trial, "edges", n_subsets=0, n_strangers=2)
        worth = {one.part: one.change.estimate for one in needed.parts}
        for edge, sign in known.detectable[corruption].items():
            assert worth[edge] * sign > 0.05, (corruption, edge)
        rest = set(known.written) - set(known.detectable[corruption])
        assert all(abs(worth[edge]) < 0.05 for edge in rest), corruption


@pytest.mark.parametrize("of", ["nodes", "edges"])
def test_strangers_are_added_to_the_circuit_at_its_own_positions(of, model, task) -> None:
    """Against the plain way: circuit with and without the stranger, both run."""
    held = Circuit.of(model, EDGES, positions={"0.1": ("CHANGE",), "1.2": ("END",)})
    trial = Trial(model, task, held)
    added: list[np.ndarray] = []
    kept = minimality_module._with_stranger

    def remembered(*arguments):
        added.append(kept(*arguments))
        return added[-1]

    with mock.patch.object(minimality_module, "_with_stranger", remembered):
        found = minimality(trial, of, n_subsets=0, n_strangers=4, seed=1)
    other = np.array_split(np.random.default_rng(1).permutation(8), 2)[1]
    (base,) = trial.measure([trial.matrix])
    for matrix, worth in zip(added, found.strangers, strict=True):
        assert (matrix & trial.matrix == trial.matrix).all() and (matrix != trial.matrix).any()
        names = set(trial.wiring.names(matrix))
        alone = circuit_by_hooks(model, task, names, "patch", held.positions).numpy()
        expected = abs((alone - base)[other].mean() / trial.gap[other].mean())
        assert worth == pytest.approx(expected, abs=1e-4)


def test_curves_go_through_their_points_and_enclose_their_areas(model, task) -> None:
    scores = score(model, task, "eap")
    runs = CircuitRuns(model, task)
    found = sufficiency_curve(runs, scores, shares=(0.05, 0.2, 0.6), n_random=3)
    n_all = len(scores.values)
    assert found.sizes == tuple(round(share * n_all) for share in (0.05, 0.2, 0.6))
    whole, empty = slow(model, task, everything()), slow(model, task, ())
    heights = []
    for size, point in zip(found.sizes, found.faithfulness, strict=True):
        chosen = discover(model, task, "eap", n_edges=size)
        ratio = (slow(model, task, chosen.edges) - empty).mean() / (whole - empty).mean()
        assert point.estimate == pytest.approx(ratio, abs=1e-4)
        heights.append(ratio)
    x = np.array([0, *np.array(found.sizes) / n_all, 1])
    y = np.array([0, *heights, 1])
    assert found.cpr.estimate == pytest.approx(np.trapezoid(y, x), abs=1e-4)
    assert found.cmd.estimate == pytest.approx(np.trapezoid(abs(1 - y), x), abs=1e-4)
    for area in (found.cpr, found.cmd, *found.faithfulness):
        assert area.low <= area.estimate <= area.high
    assert found.random.shape == (3, 3) and found.random_cmd.shape == (3,)
    assert (found.random_cmd >= 0).all() and len(found.to_frame()) == 3
    with pytest.raises(CircuitError, match="are not shares of all edges"):
        sufficiency_curve(runs, scores, shares=(0.0, 1.5))


def test_the_same_prompts_find_the_same_circuit(model, task) -> None:
    same = stability(model, [task, task, task], "eap", n_edges=10)
    assert same.edges.estimate == same.edges.low == same.edges.high == 1.0
    assert len(same.always) == 10 and set(same.share_of.values()) == {1.0}
    assert same.random_edges < 1.0
    with pytest.raises(CircuitError, match="at least 2 are needed"):
        stability(model, [task], "eap")


def test_stability_is_the_mean_jaccard_index_of_all_pairs(model) -> None:
    tasks = [small_task(CFG, n_prompts=2 + i, first=3 + i) for i in range(3)]
    found = stability(model, tasks, "eap", n_edges=12)
    circuits = [discover(model, one, "eap", n_edges=12) for one in tasks]
    pairs = [(0, 1), (0, 2), (1, 2)]
    for name, of in (("edges", found.edges), ("nodes", found.nodes)):
        indices = [circuits[i].jaccard(circuits[j], of=name) for i, j in pairs]
        assert of.estimate == pytest.approx(np.mean(indices))
        assert of.low <= of.estimate <= of.high and of.n == 3


def test_resampled_prompts_need_scores_of_every_prompt(model, task) -> None:
    found = stability_over_prompts(score(model, task, "exact-edges"), 10, n_resamples=5)
    assert 0 < found.edges.estimate <= 1 and found.edges.n == 5
    with pytest.raises(CircuitError, match="random has no score for every prompt"):
        stability_over_prompts(score(model, task, "random"), 10)


def test_what_cannot_be_evaluated_is_said(model, task, circuit) -> None:
    with pytest.raises(CircuitError, match="the circuit is empty"):
        evaluate(model, task, Circuit.of(model, ()))
    with pytest.raises(CircuitError, match="with the digest"):
        evaluate(random_model(CFG, 5), task, circuit)
    with pytest.raises(CircuitError, match="has 1 prompt: no interval"):
        evaluate(model, task.subset([0]), circuit)
    with pytest.raises(ValueError, match="value='noise' is not one of"):
        evaluate(model, task, circuit, outside="noise")
    with pytest.raises(CircuitError, match="level='heads' is neither"):
        How(level="heads")
    with pytest.raises(CircuitError, match="of='heads' is neither"):
        minimality(Trial(model, task, circuit), "heads")
    with pytest.raises(CircuitError, match="n_subsets=0: completeness asks for at least 1"):
        completeness(Trial(model, task, circuit), n_subsets=0)
    with pytest.raises(CircuitError, match="0 random circuits are no control"):
        evaluate(model, task, circuit, n_random=0)
    same = dataclasses.replace(task, corrupted=task.clean)
    with pytest.raises(CircuitError, match="the same mean on the whole model and on the empty"):
        Trial(model, same, circuit)


def test_golden_numbers_of_the_embedded_model() -> None:
    """The route that notebook 08 found by hand, alone on fresh prompts."""
    from cutaway.model.transformer import HookedTransformer

    model = HookedTransformer.from_pretrained("ioi-mini")
    circuit = discover(model, ioi(model, 16, seed=0), "eap-ig", n_edges=15)
    assert {"embed->0.5.v", "0.5->mlp0", "mlp0->1.2.v", "1.2->logits", "1.2->3.6.v"} <= set(
        circuit.edges
    )
    trial = Trial(model, ioi(model, 16, seed=1), circuit)
    found = faithfulness(trial, n_random=5)
    assert found.ratio.estimate == pytest.approx(0.80, abs=0.05)
    assert found.random.max() < 0.1 and found.random_at_least_as_faithful == 0
    assert torch.equal(trial.runs.clean, torch.from_numpy(trial.whole))
