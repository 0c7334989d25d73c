"""Several interventions in one run, against full runs with hooks, and what must hold of them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cutaway.model.config import ModelConfig
from cutaway.patching.edits import Intervention
from cutaway.patching.interventions import intervene
from cutaway.patching.sweep import sweep
from cutaway.patching.values import (
    Add,
    Constant,
    Exchange,
    Given,
    Keep,
    Mean,
    Patch,
    Remove,
    Resample,
    Scale,
)
from live_memory import LiveMemory
from oracles import intervene_by_hooks
from random_interventions import interventions
from random_models import configs, random_model, small_chunks, small_task, tasks

CFG = ModelConfig(n_layers=3, d_model=16, n_heads=4, d_vocab=17, n_ctx=12, init_range=0.4)


@given(st.data())
def test_any_interventions_together_equal_a_full_run_with_hooks(data) -> None:
    cfg = data.draw(configs())
    model, task = random_model(cfg, data.draw(st.integers(0, 100))), data.draw(tasks(cfg))
    mode = data.draw(st.sampled_from(["denoising", "noising"]))
    runs = {f"run {i}": data.draw(interventions(cfg, task)) for i in range(3)}
    with small_chunks(data.draw(st.sampled_from([1, 20, 768]))):
        effects = intervene(model, task, runs, mode=mode)
    expected = np.array([intervene_by_hooks(model, task, run, mode) for run in runs.values()])
    scale = max(1.0, np.abs(expected).max(), *(logits(model, task)))
    assert np.abs(effects.patched - expected).max() <= 2e-5 * scale
    small = intervene(model, task, runs, mode=mode, max_memory=200_000)
    assert np.abs(small.patched - expected).max() <= 2e-5 * scale


def logits(model, task) -> list[float]:
    with torch.no_grad():
        return [float(model(tokens).abs().max()) for tokens in (task.clean, task.corrupted)]


def test_one_patched_head_is_the_sweeps_entry() -> None:
    model, task = random_model(CFG), small_task(CFG)
    heads = sweep(model, task, "z").patched
    found = intervene(
        model,
        task,
        {f"{at}.{h}": [Intervention("z", at, units=h)] for at in (0, 2) for h in (1, 3)},
    )
    np.testing.assert_allclose(found.patched, heads[[0, 0, 2, 2], [1, 3, 1, 3]], atol=1e-5)
    assert found.axes[0].labels == ("0.1", "0.3", "2.1", "2.3")


def test_freezing_everything_behind_leaves_the_direct_effect_only() -> None:
    """With all later heads and MLPs held, what a head changes reaches the logits unchanged."""
    model, task = random_model(CFG.replace(normalization_type=None)), small_task(CFG)
    frozen = [Intervention(site, at, "freeze") for at in (1, 2) for site in ("z", "mlp_out")]
    frozen.append(Intervention("mlp_out", 0, "freeze"))
    found = intervene(model, task, [Intervention("z", 0, units=1), *frozen])
    base, source = (
        model.run_with_cache(tokens, names_filter="blocks.0.attn.hook_z")[1]["z", 0][:, :, 1]
        for tokens in (task.corrupted, task.clean)
    )
    written = (source - base)[:, -1] @ model.W_O[0, 1]  # [prompt, d_model]
    change = torch.einsum("pd,dp->p", written, model.W_U[:, task.correct])
    change -= torch.einsum("pd,dp->p", written, model.W_U[:, task.wrong])
    np.testing.assert_allclose(
        found.patched[0], found.corrupted + change.detach().numpy(), atol=1e-4
    )


def test_freezing_alone_changes_nothing_at_all() -> None:
    model, task = random_model(CFG), small_task(CFG)
    found = intervene(model, task, [Intervention("z", 1, "freeze")])
    assert np.array_equal(found.patched[0], found.corrupted)


def test_removed_kept_and_exchanged_parts_are_what_they_say() -> None:
    model, task = random_model(CFG), small_task(CFG)
    everything = torch.eye(16)
    run = {
        "exchange all": [Intervention("resid_pre", 1, Exchange(everything))],
        "patch": [Intervention("resid_pre", 1, Patch())],
        "keep all": [Intervention("resid_pre", 1, Keep(everything))],
        "remove all": [Intervention("resid_pre", 1, Remove(everything))],
        "zero": [Intervention("resid_pre", 1, "zero")],
    }
    exchange, patch, keep, remove, zero = intervene(model, task, run).patched
    np.testing.assert_allclose(exchange, patch, atol=1e-5)
    np.testing.assert_allclose(remove, zero, atol=1e-4)
    corrupted = intervene(model, task, []).corrupted
    np.testing.assert_allclose(keep, corrupted, atol=1e-5)


def test_given_values_are_taken_prompt_by_prompt_whatever_the_batches() -> None:
    model, task = random_model(CFG), small_task(CFG)
    hook = "blocks.1.attn.hook_z"
    _, cache = model.run_with_cache(task.clean, names_filter=hook)
    given_run = [Intervention("z", 1, Given({hook: cache[hook]}), units=2)]
    patch_run = [Intervention("z", 1, units=2)]
    expected = intervene(model, task, patch_run).patched
    for max_memory in (None, 60_000):
        found = intervene(model, task, given_run, max_memory=max_memory)
        np.testing.assert_allclose(found.patched, expected, atol=1e-5)


def test_results_name_what_was_done() -> None:
    model, task = random_model(CFG), small_task(CFG)
    effects = intervene(
        model,
        task,
        [
            Intervention("z", 1, "zero", units=[0, 2], positions="END"),
            Intervention("pattern", 0, keys=[0, "CHANGE"]),
        ],
        mode="noising",
    )
    assert effects.axes[0].labels == ("zero z 1.0 1.2 at END, patch pattern 0 from 0 CHANGE",)
    assert effects.mode == "noising" and "intervention" in effects.top(1)[0].labels


NAN = torch.full((16,), torch.nan)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Intervention("resid", 0), "no site 'resid'"),
        (lambda: Intervention("z", 3), "no layer 3 for 'patch z 3'"),
        (lambda: Intervention("z", 0, units=4), "no head 4; custom has 4 in each layer"),
        (lambda: Intervention("z", 0, units=[]), "list of units is empty"),
        (lambda: Intervention("resid_pre", 0, units=1), "no parts to choose units of"),
        (lambda: Intervention("z", 0, positions="S2"), "no position 'S2'"),
        (lambda: Intervention("z", 0, positions=[]), "list of positions is empty"),
        (lambda: Intervention("z", 0, keys=1), "keys are for pattern and attn_scores"),
        (lambda: Intervention("z", 0, "kill"), "value='kill' is not one of patch, zero"),
        (lambda: Intervention("z", 0, Add(torch.ones(3))), "Add has 3 numbers, the last axis"),
        (lambda: Intervention("resid_pre", 0, Add(NAN)), "Add holds 16 numbers that are NaN"),
        (lambda: Intervention("z", 0, Constant(torch.ones(2, 2))), "a number or a vector"),
        (
            lambda: Intervention("z", 0, Remove(torch.ones(3))),
            "Remove has 3 numbers, the last axis",
        ),
        (lambda: Intervention("z", 0, Keep(torch.ones(2, 4))), "linearly independent rows"),
        (
            lambda: Intervention("z", 0, Given({"x": torch.ones(6)})),
            "nothing is given for blocks.0",
        ),
    ],
)
def test_bad_input_is_one_clear_sentence(make, message) -> None:
    with pytest.raises(ValueError, match=message):
        intervene(random_model(CFG), small_task(CFG), [make()])


def test_given_values_of_other_prompts_are_refused() -> None:
    hook = "blocks.0.attn.hook_z"
    value = Given({hook: torch.ones(2, 9, 4, 4)})
    with pytest.raises(ValueError, match="the task has 6 prompts"):
        intervene(random_model(CFG), small_task(CFG), [Intervention("z", 0, value)])
    with pytest.raises(ValueError, match="give at least one run"):
        intervene(random_model(CFG), small_task(CFG), {})


def test_a_resampled_value_is_that_of_one_prompt_of_the_reference() -> None:
    model, task = random_model(CFG), small_task(CFG)
    found = {}
    for seed in range(8):
        run = [Intervention("z", 1, Resample(seed=seed), units=2)]
        found[seed] = intervene(model, task, run, mode="noising").patched[0]
    hook = "blocks.1.attn.hook_z"
    _, cache = model.run_with_cache(task.corrupted, names_filter=hook)
    one_each = []
    for donor in range(len(task)):
        value = Given({hook: cache[hook][donor].expand(len(task), -1, -1, -1)})
        run = [Intervention("z", 1, value, units=2)]
        one_each.append(intervene(model, task, run, mode="noising").patched[0])
    for values in found.values():
        gaps = np.abs(np.array(one_each) - values)  # [donor, prompt]
        assert (gaps.min(0) < 1e-5).all()
    assert len({values.tobytes() for values in found.values()}) > 1
    again = intervene(
        model, task, [Intervention("z", 1, Resample(seed=3), units=2)], mode="noising"
    )
    assert np.array_equal(again.patched[0], found[3])


def test_the_same_edit_twice_is_done_twice() -> None:
    model, task = random_model(CFG), small_task(CFG)
    half = Scale(0.5)
    twice = [Intervention("z", 1, half, units=1), Intervention("z", 1, half, units=1)]
    quarter = [Intervention("z", 1, Scale(0.25), units=1)]
    a, b = intervene(model, task, {"twice": twice, "quarter": quarter}).patched
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_means_over_references_of_another_width_are_the_same(monkeypatch) -> None:
    model, task = random_model(CFG), small_task(CFG)
    wider = dataclasses.replace(
        task,
        clean=torch.nn.functional.pad(task.clean, (0, 2)),
        corrupted=torch.nn.functional.pad(task.corrupted, (0, 2)),
    )
    for mine, other in ((task, wider), (wider, task)):
        run = [Intervention("resid_post", 1, Mean(other))]
        own = [Intervention("resid_post", 1, Mean(mine))]
        a, b = intervene(model, mine, {"other": run, "own": own}, mode="noising").patched
        np.testing.assert_allclose(a, b, atol=1e-5)
    left = dataclasses.replace(
        wider, clean=wider.clean.roll(2, 1), corrupted=wider.corrupted.roll(2, 1)
    )
    with pytest.raises(ValueError, match="padded on the left, to 9 tokens in the task and to 11"):
        intervene(model, task, [Intervention("z", 1, Mean(left))])


def test_many_values_hold_to_the_bound(monkeypatch) -> None:
    model, task = random_model(CFG), small_task(CFG)
    runs = {
        str(seed): [Intervention("result", 1, Resample(seed=seed), units=2)] for seed in range(20)
    }
    with LiveMemory() as memory:
        bounded = intervene(model, task, runs, max_memory=400_000)
    assert memory.peak <= 400_000
    np.testing.assert_allclose(bounded.patched, intervene(model, task, runs).patched, atol=1e-5)


def test_progress_ends_at_one_and_never_falls() -> None:
    seen: list[float] = []
    intervene(random_model(CFG), small_task(CFG), [Intervention("z", 1)], progress=seen.append)
    assert seen == sorted(seen) and seen[-1] == 1.0


def test_single_things_need_no_list() -> None:
    model, task = random_model(CFG), small_task(CFG)
    one = intervene(model, task, Intervention("z", 1, units=np.int64(2), positions="all"))
    assert one.patched.shape == (1, 6)
    with pytest.raises(ValueError, match="the run 'a' is not a list of interventions"):
        intervene(model, task, {"a": Intervention("z", 1)})
    for wrong, message in (
        ({"units": "3"}, "units='3': units are whole numbers"),
        ({"layer": 1.0}, "layer=1.0 is not a whole number"),
    ):
        with pytest.raises(ValueError, match=message):
            intervene(model, task, Intervention(**{"site": "z", "layer": 0, **wrong}))
