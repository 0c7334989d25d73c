"""Ablation against a hook written out by hand, and what must hold of it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cutaway.model.config import ModelConfig
from cutaway.patching.ablation import ablate, ablate_many, parse_heads, random_heads
from random_models import configs, random_model, small_task, tasks

CFG = ModelConfig(n_layers=2, d_model=16, n_heads=4, d_vocab=17, n_ctx=12, init_range=0.4)


def by_hand(model, task, heads, values) -> np.ndarray:
    """The metric with z of these heads overwritten by values[layer] in a full run."""

    def replace(value, hook):
        value = value.clone()
        for layer, head in heads:
            if layer == hook.layer():
                value[:, :, head] = values[layer][:, :, head]
        return value

    with torch.no_grad():
        logits = model.run_with_hooks(
            task.clean, fwd_hooks=[(lambda name: name.endswith("hook_z"), replace)]
        )
    return task.metric(task.metric.read(logits)).double().numpy()


@given(st.data())
def test_mean_and_zero_ablation_equal_a_hook_by_hand(data) -> None:
    cfg = data.draw(configs())
    model, task = random_model(cfg), data.draw(tasks(cfg))
    every = [(layer, head) for layer in range(cfg.n_layers) for head in range(cfg.n_heads)]
    heads = data.draw(st.lists(st.sampled_from(every), unique=True, max_size=4))
    _, cache = model.run_with_cache(task.corrupted)
    means = {}
    for layer in range(cfg.n_layers):
        z = cache["z", layer]
        means[layer] = torch.stack([z[task.lengths == length].mean(0) for length in task.lengths])
    zeros = {layer: torch.zeros_like(cache["z", layer]) for layer in range(cfg.n_layers)}
    mean = ablate(model, task, heads, "mean")
    np.testing.assert_allclose(mean.ablated, by_hand(model, task, heads, means), atol=2e-5)
    zero = ablate(model, task, heads, "zero")
    np.testing.assert_allclose(zero.ablated, by_hand(model, task, heads, zeros), atol=2e-5)


@given(st.data())
def test_resampling_from_the_clean_run_itself_changes_nothing(data) -> None:
    cfg = data.draw(configs())
    model, task = random_model(cfg), data.draw(tasks(cfg)).subset([0])
    unchanged = dataclasses.replace(task, corrupted=task.clean)
    every = [(layer, head) for layer in range(cfg.n_layers) for head in range(cfg.n_heads)]
    result = ablate(model, task, every, "resample", reference=unchanged)
    np.testing.assert_allclose(result.ablated, result.clean, atol=2e-5)


def test_no_heads_is_the_whole_model_and_sets_do_not_leak_into_each_other() -> None:
    model, task = random_model(CFG), small_task(CFG)
    none, some, again = ablate_many(model, task, [[], ["0.1", "1.3"], []], "zero")
    assert np.array_equal(none.ablated, none.clean)
    assert np.array_equal(again.ablated, none.clean)
    assert not np.allclose(some.ablated, some.clean)
    assert some.heads == ((0, 1), (1, 3)) and some.name == "0.1 1.3"
    low, high = some.change().low, some.change().high
    assert low <= (some.ablated - some.clean).mean() <= high


def test_random_heads_are_different_and_never_the_excluded_ones() -> None:
    model = random_model(CFG)
    sets = random_heads(model, 3, n_sets=50, exclude=["0.0", (1, 1)], seed=1)
    assert sets == random_heads(model, 3, n_sets=50, exclude=["0.0", (1, 1)], seed=1)
    assert all(len(set(heads)) == 3 for heads in sets)
    assert not {(0, 0), (1, 1)} & {head for heads in sets for head in heads}
    with pytest.raises(ValueError, match="cannot draw 7 heads"):
        random_heads(model, 7, 1, exclude=["0.0", "1.1"])


@pytest.mark.parametrize(
    ("heads", "message"),
    [(["9.6"], "no head 9.6"), (["x"], "'x' is not a head"), ([(0, 1, 2)], "is not a head")],
)
def test_a_head_that_does_not_exist_is_named(heads, message) -> None:
    with pytest.raises(ValueError, match=message):
        parse_heads(random_model(CFG), heads)


def test_an_unknown_method_and_a_reference_without_the_group_are_named() -> None:
    model, task = random_model(CFG), small_task(CFG)
    with pytest.raises(ValueError, match="method='knock' is not one of zero, mean, resample"):
        ablate(model, task, ["0.0"], "knock")
    other = dataclasses.replace(task, group=("other",) * len(task))
    with pytest.raises(ValueError, match="no prompts of the group ''"):
        ablate(model, task, ["0.0"], "mean", reference=other)
