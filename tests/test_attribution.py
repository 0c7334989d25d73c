"""Node attribution against gradients taken by hand, and what must hold of any first order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attribution_oracles import attribute_by_hand
from cutaway.attribution.batches import run_bytes
from cutaway.attribution.gradients import points_between
from cutaway.attribution.nodes import attribute
from cutaway.model.config import ModelConfig
from cutaway.model.transformer import HookedTransformer
from cutaway.patching.sites import SITES
from cutaway.patching.sweep import sweep
from cutaway.tasks.metric import Metric
from cutaway.tasks.task import Task
from live_memory import LiveMemory
from random_models import configs, random_model, small_task, tasks

CFG = ModelConfig(n_layers=3, d_model=16, n_heads=4, d_vocab=17, n_ctx=12, init_range=0.4)

GOLDEN = ("0.1", 0.6015)  # measured with the loop of attribution_oracles.py


def available(cfg: ModelConfig) -> list[str]:
    return [name for name, site in SITES.items() if site.missing_in(cfg) is None]


def in_double(cfg: ModelConfig, seed: int = 0) -> HookedTransformer:
    """Rounding hides nothing there."""
    return random_model(cfg, seed).double()


def assert_close(actual: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(actual, expected, rtol=1e-7, atol=1e-9)


@st.composite
def cases(draw: st.DrawFn) -> tuple[HookedTransformer, Task, str, str, str, str]:
    cfg = draw(configs())
    task = draw(tasks(cfg))
    site = draw(st.sampled_from(available(cfg)))
    mode = draw(st.sampled_from(["denoising", "noising"]))
    positions = draw(st.sampled_from(["all", "each", "named"]))
    gradient = draw(st.sampled_from(["base", "base", "both-ends", "integrated"]))
    return in_double(cfg, draw(st.integers(0, 100))), task, site, mode, positions, gradient


@settings(max_examples=50)
@given(cases())
def test_every_estimate_equals_gradients_taken_by_hand(case) -> None:
    model, task, site, mode, positions, gradient = case
    found = attribute(model, task, site, positions=positions, mode=mode, gradient=gradient, steps=2)
    has_layers = SITES[site].has_layers()
    shares = [point.share for point in points_between(gradient, 2)]
    by_hand = np.stack(
        [
            attribute_by_hand(model, task, site, layer, mode, shares)
            for layer in range(model.cfg.n_layers if has_layers else 1)
        ]
    )  # [layer, unit, pos, prompt]
    if positions == "all":
        expected = by_hand.sum(2)
    else:
        index = np.arange(task.clean.shape[1])[:, None].repeat(len(task), 1)
        if positions == "named":
            index = torch.stack(list(task.positions.values())).numpy()
        expected = by_hand[..., index, np.arange(len(task))]
    start = found.corrupted if mode == "denoising" else found.clean
    assert_close(found.patched, start + expected.reshape(found.patched.shape))


@settings(max_examples=40)
@given(st.data())
def test_axes_and_both_runs_are_those_of_the_sweep(data) -> None:
    cfg = data.draw(configs())
    task = data.draw(tasks(cfg))
    site = data.draw(st.sampled_from(available(cfg)))
    positions = data.draw(st.sampled_from([None, "all", "each", "named", [0], ["END"]]))
    layers = data.draw(st.sampled_from([None, [0]])) if SITES[site].has_layers() else None
    model = random_model(cfg)
    arguments = {"positions": positions, "layers": layers}
    found, exact = (f(model, task, site, **arguments) for f in (attribute, sweep))
    assert (found.axes, found.site, found.mode) == (exact.axes, exact.site, exact.mode)
    assert found.patched.shape == exact.patched.shape
    np.testing.assert_allclose(found.clean, exact.clean, atol=1e-4, rtol=1e-4)
    np.testing.assert_allclose(found.corrupted, exact.corrupted, atol=1e-4, rtol=1e-4)


@settings(max_examples=30)
@given(st.data())
def test_results_depend_neither_on_the_batches_nor_on_the_order_of_prompts(data) -> None:
    cfg = data.draw(configs())
    task = data.draw(tasks(cfg))
    site = data.draw(st.sampled_from(available(cfg)))
    model = in_double(cfg)
    whole = attribute(model, task, site)
    per_prompt = whole.settings["predicted_bytes"] // whole.settings["prompts_per_batch"]
    single = attribute(model, task, site, max_memory=per_prompt)
    assert single.settings["prompts_per_batch"] == 1
    assert_close(single.patched, whole.patched)
    order = torch.randperm(len(task), generator=torch.Generator().manual_seed(0))
    assert_close(
        attribute(model, task.subset(order), site).patched, whole.patched[..., order.numpy()]
    )


@pytest.mark.parametrize("site", ["resid_post", "attn_out", "mlp_out", "z", "result", "mlp_post"])
def test_where_all_that_follows_is_linear_the_estimate_is_exact(site: str) -> None:
    cfg = CFG.replace(normalization_type=None, parallel_attn_mlp=True)
    model, task = in_double(cfg), small_task(cfg)
    found, exact = (f(model, task, site, layers=[2], positions="all") for f in (attribute, sweep))
    np.testing.assert_allclose(found.patched, exact.patched, atol=1e-4)  # sweeps keep float32


@settings(max_examples=40)
@given(st.data())
def test_it_is_the_slope_of_the_metric_towards_the_other_run(data) -> None:
    # A step of 1e-6 of the way, by which the stream is really moved.
    cfg = data.draw(configs())
    task = data.draw(tasks(cfg))
    layer = data.draw(st.integers(0, cfg.n_layers - 1))
    model, name, step = in_double(cfg), f"blocks.{layer}.hook_resid_post", 1e-6
    if cfg.act_fn == "relu":
        return  # a kink may lie within the step
    with torch.no_grad():
        _, clean = model.run_with_cache(task.clean, names_filter=name)
        found = attribute(model, task, "resid_post", layers=[layer], positions="all")

        def metric(size: float) -> torch.Tensor:
            def move(value: torch.Tensor, hook: object) -> torch.Tensor:
                return value + size * (clean[name] - value)

            logits = model.run_with_hooks(task.corrupted, fwd_hooks=[(name, move)])
            return task.metric(task.metric.read(logits))

        slope = (metric(step) - metric(-step)) / (2 * step)
    np.testing.assert_allclose(found.per_prompt[0], slope, atol=1e-6, rtol=1e-4)


@settings(max_examples=10)
@given(st.data())
def test_integrated_gradients_of_the_input_add_up_to_the_whole_difference(data) -> None:
    cfg = data.draw(configs(max_layers=2).filter(lambda cfg: cfg.act_fn != "relu"))
    cfg = cfg.replace(eps=0.1)  # without it a norm of a vector near 0 is too steep for few steps
    task = data.draw(tasks(cfg))
    model = in_double(cfg)
    found = attribute(model, task, "embed", positions="each", gradient="integrated", steps=64)
    whole = found.clean - found.corrupted
    np.testing.assert_allclose(found.per_prompt.sum(0), whole, atol=0.02, rtol=0.02)


def test_both_ends_are_the_mean_of_both_directions() -> None:
    model, task = in_double(CFG), small_task(CFG)
    both = attribute(model, task, "z", gradient="both-ends").per_prompt
    one, other = (attribute(model, task, "z", mode=m).per_prompt for m in ("denoising", "noising"))
    assert_close(both, (one + other) / 2)


def test_before_the_first_difference_nothing_is_estimated_exactly() -> None:
    model, task = random_model(CFG), small_task(CFG, first=4)
    found = attribute(model, task, "resid_pre", positions=[0, 1, 2, 3])
    assert np.array_equal(found.patched, np.broadcast_to(found.corrupted, found.patched.shape))


def test_frozen_weights_change_nothing_and_no_weight_gets_a_gradient() -> None:
    model, task = in_double(CFG), small_task(CFG)
    expected = {site: attribute(model, task, site).patched for site in available(CFG)}
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    model.requires_grad_(False)
    with torch.no_grad():
        for site, patched in expected.items():
            assert_close(attribute(model, task, site).patched, patched)
    assert not any(point.active for point in model.hook_dict.values())


def test_half_precision_is_measured_in_single() -> None:
    model, task = random_model(CFG), small_task(CFG)
    single = attribute(model, task, "z").per_prompt
    half = attribute(model.to(torch.bfloat16), task, "z").per_prompt
    np.testing.assert_allclose(half, single, atol=0.1 * np.abs(single).max())


@settings(max_examples=30)
@given(st.data())
def test_the_predicted_memory_holds(data) -> None:
    cfg = data.draw(configs())
    task = data.draw(tasks(cfg))
    site = data.draw(st.sampled_from(available(cfg)))
    gradient = data.draw(st.sampled_from(["base", "integrated"]))
    model = random_model(cfg)
    with LiveMemory() as memory:
        found = attribute(model, task, site, gradient=gradient, steps=2)
    assert memory.peak <= found.settings["predicted_bytes"]


def test_progress_ends_at_one_and_never_falls() -> None:
    seen: list[float] = []
    model, task = random_model(CFG), small_task(CFG)
    need = run_bytes(model, task)
    attribute(model, task, "z", gradient="integrated", max_memory=3 * need, progress=seen.append)
    assert len(seen) > 5 and seen == sorted(seen) and seen[-1] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"site": "resid"}, "no site 'resid'; sites are"),
        ({"mode": "both"}, "neither 'denoising' nor 'noising'"),
        ({"layers": [3]}, "no layer 3"),
        ({"layers": []}, "list of layers is empty"),
        ({"site": "embed", "layers": [0]}, "embed belongs to no layer"),
        ({"positions": ["S3"]}, "no position 'S3'; it names CHANGE, END"),
        ({"gradient": "mean"}, "gradient='mean' is unknown; it can be 'base'"),
        ({"gradient": "integrated", "steps": 0}, "steps=0 is not a whole number of at least 1"),
        ({"max_memory": 1000}, "max_memory=1,000 bytes is too little: one prompt, run with"),
    ],
)
def test_bad_input_is_one_clear_sentence(change, message) -> None:
    arguments = {"site": "z", **change}
    with pytest.raises(ValueError, match=message):
        attribute(random_model(CFG), small_task(CFG), **arguments)


def test_attached_hooks_are_refused_by_name() -> None:
    model = random_model(CFG)
    model.add_hook("blocks.0.hook_resid_pre", lambda value, hook: value * 2)
    with pytest.raises(ValueError, match="blocks.0.hook_resid_pre"):
        attribute(model, small_task(CFG), "z")


class Right(Metric):
    """1 where the correct token beats the wrong one: a step has no slope."""

    name = "right"

    def __call__(self, logits: torch.Tensor) -> torch.Tensor:
        return (logits[..., 0] > logits[..., 1]).float().mean(-1)


def test_a_metric_without_a_gradient_says_so() -> None:
    task = small_task(CFG)
    steps = Right(task.metric.positions, task.metric.correct, task.metric.wrong)
    with pytest.raises(ValueError, match="has no gradient"):
        attribute(random_model(CFG), replace(task, metric=steps), "z")


def test_the_golden_number_of_a_fixed_model() -> None:
    best = attribute(random_model(CFG), small_task(CFG), "z").top(1)[0]
    assert (best.name, round(best.effect, 4)) == GOLDEN


def test_pairs_that_are_padded_differently_are_refused() -> None:
    model, task = random_model(CFG), small_task(CFG)
    corrupted = task.corrupted.clone()
    corrupted[0, :2] = 0  # the padding token
    with pytest.raises(ValueError, match="are padded on the left differently"):
        attribute(model, replace(task, corrupted=corrupted), "z")
