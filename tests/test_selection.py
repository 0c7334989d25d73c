"""From scores to circuits of a size, against every set; and random circuits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cutaway.circuits.circuit import CircuitError
from cutaway.circuits.random_circuits import random_circuits, random_node_sets
from cutaway.circuits.selection import above, strongest
from cutaway.circuits.wiring import Wiring
from cutaway.model.config import ModelConfig
from random_models import configs

TINY = ModelConfig(n_layers=1, d_model=8, n_heads=2, d_vocab=9, n_ctx=6, model_name="tiny")
SMALL = TINY.replace(n_layers=3)


def scores_of(wiring: Wiring, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=int(wiring.allowed.sum()))


def greedy(wiring: Wiring, scores: np.ndarray, n_edges: int) -> np.ndarray:
    """The longest run of strongest edges that fits, found by trying every length."""
    order = np.argsort(-np.abs(scores), kind="stable")
    best = np.zeros_like(wiring.allowed)
    for first in range(len(scores) + 1):
        flat = np.zeros(len(scores), dtype=bool)
        flat[order[:first]] = True
        pruned = wiring.pruned(wiring.spread(flat))
        if pruned.sum() > n_edges:
            break
        best = pruned
    return best


@given(configs(max_layers=2), st.integers(0, 1000), st.data())
def test_the_strongest_edges_that_fit_are_kept(cfg, seed, data) -> None:
    wiring = Wiring(cfg)
    scores = scores_of(wiring, seed)
    n_edges = data.draw(st.integers(1, len(scores)))
    found = strongest(wiring, scores, n_edges)
    expected = greedy(wiring, scores, n_edges)
    assert (found.matrix >= expected).all()  # what fits is there, and perhaps more
    assert (wiring.pruned(found.matrix) == found.matrix).all()
    assert found.matrix.sum() == n_edges or any(f"not {n_edges}" in note for note in found.notes)
    assert found.matrix.sum() <= n_edges


def test_sizes_that_are_asked_for_mostly_come_back() -> None:
    """Of all sizes, over many scores: the exceptions say so, and are few."""
    wiring = Wiring(SMALL)
    n_all = int(wiring.allowed.sum())
    short = [
        n - int(strongest(wiring, scores_of(wiring, seed), n).matrix.sum())
        for seed in range(5)
        for n in range(3, n_all + 1, 7)
    ]
    assert np.mean(np.array(short) > 0) < 0.1


def test_edges_without_a_score_are_told_of() -> None:
    wiring = Wiring(TINY)
    scores = np.zeros(int(wiring.allowed.sum()))
    scores[-1] = 1.0
    found = strongest(wiring, scores, len(scores))
    assert found.matrix.sum() == len(scores)
    assert f"{len(scores) - 1} of the edges have the score 0" in found.notes[-1]


@given(st.integers(0, 1000), st.floats(0, 2))
def test_a_threshold_keeps_what_is_as_large_and_lies_on_a_way(seed, threshold) -> None:
    wiring = Wiring(SMALL)
    scores = scores_of(wiring, seed)
    found = above(wiring, scores, threshold)
    large = wiring.spread(np.abs(scores) >= threshold)
    assert (found.matrix == wiring.pruned(large)).all()
    lost = int(large.sum() - found.matrix.sum())
    assert bool(found.notes) == bool(lost)
    if lost:
        assert found.notes[0].startswith(f"{lost} edges")


@pytest.mark.parametrize("n_edges", [0, -1, 10_000, 2.5])
def test_sizes_that_no_circuit_has_are_refused(n_edges) -> None:
    wiring = Wiring(TINY)
    with pytest.raises(CircuitError, match="is not between 1 and"):
        strongest(wiring, scores_of(wiring, 0), n_edges)
    with pytest.raises(CircuitError, match="is not between 1 and"):
        random_circuits(wiring, n_edges, 1)
    for threshold in (-0.1, float("nan")):
        with pytest.raises(CircuitError, match="is not a size"):
            above(wiring, scores_of(wiring, 0), threshold)


@settings(max_examples=30)
@given(configs(), st.integers(0, 1000), st.data())
def test_random_circuits_have_their_size_and_every_edge_lies_on_a_way(cfg, seed, data) -> None:
    wiring = Wiring(cfg)
    n_edges = data.draw(st.integers(1, int(wiring.allowed.sum())))
    drawn = random_circuits(wiring, n_edges, 3, seed)
    assert (drawn.sum((1, 2)) == n_edges).all()
    assert all((wiring.pruned(one) == one).all() for one in drawn)
    assert (drawn == random_circuits(wiring, n_edges, 3, seed)).all()


def test_every_size_can_be_drawn_and_draws_differ() -> None:
    wiring = Wiring(TINY)
    for n_edges in range(1, int(wiring.allowed.sum()) + 1):
        assert (random_circuits(wiring, n_edges, 4, 1).sum((1, 2)) == n_edges).all()
    drawn = random_circuits(Wiring(SMALL), 20, 30, 0)
    assert len({one.tobytes() for one in drawn}) == 30
    assert np.mean(drawn, axis=0)[Wiring(SMALL).allowed].min() > 0  # no edge is out of reach


def test_random_nodes_are_as_many_of_each_kind() -> None:
    wiring = Wiring(SMALL)
    sets = random_node_sets(wiring, ["embed", "0.1", "2.0", "mlp1"], 20, seed=3)
    for nodes in sets:
        assert sum("." in name for name in nodes) == 2 and len(set(nodes)) == 3
    assert len(set(sets)) > 10 and sets == random_node_sets(wiring, ["0.1", "2.0", "mlp1"], 20, 3)
    with pytest.raises(CircuitError, match="no sender"):
        random_node_sets(wiring, ["9.9"], 1)


def test_no_control_is_refused() -> None:
    wiring = Wiring(TINY)
    for draw in (
        lambda: random_circuits(wiring, 3, 0),
        lambda: random_node_sets(wiring, ["0.1"], 0),
    ):
        with pytest.raises(CircuitError, match="0 random circuits are no control"):
            draw()
