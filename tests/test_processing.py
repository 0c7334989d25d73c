"""Processing the weights makes them easier to read and never changes a log-probability."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cutaway.model import processing
from cutaway.model.config import ModelConfig
from cutaway.model.loading import check_state
from cutaway.model.transformer import HookedTransformer
from random_models import configs, random_model

STEPS: dict[str, Callable[..., Any]] = {
    "fold_ln": processing.fold_layer_norm,
    "center_writing_weights": processing.center_writers,
    "center_unembed": processing.center_unembedding,
    "fold_value_biases": processing.fold_values,
    "refactor_factored_attn_matrices": processing.refactor_heads,
}


def possible(cfg: ModelConfig) -> list[str]:
    """The steps that can be taken with such a model."""
    plain = cfg.positional_embedding_type != "rotary" and cfg.heads_per_group == 1
    return list(STEPS) if plain else list(STEPS)[:-1]


TOKENS = torch.randint(0, 17, (4, 11), generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def log_probabilities(model: HookedTransformer) -> torch.Tensor:
    return model(TOKENS).log_softmax(-1)


def processed(model: HookedTransformer, steps: list[str]) -> HookedTransformer:
    cfg = model.cfg.replace(dtype=str(model.dtype).removeprefix("torch."))
    cfg, state = processing.process(cfg, model.state_dict(), **{s: s in steps for s in STEPS})
    return HookedTransformer.from_state(cfg, state)


def difference(model: HookedTransformer, steps: list[str]) -> float:
    after = log_probabilities(processed(model, steps))
    return (after - log_probabilities(model)).abs().max().item()


@given(configs(), st.data())
def test_no_log_probability_changes(cfg: ModelConfig, data: st.DataObject) -> None:
    model = random_model(cfg, data.draw(st.integers(0, 100)))
    steps = data.draw(st.lists(st.sampled_from(possible(cfg)), unique=True))
    assert difference(model, steps) < 1e-4
    assert difference(model.to(torch.float64), steps) < 1e-9


@given(configs(), st.data())
def test_the_order_of_the_steps_does_not_matter(cfg: ModelConfig, data: st.DataObject) -> None:
    order = data.draw(st.permutations(possible(cfg)))
    model = random_model(cfg).to(torch.float64)
    cfg, state = cfg.replace(dtype="float64"), dict(model.state_dict())
    for step in order:
        cfg, state = STEPS[step](cfg, state)
        check_state(cfg, state, step)
    after = log_probabilities(HookedTransformer.from_state(cfg, state))
    assert (after - log_probabilities(model)).abs().max() < 1e-9


@given(configs(), st.data())
def test_what_was_given_is_left_alone(cfg: ModelConfig, data: st.DataObject) -> None:
    step = data.draw(st.sampled_from(possible(cfg)))
    model = random_model(cfg)
    state = model.state_dict()
    before = {name: value.clone() for name, value in state.items()}
    STEPS[step](model.cfg, state)
    assert model.cfg == cfg
    assert state.keys() == before.keys()
    assert all(torch.equal(state[name], before[name]) for name in before)


# ---- what each step promises ----


def small(**options: Any) -> HookedTransformer:
    shape = {"n_layers": 2, "d_model": 12, "n_heads": 3, "d_vocab": 17, "n_ctx": 11}
    return random_model(ModelConfig(**{**shape, "init_range": 0.4, **options}))


def assert_zero(value: torch.Tensor) -> None:
    assert value.abs().max() < 1e-6


@pytest.mark.parametrize("tied", [True, False])
def test_folded_norms_have_no_weights(tied: bool) -> None:
    model = processed(small(tie_word_embeddings=tied), ["fold_ln"])
    assert model.cfg.normalization_type == "LNPre"
    assert not model.cfg.tie_word_embeddings
    assert not any(".ln" in name or "ln_final" in name for name in model.state_dict())
    for weight, dim in ((model.W_Q, -2), (model.W_in, -2), (model.W_U, 0)):
        assert_zero(weight.mean(dim))  # the mean that a norm's output never has


def test_rms_norms_keep_the_mean() -> None:
    model = small(normalization_type="RMS")
    after = processed(model, list(STEPS))
    assert after.cfg.normalization_type == "RMSPre"
    assert torch.equal(after.W_E, model.W_E), "centring what is written would change the outcome"


def test_writers_have_mean_zero() -> None:
    model = processed(small(), ["center_writing_weights"])
    for weight in (model.W_E, model.W_pos, model.W_O, model.b_O, model.W_out, model.b_out):
        assert_zero(weight.mean(-1))
    _, cache = model.run_with_cache(TOKENS)
    assert_zero(cache["resid_post", -1].mean(-1))


def test_centred_logits_have_mean_zero() -> None:
    model = processed(small(unembed_bias=True), ["center_unembed"])
    assert model(TOKENS).mean(-1).abs().max() < 1e-5


def test_no_value_bias_is_left() -> None:
    model = processed(small(n_key_value_heads=1, attn_out_bias=False), ["fold_value_biases"])
    assert_zero(model.b_V)
    assert model.cfg.attn_out_bias


def test_biases_are_turned_on_only_where_they_are_needed() -> None:
    off = {"qkv_bias": False, "attn_out_bias": False, "mlp_bias": False, "norm_bias": False}
    model = processed(small(**off), list(STEPS))
    assert not any(".b_" in name for name in model.state_dict())
    for option, needed in itertools.product((True, False), repeat=2):
        model = processed(small(**{**off, "norm_bias": needed, "mlp_bias": option}), ["fold_ln"])
        assert model.cfg.qkv_bias is needed
        assert model.cfg.mlp_bias is (needed or option)
        assert model.cfg.attn_out_bias is False


def test_refactored_heads_write_along_orthonormal_rows() -> None:
    model = small()
    after = processed(model, ["refactor_factored_attn_matrices"])
    rows = after.W_O @ after.W_O.mT  # [layer, head, d_head, d_head]
    torch.testing.assert_close(rows, torch.eye(4).expand(2, 3, 4, 4), rtol=0, atol=1e-5)
    torch.testing.assert_close(after.OV.AB, model.OV.AB, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "options", [{"positional_embedding_type": "rotary"}, {"n_key_value_heads": 1}]
)
def test_heads_that_cannot_be_refactored(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="cannot be refactored"):
        processed(small(**options), ["refactor_factored_attn_matrices"])
