"""Edge attribution against one gradient for each receiver's own input, and its invariants."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attribution_oracles import attribute_edges_by_hand
from cutaway.attribution.agreement import agreement
from cutaway.attribution.edges import attribute_edges
from cutaway.attribution.gradients import points_between
from cutaway.attribution.nodes import attribute
from cutaway.model.config import ModelConfig
from cutaway.patching.edges import sweep_edges
from cutaway.patching.graph import Graph
from live_memory import LiveMemory
from random_models import configs, random_model, small_task, tasks

CFG = ModelConfig(n_layers=3, d_model=16, n_heads=4, d_vocab=17, n_ctx=12, init_range=0.4)
METHODS = {
    "eap": "base",
    "clean-corrupted": "both-ends",
    "eap-ig-inputs": "integrated",
    "eap-ig-activations": "integrated",
}

GOLDEN = ("2.2->logits", 0.4384)  # measured with the loop of attribution_oracles.py


def assert_close(actual: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(actual, expected, rtol=1e-7, atol=1e-9)


@settings(max_examples=30)
@given(st.data())
def test_every_edge_equals_the_gradient_at_the_receivers_own_input(data) -> None:
    cfg = data.draw(configs(max_layers=2))
    task = data.draw(tasks(cfg))
    mode = data.draw(st.sampled_from(["denoising", "noising"]))
    method = data.draw(st.sampled_from(list(METHODS)))
    model = random_model(cfg, data.draw(st.integers(0, 100))).double()
    found = attribute_edges(model, task, mode=mode, method=method, steps=2)
    assert [axis.name for axis in found.axes] == ["edge"]
    assert found.axes[0].labels == Graph(cfg).edge_names
    shares = [point.share for point in points_between(METHODS[method], 2)]
    expected = attribute_edges_by_hand(model, task, mode, method, shares)
    start = found.corrupted if mode == "denoising" else found.clean
    assert_close(found.patched, start + expected)


@settings(max_examples=25)
@given(st.data())
def test_results_depend_neither_on_the_batches_nor_on_the_order_of_prompts(data) -> None:
    cfg = data.draw(configs())
    task = data.draw(tasks(cfg))
    method = data.draw(st.sampled_from(list(METHODS)))
    model = random_model(cfg).double()
    whole = attribute_edges(model, task, method=method, steps=2)
    per_prompt = whole.settings["predicted_bytes"] // whole.settings["prompts_per_batch"]
    single = attribute_edges(model, task, method=method, steps=2, max_memory=per_prompt)
    assert single.settings["prompts_per_batch"] == 1
    assert_close(single.patched, whole.patched)
    order = torch.randperm(len(task), generator=torch.Generator().manual_seed(0))
    shuffled = attribute_edges(model, task.subset(order), method=method, steps=2)
    assert_close(shuffled.patched, whole.patched[:, order.numpy()])


@settings(max_examples=25)
@given(st.data())
def test_the_predicted_memory_holds(data) -> None:
    cfg = data.draw(configs())
    task = data.draw(tasks(cfg))
    method = data.draw(st.sampled_from(list(METHODS)))
    model = random_model(cfg)
    with LiveMemory() as memory:
        found = attribute_edges(model, task, method=method, steps=2)
    assert memory.peak <= found.settings["predicted_bytes"]


@pytest.mark.parametrize("method", METHODS)
def test_edges_to_the_logits_are_exact_where_nothing_normalises_them(method: str) -> None:
    # What a sender writes there is a swap of its direct path: linear, so no gradient is wrong.
    cfg = CFG.replace(normalization_type=None)
    model, task = random_model(cfg).double(), small_task(cfg)
    graph = Graph(cfg)
    edges = attribute_edges(model, task, method=method).per_prompt
    found = dict(zip(graph.edge_names, edges, strict=True))
    (read,) = {int(position) for position in task.metric.positions.flatten()}
    directions = (model.W_U[:, task.correct] - model.W_U[:, task.wrong]).T  # [prompt, d_model]
    _, clean = model.run_with_cache(task.clean)
    _, corrupted = model.run_with_cache(task.corrupted)
    for layer in range(cfg.n_layers):
        z = (clean["z", layer] - corrupted["z", layer])[:, read]  # [prompt, head, d_head]
        written = torch.einsum("phe,hed->hpd", z, model.W_O[layer])
        expected = (written * directions).sum(-1).detach()
        for head in range(cfg.n_heads):
            assert_close(found[f"{layer}.{head}->logits"], expected[head].numpy())
        mlp = (clean["mlp_out", layer] - corrupted["mlp_out", layer])[:, read]
        assert_close(found[f"mlp{layer}->logits"], (mlp * directions).sum(-1).detach().numpy())


def test_edges_into_all_readers_add_up_to_their_senders_estimate() -> None:
    # First order is linear: a node's estimate is the sum of its edges' (chain rule).
    model, task = random_model(CFG).double(), small_task(CFG)
    edges = attribute_edges(model, task)
    nodes = attribute(model, task, "z").per_prompt
    names = edges.axes[0].labels
    for layer, head in np.ndindex(CFG.n_layers, CFG.n_heads):
        out = [i for i, name in enumerate(names) if name.startswith(f"{layer}.{head}->")]
        assert_close(edges.per_prompt[out].sum(0), nodes[layer, head])


def test_where_all_that_follows_is_linear_the_estimate_is_the_exact_edge() -> None:
    # Values of the last layer's heads, and the logits: nothing after them bends.
    cfg = CFG.replace(normalization_type=None, parallel_attn_mlp=True)
    model, task = random_model(cfg), small_task(cfg)
    receivers = [*(f"2.{head}.v" for head in range(cfg.n_heads)), "logits"]
    exact = sweep_edges(model, task, receivers)
    found = attribute_edges(model, task)
    chosen = [found.axes[0].labels.index(name) for name in exact.axes[0].labels]
    np.testing.assert_allclose(found.patched[chosen], exact.patched, atol=1e-4)


@pytest.mark.parametrize("mode", ["denoising", "noising"])
def test_the_same_call_gives_the_labels_of_the_exact_sweep(mode: str) -> None:
    model, task = random_model(CFG), small_task(CFG)
    exact, found = (f(model, task, mode=mode) for f in (sweep_edges, attribute_edges))
    assert (found.axes, found.site, found.mode) == (exact.axes, exact.site, exact.mode)
    np.testing.assert_allclose(found.clean, exact.clean, atol=1e-5)
    assert agreement(exact, found).n_places == len(Graph(CFG).edge_names)


def test_one_step_of_the_two_integrated_methods_agrees_on_the_embeddings_edges() -> None:
    model, task = random_model(CFG).double(), small_task(CFG)
    one, other = (
        attribute_edges(model, task, method=method, steps=3).patched
        for method in ("eap-ig-inputs", "eap-ig-activations")
    )
    embed = [i for i, name in enumerate(Graph(CFG).edge_names) if name.startswith("embed->")]
    assert_close(one[embed], other[embed])
    assert not np.allclose(one, other)


def test_frozen_weights_change_nothing() -> None:
    model, task = random_model(CFG).double(), small_task(CFG)
    expected = {m: attribute_edges(model, task, method=m, steps=2).patched for m in METHODS}
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    model.requires_grad_(False)
    for method, patched in expected.items():
        assert_close(attribute_edges(model, task, method=method, steps=2).patched, patched)
    assert not any(point.active for point in model.hook_dict.values())


@pytest.mark.parametrize("method", METHODS)
def test_progress_ends_at_one_and_never_falls(method: str) -> None:
    seen: list[float] = []
    attribute_edges(random_model(CFG), small_task(CFG), method=method, progress=seen.append)
    assert seen == sorted(seen) and seen[-1] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "both"}, "neither 'denoising' nor 'noising'"),
        ({"method": "atp"}, "method='atp' is unknown; it can be 'eap', 'eap-ig-inputs'"),
        ({"method": "eap-ig-inputs", "steps": 0}, "steps=0 is not a whole number"),
        ({"steps": 1.5}, "steps=1.5 is not a whole number of at least 1"),
        ({"max_memory": 1000}, "max_memory=1,000 bytes is too little: one prompt"),
    ],
)
def test_bad_input_is_one_clear_sentence(arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        attribute_edges(random_model(CFG), small_task(CFG), **arguments)


def test_attached_hooks_are_refused_by_name() -> None:
    model = random_model(CFG)
    model.add_hook("blocks.0.hook_resid_pre", lambda value, hook: value * 2)
    with pytest.raises(ValueError, match="blocks.0.hook_resid_pre"):
        attribute_edges(model, small_task(CFG))


def test_the_golden_number_of_a_fixed_model() -> None:
    best = attribute_edges(random_model(CFG), small_task(CFG)).top(1)[0]
    assert (best.name, round(best.effect, 4)) == GOLDEN
