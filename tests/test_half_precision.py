"""Norms and patterns written out: what their hook points hold, and that they are close in bf16."""

from __future__ import annotations

import pytest
import torch

from cutaway.model.config import ModelConfig
from cutaway.model.transformer import HookedTransformer
from random_models import random_model

CFG = ModelConfig(n_layers=3, d_model=32, n_heads=4, d_vocab=17, n_ctx=12, init_range=0.2)
TOKENS = torch.randint(1, 17, (3, 9), generator=torch.Generator().manual_seed(0))
NORMS = ("LN", "LNPre", "RMS", "RMSPre")


@torch.no_grad()
@pytest.mark.parametrize("kind", NORMS)
def test_what_a_norms_hook_points_hold(kind: str) -> None:
    """As in TransformerLens 3.9: `hook_normalized` is before w and b, for every kind of norm."""
    model = random_model(CFG.replace(normalization_type=kind))
    _, cache = model.run_with_cache(TOKENS, names_filter=lambda name: True)
    x = cache["resid_mid", 1]
    if kind.startswith("LN"):
        x = x - x.mean(-1, keepdim=True)
    scale, normalized = cache["scale", 1, "ln2"], cache["normalized", 1, "ln2"]
    torch.testing.assert_close(scale * normalized, x, rtol=1e-5, atol=1e-5)
    norm = model.blocks[1].ln2
    out = normalized if norm.w is None else normalized * norm.w
    out = out if norm.b is None else out + norm.b
    torch.testing.assert_close(norm(cache["resid_mid", 1]), out, rtol=1e-5, atol=1e-5)
    pre = out @ model.W_in[1] + model.b_in[1]
    torch.testing.assert_close(cache["pre", 1], pre, rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("kind", NORMS)
def test_a_norm_can_be_replaced_between_scale_and_weights(kind: str) -> None:
    model = random_model(CFG.replace(normalization_type=kind))
    hooks = [("ln_final.hook_normalized", lambda value, hook: value * 0)]
    logits = model.run_with_hooks(TOKENS, fwd_hooks=hooks)
    b = model.ln_final.b
    constant = model.b_U if b is None else b @ model.W_U + model.b_U
    torch.testing.assert_close(logits, constant.expand_as(logits))


@torch.no_grad()
@pytest.mark.parametrize("kind", NORMS)
def test_looking_costs_no_precision_in_bf16(kind: str) -> None:
    """Plain and cached runs are both about as far from float32 as bf16 must be, and closer to each
    other: the written-out forms compute in float32."""
    exact = random_model(CFG.replace(normalization_type=kind))
    expected = exact(TOKENS)
    half = HookedTransformer.from_state(
        exact.cfg.replace(dtype="bfloat16"),
        {name: value.bfloat16() for name, value in exact.state_dict().items()},
    )
    plain = half(TOKENS)
    seen, cache = half.run_with_cache(TOKENS)
    assert plain.dtype == seen.dtype == torch.bfloat16
    size = expected.std()
    for logits in (plain, seen):
        assert (logits.float() - expected).abs().max() < 0.1 * size
    assert (plain.float() - seen.float()).abs().max() < 0.1 * size
    error, looking = ((x.float() - expected).abs().mean() for x in (plain, seen))
    assert looking < 1.3 * error
    assert cache["scale", 0, "ln1"].dtype == cache["pattern", 0].dtype == torch.float32
    torch.testing.assert_close(cache["pattern", 2].sum(-1), torch.ones(3, 4, 9))
    assert cache["resid_post", 0].dtype == torch.bfloat16
    attributed = cache.logit_attrs(cache.decompose_resid(pos_slice=-1), 3, pos_slice=-1)
    assert torch.isfinite(attributed).all()
