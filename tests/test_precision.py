"""The fast mode in bfloat16: near float32, and honest about how near."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cutaway.model.config import ModelConfig
from cutaway.patching import precision
from cutaway.patching.edges import sweep_edges
from cutaway.patching.sweep import sweep
from random_models import random_model, small_task

CFG = ModelConfig(n_layers=3, d_model=32, n_heads=4, d_vocab=50, n_ctx=12, init_range=0.2)


@pytest.fixture(autouse=True)
def any_processor(monkeypatch) -> None:
    """Processors without bfloat16 give the same numbers, only slower."""
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: True)


@pytest.mark.parametrize("run", [lambda *a, **k: sweep(*a, "z", **k), sweep_edges])
def test_results_are_near_float32_and_say_how_near(run) -> None:
    model, task = random_model(CFG), small_task(CFG)
    exact, fast = run(model, task), run(model, task, precision="bfloat16")
    difference = fast.patched - exact.patched
    scale = np.abs(exact.per_prompt).max()
    assert 0 < np.abs(difference).max() < 0.3 * scale
    np.testing.assert_allclose(fast.clean, exact.clean, atol=1e-6)
    np.testing.assert_allclose(fast.corrupted, exact.corrupted, atol=1e-6)
    stated = fast.settings["bfloat16_error"]
    assert stated["n_sampled"] >= 4
    assert 0 < stated["largest_of_means"] <= stated["largest"] <= np.abs(difference).max() + 1e-6
    assert stated["root_mean_square"] < 5 * np.sqrt((difference**2).mean())
    assert "precision" not in exact.settings


def test_what_changes_nothing_has_no_rounding_error() -> None:
    model, task = random_model(CFG), small_task(CFG, first=4)
    fast = sweep(model, task, "resid_pre", positions=[0, 3], precision="bfloat16")
    expected = np.broadcast_to(fast.corrupted, fast.patched.shape)
    np.testing.assert_allclose(fast.patched, expected, atol=1e-6)


def test_the_model_stays_as_it_was_and_the_copy_shares_what_is_not_rounded() -> None:
    model = random_model(CFG)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rounded = precision.in_bfloat16(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert rounded.blocks[0].attn.W_Q.dtype == torch.bfloat16
    assert rounded.embed.W_E is model.embed.W_E
    assert rounded.hook_dict["blocks.0.attn.hook_z"] is rounded.blocks[0].attn.hook_z
    assert rounded.blocks[0].attn.hook_z is not model.blocks[0].attn.hook_z


def test_bad_input_is_one_clear_sentence(monkeypatch) -> None:
    model, task = random_model(CFG), small_task(CFG)
    with pytest.raises(ValueError, match="precision='half' is neither"):
        sweep(model, task, "z", precision="half")
    with pytest.raises(ValueError, match="is for models in float32; this one is in torch.float64"):
        sweep(random_model(CFG).double(), task, "z", precision="bfloat16")
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: False)
    with pytest.raises(ValueError, match="cpu has no instructions for it"):
        sweep(model, task, "z", precision="bfloat16")
