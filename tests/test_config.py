"""Configurations: what they refuse, what follows what, and those in the words of course code."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given

from cutaway.model.config import ConfigError, ModelConfig, RotaryScaling
from cutaway.model.field_config import HookedTransformerConfig
from cutaway.model.transformer import HookedTransformer
from random_models import configs

CFG = ModelConfig(n_layers=2, d_model=32, n_heads=4, d_vocab=17, n_ctx=12)
FIELDS = {"n_layers": 1, "d_model": 16, "n_ctx": 8, "d_head": 4, "d_vocab": 9}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"normalization_type": "LayerNorm"}, "normalization_type='LayerNorm' .* 'RMSPre', None"),
        ({"positional_embedding_type": "shortformer"}, "'shortformer' is unknown; .* 'rotary'"),
        ({"act_fn": "GELU"}, "act_fn='GELU' is unknown; it can be 'gelu', 'gelu_new'"),
        ({"dtype": "int8"}, "dtype='int8' is unknown; it can be 'float32'"),
        ({"eps": 0.0}, "eps=0.0 is not positive"),
        ({"eps": float("nan")}, "eps=nan is not positive"),
        ({"attn_scale": -1.0}, "attn_scale=-1.0 is not positive"),
        ({"rotary_dim": -2}, "rotary_dim=-2 is not a positive whole number"),
        ({"d_head": -4}, "d_head=-4 is not a positive"),
        ({"d_mlp": 1.5}, "d_mlp=1.5 is not a positive"),
        ({"sliding_window": 0}, "sliding_window=0 is not a positive whole number; None"),
        ({"rotary_scaling": {"kind": "yarn", "factor": 2}}, "scaling='yarn' is unknown"),
        ({"rotary_scaling": {"kind": "linear", "factor": 0}}, "factor=0, which is not positive"),
    ],
)
def test_values_that_mean_nothing_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CFG.replace(**options)


def test_what_has_its_default_follows_what_it_depends_on() -> None:
    changed = CFG.replace(n_heads=8, d_model=64)
    fresh = ModelConfig(n_layers=2, d_model=64, n_heads=8, d_vocab=17, n_ctx=12)
    assert changed == fresh
    assert (changed.d_head, changed.d_mlp, changed.n_key_value_heads) == (8, 256, 8)
    kept = CFG.replace(d_head=6, d_mlp=20, n_key_value_heads=2).replace(n_heads=8, d_model=64)
    assert (kept.d_head, kept.rotary_dim, kept.d_mlp, kept.n_key_value_heads) == (6, 6, 20, 2)
    odd = ModelConfig(n_layers=1, d_model=15, n_heads=4, d_head=3, d_vocab=5, n_ctx=5)
    assert odd.replace(model_name="odd").d_head == 3, "15 / 4 rounded down is no default"


@given(configs())
def test_round_trips_are_exact(cfg: ModelConfig) -> None:
    again = ModelConfig.from_dict(cfg.to_dict())
    assert again == cfg == cfg.replace()
    assert again.replace(n_heads=4, n_key_value_heads=2) == cfg.replace(
        n_heads=4, n_key_value_heads=2
    )


def test_what_is_about_running_is_not_saved() -> None:
    moved = CFG.replace(device="cuda", seed=5, use_attn_result=True)
    assert moved == CFG and moved.to_dict() == CFG.to_dict()
    assert "device" not in CFG.to_dict()
    assert moved.replace(eps=1e-6).seed == 5


def test_a_model_has_a_configuration_of_its_own() -> None:
    cfg = CFG.replace(seed=3)
    model = HookedTransformer(cfg)
    assert torch.equal(model.W_E, HookedTransformer(CFG, seed=3).W_E)
    assert model.cfg is not cfg and model.cfg == cfg
    assert model.cfg.device == "cpu" and model.cfg.d_vocab_out == 17
    model.to(torch.float64)
    assert model.cfg.dtype == "float64" and cfg.dtype == "float32"
    assert model.to("meta").cfg.device == "meta" and cfg.device == "cpu"


# ---- in the words of course code ----


def test_the_fields_of_course_code() -> None:
    cfg = HookedTransformerConfig(
        **FIELDS,
        attn_only=True,
        act_fn=None,
        device="cpu",
        seed=7,
        dtype=torch.float64,
        use_attn_result=True,
        attention_dir="causal",
        initializer_range=0.1,
        tokenizer_name="gpt2",
        d_vocab_out=9,
        n_params=123,
        default_prepend_bos=False,
    )
    expected = ModelConfig(
        n_layers=1, d_model=16, n_heads=4, n_ctx=8, d_vocab=9, attn_only=True, act_fn="relu",
        dtype="float64", init_range=0.1, unembed_bias=True, default_prepend_bos=False,
    )  # fmt: skip
    assert isinstance(cfg, ModelConfig) and cfg == expected
    assert (cfg.seed, cfg.device, cfg.use_attn_result) == (7, "cpu", True)
    assert HookedTransformerConfig.from_dict(FIELDS).act_fn == "relu"
    assert HookedTransformerConfig(**FIELDS).init_range == pytest.approx(0.2)
    assert HookedTransformerConfig(**FIELDS, use_attn_scale=False).scale == 1
    assert HookedTransformerConfig(**FIELDS, attn_scale=-1.0).scale == 2
    local = HookedTransformerConfig(
        **FIELDS, use_local_attn=True, window_size=3, attn_types=["local"]
    )
    assert local.sliding_window == 3


def test_a_dictionary_makes_a_model() -> None:
    model = HookedTransformer({**FIELDS, "act_fn": "gelu", "seed": 1})
    assert model.cfg.act_fn == "gelu" and model.cfg.n_heads == 4
    assert model(torch.tensor([[1, 2]])).shape == (1, 2, 9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attention_dir": "bidirectional"}, "attention_dir='bidirectional' would change what"),
        ({"positional_embedding_type": "shortformer"}, "'shortformer' .* is not supported"),
        ({"d_vocab_out": 3}, "d_vocab_out=3 differs from d_vocab=9"),
        ({"d_vocab": -1}, "d_vocab is not given: take it from the tokenizer"),
        ({"d_head": 5}, "n_heads is not given"),
        ({"init_mode": "xavier_normal"}, "init_mode='xavier_normal' would change"),
        ({"use_qk_norm": True}, "use_qk_norm=True would change"),
        ({"use_local_attn": True, "attn_types": ["global", "local"]}, "local attention needs"),
        ({"n_layer": 3}, "no field 'n_layer'. Did you mean n_layers"),
        ({"act_fn": "solu_ln"}, "act_fn='solu_ln' is unknown"),
    ],
)
def test_what_is_not_computed_here_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        HookedTransformerConfig(**{**FIELDS, **options})


def test_rotary_scaling_is_read_from_plain_values() -> None:
    scaled = CFG.replace(rotary_scaling={"kind": "linear", "factor": 2.0})
    assert scaled.rotary_scaling == RotaryScaling("linear", 2.0)
