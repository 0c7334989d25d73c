"""The cone engine against a loop of full runs with hooks, and what must hold of any sweep."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cutaway.model.config import ModelConfig
from cutaway.model.transformer import HookedTransformer
from cutaway.patching import values as put
from cutaway.patching.edits import Intervention
from cutaway.patching.interventions import intervene
from cutaway.patching.sweep import sweep
from cutaway.tasks.metric import LogitDifference
from cutaway.tasks.task import Task
from oracles import NEURON_SITES, SQUARE_SITES, sweep_by_hooks
from random_interventions import available, last_axis, values
from random_models import configs, random_model, small_chunks, small_task, tasks

CFG = ModelConfig(n_layers=3, d_model=16, n_heads=4, d_vocab=17, n_ctx=12, init_range=0.4)

GOLDEN = ("0.1", 0.4229)  # measured with the hook-based loop of oracles.py


def assert_close(actual: np.ndarray, expected: np.ndarray, scale: float = 1.0) -> None:
    """Equal within 1e-5 of the scale: of the logits that the metric is made of, at least 1."""
    assert np.abs(actual - expected).max() <= 1e-5 * max(scale, 1.0)


@torch.no_grad()
def logit_scale(model: HookedTransformer, task: Task) -> float:
    """The largest logit of either run: differences of logits are rounded on this scale."""
    return max(float(model(tokens).abs().max()) for tokens in (task.clean, task.corrupted))


@st.composite
def cases(draw: st.DrawFn) -> tuple[HookedTransformer, Task, str, dict[str, Any], int]:
    cfg = draw(configs())
    task = draw(tasks(cfg))
    site = draw(st.sampled_from(available(cfg)))
    positions = draw(st.sampled_from(["all", "each", "named"]))
    chosen = {
        "value": draw(values(site, last_axis(cfg, site))),
        "mode": draw(st.sampled_from(["denoising", "noising"])),
        "positions": positions,
    }
    if site in SQUARE_SITES:
        chosen["keys"] = draw(st.sampled_from([None, "named", [0, 1]]))
    if site in NEURON_SITES:
        chosen["neurons_per_group"] = draw(st.sampled_from([1, 4]))
    model = random_model(cfg, draw(st.integers(0, 100)))
    return model, task, site, chosen, draw(st.sampled_from([1, 20, 768]))


@given(cases())
def test_every_sweep_equals_a_loop_of_full_runs_with_hooks(case) -> None:
    model, task, site, chosen, chunk = case
    with small_chunks(chunk):
        effects = sweep(model, task, site, **chosen)

    def listed(places: Any) -> Any:
        if places in (None, "all"):
            return None
        named = {"each": range(task.clean.shape[1]), "named": list(task.positions)}
        return named[places] if isinstance(places, str) else places

    expected = sweep_by_hooks(
        model,
        task,
        site,
        chosen["mode"],
        listed(chosen["positions"]),
        listed(chosen.get("keys")),
        chosen["value"],
        chosen.get("neurons_per_group", 1),
    ).reshape(effects.patched.shape)
    scale = max(logit_scale(model, task), np.abs(expected).max())
    assert_close(effects.patched, expected, scale)


@given(st.data())
def test_results_depend_neither_on_the_chunks_nor_on_the_order_of_prompts(data) -> None:
    cfg = data.draw(configs())
    task = data.draw(tasks(cfg))
    model = random_model(cfg)
    whole = sweep(model, task, "z")
    small = sweep(model, task, "z", max_memory=60_000)
    scale = logit_scale(model, task)
    assert_close(small.patched, whole.patched, scale)
    order = torch.randperm(len(task), generator=torch.Generator().manual_seed(0))
    shuffled = sweep(model, task.subset(order), "z")
    assert_close(shuffled.patched, whole.patched[..., order.numpy()], scale)


def test_patching_everything_from_the_clean_run_gives_the_clean_run() -> None:
    model, task = random_model(CFG), small_task(CFG)
    effects = sweep(model, task, "resid_pre", positions="all")
    assert_close(effects.patched, np.broadcast_to(effects.clean, effects.patched.shape))
    np.testing.assert_allclose(effects.normalised(), 1.0, atol=1e-4)


def test_before_the_first_difference_nothing_happens_exactly() -> None:
    model, task = random_model(CFG), small_task(CFG, first=4)
    effects = sweep(model, task, "resid_pre", positions=[0, 1, 2, 3])
    assert np.array_equal(
        effects.patched, np.broadcast_to(effects.corrupted, effects.patched.shape)
    )
    assert [axis.labels for axis in effects.axes] == [("0", "1", "2"), ("0", "1", "2", "3")]


def test_some_layers_are_the_same_rows_of_the_whole_sweep() -> None:
    model, task = random_model(CFG), small_task(CFG)
    whole, some = sweep(model, task, "z"), sweep(model, task, "z", layers=[2, 0])
    assert_close(some.patched, whole.patched[[2, 0]])
    assert some.axes[0].labels == ("2", "0")


def test_progress_ends_at_one_and_never_falls() -> None:
    seen: list[float] = []
    sweep(random_model(CFG), small_task(CFG), "z", progress=seen.append)
    assert seen == sorted(seen) and seen[-1] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"site": "resid"}, "no site 'resid'; sites are embed"),
        ({"mode": "both"}, "neither 'denoising' nor 'noising'"),
        ({"layers": [3]}, "no layer 3"),
        ({"layers": []}, "list of layers is empty"),
        ({"positions": ["S3"]}, "no position 'S3'; it names CHANGE, END"),
        ({"positions": [9]}, "position 9 is outside"),
        ({"max_memory": 1000}, "max_memory=1,000 bytes is too little"),
    ],
)
def test_bad_input_is_one_clear_sentence(change, message) -> None:
    arguments = {"site": "z", **change}
    with pytest.raises(ValueError, match=message):
        sweep(random_model(CFG), small_task(CFG), **arguments)


def test_a_site_that_the_model_lacks_says_why() -> None:
    attn_only = random_model(CFG.replace(attn_only=True))
    with pytest.raises(ValueError, match="has no mlp_out: it has no MLP"):
        sweep(attn_only, small_task(CFG), "mlp_out")
    parallel = random_model(CFG.replace(parallel_attn_mlp=True))
    with pytest.raises(ValueError, match="has no resid_mid: its attention and MLP run in parallel"):
        sweep(parallel, small_task(CFG), "resid_mid")


def test_attached_hooks_are_refused_by_name() -> None:
    model = random_model(CFG)
    model.add_hook("blocks.0.hook_resid_pre", lambda value, hook: value * 2)
    with pytest.raises(ValueError, match="blocks.0.hook_resid_pre"):
        sweep(model, small_task(CFG), "z")


def test_the_golden_number_of_a_fixed_model() -> None:
    effects = sweep(random_model(CFG), small_task(CFG), "z")
    best = effects.top(1)[0]
    assert (best.name, round(best.effect, 4)) == GOLDEN


def test_pairs_that_are_padded_differently_are_run_each_with_its_own_padding() -> None:
    """Token 0 is padding: a corruption that writes it in front changes what is seen."""
    model, task = random_model(CFG), small_task(CFG)
    corrupted = task.corrupted.clone()
    corrupted[0, :2] = 0
    task = dataclasses.replace(task, corrupted=corrupted)
    with torch.no_grad():
        clean = task.metric(task.metric.read(model(task.clean))).numpy()
    for mode in ("denoising", "noising"):
        effects = sweep(model, task, "z", mode=mode)
        np.testing.assert_allclose(effects.clean, clean, atol=1e-5)
        expected = sweep_by_hooks(model, task, "z", mode, None).reshape(effects.patched.shape)
        np.testing.assert_allclose(effects.patched, expected, atol=1e-4)


def test_numbers_of_neuron_groups_are_the_neurons_that_are_replaced() -> None:
    model, task = random_model(CFG), small_task(CFG)
    groups = sweep(model, task, "mlp_post", neurons_per_group=16)
    assert groups.axes[1].labels == ("0-15", "16-31", "32-47", "48-63")
    one = intervene(model, task, [Intervention("mlp_post", 1, units=range(16, 32))])
    np.testing.assert_allclose(groups.patched[1, 1], one.patched[0], atol=1e-5)


def test_an_autocast_around_changes_nothing() -> None:
    model, task = random_model(CFG), small_task(CFG)
    with torch.autocast("cpu", torch.bfloat16):
        inside = sweep(model, task, "z").patched
    assert_close(inside, sweep(model, task, "z").patched)


def test_float64_models_keep_their_digits() -> None:
    model, task = random_model(CFG).double(), small_task(CFG)
    effects = sweep(model, task, "z", layers=2)
    expected = sweep_by_hooks(model, task, "z", "denoising", None)[2].reshape(4, 6)
    np.testing.assert_allclose(effects.patched[0], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("value", "site", "message"),
    [
        (put.Add(torch.ones(64)), "mlp_post", "Add with vectors cannot be put at mlp_post one by"),
        (put.Remove(torch.ones(9)), "attn_scores", "Remove with vectors cannot be put at attn_sc"),
        (put.Add(torch.ones(3)), "resid_pre", "Add has 3 numbers, the last axis of resid_pre has"),
        (put.Patch, "z", "is not one of patch, zero"),
        (
            put.Given({"blocks.0.attn.hook_z": torch.ones(6, 9, 4, 1)}),
            "z",
            r"the shape \[prompt, 9",
        ),
    ],
)
def test_values_that_do_not_fit_are_refused_before_or_in_the_run(value, site, message) -> None:
    with pytest.raises(ValueError, match=message):
        sweep(random_model(CFG), small_task(CFG), site, value, layers=0)


def test_tasks_that_read_where_nothing_is_are_refused() -> None:
    model, task = random_model(CFG), small_task(CFG)
    metric = task.metric
    for change, message in (
        ({"positions": metric.positions + 9}, "reads position 17, but the prompts have 9 tokens"),
        ({"correct": metric.correct * 0 - 1}, "reads token -1, but the model knows 17"),
    ):
        wrong = dataclasses.replace(task, metric=dataclasses.replace(metric, **change))
        with pytest.raises(ValueError, match=message):
            sweep(model, wrong, "z")
    outside = dataclasses.replace(task, positions={"END": task.positions["END"] + 9})
    with pytest.raises(ValueError, match="has END outside the prompts' 9 tokens"):
        sweep(model, outside, "resid_pre", positions="END")


class Shapeless(LogitDifference):
    """A metric that forgets the prompts."""

    def __call__(self, logits):
        return float(logits.mean())


def test_a_metric_of_the_wrong_shape_is_named() -> None:
    task = small_task(CFG)
    metric = Shapeless(task.metric.positions, task.metric.correct, task.metric.wrong)
    with pytest.raises(ValueError, match="gave float for 6 prompts: it must give a tensor with"):
        sweep(random_model(CFG), dataclasses.replace(task, metric=metric), "z")
