"""Code as published courses write it for HookedTransformer, with the import changed and no more.

The exercises are ours. Each function is one: what stands in it uses the field's names only, and
runs on the embedded model and on one with random weights.
"""

from __future__ import annotations

import pytest
import torch
import torch as t
from torch import Tensor

import cutaway.utils as same_utils
from cutaway import (
    ActivationCache,
    FactoredMatrix,
    HookedTransformer,
    HookedTransformerConfig,
    utils,
)
from cutaway.hook_points import HookedRootModule, HookPoint

PROMPT = "When Mary and John went to the store, John gave a drink to"


@pytest.fixture(scope="module")
def embedded() -> HookedTransformer:
    return HookedTransformer.from_pretrained("ioi-mini", device="cpu")


@pytest.fixture(scope="module")
def fresh() -> HookedTransformer:
    cfg = HookedTransformerConfig(
        n_layers=2,
        d_model=24,
        n_heads=3,
        d_head=8,
        d_mlp=40,
        d_vocab=50,
        n_ctx=40,
        act_fn="gelu",
        normalization_type="LN",
        seed=11,
        device="cpu",
        use_attn_result=True,
        initializer_range=0.3,
    )
    return HookedTransformer(cfg)


@pytest.fixture(params=["embedded", "fresh"])
def model(request: pytest.FixtureRequest) -> HookedTransformer:
    return request.getfixturevalue(request.param)


def random_tokens(model: HookedTransformer, batch: int, length: int) -> Tensor:
    t.manual_seed(0)
    return t.randint(3, model.cfg.d_vocab, (batch, length), device=model.cfg.device)


# ---- attention from the cache ----


def test_patterns_by_hand(model: HookedTransformer) -> None:
    tokens = random_tokens(model, 1, 9)
    _, cache = model.run_with_cache(tokens, remove_batch_dim=True)
    assert isinstance(cache, ActivationCache)
    q, k = cache["q", 0], cache["k", 0]
    scores = t.einsum("qhd,khd->hqk", q, k) / model.cfg.d_head**0.5
    mask = t.triu(t.ones(9, 9, dtype=t.bool, device=model.cfg.device), diagonal=1)
    pattern = scores.masked_fill(mask, -1e5).softmax(-1)
    t.testing.assert_close(pattern, cache["pattern", 0], rtol=1e-4, atol=1e-5)
    t.testing.assert_close(pattern, cache[utils.get_act_name("pattern", 0)], rtol=1e-4, atol=1e-5)
    for layer in range(model.cfg.n_layers):
        current = [h for h in range(model.cfg.n_heads) if cache["pattern", layer][h].trace() > 4.5]
        assert all(0 <= head < model.cfg.n_heads for head in current)


# ---- induction heads, by hooks on a repeated sequence ----


def test_induction_scores_by_hooks(model: HookedTransformer) -> None:
    length, batch = 12, 4
    half = random_tokens(model, batch, length)
    first = t.zeros(batch, 1, dtype=t.long)
    repeated = t.cat([first, half, half], dim=-1).to(model.cfg.device)
    store = t.zeros((model.cfg.n_layers, model.cfg.n_heads), device=model.cfg.device)

    def induction_hook(pattern: Tensor, hook: HookPoint) -> None:
        stripe = pattern.diagonal(dim1=-2, dim2=-1, offset=1 - length)
        store[hook.layer(), :] = stripe.mean(dim=(0, -1))

    def pattern_names(name: str) -> bool:
        return name.endswith("pattern")

    out = model.run_with_hooks(
        repeated, return_type=None, fwd_hooks=[(pattern_names, induction_hook)]
    )
    assert out is None
    _, cache = model.run_with_cache(repeated, names_filter=pattern_names)
    expected = t.stack(
        [cache["pattern", layer].diagonal(1 - length, -2, -1).mean((0, -1)) for layer in range(2)]
    )
    t.testing.assert_close(store[:2], expected)
    loss = model(repeated, return_type="loss", loss_per_token=True)
    log_probs = model(repeated)[:, :-1].log_softmax(-1)
    by_hand = -log_probs.gather(-1, repeated[:, 1:, None])[..., 0]
    t.testing.assert_close(loss, by_hand, rtol=1e-4, atol=1e-4)


# ---- ablation of heads ----


def head_zero_ablation(z: Tensor, hook: HookPoint, head_index: int) -> Tensor:
    z[:, :, head_index, :] = 0.0
    return z


def test_ablation_scores(model: HookedTransformer) -> None:
    tokens = random_tokens(model, 3, 10)
    model.reset_hooks()
    with t.inference_mode():
        clean_loss = utils.lm_cross_entropy_loss(model(tokens), tokens)
        scores = t.zeros((model.cfg.n_layers, model.cfg.n_heads), device=model.cfg.device)
        for layer in range(model.cfg.n_layers):
            for head in range(model.cfg.n_heads):

                def hook_fn(z: Tensor, hook: HookPoint, head: int = head) -> Tensor:
                    return head_zero_ablation(z, hook, head_index=head)

                logits = model.run_with_hooks(
                    tokens, fwd_hooks=[(utils.get_act_name("z", layer), hook_fn)]
                )
                loss = utils.lm_cross_entropy_loss(logits, tokens)
                scores[layer, head] = loss - clean_loss
    assert utils.to_numpy(scores).shape == (model.cfg.n_layers, model.cfg.n_heads)
    assert bool((scores != 0).all())
    model.add_hook(utils.get_act_name("z", 0), lambda z, hook: z * 0, level=1)
    model.add_perma_hook("hook_embed", lambda value, hook: value)
    model.reset_hooks(level=2)
    assert model.hook_dict["blocks.0.attn.hook_z"].has_hooks()
    model.reset_hooks(including_permanent=True)
    assert not any(point.has_hooks() for point in model.hook_points())


# ---- direct logit attribution ----


def test_logit_attribution(embedded: HookedTransformer) -> None:
    model = embedded
    tokens = model.to_tokens([PROMPT, PROMPT], prepend_bos=True)
    correct = t.tensor([model.to_single_token(" Mary")] * 2, device=model.cfg.device)
    wrong = t.tensor([model.to_single_token(" John")] * 2, device=model.cfg.device)
    logits, cache = model.run_with_cache(tokens)
    rows = t.arange(2)
    # The final norm's bias, which folding moved into b_U, belongs to no component.
    difference = logits[rows, -1, correct] - logits[rows, -1, wrong]
    difference = (difference - (model.b_U[correct] - model.b_U[wrong])).detach()

    answers = t.stack([correct, wrong], dim=1)
    directions = model.tokens_to_residual_directions(answers)  # [batch, 2, d_model]
    direction = directions[:, 0] - directions[:, 1]
    final = cache["resid_post", -1][:, -1, :]
    scaled = cache.apply_ln_to_stack(final, layer=-1, pos_slice=-1)
    t.testing.assert_close((scaled * direction).sum(-1), difference, rtol=1e-3, atol=1e-3)

    stack, labels = cache.accumulated_resid(
        layer=-1, incl_mid=True, pos_slice=-1, return_labels=True
    )
    assert labels[-1] == "final_post" and len(labels) == len(stack)
    parts, labels = cache.decompose_resid(layer=-1, pos_slice=-1, return_labels=True)
    attributed = cache.logit_attrs(parts, correct, wrong, pos_slice=-1)
    t.testing.assert_close(attributed.sum(0), difference, rtol=1e-3, atol=1e-3)
    one = cache.logit_attrs(
        parts, correct[:1], wrong[:1], pos_slice=-1, batch_slice=(0, 1), has_batch_dim=True
    )
    t.testing.assert_close(one, attributed[:, :1])
    heads, names = cache.stack_head_results(layer=-1, pos_slice=-1, return_labels=True)
    assert names == model.all_head_labels() and len(heads) == len(names)
    patterns = cache.stack_activation("pattern")
    assert patterns.shape[:2] == (model.cfg.n_layers, 2)
    t.testing.assert_close(cache.stack_activation("pattern", layer=1), patterns[:1])


def test_results_of_heads(model: HookedTransformer) -> None:
    tokens = random_tokens(model, 2, 6)
    was = model.cfg.use_attn_result
    model.set_use_attn_result(True)
    model.set_use_split_qkv_input(True)
    _, cache = model.run_with_cache(tokens)
    assert cache["result", 0].shape == (2, 6, model.cfg.n_heads, model.cfg.d_model)
    assert cache["q_input", 0].shape == (2, 6, model.cfg.n_heads, model.cfg.d_model)
    model.set_use_attn_result(False)
    model.set_use_split_qkv_input(False)
    _, lean = model.run_with_cache(tokens)
    assert ("result", 0) not in lean and ("q_input", 0) not in lean
    lean.compute_head_results()
    t.testing.assert_close(lean["result", 1], cache["result", 1], rtol=1e-4, atol=1e-5)
    model.set_use_attn_result(was)


# ---- patching the residual stream ----


def test_residual_patching_loop(embedded: HookedTransformer) -> None:
    model = embedded
    clean = model.to_tokens(PROMPT)
    corrupted = model.to_tokens(PROMPT.replace(", John", ", Mary"))
    mary, john = model.to_single_token(" Mary"), model.to_single_token(" John")

    def metric(logits: Tensor) -> Tensor:
        return logits[0, -1, mary] - logits[0, -1, john]

    clean_logits, clean_cache = model.run_with_cache(clean)
    corrupted_logits = model(corrupted)
    span = metric(clean_logits) - metric(corrupted_logits)

    def patch_position(resid: Tensor, hook: HookPoint, pos: int) -> Tensor:
        resid[:, pos, :] = clean_cache[hook.name][:, pos, :]
        return resid

    results = t.zeros(model.cfg.n_layers, clean.shape[1], device=model.cfg.device)
    for layer in range(model.cfg.n_layers):
        for position in range(clean.shape[1]):
            logits = model.run_with_hooks(
                corrupted,
                fwd_hooks=[
                    (
                        utils.get_act_name("resid_pre", layer),
                        lambda resid, hook, pos=position: patch_position(resid, hook, pos),
                    )
                ],
            )
            results[layer, position] = (metric(logits) - metric(corrupted_logits)) / span
    changed = int((clean != corrupted).nonzero()[0, 1])
    t.testing.assert_close(results[0, changed], t.tensor(1.0), rtol=1e-3, atol=1e-3)
    assert results[:, :changed].abs().max() < 1e-4


# ---- circuits in the weights ----


def test_circuits_as_factored_matrices(model: HookedTransformer) -> None:
    head = (1, 2)
    ov = FactoredMatrix(model.W_V[head], model.W_O[head])
    full = model.W_E @ ov @ model.W_U
    assert isinstance(full, FactoredMatrix)
    assert full.shape == (model.cfg.d_vocab, model.cfg.d_vocab) and full.ndim == 2
    rows = t.arange(6)
    by_hand = model.W_E[rows] @ model.W_V[head] @ model.W_O[head] @ model.W_U
    t.testing.assert_close(full[rows].AB, by_hand, rtol=1e-3, atol=1e-4)
    eigenvalues = full.eigenvalues
    copying = eigenvalues.sum().real / eigenvalues.abs().sum()
    assert -1 <= copying.item() <= 1
    qk = model.QK[head]
    t.testing.assert_close(qk.AB, model.W_Q[head] @ model.W_K[head].T, rtol=1e-4, atol=1e-5)
    by_position = model.W_pos @ qk @ model.W_pos.T
    assert by_position.shape == (model.cfg.n_ctx, model.cfg.n_ctx)
    t.testing.assert_close(utils.get_corner(full.AB), full.get_corner(), rtol=1e-3, atol=1e-4)
    U, S, V = ov.svd()
    t.testing.assert_close(U @ S.diag() @ V.T, ov.AB, rtol=1e-3, atol=1e-4)
    for mode in ("Q", "K", "V"):
        scores = model.all_composition_scores(mode)
        one = utils.composition_scores(model.OV[0, 1], getattr(model, "OV")[1, 0])  # noqa: B009
        assert bool((scores >= 0).all() and (scores <= 1).all())
        assert scores[1, :, 0].abs().max() == 0
        if mode == "V":
            t.testing.assert_close(scores[0, 1, 1, 0], one, rtol=1e-4, atol=1e-5)


# ---- parts of a model called alone ----


def test_a_forward_pass_from_its_parts(model: HookedTransformer) -> None:
    tokens = random_tokens(model, 2, 7)
    resid = model.embed(tokens) + model.pos_embed(tokens)
    t.testing.assert_close(model.pos_embed(tokens)[1], model.W_pos[:7])
    for block in model.blocks:
        normalized = block.ln1(resid)
        attn_out = block.attn(normalized, normalized, normalized)
        mid = resid + attn_out
        expected = mid + block.mlp(block.ln2(mid))
        resid = block(resid)
        t.testing.assert_close(resid, expected, rtol=1e-4, atol=1e-5)
    logits = model.unembed(model.ln_final(resid))
    t.testing.assert_close(logits, model(tokens), rtol=1e-4, atol=1e-4)
    assert model.loss_fn(logits, tokens).ndim == 0
    assert 0 <= float(utils.lm_accuracy(logits, tokens)) <= 1


# ---- text ----


def test_text_and_generation(embedded: HookedTransformer, capsys: pytest.CaptureFixture) -> None:
    model = embedded
    assert model.to_str_tokens(model.to_tokens(PROMPT)[0]) == model.to_str_tokens(PROMPT)
    ids = model.tokenizer(PROMPT)["input_ids"]
    assert model.to_str_tokens(ids) == model.to_str_tokens(PROMPT, prepend_bos=False)
    assert model.to_str_tokens(utils.to_numpy(ids)) == model.to_str_tokens(ids)
    assert model.tokenizer.decode(ids) == model.tokenizer.batch_decode([ids])[0]
    assert model.tokenizer.get_vocab()[model.tokenizer.bos_token] == model.tokenizer.bos_token_id
    assert model.tokenizer.eos_token_id is not None
    out = model.generate(PROMPT, max_new_tokens=1, temperature=0, verbose=False)
    assert out.endswith(" Mary")
    assert model.generate(PROMPT, max_new_tokens=2, top_k=1, verbose=False).startswith(out)
    tokens = model.to_tokens(PROMPT, move_to_device=False)
    assert tokens.device.type == "cpu"
    utils.test_prompt(PROMPT, "Mary", model, prepend_bos=True, top_k=3)
    said = capsys.readouterr().out
    assert "Top 0 " in said and "[(' Mary', 0)]" in said


def test_loading_as_courses_do() -> None:
    model = HookedTransformer.from_pretrained(
        "ioi-mini",
        False,
        center_unembed=False,
        center_writing_weights=False,
        default_prepend_bos=False,
        default_padding_side="left",
    )
    assert model.cfg.normalization_type == "LN"
    assert model.tokenizer.padding_side == "left"
    assert model.to_tokens(PROMPT)[0, 0] != model.tokenizer.bos_token_id


# ---- the cache in part ----


def test_a_cache_of_some_positions(model: HookedTransformer) -> None:
    tokens = random_tokens(model, 2, 8)
    _, whole = model.run_with_cache(tokens)
    _, last = model.run_with_cache(tokens, pos_slice=-1, reset_hooks_end=True)
    for name in whole:
        dim = 1 if whole[name].ndim == 3 or name.endswith(("q", "k", "v", "z", "result")) else 2
        t.testing.assert_close(last[name], whole[name].narrow(dim, 7, 1))
    _, some = model.run_with_cache(tokens, pos_slice=(2, 5))
    assert some["z", 0].shape[1] == 3
    t.testing.assert_close(some["pattern", 0], whole["pattern", 0][:, :, 2:5])
    one = whole.apply_slice_to_batch_dim(0)
    assert not one.has_batch_dim and one["resid_pre", 0].shape == (8, model.cfg.d_model)


def test_modules_of_ones_own() -> None:
    class Square(HookedRootModule):
        def __init__(self) -> None:
            super().__init__()
            self.hook_square = HookPoint()
            self.setup()

        def forward(self, x: Tensor) -> Tensor:
            return self.hook_square(x**2) + 1

    square = Square()
    out, cache = square.run_with_cache(t.tensor([3.0]))
    assert out.item() == 10 and cache["hook_square"].item() == 9
    hooks = [("hook_square", lambda value, hook: value * 0)]
    assert square.run_with_hooks(t.tensor([3.0]), fwd_hooks=hooks).item() == 1
    assert "hook_square" in square.mod_dict


def test_utils() -> None:
    assert same_utils is utils
    assert utils.to_numpy([1, 2]).tolist() == [1, 2]
    assert utils.to_numpy(torch.ones(2, dtype=torch.bfloat16)).dtype.name == "float32"
    x = torch.linspace(-3, 3, 7)
    torch.testing.assert_close(utils.gelu_new(x), torch.nn.functional.gelu(x), rtol=0, atol=1e-2)
    assert utils.remove_batch_dim(torch.ones(1, 3)).shape == (3,)
    assert utils.remove_batch_dim(torch.ones(2, 3)).shape == (2, 3)
    assert utils.Slice((1, 5, 2)).apply(torch.arange(6)).tolist() == [1, 3]
    assert utils.transpose(torch.ones(2, 3)).shape == (3, 2)
    assert utils.get_device().type in ("cpu", "cuda", "mps")
