"""The logit lens and the component lens, held against loops over plain hooks in float64."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import cutaway as ca
from cutaway.lenses import ComponentReadings, LensReadings, component_lens, logit_lens
from cutaway.lenses import components as components_module
from cutaway.lenses import logit_lens as logit_lens_function
from cutaway.lenses.points import lens_points, read_out, streams
from cutaway.model.config import ModelConfig
from random_models import PADDING, configs, random_model

# Readings are kept in float32, whatever they were computed in.
KEPT = {"rtol": 1e-5, "atol": 1e-6}


@pytest.fixture(scope="module")
def mini() -> ca.HookedTransformer:
    return ca.HookedTransformer.from_pretrained("ioi-mini")


def tokens_of(cfg: ModelConfig, seed: int = 0, shape: tuple[int, int] = (3, 7)) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(1, cfg.d_vocab, shape, generator=generator)


@torch.no_grad()
def lens_by_hooks(model: ca.HookedTransformer, tokens: torch.Tensor, hook: str) -> torch.Tensor:
    """Log-probabilities of the lens, written out: one run, one hook, the norm as its formula."""
    seen = {}

    def keep(value, hook):
        seen["x"] = value.clone()

    model.run_with_hooks(tokens, fwd_hooks=[(hook, keep)])
    x, norm = seen["x"], model.ln_final
    kind = model.cfg.normalization_type
    if kind in ("LN", "LNPre"):
        x = x - x.mean(-1, keepdim=True)
    if kind is not None:
        x = x / (x.pow(2).mean(-1, keepdim=True) + model.cfg.eps).sqrt()
        x = x if norm.w is None else x * norm.w
        x = x if norm.b is None else x + norm.b
    return (x @ model.W_U + model.b_U).log_softmax(-1)


def double(cfg: ModelConfig, seed: int = 0) -> ca.HookedTransformer:
    return random_model(cfg, seed).double()


@given(cfg=configs(), seed=st.integers(0, 100), chunk=st.sampled_from([40, 2**22]))
@settings(max_examples=15)
def test_every_number_is_that_of_the_plain_loop(cfg, seed, chunk) -> None:
    model, tokens = double(cfg, seed), tokens_of(cfg, seed)
    with mock.patch.multiple("cutaway.lenses.logit_lens", _LOGIT_CELLS=chunk, _STREAM_CELLS=chunk):
        found = logit_lens(model, tokens, mid=cfg.has_resid_mid, top=4)
    final = model(tokens).detach().log_softmax(-1)
    points = lens_points(cfg, mid=cfg.has_resid_mid)
    assert found.points == tuple(point.label for point in points) and found.real.all()
    following, best = tokens[:, 1:, None], final.argmax(-1, keepdim=True)
    for at, point in enumerate(points):
        logs = lens_by_hooks(model, tokens, point.hook)
        p = logs.exp()
        np.testing.assert_allclose(found.entropy[at], -(p * logs).sum(-1), **KEPT)
        kl = (final.exp() * (final - logs)).sum(-1)
        np.testing.assert_allclose(found.kl[at], kl, **KEPT)
        own = logs[:, :-1].gather(-1, following)
        rank = (logs[:, :-1] > own).sum(-1)
        np.testing.assert_allclose(found.log_probability["target"][at, :, :-1], own[..., 0], **KEPT)
        np.testing.assert_array_equal(found.rank["target"][at, :, :-1], rank)
        its = logs.gather(-1, best)
        np.testing.assert_allclose(found.log_probability["predicted"][at], its[..., 0], **KEPT)
        top = p.topk(4, -1)
        np.testing.assert_allclose(found.top_probabilities[at], top.values, **KEPT)
        np.testing.assert_allclose(p.gather(-1, torch.tensor(found.top_tokens[at])), top.values)
    assert np.isnan(found.log_probability["target"][:, :, -1]).all()  # nothing comes next
    assert (found.rank["target"][:, :, -1] == -1).all()


@given(cfg=configs(), seed=st.integers(0, 100))
@settings(max_examples=15)
def test_the_last_point_is_the_models_own_output(cfg, seed) -> None:
    model, tokens = double(cfg, seed), tokens_of(cfg, seed)
    with torch.no_grad():
        (last,) = streams(model, tokens, lens_points(cfg)[-1:])
        assert torch.equal(read_out(model, last), model(tokens).detach())
    found = logit_lens(model, tokens, top=1)
    assert found.kl[-1].max() < 1e-12
    assert (found.rank["predicted"][-1] == 0).all()
    np.testing.assert_array_equal(found.top_tokens[-1, ..., 0], found.followed["predicted"])


@given(cfg=configs(), seed=st.integers(0, 100), by=st.sampled_from(["head", "layer"]))
@settings(max_examples=15)
def test_what_components_add_sums_to_the_output(cfg, seed, by) -> None:
    model, tokens = double(cfg, seed), tokens_of(cfg, seed)
    with mock.patch.object(components_module, "_CELLS", 300):  # one prompt at a time
        found = component_lens(model, tokens, by, follow={"five": 5})
    assert len(set(found.components)) == len(found.components)
    logits = model(tokens).detach()
    logits = logits - logits.mean(-1, keepdim=True)
    np.testing.assert_allclose(found.logits["five"].sum(0), logits[..., 5], rtol=1e-4, atol=1e-4)
    own = logits[:, :-1].gather(-1, tokens[:, 1:, None])[..., 0]
    np.testing.assert_allclose(found.logits["target"].sum(0)[:, :-1], own, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("norm", ["LN", "RMS", None])
def test_a_heads_part_is_what_the_logits_lose_with_the_scale_frozen(norm) -> None:
    cfg = ModelConfig(2, 12, 4, 17, 12, normalization_type=norm, init_range=0.4)
    model, tokens = double(cfg), tokens_of(cfg)
    found = component_lens(model, tokens, top=17)
    with torch.no_grad():
        _, cache = model.run_with_cache(tokens)
        wrote = cache["z", 1][:, :, 2] @ model.blocks[1].attn.W_O[2]
        x = cache["resid_post", 1]
        centre = (lambda t: t - t.mean(-1, keepdim=True)) if norm == "LN" else (lambda t: t)
        scale = (centre(x).pow(2).mean(-1, keepdim=True) + cfg.eps).sqrt() if norm else 1.0
        w = 1.0 if model.ln_final is None or norm is None else model.ln_final.w

        def frozen(stream):
            logits = centre(stream) / scale * w @ model.W_U
            return logits - logits.mean(-1, keepdim=True)

        lost = frozen(x) - frozen(x - wrote)
    at = found.components.index("1.2")
    every = np.zeros(lost.shape)
    np.put_along_axis(every, found.top_tokens[at], found.top_logits[at], -1)
    np.testing.assert_allclose(every, lost, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found.bottom_tokens[at], found.top_tokens[at][..., ::-1])


def test_padding_on_either_side_is_not_read_and_changes_nothing() -> None:
    cfg = ModelConfig(2, 12, 2, 17, 12, init_range=0.4, positional_embedding_type="rotary")
    model = double(cfg)
    model.tokenizer = PADDING
    alone = tokens_of(cfg, 1, (1, 4))
    long = tokens_of(cfg, 2, (1, 6))
    nothing = torch.zeros(1, 2, dtype=torch.long)
    for padded, there in (
        (torch.cat([alone, nothing], 1), slice(0, 4)),
        (torch.cat([nothing, alone], 1), slice(2, 6)),
    ):
        both = logit_lens(model, torch.cat([padded, long]))
        single = logit_lens(model, alone)
        assert both.real[0].sum() == 4 and both.real[0, there].all()
        np.testing.assert_allclose(both.kl[:, 0, there], single.kl[:, 0], **KEPT)
        expected = single.log_probability["target"][:, 0]
        found = both.log_probability["target"][:, 0, there]
        np.testing.assert_allclose(found, expected, **KEPT)
        outside = np.setdiff1d(np.arange(6), np.arange(6)[there])
        assert np.isnan(both.kl[:, 0, outside]).all()
        assert (both.top_tokens[:, 0, outside] == -1).all()


def test_places_can_be_chosen_by_index_or_by_mask(mini) -> None:
    tokens = mini.to_tokens(["When John and Mary went to the store, John gave a drink to"] * 2)
    everywhere = logit_lens(mini, tokens)
    chosen = torch.tensor([[3, 5], [1, 2]])
    some = logit_lens(
        mini, tokens, positions=chosen, follow={"Mary": mini.to_single_token(" Mary")}
    )
    mask = torch.zeros(tokens.shape, dtype=torch.bool).scatter(1, chosen, True)
    masked = logit_lens(mini, tokens, positions=mask)
    for row, places in enumerate(chosen.tolist()):
        np.testing.assert_allclose(some.kl[:, row], everywhere.kl[:, row, places], atol=1e-5)
        np.testing.assert_allclose(
            masked.kl[:, row, places], everywhere.kl[:, row, places], atol=1e-5
        )
        assert masked.real[row].sum() == 2
    assert some.followed["Mary"].shape == (2, 2)
    np.testing.assert_array_equal(some.followed["target"], tokens.gather(1, chosen + 1))


def test_shuffled_targets_are_the_same_targets_elsewhere(mini) -> None:
    task = ca.tasks.ioi(mini, 32)
    found = logit_lens(mini, task)
    target, dealt = found.followed["target"], found.followed["shuffled"]
    assert sorted(target.ravel()) == sorted(dealt.ravel()) and (target != dealt).mean() > 0.5
    assert found.followed["wrong"][:, 0].tolist() == task.wrong.tolist()
    other = logit_lens(mini, task, seed=1)
    assert (other.followed["shuffled"] != dealt).any()


def test_golden_numbers_of_ioi_mini(mini) -> None:
    found = logit_lens(mini, ca.tasks.ioi(mini, 64))
    means = [interval.estimate for interval in found.mean_kl()]
    assert means == pytest.approx(GOLDEN_KL, abs=2e-3)
    probability = found.probability("target").mean((1, 2))
    assert probability.tolist() == pytest.approx(GOLDEN_PROBABILITY, abs=1e-3)
    heads = component_lens(mini, ca.tasks.ioi(mini, 64)).ranked("target", "wrong")
    assert heads[0][0] == GOLDEN_HEAD[0]
    assert heads[0][1].estimate == pytest.approx(GOLDEN_HEAD[1], abs=1e-3)


GOLDEN_KL = [6.593, 5.343, 0.203, 0.214, 0.0]
GOLDEN_PROBABILITY = [0.002, 0.010, 0.813, 0.812, 0.978]
GOLDEN_HEAD = ("1.2", 3.489)


def test_readings_are_saved_and_loaded(mini, tmp_path) -> None:
    task = ca.tasks.ioi(mini, 4)
    for found, path in (
        (logit_lens(mini, task, mid=True), tmp_path / "a.safetensors"),
        (component_lens(mini, task), tmp_path / "b.safetensors"),
    ):
        found.save(path)
        again = type(found).load(path)
        assert again.to_frame() == found.to_frame() and again.real.dtype == bool
    with pytest.raises(ValueError, match="does not hold readings of a lens"):
        LensReadings.load(tmp_path / "b.safetensors")
    with pytest.raises(ValueError, match="there is no file"):
        ComponentReadings.load(tmp_path / "c.safetensors")
    rows = logit_lens(mini, task).to_frame()
    assert len(rows) == 5 * 4 and rows[4]["point"] == "3" and rows[4]["kl"] < 1e-6


def test_nothing_is_left_on_the_model(mini) -> None:
    logit_lens(mini, ca.tasks.ioi(mini, 2))
    assert all(p.grad is None and p.requires_grad for p in mini.parameters())
    assert not any(point.active for point in mini.hook_dict.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"top": 0}, "top=0 is not between"),
        ({"positions": torch.tensor([[9]])}, "index of 0 to 3"),
        ({"positions": torch.zeros(1, 4, dtype=torch.bool)}, "a place to read in every prompt"),
        ({"follow": {"target": 3}}, "a name that the lens gives itself"),
        ({"follow": {"x": 10_000}}, "does not know"),
        ({"follow": {"x": torch.zeros(3, 3, dtype=torch.long)}}, r"\[prompt, read\]"),
    ],
)
def test_bad_requests_are_named(change, message, mini) -> None:
    with pytest.raises(ValueError, match=message):
        logit_lens(mini, torch.tensor([[1, 5, 6, 7]]), **change)


def test_models_without_the_points_are_refused() -> None:
    flat = ca.HookedTransformer(ModelConfig(2, 8, 2, 10, 8, attn_only=True))
    with pytest.raises(ValueError, match="no point between attention and MLP"):
        logit_lens(flat, torch.tensor([[1, 2]]), mid=True)
    empty = ca.HookedTransformer(ModelConfig(0, 8, 2, 10, 8))
    with pytest.raises(ValueError, match="has no layers"):
        logit_lens_function(empty, torch.tensor([[1, 2]]))
    with pytest.raises(ValueError, match="the context of custom is 8"):
        logit_lens(flat, torch.ones(1, 9, dtype=torch.long))
