"""Circuits run alone, against full runs in which hooks sum up what every reader reads."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from circuit_oracles import circuit_by_hooks
from cutaway.attribution.edges import attribute_edges
from cutaway.circuits.circuit import Circuit
from cutaway.circuits.runs import CircuitRuns
from cutaway.circuits.wiring import Wiring
from cutaway.model.config import ModelConfig
from cutaway.patching.edges import sweep_edges
from cutaway.patching.edits import Intervention
from cutaway.patching.interventions import intervene
from cutaway.patching.values import Mean, Patch
from random_models import configs, random_model, small_chunks, small_task, tasks

CFG = ModelConfig(n_layers=3, d_model=16, n_heads=4, d_vocab=17, n_ctx=12, init_range=0.4)


def random_masks(wiring: Wiring, n: int, seed: int) -> torch.Tensor:
    """Sets of edges of every size; some have all edges below a layer."""
    rng = np.random.default_rng(seed)
    masks = wiring.allowed & (rng.random((n, *wiring.allowed.shape)) < rng.random((n, 1, 1)))
    for mask in masks:
        whole_below = rng.integers(0, 2 + wiring.cfg.n_layers)
        for at, receiver in enumerate(wiring.graph.receivers):
            if receiver.layer < whole_below - 1:
                mask[at] = wiring.allowed[at]
    return torch.from_numpy(masks)


def scale_of(model, task) -> float:
    with torch.no_grad():
        return max(1.0, *(float(model(t).abs().max()) for t in (task.clean, task.corrupted)))


@given(st.data())
def test_circuits_equal_runs_with_hooks(data) -> None:
    cfg = data.draw(configs())
    model, task = random_model(cfg, data.draw(st.integers(0, 100))), data.draw(tasks(cfg))
    outside = data.draw(st.sampled_from(["patch", "zero", "mean"]))
    positions = data.draw(st.sampled_from([None, {"embed": ("A", "B")}, {"0.0": ("END",)}]))
    wiring = Wiring(cfg)
    masks = random_masks(wiring, 3, data.draw(st.integers(0, 1000)))
    with small_chunks(data.draw(st.sampled_from([1, 20, 768]))):
        found = CircuitRuns(model, task, outside).measure(masks, positions)
    for mask, values in zip(masks, found, strict=True):
        edges = set(wiring.names(mask.numpy()))
        expected = circuit_by_hooks(model, task, edges, outside, positions)
        assert (values - expected).abs().max() <= 2e-5 * scale_of(model, task)


@given(st.data())
def test_pruning_changes_nothing_where_the_other_run_stands_in(data) -> None:
    cfg = data.draw(configs())
    model, task = random_model(cfg), data.draw(tasks(cfg))
    wiring, runs = Wiring(cfg), CircuitRuns(model, task)
    masks = random_masks(wiring, 4, data.draw(st.integers(0, 1000)))
    pruned = torch.from_numpy(np.stack([wiring.pruned(mask) for mask in masks.numpy()]))
    assert not (pruned & ~masks).any()
    difference = runs.measure(masks) - runs.measure(pruned)
    assert difference.abs().max() <= 1e-5 * scale_of(model, task)


@given(st.data())
def test_the_ends_are_the_two_runs(data) -> None:
    cfg = data.draw(configs())
    model, task = random_model(cfg), data.draw(tasks(cfg))
    runs = CircuitRuns(model, task)
    whole = torch.from_numpy(runs.wiring.allowed)[None]
    for circuits, prompts in ((whole, task.clean), (~whole & whole, task.corrupted)):
        with torch.no_grad():
            expected = task.metric(task.metric.read(model(prompts))).double()
        found = runs.measure(circuits)[0]
        assert (found - expected).abs().max() <= 1e-5 * scale_of(model, task)
    assert torch.equal(runs.measure(whole)[0], runs.clean)


def test_all_edges_but_one_is_noising_that_edge() -> None:
    model, task = random_model(CFG), small_task(CFG)
    wiring = Wiring(CFG)
    n_edges = len(wiring.graph.edges)
    masks = torch.from_numpy(wiring.spread(~np.eye(n_edges, dtype=bool)))
    found = CircuitRuns(model, task).measure(masks)
    expected = sweep_edges(model, task, mode="noising").patched
    assert np.abs(found.numpy() - expected).max() < 1e-5


def test_all_edges_of_the_other_nodes_is_ablating_a_node() -> None:
    """Leaving out all that a head writes is an intervention on its z."""
    model, task = random_model(CFG), small_task(CFG)
    for outside in ("patch", "zero", "mean", Mean(task)):
        names = [name for name in ("0.2", "2.1")]
        circuits = [
            Circuit.of_nodes(model, {s.name for s in Wiring(CFG).graph.senders} - {name})
            for name in names
        ]
        masks = torch.from_numpy(np.stack([circuit.matrix for circuit in circuits]))
        found = CircuitRuns(model, task, outside).measure(masks)
        for name, values in zip(names, found, strict=True):
            layer, head = map(int, name.split("."))
            one = Intervention("z", layer, outside, units=head)
            expected = intervene(model, task, one, mode="noising").patched[0]
            assert np.abs(values.numpy() - expected).max() < 1e-5


def test_gradients_reach_every_edge_that_can_matter() -> None:
    """The gradient of the whole model's masks, by finite differences."""
    model, task = random_model(CFG).double(), small_task(CFG, n_prompts=2)
    runs = CircuitRuns(model, task)
    allowed = torch.from_numpy(runs.wiring.allowed)
    (prompts,) = runs.prompts()
    (rows,) = runs.rows(prompts, torch.tensor([0]), 0)

    def metric(weights: torch.Tensor) -> torch.Tensor:
        return runs.run_rows(prompts, rows, weights.expand(len(rows.prompt), -1, -1)).sum()

    weights = (0.5 * allowed.double()).requires_grad_()
    (gradient,) = torch.autograd.grad(metric(weights), weights)
    rng = np.random.default_rng(0)
    places = np.argwhere(runs.wiring.allowed)
    for receiver, sender in rng.permutation(places)[:20]:
        step = torch.zeros_like(weights)
        step[receiver, sender] = 1e-5
        ends = [metric(weights.detach() + sign * step).detach() for sign in (1, -1)]
        slope = (ends[0] - ends[1]) / 2e-5
        assert slope.item() == pytest.approx(gradient[receiver, sender].item(), abs=1e-6)


def test_the_gradient_of_the_whole_models_masks_is_edge_attribution() -> None:
    """EAP in the clean run asks the same question: what if a little less came over this edge?"""
    model, task = random_model(CFG), small_task(CFG)
    runs = CircuitRuns(model, task)
    (prompts,) = runs.prompts()
    (rows,) = runs.rows(prompts, torch.tensor([0]), 0)
    whole = torch.from_numpy(runs.wiring.allowed).float()
    weights = whole.repeat(len(rows.prompt), 1, 1).requires_grad_()
    (gradient,) = torch.autograd.grad(runs.run_rows(prompts, rows, weights).sum(), weights)
    found = np.zeros((len(runs.wiring.graph.edges), len(task)))
    found[:, rows.prompt] = gradient.numpy()[:, runs.wiring.allowed].T
    expected = attribute_edges(model, task, mode="noising").per_prompt
    assert np.abs(found - expected).max() < 1e-4


def test_the_order_and_number_of_circuits_changes_nothing() -> None:
    model, task = random_model(CFG), small_task(CFG)
    masks = random_masks(Wiring(CFG), 9, 3)
    runs = CircuitRuns(model, task)
    together = runs.measure(masks)
    alone = torch.cat([runs.measure(mask[None]) for mask in masks])
    assert (together - alone).abs().max() < 1e-5
    assert (runs.measure(masks.flip(0)) - together.flip(0)).abs().max() < 1e-5


def test_little_memory_gives_the_same_and_too_little_is_said() -> None:
    model, task = random_model(CFG), small_task(CFG)
    masks = random_masks(Wiring(CFG), 4, 0)
    expected = CircuitRuns(model, task).measure(masks)
    small = CircuitRuns(model, task, max_memory=400_000)
    assert len(small.measurement.slices()) > 1
    assert (small.measure(masks) - expected).abs().max() < 1e-5
    with pytest.raises(ValueError, match="is too little"):
        CircuitRuns(model, task, max_memory=1000)


def test_a_golden_number() -> None:
    model, task = random_model(CFG), small_task(CFG)
    mask = random_masks(Wiring(CFG), 1, 0)
    assert float(CircuitRuns(model, task).measure(mask).mean()) == pytest.approx(GOLDEN, abs=1e-5)


GOLDEN = 1.3295379877


def test_patch_with_prompts_that_do_not_differ() -> None:
    task = small_task(CFG)
    same = dataclasses.replace(task, corrupted=task.clean)
    runs = CircuitRuns(random_model(CFG), same, Patch())
    masks = random_masks(runs.wiring, 2, 0)
    assert (runs.measure(masks) - runs.clean).abs().max() < 1e-5
