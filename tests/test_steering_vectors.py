"""Steering vectors, the norms they are measured in, and the value that puts them in place."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import cutaway as ca
from cutaway.model.config import ModelConfig
from cutaway.steering import (
    Steer,
    SteeringVector,
    activation_difference,
    embedding_difference,
    intervention,
    mean_difference,
    random_like,
    residual_norms,
)
from random_models import configs, random_model, small_task

CFG = ModelConfig(n_layers=3, d_model=16, n_heads=4, d_vocab=17, n_ctx=12, init_range=0.4)


@pytest.fixture(scope="module")
def model() -> ca.HookedTransformer:
    model = random_model(CFG)
    model.tokenizer = None
    return model


@pytest.fixture(scope="module")
def ioi_mini() -> ca.HookedTransformer:
    return ca.HookedTransformer.from_pretrained("ioi-mini")


def stream_of(model, tokens, hook) -> torch.Tensor:
    return model.run_with_cache(tokens, names_filter=hook)[1][hook]


def test_embedding_differences_are_rows_and_columns(model) -> None:
    towards, away = torch.tensor([3, 4, 5]), torch.tensor([6, 7, 8])
    read = embedding_difference(model, towards, away)
    assert torch.equal(read.vector, model.W_E[towards] - model.W_E[away])
    said = embedding_difference(model, 3, away, "W_U")
    assert torch.equal(said.vector[1], model.W_U[:, 3] - model.W_U[:, 7])
    one = embedding_difference(model, 3, 6)
    assert one.vector.shape == (16,) and one.n_prompts is None and read.n_prompts == 3
    assert one.origin == "W_E[3] - W_E[6]"


def test_an_embedding_difference_at_layer_0_exchanges_the_token(ioi_mini) -> None:
    task = ca.tasks.ioi(ioi_mini, 6)
    vector = embedding_difference(ioi_mini, " Paul", task.correct)
    steer = intervention(vector, 0, positions="IO")
    found = ca.intervene(ioi_mini, task, [steer], mode="noising").patched[0]
    exchanged = task.clean.clone()
    exchanged[torch.arange(6), task.positions["IO"]] = ioi_mini.to_single_token(" Paul")
    with torch.no_grad():
        expected = task.metric(task.metric.read(ioi_mini(exchanged)))
    np.testing.assert_allclose(found, expected.numpy(), atol=2e-4)


def test_an_activation_difference_is_the_difference_of_two_streams(model) -> None:
    plus, minus = torch.tensor([1, 5, 6]), torch.tensor([1, 7])
    found = activation_difference(model, plus, minus, 1, "resid_post", filler=2)
    hook = "blocks.1.hook_resid_post"
    filled = torch.tensor([[1, 7, 2]])
    expected = stream_of(model, plus[None], hook) - stream_of(model, filled, hook)
    torch.testing.assert_close(found.vector, expected)
    assert not found.vector[0, 0].any(), "both begin with the same token"
    lengths = expected[0, 1:].norm(dim=-1)
    assert found.norm == pytest.approx(float(lengths.mean()), rel=1e-5)


@settings(max_examples=10)
@given(configs(), st.sampled_from(["last", "all", 1, -2]))
def test_a_mean_difference_is_the_difference_of_means(cfg, at) -> None:
    model = random_model(cfg)
    generator = torch.Generator().manual_seed(0)
    sets = [torch.randint(1, 17, (n, 5), generator=generator) for n in (4, 3)]
    found = mean_difference(model, *sets, layer=0, site="resid_post", at=at)
    means = []
    for tokens in sets:
        stream = stream_of(model, tokens, "blocks.0.hook_resid_post")
        where = {"last": [4], "all": [1, 2, 3, 4], 1: [1], -2: [3]}[at]
        means.append(stream[:, where].mean((0, 1)))
    torch.testing.assert_close(found.vector, means[0] - means[1], atol=1e-5, rtol=1e-4)


def test_a_mean_difference_of_padded_pairs_says_how_well_they_agree(ioi_mini) -> None:
    task = ca.tasks.ioi(ioi_mini, 8)
    end = task.positions["END"]
    given_ends = mean_difference(ioi_mini, task.corrupted, task.clean, 2, at=end)
    texts = mean_difference(ioi_mini, list(task.corrupted_text), list(task.clean_text), 2)
    torch.testing.assert_close(given_ends.vector, texts.vector, atol=1e-4, rtol=1e-4)
    rows = torch.arange(8)
    hook = "blocks.2.hook_resid_pre"
    gaps = (
        stream_of(ioi_mini, task.corrupted, hook)[rows, end]
        - stream_of(ioi_mini, task.clean, hook)[rows, end]
    )
    cosine = torch.cosine_similarity(gaps, gaps.mean(0, keepdim=True)).mean()
    assert given_ends.settings["agreement"] == pytest.approx(float(cosine), abs=1e-4)


@pytest.mark.parametrize("shape", [(16,), (3, 16), (3, 4, 16), (1, 4, 16)])
def test_random_directions_have_equal_norm_and_point_elsewhere(shape) -> None:
    generator = torch.Generator().manual_seed(0)
    vector = SteeringVector(torch.randn(shape, generator=generator), "given")
    first, second = random_like(vector, 2, seed=1)
    torch.testing.assert_close(first.vector.norm(dim=-1), vector.vector.norm(dim=-1))
    assert not torch.allclose(first.vector, second.vector)
    again = random_like(vector, 1, seed=1)[0]
    assert torch.equal(first.vector, again.vector) and first.n_prompts == vector.n_prompts


def test_random_directions_are_uniform_on_the_sphere() -> None:
    vector = SteeringVector(torch.ones(4000, 8), "given")
    (drawn,) = random_like(vector)
    units = drawn.unit().vector
    assert units.mean(0).abs().max() < 0.03
    torch.testing.assert_close(units.T @ units / 4000, torch.eye(8) / 8, atol=0.02, rtol=0)


def test_a_vector_is_saved_whole(tmp_path) -> None:
    made = SteeringVector(torch.randn(2, 16), "mine", 3, "resid_post", {"n_positive": 4})
    made.save(tmp_path / "v.safetensors")
    back = SteeringVector.load(tmp_path / "v.safetensors")
    assert torch.equal(back.vector, made.vector)
    assert dataclasses.replace(back, vector=made.vector).__dict__ == made.__dict__
    with pytest.raises(ValueError, match="there is no file"):
        SteeringVector.load(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_text("{}")
    with pytest.raises(ValueError, match="does not hold a steering vector"):
        SteeringVector.load(tmp_path / "bad.safetensors")


def test_norms_are_means_without_padding_and_first_tokens(ioi_mini) -> None:
    task = ca.tasks.ioi(ioi_mini, 40)  # more than one run
    found = residual_norms(ioi_mini, task.clean)
    at_end = residual_norms(
        ioi_mini,
        task.clean,
        [2],
        where=torch.arange(task.clean.shape[1]) == task.positions["END"][:, None],
    )
    for layer in range(4):
        stream = stream_of(ioi_mini, task.clean, f"blocks.{layer}.hook_resid_pre")
        lengths = stream.double().norm(dim=-1)
        inner = [lengths[i, 1:n] for i, n in enumerate(task.lengths.tolist())]
        assert found[layer] == pytest.approx(float(torch.cat(inner).mean()), rel=1e-4)
        if layer == 2:
            ends = lengths[torch.arange(40), task.positions["END"]]
            assert at_end == {2: pytest.approx(float(ends.mean()), rel=1e-4)}


def test_steer_is_add_and_remove_where_one_vector_is_for_all(model) -> None:
    task = small_task(CFG)
    v = torch.randn(16, generator=torch.Generator().manual_seed(0))
    runs = {
        "steer": [ca.Intervention("resid_pre", 1, Steer(v, 3.0), positions="CHANGE")],
        "add": [ca.Intervention("resid_pre", 1, ca.values.Add(3 * v), positions="CHANGE")],
        "set to 0": [ca.Intervention("resid_mid", 1, Steer(v, 0.0, "set"))],
        "remove": [ca.Intervention("resid_mid", 1, ca.values.Remove(v))],
        "set": [ca.Intervention("resid_mid", 1, Steer(v, 2.0, "set"))],
        "remove, add": [
            ca.Intervention("resid_mid", 1, ca.values.Remove(v)),
            ca.Intervention("resid_mid", 1, ca.values.Add(2 * v)),
        ],
    }
    steer, add, zero, remove, set_, both = ca.intervene(model, task, runs, mode="noising").patched
    np.testing.assert_allclose(steer, add, atol=1e-5)
    np.testing.assert_allclose(zero, remove, atol=1e-5)
    np.testing.assert_allclose(set_, both, atol=1e-5)
    assert not np.allclose(steer, set_, atol=1e-3)


def test_bad_input_is_one_clear_sentence(model) -> None:
    def fails(message, make) -> None:
        with pytest.raises(ValueError, match=message):
            make()

    fails("not exactly|no tokenizer|token", lambda: embedding_difference(model, " Paul", 3))
    fails("token 17 is not from 0 to 16", lambda: embedding_difference(model, 17, 3))
    fails("is zero: it has no direction", lambda: embedding_difference(model, 3, 3))
    pair = torch.tensor([3, 4])
    fails("is zero for prompt 1: it has no direction", lambda: embedding_difference(model, pair, 4))
    fails("2 tokens and away_from 3", lambda: embedding_difference(model, pair, torch.arange(3)))
    fails("neither 'W_E' nor 'W_U'", lambda: embedding_difference(model, 3, 4, "W_Q"))
    long = torch.tensor([1, 2, 3])
    fails("plus has 3 tokens and minus 2", lambda: activation_difference(model, long, pair, 0))
    fails("no layer 3", lambda: activation_difference(model, pair, long[:2], 3))
    fails("site='z' is not", lambda: activation_difference(model, pair, long[:2], 0, "z"))
    sets = torch.ones(2, 4, dtype=torch.long), torch.full((2, 4), 2)
    fails("at=4 is outside text 0", lambda: mean_difference(model, *sets, 0, at=4))
    fails("'middle' is neither", lambda: mean_difference(model, *sets, 0, at="middle"))
    fails("a tensor of floats", lambda: SteeringVector(torch.ones(1, 1, 1, 4), "x"))
    fails("not finite", lambda: SteeringVector(torch.tensor([1.0, torch.nan]), "x"))
    fails("n=0 random directions", lambda: random_like(SteeringVector(torch.ones(3), "x"), 0))
    fails("neither 'add' nor 'set'", lambda: Steer(torch.ones(3), 1.0, "multiply"))
    fails(
        "the vectors are for 2 prompts, and the task has 6",
        lambda: ca.intervene(
            model, small_task(CFG), ca.Intervention("resid_pre", 0, Steer(torch.ones(2, 16)))
        ),
    )
    fails(
        "Steer has 3 numbers",
        lambda: ca.intervene(
            model, small_task(CFG), ca.Intervention("resid_pre", 0, Steer(torch.ones(3)))
        ),
    )
    fails("no position to measure", lambda: residual_norms(model, torch.tensor([[1], [2]])))
    fails(
        "norm=0.0 is not positive",
        lambda: intervention(SteeringVector(torch.ones(3), "x"), 0, norm=0.0),
    )
