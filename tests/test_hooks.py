"""Hook points: what they see, what they change, how long functions stay, and what is recorded."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings

import cutaway
from cutaway.model.config import ModelConfig
from cutaway.model.hooks import HookPoint, UnknownHook
from cutaway.model.transformer import HookedTransformer
from random_models import configs, random_model

CFG = ModelConfig(n_layers=2, d_model=16, n_heads=4, d_vocab=17, n_ctx=12, init_range=0.4)
GROUPED = CFG.replace(n_key_value_heads=2, positional_embedding_type="rotary", gated_mlp=True)
TOKENS = torch.randint(0, 17, (3, 7), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model() -> HookedTransformer:
    return random_model(CFG)


def look(value: torch.Tensor, hook: HookPoint) -> None:
    """Sees and changes nothing."""


# ---- what hooks see and change ----


@settings(max_examples=12)
@given(configs())
@torch.no_grad()
def test_looking_changes_nothing(cfg: ModelConfig) -> None:
    model = random_model(cfg)
    plain = model(TOKENS)
    everywhere = model.run_with_hooks(TOKENS, fwd_hooks=[(lambda name: True, look)])
    torch.testing.assert_close(everywhere, plain, rtol=1e-5, atol=1e-5)
    for name in model.hook_dict:
        logits = model.run_with_hooks(TOKENS, fwd_hooks=[(name, look)])
        torch.testing.assert_close(logits, plain, rtol=1e-5, atol=1e-5)


@settings(max_examples=15)
@given(configs())
@torch.no_grad()
def test_writing_in_place_is_the_same_as_returning(cfg: ModelConfig) -> None:
    """So no two values that a hook can reach share memory, wherever it writes."""
    model = random_model(cfg)

    def returned(value: torch.Tensor, hook: HookPoint) -> torch.Tensor:
        return value * 1.5

    def in_place(value: torch.Tensor, hook: HookPoint) -> None:
        value.mul_(1.5)

    before = copy.deepcopy(model.state_dict())
    for name in model.hook_dict:
        expected = model.run_with_hooks(TOKENS, fwd_hooks=[(name, returned)])
        actual = model.run_with_hooks(TOKENS, fwd_hooks=[(name, in_place)])
        torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5, msg=name)
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in before)


@torch.no_grad()
def test_every_point_matters_and_acts_from_its_place_on(model: HookedTransformer) -> None:
    _, clean = model.run_with_cache(TOKENS, names_filter=lambda name: True)
    names = list(clean)
    for at, name in enumerate(names):
        if "scale" in name or "normalized" in name:
            continue
        logits, cache = None, None

        def double(value: torch.Tensor, hook: HookPoint) -> torch.Tensor:
            return value * 2

        with model.hooks([(name, double)]):
            logits, cache = model.run_with_cache(TOKENS, names_filter=lambda name: True)
        assert not torch.allclose(logits, model(TOKENS)), name
        assert torch.equal(cache[name], clean[name] * 2)
        layer = model.hook_dict[name].layer() if name.startswith("blocks") else 0
        earlier = [n for n in names[:at] if n.startswith("blocks") and f"blocks.{layer}" > n[:8]]
        assert all(torch.equal(cache[n], clean[n]) for n in earlier)


@torch.no_grad()
def test_head_results_sum_to_what_attention_writes() -> None:
    for cfg in (CFG, GROUPED):
        model = random_model(cfg)
        _, cache = model.run_with_cache(TOKENS, names_filter=lambda name: True)
        for layer in range(cfg.n_layers):
            summed = cache["result", layer].sum(2) + model.b_O[layer]
            torch.testing.assert_close(summed, cache["attn_out", layer], rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("cfg", [CFG, GROUPED])
@pytest.mark.parametrize("letter", ["q", "k", "v"])
def test_an_input_of_one_head_reaches_that_head_only(cfg: ModelConfig, letter: str) -> None:
    model = random_model(cfg)
    heads = list(range(cfg.n_heads))
    touched = 1
    if letter != "q":  # one key-value head serves a group of query heads
        group = cfg.heads_per_group
        heads = heads[touched * group : (touched + 1) * group]
    else:
        heads = [touched]

    def replace(value: torch.Tensor, hook: HookPoint) -> torch.Tensor:
        value[:, :, touched] = torch.randn(7, 16, generator=torch.Generator().manual_seed(0))
        return value

    _, clean = model.run_with_cache(TOKENS, names_filter="blocks.1.attn.hook_z")
    with model.hooks([(f"blocks.1.hook_{letter}_input", replace)]):
        _, patched = model.run_with_cache(TOKENS, names_filter="blocks.1.attn.hook_z")
    changed = (clean["z", 1] - patched["z", 1]).abs().amax((0, 1, 3)) > 1e-4
    assert changed.nonzero().flatten().tolist() == heads


@torch.no_grad()
def test_the_input_of_all_parts_of_a_head(model: HookedTransformer) -> None:
    """hook_attn_in feeds queries, keys and values of each head from one copy of the stream."""

    def replace(value: torch.Tensor, hook: HookPoint) -> torch.Tensor:
        assert value.shape == (3, 7, 4, 16)
        value[:, :, 2] = 0
        return value

    _, clean = model.run_with_cache(TOKENS, names_filter="blocks.1.attn.hook_z")
    with model.hooks([("blocks.1.hook_attn_in", replace)]):
        _, patched = model.run_with_cache(TOKENS, names_filter="blocks.1.attn.hook_z")
    changed = (clean["z", 1] - patched["z", 1]).abs().amax((0, 1, 3)) > 1e-4
    assert changed.tolist() == [False, False, True, False]


@torch.no_grad()
def test_patterns_are_softmaxed_masked_scores(model: HookedTransformer) -> None:
    _, cache = model.run_with_cache(TOKENS)
    scores, pattern = cache["attn_scores", 1], cache["pattern", 1]
    assert torch.isinf(scores).sum() == 3 * 4 * 21
    assert torch.equal(scores.softmax(-1), pattern)
    torch.testing.assert_close(pattern.sum(-1), torch.ones(3, 4, 7))


# ---- gradients ----


def test_backward_hooks_see_the_gradient(model: HookedTransformer) -> None:
    name = "blocks.0.hook_resid_post"
    seen: dict[str, torch.Tensor] = {}

    def keep(value: torch.Tensor, hook: HookPoint) -> None:
        value.retain_grad()
        seen["value"] = value

    def see(gradient: torch.Tensor, hook: HookPoint) -> None:
        seen["gradient"] = gradient.clone()

    loss = model.run_with_hooks(
        TOKENS, return_type="loss", fwd_hooks=[(name, keep)], bwd_hooks=[(name, see)]
    )
    loss.backward()
    assert torch.equal(seen["gradient"], seen["value"].grad)
    assert seen["gradient"].abs().max() > 0


def test_a_backward_hook_can_replace_the_gradient(model: HookedTransformer) -> None:
    def stop(gradient: torch.Tensor, hook: HookPoint) -> torch.Tensor:
        return torch.zeros_like(gradient)

    hooks = [("blocks.1.hook_resid_post", stop)]
    model.run_with_hooks(TOKENS, return_type="loss", bwd_hooks=hooks).backward()
    assert model.embed.W_E.grad.abs().max() == 0
    assert model.unembed.W_U.grad.abs().max() > 0


def test_the_cache_keeps_gradients_on_request(model: HookedTransformer) -> None:
    _, cache = model.run_with_cache(TOKENS, return_type="loss", incl_bwd=True)
    forward = [name for name in cache if not name.endswith("_grad")]
    assert set(cache) == set(forward) | {f"{name}_grad" for name in forward}
    z, gradient = cache["z", 1], cache.cache_dict["blocks.1.attn.hook_z_grad"]
    assert gradient.shape == z.shape
    # A small step along the gradient changes the loss by its squared length.
    step = 1e-2

    def move(value: torch.Tensor, hook: HookPoint) -> torch.Tensor:
        return value + step * gradient

    with torch.no_grad():
        moved = model.run_with_hooks(
            TOKENS, return_type="loss", fwd_hooks=[("blocks.1.attn.hook_z", move)]
        )
        change = (moved - model(TOKENS, return_type="loss")).item()
    assert change == pytest.approx(step * gradient.pow(2).sum().item(), rel=0.05)


# ---- how long functions stay ----


def attached(model: HookedTransformer) -> int:
    return sum(len(point.fwd_hooks) + len(point.bwd_hooks) for point in model.hook_points())


def test_functions_leave_when_the_block_ends_or_raises(model: HookedTransformer) -> None:
    def fail(value: torch.Tensor, hook: HookPoint) -> None:
        raise RuntimeError("stop here")

    with pytest.raises(RuntimeError, match="stop here"):
        model.run_with_hooks(TOKENS, fwd_hooks=[(lambda n: True, look), ("hook_embed", fail)])
    assert attached(model) == 0
    with pytest.raises(RuntimeError, match="stop here"), model.hooks([("hook_embed", look)]):
        model.run_with_cache(TOKENS, names_filter=["hook_embed"])
        with model.hooks([("hook_embed", fail)]):
            assert attached(model) == 2
            model.run_with_cache(TOKENS)
    assert attached(model) == 0


def test_nothing_is_attached_if_one_name_is_unknown(model: HookedTransformer) -> None:
    with pytest.raises(UnknownHook):
        model.run_with_hooks(TOKENS, fwd_hooks=[("hook_embed", look), ("hook_nothing", look)])
    assert attached(model) == 0


def test_resetting_leaves_permanent_functions(model: HookedTransformer) -> None:
    model.add_hook("hook_embed", look)
    model.add_perma_hook(["hook_embed", "blocks.0.attn.hook_z"], look)
    assert attached(model) == 3
    model.run_with_hooks(TOKENS, fwd_hooks=[("hook_embed", look)])
    assert attached(model) == 3, "what was there before stays"
    model.reset_hooks()
    assert attached(model) == 2
    model.reset_hooks(including_permanent=True)
    assert attached(model) == 0


def test_functions_can_be_left_attached(model: HookedTransformer) -> None:
    model.run_with_hooks(TOKENS, fwd_hooks=[("hook_embed", look)], reset_hooks_end=False)
    assert attached(model) == 1
    model.reset_hooks()
    assert attached(model) == 0


def test_levels_and_directions(model: HookedTransformer) -> None:
    model.add_hook("hook_embed", look, level=1)
    model.add_hook("hook_embed", look, level=2)
    model.add_hook("hook_embed", look, dir="bwd", level=2)
    model.hook_dict["hook_embed"].add_perma_hook(look)
    model.reset_hooks(level=1)
    assert attached(model) == 3
    model.remove_all_hook_fns(direction="bwd")
    assert attached(model) == 2
    model.reset_hooks()
    assert attached(model) == 1 and model.hook_dict["hook_embed"].has_hooks()


@torch.no_grad()
def test_switches_keep_what_is_computed_on_demand(model: HookedTransformer) -> None:
    _, lean = model.run_with_cache(TOKENS)
    for switch, name, shape in (
        ("attn_result", "attn.hook_result", (3, 7, 4, 16)),
        ("split_qkv_input", "hook_k_input", (3, 7, 4, 16)),
        ("attn_in", "hook_attn_in", (3, 7, 4, 16)),
        ("hook_mlp_in", "hook_mlp_in", (3, 7, 16)),
    ):
        name, turn = f"blocks.1.{name}", getattr(model, f"set_use_{switch}")
        assert name not in lean
        turn(True)
        assert getattr(model.cfg, f"use_{switch}")
        assert model.run_with_cache(TOKENS)[1][name].shape == shape
        turn(False)
        assert name not in model.run_with_cache(TOKENS)[1]
    model.set_use_attn_in(True)
    assert "blocks.0.hook_attn_in" in HookedTransformer(model.cfg).run_with_cache(TOKENS)[1]


@torch.no_grad()
def test_contexts_can_be_emptied_after_a_run(model: HookedTransformer) -> None:
    model.hook_dict["hook_embed"].ctx["a"] = 1
    model.run_with_cache(TOKENS)
    assert model.hook_dict["hook_embed"].ctx
    model.run_with_cache(TOKENS, clear_contexts=True)
    assert not model.hook_dict["hook_embed"].ctx


def test_functions_run_in_order(model: HookedTransformer) -> None:
    order: list[str] = []
    for label, prepend in (("second", False), ("third", False), ("first", True)):
        model.add_hook(
            "hook_embed", lambda value, hook, label=label: order.append(label), prepend=prepend
        )
    model(TOKENS)
    assert order == ["first", "second", "third"]


def test_a_hook_knows_its_name_and_layer(model: HookedTransformer) -> None:
    seen = []
    model.run_with_hooks(
        TOKENS,
        fwd_hooks=[(lambda name: "hook_z" in name, lambda v, hook: seen.append(hook.layer()))],
    )
    assert seen == [0, 1]
    with pytest.raises(ValueError, match="'hook_embed' belongs to no layer"):
        model.hook_dict["hook_embed"].layer()


def test_hooks_can_talk_through_the_context(model: HookedTransformer) -> None:
    def remember(value: torch.Tensor, hook: HookPoint) -> None:
        hook.ctx["norm"] = value.norm()

    model.run_with_hooks(TOKENS, fwd_hooks=[("hook_embed", remember)])
    assert model.hook_dict["hook_embed"].ctx
    model.run_with_hooks(TOKENS, fwd_hooks=[("hook_embed", remember)], clear_contexts=True)
    assert not model.hook_dict["hook_embed"].ctx


# ---- names ----


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("blocks.0.attn.hook_zz", "no hook point is called 'blocks.0.attn.hook_zz'.*hook_z"),
        ("blocks.7.attn.hook_z", "near matches: .*blocks.[01].attn.hook_z"),
        (["hook_embed", "hook_embedding"], "'hook_embedding'.*hook_embed"),
        ([], "the list of hook names is empty"),
        (lambda name: name.startswith("decoder"), "the filter matches no hook point"),
        ("z", "no hook point is called 'z' here; near matches: blocks.0.attn.hook_z, blocks.1"),
    ],
)
def test_a_name_that_matches_nothing_is_an_error(
    model: HookedTransformer, names: Any, message: str
) -> None:
    with pytest.raises(UnknownHook, match=message):
        model.run_with_cache(TOKENS, names_filter=names)
    with pytest.raises(UnknownHook, match=message):
        model.run_with_hooks(TOKENS, fwd_hooks=[(names, look)])
    with pytest.raises(UnknownHook, match=message):
        model.add_hook(names, look)


def test_a_point_that_is_not_reached_is_an_error(model: HookedTransformer) -> None:
    with pytest.raises(UnknownHook, match=r"'blocks.1.attn.hook_z' was not reached"):
        model.run_with_cache(TOKENS, names_filter="blocks.1.attn.hook_z", stop_at_layer=1)
    _, cache = model.run_with_cache(TOKENS, names_filter=lambda n: "hook_z" in n, stop_at_layer=1)
    assert list(cache) == ["blocks.0.attn.hook_z"]


def test_the_names_are_those_of_the_field() -> None:
    names = set(random_model(CFG).hook_dict)
    block = "blocks.1."
    assert names >= {
        "hook_embed",
        "hook_pos_embed",
        "ln_final.hook_scale",
        "ln_final.hook_normalized",
        *(f"{block}hook_{x}" for x in ("resid_pre", "resid_mid", "resid_post")),
        *(f"{block}hook_{x}" for x in ("attn_out", "mlp_out", "attn_in", "mlp_in")),
        *(f"{block}hook_{x}_input" for x in "qkv"),
        *(f"{block}attn.hook_{x}" for x in ("q", "k", "v", "z", "attn_scores", "pattern")),
        f"{block}attn.hook_result",
        *(f"{block}mlp.hook_{x}" for x in ("pre", "post")),
        *(f"{block}ln{i}.hook_{x}" for i in (1, 2) for x in ("scale", "normalized")),
        *("unembed.hook_in", "unembed.hook_out"),
    }
    llama = set(random_model(GROUPED).hook_dict)
    assert {f"{block}attn.hook_rot_q", f"{block}mlp.hook_pre_linear"} <= llama
    assert "hook_pos_embed" not in llama
    parallel = set(random_model(CFG.replace(parallel_attn_mlp=True)).hook_dict)
    assert f"{block}hook_resid_mid" not in parallel


# ---- what is recorded ----


@torch.no_grad()
def test_a_recording_shares_no_memory_with_the_run(model: HookedTransformer) -> None:
    """Later hooks that write in place do not reach the cache, and writing to it reaches no run."""
    _, clean = model.run_with_cache(TOKENS, names_filter=lambda name: True)
    live: list[torch.Tensor] = []

    def spoil(value: torch.Tensor, hook: HookPoint) -> None:
        live.append(value)

    _, cache = model.run_with_cache(TOKENS, names_filter=lambda name: True)
    with model.hooks([(lambda name: True, spoil)]):
        _, cache = model.run_with_cache(TOKENS, names_filter=lambda name: True)
    for value in live:
        value.fill_(torch.nan)
    assert all(torch.equal(cache[name], clean[name]) for name in clean)
    expected = model(TOKENS)
    for name in cache:
        cache[name].fill_(torch.nan)
    assert torch.equal(model(TOKENS), expected)


@torch.no_grad()
def test_what_is_written_between_two_points_is_seen_by_the_second(
    model: HookedTransformer,
) -> None:
    """resid_post of a layer and resid_pre of the next are one value, unless a hook writes there."""
    _, cache = model.run_with_cache(TOKENS)
    post, pre = cache["resid_post", 0], cache["resid_pre", 1]
    assert post.data_ptr() == pre.data_ptr(), "recorded once"

    def write(value: torch.Tensor, hook: HookPoint) -> None:
        value.zero_()

    model.add_hook("blocks.1.hook_resid_pre", write)
    _, cache = model.run_with_cache(TOKENS)
    assert torch.equal(cache["resid_post", 0], post)
    assert cache["resid_pre", 1].abs().max() == 0


@torch.no_grad()
def test_forms_of_the_cache(model: HookedTransformer) -> None:
    _, plain = model.run_with_cache(TOKENS[:1], return_cache_object=False)
    assert isinstance(plain, dict)
    _, flat = model.run_with_cache(TOKENS[:1], remove_batch_dim=True)
    assert flat["pattern", 0].shape == (4, 7, 7)
    _, moved = model.run_with_cache(TOKENS, names_filter="hook_embed", device="meta")
    assert moved["hook_embed"].device.type == "meta"
    with pytest.raises(ValueError, match="batch of one"):
        model.run_with_cache(TOKENS, remove_batch_dim=True)


def test_a_recording_does_not_hold_the_graph(model: HookedTransformer) -> None:
    _, cache = model.run_with_cache(TOKENS)
    assert not any(value.requires_grad for value in cache.values())


# ---- the first seed document ----


def test_the_snippet_of_the_field_runs_as_it_is(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only its import line is changed; a tiny model of twelve layers stands in for GPT-2."""
    (seed,) = (shared / "seeds").glob("001*")
    text = seed.read_text(encoding="utf-8")
    start = text.index("from transformer_lens import HookedTransformer")
    end = text.index("run_with_cache records the tape")
    cfg = CFG.replace(n_layers=12, n_heads=12, d_model=24, d_head=2, model_name="gpt2")
    model = random_model(cfg)
    monkeypatch.setattr(HookedTransformer, "from_pretrained", lambda name: model)
    prompt = TOKENS[:1]
    _, clean_cache = model.run_with_cache(TOKENS[1:2])
    names: dict[str, Any] = {"prompt": prompt, "clean_cache": clean_cache, "pos": 6, "head": 9}
    snippet = text[start:end].replace("from transformer_lens", "from cutaway")
    snippet = re.sub(r"^(act\[|return act)", r"    \1", snippet, flags=re.M)  # lost in the copy
    exec(snippet, names)
    assert names["HookedTransformer"] is cutaway.HookedTransformer
    difference = (names["patched"] - names["logits"]).abs().amax(-1)[0]
    assert difference[-1] > 0.01
    assert difference[:-1].max() < 1e-4
