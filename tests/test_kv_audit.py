"""Audits of memory: what is measured is what formulas say, on random models; faults are seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import cutaway as ca
from cutaway.audit import (
    KNOWN_SHAPES,
    ActivationAudit,
    Allocations,
    ConcatenatingCache,
    KVAudit,
    LeakingCache,
    WholeCache,
    activation_shapes,
    activations,
    bytes_held,
    estimated_peaks,
    forward_peak,
    kv_bytes,
    kv_bytes_per_token,
    kv_cache,
    load_shape,
    n_parameters,
    predict_memory,
    total_bytes,
    weight_bytes,
    weights,
    what_fits,
)
from cutaway.audit.spans import Spans
from cutaway.model.hooks import UnknownHook
from cutaway.model.kv_cache import KVCache, LayerKV
from random_models import configs

DTYPES = ("float32", "float16", "bfloat16", "float64")
TINY = ca.ModelConfig(n_layers=3, d_model=16, n_heads=4, n_key_value_heads=2, d_vocab=40, n_ctx=24)


@pytest.fixture(scope="module")
def tiny() -> ca.HookedTransformer:
    return ca.HookedTransformer(TINY, seed=0)


# ---- the cache of keys and values ----


@settings(max_examples=7)
@given(configs(), st.sampled_from(DTYPES), st.integers(1, 3), st.integers(3, 7))
def test_what_a_cache_holds_is_what_the_formula_says(cfg, dtype, batch, chunk) -> None:
    model = ca.HookedTransformer(cfg.replace(dtype=dtype), seed=0)
    audit = kv_cache(model, 10, batch, chunk, max_length=12)
    size = torch.empty((), dtype=model.dtype).element_size()
    per_token = 2 * cfg.n_key_value_heads * cfg.d_head * size  # by hand, of one layer
    for step, n in enumerate(audit.tokens):
        assert n == min((step + 1) * chunk, 10)
        assert audit.filled[step].tolist() == [per_token * batch * n] * cfg.n_layers
        assert audit.allocated[step].tolist() == [per_token * batch * 12] * cfg.n_layers
    assert audit.is_exact and not audit.beside.any()
    assert audit.filled[-1].sum() == kv_bytes(model.cfg, 10, batch)
    assert audit.bytes_per_token == kv_bytes_per_token(model.cfg)
    assert audit.logits.tolist() == [
        batch * int(n) * cfg.d_vocab * size for n in np.diff(audit.tokens, prepend=0)
    ]


def test_gpt2_holds_73728_bytes_per_token_and_72_mib_at_its_context() -> None:
    cfg = load_shape("gpt2")
    assert kv_bytes_per_token(cfg) == 73_728
    assert kv_bytes(cfg, 1024) == 72 * 2**20
    assert kv_bytes(cfg, 1024, batch=8, dtype="bfloat16") == 4 * 72 * 2**20
    # The real thing, but for words and neurons, of which the cache knows nothing.
    model = ca.HookedTransformer(cfg.replace(d_vocab=10, d_mlp=8), init_weights=False)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    audit = kv_cache(model, 24, chunk=12, max_length=1024)
    assert audit.is_exact and audit.bytes_per_token == 73_728
    assert audit.allocated[-1].sum() == 72 * 2**20


class Kept:
    """A hook that keeps what it sees."""

    def __init__(self, copies: bool) -> None:
        self.values: list[Tensor] = []
        self.copies = copies

    def __call__(self, value: Tensor, hook: object) -> None:
        self.values.append(value.clone() if self.copies else value[:, :, :1])


@pytest.mark.parametrize("copies", [True, False])
def test_a_hook_that_keeps_tensors_is_seen_at_its_layer(tiny, copies) -> None:
    kept = Kept(copies)
    with tiny.hooks([("blocks.1.attn.hook_k", kept)]):
        audit = kv_cache(tiny, 6, batch=2)
    assert not audit.is_exact
    # A view of a part keeps the whole storage, so both kinds leave the same behind.
    each = 2 * 2 * 4 * 4  # batch, key-value heads, d_head, bytes: keys of one token
    assert audit.beside[:, 1].tolist() == [each * n for n in range(1, 7)]
    assert not audit.beside[:, [0, 2, 3]].any()
    assert (audit.filled == audit.formula).all()  # the cache itself is as it should be
    assert bytes_held(kept.values) == audit.beside[-1, 1]


def test_a_cache_that_leaks_is_seen_to_hold_twice_as_much(tiny) -> None:
    audit = kv_cache(tiny, 6, cache=LeakingCache)
    assert not audit.is_exact
    assert (audit.filled == 2 * audit.formula).all()
    assert (audit.excess[:, :-1] == audit.formula).all() and not audit.excess[:, -1].any()


def test_a_cache_that_does_not_keep_what_it_is_given_is_seen(tiny) -> None:
    class Forgetful(LayerKV):
        def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
            self.length += k.shape[1]
            return k, v

    class OneForgets(KVCache):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.layers[1] = Forgetful(self.layers[1]._k, self.layers[1]._v)

    audit = kv_cache(tiny, 1, cache=OneForgets)
    assert audit.filled[0].tolist() == [128 // 2, 0, 128 // 2]
    assert audit.excess[0].tolist() == [0, -128 // 2, 0, 0] and not audit.is_exact


def test_other_caches_cost_what_growing_costs(tiny) -> None:
    ours, layers, whole = (
        kv_cache(tiny, 8, 2, cache=one) for one in (KVCache, ConcatenatingCache, WholeCache)
    )
    assert ours.is_exact and layers.is_exact and whole.is_exact
    per_token = kv_bytes(TINY, 1, 2)
    held = per_token * np.arange(1, 9)
    assert ours.copied.tolist() == [per_token] * 8  # each token is written once
    assert layers.copied.tolist() == held.tolist()  # all of them, at every token
    assert whole.copied.tolist() == (held + per_token).tolist()
    assert ours.cache_peak.tolist() == [8 * per_token] * 8
    # While a layer's values grow, the old and the new ones are there: half of that layer.
    half = per_token // TINY.n_layers // 2
    before = np.arange(8)
    assert layers.layer_peak[:, 0].tolist() == (half * (3 * before + 2)).tolist()
    assert layers.cache_peak.tolist() == (held + half * before).tolist()
    assert whole.cache_peak.tolist() == (2 * held).tolist()  # all of it, twice
    for other in (layers, whole):
        logits = run_with(tiny, other.cache)
        torch.testing.assert_close(logits, run_with(tiny, "KVCache"))


def run_with(model: ca.HookedTransformer, name: str) -> Tensor:
    kinds = {one.__name__: one for one in (KVCache, ConcatenatingCache, WholeCache)}
    cache = kinds[name](model, 2, 9)
    tokens = torch.arange(18).reshape(2, 9)
    with torch.no_grad():
        parts = [model(tokens[:, at : at + 3], past_kv_cache=cache) for at in (0, 3, 6)]
    return torch.cat(parts, 1)


def test_an_audit_leaves_model_and_cache_class_as_they_were(tiny) -> None:
    before = [len(block._forward_hooks) + len(block._forward_pre_hooks) for block in tiny.blocks]
    with pytest.raises(RuntimeError, match="stop"):

        def stop(value: Tensor, hook: object) -> None:
            raise RuntimeError("stop")

        with tiny.hooks([("blocks.2.hook_resid_post", stop)]):
            kv_cache(tiny, 4)
    after = [len(block._forward_hooks) + len(block._forward_pre_hooks) for block in tiny.blocks]
    assert before == after == [0, 0, 0]
    assert kv_cache(tiny, 4).is_exact


def test_an_audit_is_saved_whole(tiny, tmp_path: Path) -> None:
    audit = kv_cache(tiny, 6, chunk=4)
    audit.save(tmp_path / "a.safetensors")
    again = KVAudit.load(tmp_path / "a.safetensors")
    assert again.to_frame() == audit.to_frame() and again.shape == audit.shape
    assert (again.peak == audit.peak).all() and again.is_exact
    assert len(audit.to_frame()) == 2 * TINY.n_layers
    assert sum(row["filled"] for row in audit.to_frame() if row["tokens"] == 6) == kv_bytes(TINY, 6)
    with pytest.raises(ValueError, match="does not hold an audit"):
        ActivationAudit.load(tmp_path / "a.safetensors")


# ---- the counting itself ----


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(1, 3)), max_size=4))
def test_spans_count_each_byte_once(cuts) -> None:
    base = torch.zeros(4, 6, 5)
    mark = torch.zeros(4, 6, 5, dtype=torch.bool)
    spans = Spans()
    for row, column, step in cuts:
        for whole in (base, mark):
            part = whole[row:, column::step].transpose(0, 1)[..., ::step]
            if whole is base:
                spans.add(part)
            else:
                part.fill_(True)
    spans.add(torch.zeros(0))
    assert spans.n_bytes == 4 * int(mark.sum())


def test_allocations_are_followed_until_nothing_holds_them() -> None:
    before = torch.zeros(500)
    with Allocations() as seen:
        view = before[:10]  # nothing new
        assert seen.live == 0
        a = torch.ones(1000)
        b = a * 2
        assert (seen.live, seen.peak) == (8000, 8000)
        del a
        b.add_(1)
        assert (seen.live, seen.peak) == (4000, 8000)
        part = b[:3]
        del b
        assert seen.live == 4000  # the view keeps its storage
        seen.reset_peaks()
        assert seen.peak == 4000
    assert view.shape == (10,) and part.shape == (3,)


# ---- activations by name ----


@settings(max_examples=20)
@given(configs(), st.sampled_from(DTYPES), st.data())
def test_what_run_with_cache_keeps_is_foretold(cfg, dtype, data) -> None:
    model = ca.HookedTransformer(cfg.replace(dtype=dtype), seed=0)
    names = list(model.hook_dict)
    wanted = data.draw(
        st.one_of(
            st.none(),
            st.just(lambda name: True),
            st.lists(st.sampled_from(names), min_size=1, max_size=8, unique=True),
        )
    )
    tokens = torch.randint(0, cfg.d_vocab, (2, 7), generator=torch.Generator().manual_seed(0))
    audit = activations(model, tokens, wanted)
    assert audit.is_exact, [r for r in audit.to_frame() if r["predicted"] != r["measured"]]
    _, cache = model.run_with_cache(tokens, names_filter=wanted)
    assert audit.shapes == tuple(tuple(cache[name].shape) for name in cache)
    assert audit.total == cache.nbytes == sum(audit.by_kind().values())
    assert audit.total == total_bytes(activation_shapes(model.cfg, 7, 2, wanted))


def test_activations_are_saved_and_know_their_switches(tmp_path: Path) -> None:
    model = ca.HookedTransformer(TINY)
    tokens = torch.zeros(1, 5, dtype=torch.long)
    plain = activations(model, tokens)
    model.set_use_attn_result(True)
    more = activations(model, tokens)
    assert more.is_exact
    assert more.total - plain.total == 3 * 5 * 4 * 16 * 4  # layers, pos, heads, d_model, bytes
    more.save(tmp_path / "a.safetensors")
    assert ActivationAudit.load(tmp_path / "a.safetensors").to_frame() == more.to_frame()
    with pytest.raises(UnknownHook, match="near matches"):
        activation_shapes(TINY, 5, names_filter="blocks.0.attn.hook_zz")


# ---- weights ----


@settings(max_examples=15)
@given(configs(), st.sampled_from(DTYPES))
def test_weights_are_foretold_and_shared_ones_count_once(cfg, dtype) -> None:
    model = ca.HookedTransformer(cfg.replace(dtype=dtype), init_weights=False)
    found = weights(model)
    assert found.is_exact and found.n_bytes == weight_bytes(cfg, dtype)
    assert n_parameters(cfg) == sum(one.numel() for one in model.parameters())
    twice = cfg.d_vocab * cfg.d_model * model.W_E.element_size() if found.is_tied else 0
    assert found.n_bytes_by_name - found.n_bytes == twice


def test_loading_a_tied_model_as_it_is_processed_unties_it(tmp_path: Path) -> None:
    cfg = TINY.replace(tie_word_embeddings=True)
    ca.HookedTransformer(cfg).save_pretrained(tmp_path / "tied")
    as_it_is = ca.HookedTransformer.from_pretrained_no_processing(tmp_path / "tied")
    processed = ca.HookedTransformer.from_pretrained(tmp_path / "tied")
    assert weights(as_it_is).is_tied and not weights(processed).is_tied
    assert weights(processed).is_exact
    assert load_shape(tmp_path / "tied") == cfg
    assert load_shape("ioi-mini").n_layers == 4


@pytest.mark.parametrize("name", KNOWN_SHAPES)
def test_known_shapes_have_as_many_parameters_as_their_checkpoints(name) -> None:
    shape = KNOWN_SHAPES[name]
    assert n_parameters(shape.cfg) == shape.n_parameters
    assert shape.cfg.model_name == name and shape.source


# ---- the most at once ----


@settings(max_examples=6)
@given(configs(), st.sampled_from(("float32", "bfloat16")), st.integers(1, 3))
def test_the_estimate_of_the_peak_is_near_what_is_measured(cfg, dtype, batch) -> None:
    # Wide enough that what the estimate leaves out (token ids, a few numbers) is small.
    sizes = {"d_model": 10 * cfg.d_model, "d_mlp": 10 * cfg.d_mlp, "d_head": 10 * cfg.d_head}
    wide = cfg.replace(**sizes, dtype=dtype, rotary_dim=0, n_ctx=64)
    model = ca.HookedTransformer(wide, seed=0)
    found = forward_peak(model, (1, 48), batch)
    assert (abs(found.error) < 0.06).all(), (found.error, found.stages)
    audit = kv_cache(model, 48, batch, 16)
    error = estimated_peaks(audit, model.cfg) / audit.peak - 1
    assert (abs(error) < 0.06).all(), error


def test_interception_sees_what_the_allocator_gives() -> None:
    from torch.profiler import ProfilerActivity, profile

    model = ca.HookedTransformer(TINY.replace(d_model=64, d_head=16, n_ctx=64), seed=0)
    tokens = torch.zeros(2, 64, dtype=torch.long)
    with torch.no_grad():
        model(tokens)
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
            model(tokens)
    events = [e for e in profiled.profiler.kineto_results.events() if e.name() == "[memory]"]
    steps = [e.nbytes() for e in sorted(events, key=lambda event: event.start_ns())]
    by_allocator = int(np.cumsum(steps).max())
    measured = int(forward_peak(model, (64,), 2).measured[0])
    assert 0.9 * by_allocator <= measured <= by_allocator


# ---- predictions, and what fits ----


@settings(max_examples=15)
@given(configs(), st.sampled_from(DTYPES), st.integers(1, 3), st.booleans(), st.floats(-1, 6))
def test_what_fits_is_what_trying_every_size_finds(cfg, dtype, batch, working, times) -> None:
    def needed(n: int, many: int) -> int:
        found = predict_memory(cfg, n, many, dtype)
        return found.total if working else found.weights + found.kv_cache

    alone = weight_bytes(cfg, dtype)
    memory = alone + (needed(6, batch) - alone) * times
    fits = what_fits(cfg, memory, batch=batch, n_tokens=5, dtype=dtype, working=working)
    longest = max((n for n in range(1, 120) if needed(n, batch) <= memory), default=0)
    most = max((many for many in range(1, 120) if needed(5, many) <= memory), default=0)
    assert fits.context_by_memory == longest and fits.batch_at == most
    assert fits.context == min(longest, cfg.n_ctx)
    assert (fits.limited_by == "memory") == (longest <= cfg.n_ctx)


def test_what_fits_really_does(tiny) -> None:
    memory = weights(tiny).n_bytes + kv_bytes(TINY, 17) + 100
    fits = what_fits(TINY, memory, working=False)
    assert fits.context == 17
    held = [kv_cache(tiny, n, chunk=n).allocated[-1].sum() for n in (17, 18)]
    assert weights(tiny).n_bytes + held[0] <= memory < weights(tiny).n_bytes + held[1]
    # The same with what a pass holds in passing: measured, one token more does not fit.
    budget = predict_memory(TINY, 17).total
    assert what_fits(TINY, budget).context == 17
    peaks = [weights(tiny).n_bytes + kv_cache(tiny, n, chunk=n).peak[0] for n in (17, 18)]
    assert peaks[0] <= budget * 1.02 and peaks[1] > budget * 0.98


def test_a_model_without_layers_has_no_cache() -> None:
    cfg = TINY.replace(n_layers=0)
    assert kv_bytes(cfg, 10) == 0
    fits = what_fits(cfg, 2 * weight_bytes(cfg), working=False)
    assert fits.context_by_memory is None and fits.context == cfg.n_ctx
    assert what_fits(cfg, 10, working=False).context == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: kv_cache(m, 25), "25"),
        (lambda m: kv_cache(m, 0), "n_tokens=0 is not a positive whole number"),
        (lambda m: kv_cache(m, 4, chunk=0), "chunk=0 is not"),
        (lambda m: kv_cache(m, 4, 0), "batch=0 is not"),
        (lambda m: kv_cache(m, 4, max_length=3), "max_length=3 is less than n_tokens=4"),
        (lambda m: kv_bytes(TINY, 4, dtype="int8"), "dtype='int8' is unknown; it can be float64"),
        (lambda m: what_fits(TINY, 0), "memory=0 is not a positive number of bytes"),
        (lambda m: what_fits(TINY, float("nan")), "memory=nan is not"),
        (lambda m: predict_memory(TINY, 4, chunk=0), "chunk=0 is not"),
        (lambda m: forward_peak(m, ()), "a length=0 is not"),
        (lambda m: load_shape("gpt-17"), "no shape is known of 'gpt-17': it can be gpt2,"),
    ],
)
def test_bad_input_gets_a_sentence(tiny, call, message) -> None:
    with pytest.raises(ValueError) as error:
        call(tiny)
    assert message in str(error.value)
