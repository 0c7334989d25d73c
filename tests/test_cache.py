"""`ActivationCache`: names, decompositions of the residual stream, and direct attribution."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cutaway.model.cache import ActivationCache, get_act_name
from cutaway.model.config import ModelConfig
from cutaway.model.hooks import UnknownHook
from cutaway.model.transformer import HookedTransformer
from random_models import configs, random_model
from test_generation import word_tokenizer

CFG = ModelConfig(n_layers=3, d_model=16, n_heads=4, d_vocab=17, n_ctx=12, init_range=0.4)
TOKENS = torch.randint(3, 17, (2, 6), generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def run(model: HookedTransformer) -> tuple[torch.Tensor, ActivationCache]:
    return model.run_with_cache(TOKENS)


@pytest.fixture(scope="module")
def model() -> HookedTransformer:
    model = random_model(CFG)
    model.tokenizer = word_tokenizer()
    return model


@pytest.fixture(scope="module")
def cache(model: HookedTransformer) -> ActivationCache:
    return run(model)[1]


def assert_close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=2e-5)


# ---- names ----


@pytest.mark.parametrize(
    ("short", "full"),
    [
        (("z", 2), "blocks.2.attn.hook_z"),
        (("pattern", 0), "blocks.0.attn.hook_pattern"),
        (("attn", 0), "blocks.0.attn.hook_pattern"),
        (("resid_post", 1), "blocks.1.hook_resid_post"),
        (("mlp_out", 1), "blocks.1.hook_mlp_out"),
        (("mlp_post", 1), "blocks.1.mlp.hook_post"),
        (("q_input", 1), "blocks.1.hook_q_input"),
        (("scale", 1, "ln2"), "blocks.1.ln2.hook_scale"),
        (("normalized", 1, "attn"), "blocks.1.ln1.hook_normalized"),
        (("scale",), "ln_final.hook_scale"),
        (("embed",), "hook_embed"),
        (("pos_embed",), "hook_pos_embed"),
        (("blocks.0.hook_resid_pre",), "blocks.0.hook_resid_pre"),
        (("resid_pre5",), "blocks.5.hook_resid_pre"),
        (("scale4ln1",), "blocks.4.ln1.hook_scale"),
    ],
)
def test_short_names(short: tuple, full: str) -> None:
    assert get_act_name(*short) == full


def test_a_name_that_wants_a_layer() -> None:
    with pytest.raises(ValueError, match="'z' belongs to a layer"):
        get_act_name("z")


def test_every_spelling_gives_the_same_tensor(cache: ActivationCache) -> None:
    full = cache["blocks.1.attn.hook_pattern"]
    for key in (("pattern", 1), ("pattern", -2), "pattern1"):
        assert cache[key] is full
        assert key in cache
    assert len(cache) == len(list(cache)) == len(cache.cache_dict)
    assert "ActivationCache(" in repr(cache)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (("patern", 1), "holds no 'blocks.1.hook_patern'; near matches"),
        (("pattern", 3), "there is no layer 3 in a model of 3 layers"),
        (("pattern", -4), "there is no layer -4"),
        ("hook_embde", "near matches: .*hook_embed"),
        (("result", 0), "holds no 'blocks.0.attn.hook_result'"),
    ],
)
def test_a_name_that_is_not_there(cache: ActivationCache, key: object, message: str) -> None:
    assert key not in cache
    with pytest.raises(UnknownHook, match=message):
        cache[key]


# ---- memory ----


def test_bytes_count_shared_storage_once(cache: ActivationCache) -> None:
    """resid_post of a layer and resid_pre of the next are one tensor."""
    every = sum(value.nbytes for value in cache.values())
    shared = (CFG.n_layers - 1) * cache["resid_post", 0].nbytes
    assert cache.nbytes == every - shared
    assert cache.to("cpu").nbytes == cache.nbytes


def test_a_cache_moves_to_another_device(cache: ActivationCache) -> None:
    moved = cache.to("meta")
    assert all(value.device.type == "meta" for value in moved.values())
    assert moved["resid_post", 0] is moved["resid_pre", 1]


def test_the_batch_axis_can_be_dropped(model: HookedTransformer, cache: ActivationCache) -> None:
    _, single = model.run_with_cache(TOKENS[:1])
    flat = single.remove_batch_dim()
    assert flat["z", 0].shape == (6, 4, 4)
    assert flat.remove_batch_dim() is flat
    assert flat.decompose_resid().shape == (8, 6, 16)
    with pytest.raises(ValueError, match="only a batch of one"):
        cache.remove_batch_dim()


# ---- decompositions ----


@settings(max_examples=25)
@given(configs(min_layers=2), st.data())
def test_components_sum_to_the_stream_they_were_written_to(
    cfg: ModelConfig, data: st.DataObject
) -> None:
    _, cache = run(random_model(cfg))
    layer = data.draw(st.integers(1, cfg.n_layers))
    stream = cache["resid_pre", layer] if layer < cfg.n_layers else cache["resid_post", -1]
    parts, labels = cache.decompose_resid(layer, return_labels=True)
    assert_close(parts.sum(0), stream)
    assert len(labels) == len(parts)
    heads, labels = cache.stack_head_results(layer, incl_remainder=True, return_labels=True)
    assert_close(heads.sum(0), stream)
    pairs = itertools.product(range(layer), range(cfg.n_heads))
    assert labels == [*(f"L{at}H{head}" for at, head in pairs), "remainder"]
    assert len(labels) == len(heads)


def test_the_input_of_an_mlp(cache: ActivationCache) -> None:
    parts, labels = cache.decompose_resid(1, mlp_input=True, return_labels=True)
    assert labels == ["embed", "pos_embed", "0_attn_out", "0_mlp_out", "1_attn_out"]
    assert_close(parts.sum(0), cache["resid_mid", 1])


def test_in_parallel_the_mlp_reads_what_attention_reads() -> None:
    _, cache = run(random_model(CFG.replace(parallel_attn_mlp=True)))
    assert_close(cache.decompose_resid(1, mlp_input=True).sum(0), cache["resid_pre", 1])
    assert torch.equal(cache.accumulated_resid(1, mlp_input=True)[-1], cache["resid_pre", 1])


def test_selected_components(cache: ActivationCache) -> None:
    _, labels = cache.decompose_resid(mode="attn", incl_embeds=False, return_labels=True)
    assert labels == ["0_attn_out", "1_attn_out", "2_attn_out"]
    _, labels = cache.decompose_resid(2, mode="mlp", return_labels=True)
    assert labels == ["embed", "pos_embed", "0_mlp_out", "1_mlp_out"]


def test_the_stream_before_each_layer(cache: ActivationCache) -> None:
    stack, labels = cache.accumulated_resid(return_labels=True)
    assert labels == ["0_pre", "1_pre", "2_pre", "final_post"]
    assert torch.equal(stack[2], cache["resid_pre", 2])
    stack, labels = cache.accumulated_resid(1, incl_mid=True, mlp_input=True, return_labels=True)
    assert labels == ["0_pre", "0_mid", "1_pre", "1_mid"]
    assert torch.equal(stack[-1], cache["resid_mid", 1])


def test_head_results_with_and_without_the_hook(model: HookedTransformer) -> None:
    _, plain = run(model)
    with torch.no_grad():
        _, hooked = model.run_with_cache(TOKENS, names_filter=lambda name: True)
    assert ("result", 0) in hooked
    assert_close(plain.stack_head_results(), hooked.stack_head_results())


@pytest.mark.parametrize("positions", [-1, 2, (1, 4), slice(2, None), [0, 3]])
def test_slices_of_positions(cache: ActivationCache, positions: object) -> None:
    index = slice(*positions) if isinstance(positions, tuple) else positions
    for stack in (cache.decompose_resid, cache.stack_head_results, cache.accumulated_resid):
        for apply_ln in (False, True):
            whole = stack(apply_ln=apply_ln)
            assert_close(stack(apply_ln=apply_ln, pos_slice=positions), whole[:, :, index])


# ---- through the final norm ----


@settings(max_examples=25)
@given(configs(min_layers=1))
def test_attributions_sum_to_the_logit_difference(cfg: ModelConfig) -> None:
    """But for what belongs to no component: the final norm's bias through W_U, and b_U."""
    model = random_model(cfg)
    logits, cache = run(model)
    correct, wrong = torch.tensor([3, 4]), torch.tensor([5, 6])
    stack = cache.decompose_resid(pos_slice=-1)
    attributed = cache.logit_attrs(stack, correct, wrong, pos_slice=-1)  # [component, batch]
    norm_bias = getattr(model.ln_final, "b", None)
    constant = model.b_U if norm_bias is None else norm_bias @ model.W_U + model.b_U
    rows = torch.arange(2)
    expected = logits[rows, -1, correct] - logits[rows, -1, wrong]
    expected = expected - (constant[correct] - constant[wrong])
    assert_close(attributed.sum(0), expected)


def test_forms_of_attribution(model: HookedTransformer, cache: ActivationCache) -> None:
    stack = cache.stack_head_results()  # [head, batch, pos, d_model]
    one = cache.logit_attrs(stack, 5)
    assert one.shape == (12, 2, 6)
    assert_close(cache.logit_attrs(stack, "w2"), one)
    assert_close(cache.logit_attrs(stack, torch.tensor([5, 5])), one)
    difference = cache.logit_attrs(stack, 5, 7)
    assert_close(difference, one - cache.logit_attrs(stack, 7))
    last = cache.logit_attrs(cache.stack_head_results(pos_slice=-1), 5, pos_slice=-1)
    assert_close(last, one[..., -1])


@pytest.mark.parametrize("kind", ["LN", "LNPre", "RMS", "RMSPre", None])
def test_components_pass_the_norm_as_their_sum_does(kind: str | None) -> None:
    model = random_model(CFG.replace(normalization_type=kind))
    _, cache = run(model)
    for layer, mlp_input in itertools.product((1, 2), (False, True)):
        parts = cache.decompose_resid(layer, mlp_input=mlp_input, apply_ln=True)
        block = model.blocks[layer]
        norm = block.ln2 if mlp_input else block.ln1
        with torch.no_grad():
            whole = norm(cache["resid_mid" if mlp_input else "resid_pre", layer])
        bias = getattr(norm, "b", None)
        assert_close(parts.sum(0), whole if bias is None else whole - bias)


def test_a_layer_that_does_not_exist(cache: ActivationCache) -> None:
    with pytest.raises(ValueError, match="layer=4 is not between 0 and 3"):
        cache.decompose_resid(4)


def test_what_is_not_there_says_why(model: HookedTransformer) -> None:
    with torch.no_grad():
        _, cache = model.run_with_cache(TOKENS, stop_at_layer=2)
    with pytest.raises(UnknownHook, match=r"on demand: run with names_filter=.*use_attn_result"):
        cache["result", 0]
    with pytest.raises(UnknownHook, match=r"set_use_split_qkv_input\(True\)"):
        cache["blocks.0.hook_q_input"]
    with pytest.raises(UnknownHook, match="did not keep it .* or did not reach it"):
        cache["pattern", 2]


# ---- the smallest parts ----


@settings(max_examples=20)
@given(configs(min_layers=1), st.booleans(), st.booleans(), st.data())
def test_the_smallest_parts_sum_to_the_stream(
    cfg: ModelConfig, neurons: bool, mlp_input: bool, data: st.DataObject
) -> None:
    _, cache = run(random_model(cfg))
    layer = data.draw(st.integers(0, cfg.n_layers - mlp_input))
    whole = cache.accumulated_resid(layer, mlp_input=mlp_input)[-1]
    parts, labels = cache.get_full_resid_decomposition(
        layer, mlp_input, expand_neurons=neurons, return_labels=True
    )
    assert_close(parts.sum(0), whole)
    assert len(labels) == len(parts) == len(set(labels)) and labels[-1] == "bias"


def test_neurons(model: HookedTransformer, cache: ActivationCache) -> None:
    stack, labels = cache.stack_neuron_results(2, return_labels=True, incl_remainder=True)
    d_mlp = model.cfg.d_mlp
    assert labels[0] == "L0N0" and labels[d_mlp] == "L1N0" and labels[-1] == "remainder"
    assert_close(stack.sum(0), cache["resid_pre", 2])
    assert_close(stack[:d_mlp].sum(0) + model.b_out[0], cache["mlp_out", 0])
    some, labels = cache.stack_neuron_results(
        2, pos_slice=-1, neuron_slice=[3, 5], return_labels=True, apply_ln=True
    )
    assert labels == ["L0N3", "L0N5", "L1N3", "L1N5"]
    whole = cache.stack_neuron_results(2, apply_ln=True)[:, :, -1]
    assert_close(some, whole[[3, 5, d_mlp + 3, d_mlp + 5]])


def test_biases_written_so_far(model: HookedTransformer) -> None:
    total = model.b_O[:2].sum(0) + model.b_out[:1].sum(0)
    assert_close(model.accumulated_bias(1, mlp_input=True), total)
    assert_close(model.accumulated_bias(), model.b_O.sum(0) + model.b_out.sum(0))
    assert_close(model.accumulated_bias(2, include_mlp_biases=False), model.b_O[:2].sum(0))
    with pytest.raises(ValueError, match="layer=3 is not between 0 and 2"):
        model.accumulated_bias(3, mlp_input=True)


def test_part_of_the_batch(cache: ActivationCache) -> None:
    stack = cache.decompose_resid()
    whole = cache.logit_attrs(stack, torch.tensor([3, 4]), torch.tensor([5, 6]))
    one = cache.logit_attrs(stack, torch.tensor([4]), torch.tensor([6]), batch_slice=[1])
    assert_close(one, whole[:, 1:])
    single = cache.logit_attrs(stack[:, 1], 4, 6, batch_slice=1, has_batch_dim=False)
    assert_close(single, whole[:, 1])
    each = torch.arange(stack.shape[2])[None].expand(2, -1)
    by_position = cache.logit_attrs(stack, each)
    assert_close(by_position[:, :, 3], cache.logit_attrs(stack, 3)[:, :, 3])
