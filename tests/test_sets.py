"""Pairs of heads and circuits with one head left out, against one set at a time."""

from __future__ import annotations

import numpy as np
import pytest

from cutaway.model.config import ModelConfig
from cutaway.patching.ablation import ablate, random_heads
from cutaway.patching.edits import Intervention
from cutaway.patching.interventions import intervene
from cutaway.patching.sets import interaction, leave_one_out, sweep_pairs
from cutaway.patching.sweep import sweep
from random_models import random_model, small_task

CFG = ModelConfig(n_layers=2, d_model=16, n_heads=4, d_vocab=17, n_ctx=12, init_range=0.4)


def test_each_pair_is_the_ablation_of_both() -> None:
    model, task = random_model(CFG), small_task(CFG)
    first, second = ["0.1", "1.3"], ["1.3", (0, 0), "0.1"]
    pairs = sweep_pairs(model, task, first, second, "zero")
    assert [axis.labels for axis in pairs.axes] == [("0.1", "1.3"), ("1.3", "0.0", "0.1")]
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            expected = ablate(model, task, [a, b], "zero").ablated
            np.testing.assert_allclose(pairs.patched[i, j], expected, atol=1e-5)


def test_the_interaction_is_what_the_pair_does_beyond_its_members() -> None:
    model, task = random_model(CFG), small_task(CFG)
    pairs = sweep_pairs(model, task, ["0.1", "1.3", "1.0"])
    effect, low, high = interaction(pairs)
    alone = {h: ablate(model, task, [h]) for h in ("0.1", "1.0")}
    both = ablate(model, task, ["0.1", "1.0"])
    change = (both.clean - both.ablated) - sum(a.clean - a.ablated for a in alone.values())
    expected = change.mean() / (pairs.clean - pairs.corrupted).mean()
    assert effect[0, 2] == pytest.approx(expected, abs=1e-4)
    assert np.array_equal(np.diag(effect), np.zeros(3)) and np.allclose(effect, effect.T)
    assert (low <= effect).all() and (effect <= high).all()


def test_heads_of_which_only_their_sum_is_read_do_not_interact() -> None:
    """Without norms and MLPs, heads of the last layer add up."""
    cfg = CFG.replace(attn_only=True, normalization_type=None)
    model, task = random_model(cfg), small_task(cfg)
    effect, _, _ = interaction(
        sweep_pairs(model, task, [f"1.{head}" for head in range(4)], value="zero")
    )
    assert np.abs(effect).max() < 1e-4


def test_a_circuit_without_one_head_is_everything_else_ablated() -> None:
    model, task = random_model(CFG), small_task(CFG)
    circuit = ["0.2", "1.1"]
    found = leave_one_out(model, task, circuit, "zero")
    assert found.axes[0].labels == ("none", "0.2", "1.1")
    every = [f"{layer}.{head}" for layer in range(2) for head in range(4)]
    for label, values in zip(found.axes[0].labels, found.patched, strict=True):
        out = [head for head in every if head not in circuit or head == label]
        np.testing.assert_allclose(values, ablate(model, task, out, "zero").ablated, atol=1e-5)


def test_bad_input_is_one_clear_sentence() -> None:
    model, task = random_model(CFG), small_task(CFG)
    with pytest.raises(ValueError, match=r"no head 5\.0"):
        sweep_pairs(model, task, ["5.0"])
    with pytest.raises(ValueError, match="list of heads is empty"):
        sweep_pairs(model, task, [])
    with pytest.raises(ValueError, match="list of heads is empty"):
        leave_one_out(model, task, [])
    with pytest.raises(ValueError, match="give sweep_pairs one list of heads"):
        interaction(sweep_pairs(model, task, ["0.0"], ["0.1"]))
    with pytest.raises(ValueError, match="site='resid_pre' has no parts: sets are of heads"):
        sweep_pairs(model, task, ["0.0"], site="resid_pre")


def test_both_directions_are_measured_in_their_own_run() -> None:
    model, task = random_model(CFG), small_task(CFG)
    for mode in ("denoising", "noising"):
        pairs = sweep_pairs(model, task, ["0.1", "1.3"], value="patch", mode=mode)
        both = [Intervention("z", 0, units=1), Intervention("z", 1, units=3)]
        expected = intervene(model, task, both, mode=mode)
        assert pairs.mode == mode
        np.testing.assert_allclose(pairs.patched[0, 1], expected.patched[0], atol=1e-5)
        left = leave_one_out(model, task, ["0.1", "1.3"], "patch", mode=mode)
        others = [
            Intervention("z", layer, units=[head for head in range(4) if (layer, head) != kept])
            for layer, kept in ((0, (0, 1)), (1, (1, 3)))
        ]
        expected = intervene(model, task, others, mode=mode)
        np.testing.assert_allclose(left.patched[0], expected.patched[0], atol=1e-5)


def test_only_pairs_of_heads_interact() -> None:
    cfg = CFG.replace(n_layers=4)
    model, task = random_model(cfg), small_task(cfg)
    with pytest.raises(ValueError, match="give sweep_pairs one list of heads"):
        interaction(sweep(model, task, "z"))
    for site in ("mlp_post", "resid_pre"):
        with pytest.raises(ValueError, match="sets are of heads"):
            sweep_pairs(model, task, ["0.0"], site=site)
    with pytest.raises(ValueError, match="n=-1 is negative"):
        random_heads(model, -1, 2)
