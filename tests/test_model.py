"""The decoder: padding, parts of it, the key-value cache, ties, and what it refuses."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cutaway.model.config import ConfigError, ModelConfig
from cutaway.model.kv_cache import KVCache
from cutaway.model.loading import expected_shapes
from cutaway.model.transformer import HookedTransformer
from random_models import configs, random_model
from test_generation import word_tokenizer

CFG = ModelConfig(n_layers=3, d_model=16, n_heads=4, d_vocab=17, n_ctx=12, init_range=0.4)
TOKENS = torch.randint(3, 17, (3, 9), generator=torch.Generator().manual_seed(0))


def assert_close(actual: torch.Tensor, expected: torch.Tensor, atol: float = 2e-5) -> None:
    torch.testing.assert_close(actual, expected, rtol=2e-5, atol=atol)


# ---- an oracle, written out position by position ----


def norm_oracle(model: HookedTransformer, norm: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    kind = model.cfg.normalization_type
    if kind is None:
        return x
    if kind.startswith("LN"):
        x = x - x.mean(-1, keepdim=True)
    x = x / (x.pow(2).mean(-1, keepdim=True) + model.cfg.eps).sqrt()
    x = x if norm.w is None else x * norm.w
    return x if norm.b is None else x + norm.b


def turn(cfg: ModelConfig, vector: torch.Tensor, position: int) -> torch.Tensor:
    """Rotary positions (Su et al. 2021), pair by pair."""
    vector = vector.clone()
    half = cfg.rotary_dim // 2
    for i in range(half):
        a, b = (2 * i, 2 * i + 1) if cfg.rotary_adjacent_pairs else (i, i + half)
        angle = torch.tensor(position * cfg.rotary_base ** (-2 * i / cfg.rotary_dim))
        x, y = vector[a].clone(), vector[b].clone()
        vector[a] = x * angle.cos() - y * angle.sin()
        vector[b] = x * angle.sin() + y * angle.cos()
    return vector


def attention_oracle(
    model: HookedTransformer, attn: torch.nn.Module, x: torch.Tensor
) -> torch.Tensor:
    cfg = model.cfg
    out = attn.b_O.repeat(len(x), 1)
    for head in range(cfg.n_heads):
        kv = head // cfg.heads_per_group
        q = x @ attn.W_Q[head] + attn.b_Q[head]
        k = x @ attn.W_K[kv] + attn.b_K[kv]
        v = x @ attn.W_V[kv] + attn.b_V[kv]
        if cfg.positional_embedding_type == "rotary":
            q = torch.stack([turn(cfg, row, i) for i, row in enumerate(q)])
            k = torch.stack([turn(cfg, row, i) for i, row in enumerate(k)])
        for i in range(len(x)):
            first = 0 if cfg.sliding_window is None else max(0, i - cfg.sliding_window + 1)
            weights = (k[first : i + 1] @ q[i] / cfg.d_head**0.5).softmax(0)
            out[i] = out[i] + weights @ v[first : i + 1] @ attn.W_O[head]
    return out


def mlp_oracle(model: HookedTransformer, mlp: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    F = torch.nn.functional
    act = {
        "gelu": lambda x: x * (1 + torch.erf(x / 2**0.5)) / 2,
        "gelu_new": lambda x: (
            x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3))) / 2
        ),
        "relu": F.relu,
        "silu": lambda x: x * torch.sigmoid(x),
    }[model.cfg.act_fn]
    middle = x @ mlp.W_in + mlp.b_in
    gated = model.cfg.gated_mlp
    post = act(x @ mlp.W_gate + mlp.b_gate) * middle if gated else act(middle)
    return post @ mlp.W_out + mlp.b_out


def logits_oracle(model: HookedTransformer, tokens: torch.Tensor) -> torch.Tensor:
    """Logits [pos, d_vocab] of one sequence."""
    cfg = model.cfg
    x = model.W_E[tokens]
    if cfg.positional_embedding_type == "standard":
        x = x + model.W_pos[: len(tokens)]
    for block in model.blocks:
        attended = attention_oracle(model, block.attn, norm_oracle(model, block.ln1, x))
        if cfg.attn_only:
            x = x + attended
        elif cfg.parallel_attn_mlp:
            x = x + attended + mlp_oracle(model, block.mlp, norm_oracle(model, block.ln2, x))
        else:
            x = x + attended
            x = x + mlp_oracle(model, block.mlp, norm_oracle(model, block.ln2, x))
    return norm_oracle(model, model.ln_final, x) @ model.W_U + model.b_U


@settings(max_examples=40)
@given(configs(), st.integers(0, 100))
@torch.no_grad()
def test_logits_equal_the_written_out_model(cfg: ModelConfig, seed: int) -> None:
    model = random_model(cfg, seed)
    logits = model(TOKENS)
    for tokens, row in zip(TOKENS, logits, strict=True):
        assert_close(row, logits_oracle(model, tokens), atol=1e-4)


# ---- padding ----


@settings(max_examples=30)
@given(configs(), st.sampled_from(["left", "right"]), st.booleans())
@torch.no_grad()
def test_a_padded_batch_gives_each_prompt_its_own_logits(
    cfg: ModelConfig, side: str, from_tokens: bool
) -> None:
    model = random_model(cfg)
    model.tokenizer = word_tokenizer()
    texts = ["w1 w2 w3 w4 w5 w6", "w3", "w9 w9 w1"]
    # Tokens alone are enough as well: padding on the left is recognised by its token.
    together = model(
        model.to_tokens(texts, padding_side=side) if from_tokens else texts, padding_side=side
    )
    for text, row in zip(texts, together, strict=True):
        alone = model(text)[0]
        assert_close(row[: len(alone)] if side == "right" else row[-len(alone) :], alone)


@torch.no_grad()
def test_pad_and_bos_can_be_one_token() -> None:
    """As in GPT-2: the last of the run at the front is BOS, the others are padding."""
    model = random_model(CFG)
    model.tokenizer = word_tokenizer(["<|endoftext|>", *(f"w{i}" for i in range(16))])
    texts = ["w1 w2 w3 w4", "w3"]
    tokens = model.to_tokens(texts, padding_side="left")
    assert tokens[1].tolist() == [0, 0, 0, 0, 4]
    assert model.padding_mask(tokens).tolist() == [[True] * 5, [False] * 3 + [True] * 2]
    for text, row in zip(texts, model(tokens), strict=True):
        alone = model(text)[0]
        assert_close(row[-len(alone) :], alone)


@torch.no_grad()
def test_padding_counts_in_no_loss() -> None:
    model = random_model(CFG)
    model.tokenizer = word_tokenizer()
    texts = ["w1 w2 w3 w4 w5 w6", "w3", "w9 w9 w1"]
    losses = [model(text, return_type="loss", loss_per_token=True) for text in texts]
    expected = torch.cat(losses, dim=1).mean()
    for side in ("left", "right"):
        assert_close(model(texts, return_type="loss", padding_side=side), expected)
    per_token = model(texts, return_type="loss", loss_per_token=True)
    assert per_token.shape == (3, 6)
    assert_close(per_token[1], torch.nn.functional.pad(losses[1][0], (0, 5)))


@torch.no_grad()
def test_a_mask_can_be_given() -> None:
    model = random_model(CFG)
    mask = torch.ones(3, 9, dtype=torch.bool)
    mask[1, :4] = False
    assert_close(model(TOKENS, attention_mask=mask)[1, 4:], model(TOKENS[1:2, 4:])[0])


# ---- parts of the model ----


@settings(max_examples=30)
@given(configs(min_layers=2), st.data())
@torch.no_grad()
def test_running_in_two_parts_is_running(cfg: ModelConfig, data: st.DataObject) -> None:
    model = random_model(cfg)
    cut = data.draw(st.integers(0, cfg.n_layers))
    residual = model(TOKENS, stop_at_layer=cut)
    assert_close(model(residual, start_at_layer=cut), model(TOKENS))
    _, cache = model.run_with_cache(TOKENS)
    expected = cache["resid_pre", cut] if cut < cfg.n_layers else cache["resid_post", -1]
    assert_close(residual, expected)


@settings(max_examples=25)
@given(configs())
@torch.no_grad()
def test_parts_can_be_called_alone(cfg: ModelConfig) -> None:
    model = random_model(cfg)
    _, cache = model.run_with_cache(TOKENS)
    if cfg.positional_embedding_type == "standard":
        assert_close(model.pos_embed(TOKENS), cache["pos_embed"])
        assert_close(model.pos_embed(TOKENS[:, :2], past_kv_pos_offset=3)[0], model.W_pos[3:5])
    block, x = model.blocks[0], cache["resid_pre", 0]
    assert_close(block(x), cache["resid_post", 0])
    normalized = block.ln1(x)
    assert_close(block.attn(normalized, normalized, normalized), cache["attn_out", 0])
    assert_close(model.unembed(model.ln_final(cache["resid_post", -1])), model(TOKENS))


@torch.no_grad()
def test_parts_called_alone_can_be_told_of_padding() -> None:
    model = random_model(CFG)
    mask = torch.ones(3, 9, dtype=torch.bool)
    mask[1, :4] = False
    resid = model.embed(TOKENS) + model.pos_embed(TOKENS, attention_mask=mask)
    for block in model.blocks:
        resid = block(resid, attention_mask=mask)
    logits = model.unembed(model.ln_final(resid))
    assert_close(logits[mask], model(TOKENS, attention_mask=mask)[mask])


@torch.no_grad()
def test_layers_count_from_the_end_too() -> None:
    model = random_model(CFG)
    assert torch.equal(model(TOKENS, stop_at_layer=-1), model(TOKENS, stop_at_layer=2))
    middle = model(TOKENS, stop_at_layer=1)
    part = model(middle, start_at_layer=1, stop_at_layer=2)
    assert_close(part, model(TOKENS, stop_at_layer=2))
    with pytest.raises(ValueError, match="stop_at_layer=4 is not between 0 and 3"):
        model(TOKENS, stop_at_layer=4)
    with pytest.raises(ValueError, match="start_at_layer=-4 is not between"):
        model(middle, start_at_layer=-4)


@torch.no_grad()
def test_what_is_returned() -> None:
    model = random_model(CFG)
    logits, loss = model(TOKENS, return_type="both")
    assert torch.equal(logits, model(TOKENS))
    assert torch.equal(loss, model(TOKENS, return_type="loss"))
    assert model(TOKENS, return_type=None) is None
    predicted = logits[:, :-1].log_softmax(-1).gather(-1, TOKENS[:, 1:, None])
    assert_close(loss, -predicted.mean())
    per_token = model(TOKENS, return_type="loss", loss_per_token=True)
    assert_close(per_token, -predicted[..., 0])
    residual = model(TOKENS, stop_at_layer=0)
    assert_close(model(residual, start_at_layer=0, return_type="loss", tokens=TOKENS), loss)
    with pytest.raises(ValueError, match="a loss needs tokens="):
        model(residual, start_at_layer=0, return_type="loss")


# ---- the key-value cache ----


@settings(max_examples=30)
@given(configs(), st.lists(st.integers(1, 4), min_size=1, max_size=4), st.booleans())
@torch.no_grad()
def test_the_cache_changes_no_logits(cfg: ModelConfig, sizes: list[int], padded: bool) -> None:
    model = random_model(cfg)
    length = min(sum(sizes), cfg.n_ctx)
    tokens = torch.randint(0, 17, (2, length), generator=torch.Generator().manual_seed(0))
    mask = None
    if padded:
        mask = torch.ones(2, length, dtype=torch.bool)
        mask[1, : min(sizes[0], length) - 1] = False
    expected = model(tokens, attention_mask=mask)
    cache = KVCache(cfg, batch=2, max_length=length)
    at, parts = 0, []
    for size in sizes:
        piece = slice(at, min(at + size, length))
        if piece.start >= length:
            break
        now = mask[:, piece] if mask is not None and at == 0 else None
        parts.append(model(tokens[:, piece], attention_mask=now, past_kv_cache=cache))
        at = piece.stop
    actual = torch.cat(parts, dim=1)
    real = torch.ones(2, length, dtype=torch.bool) if mask is None else mask
    assert_close(actual[real], expected[real])
    assert cache.length == length
    assert cache.nbytes == cfg.n_layers * 2 * 2 * length * cfg.n_key_value_heads * cfg.d_head * 4


@torch.no_grad()
def test_a_full_cache_is_an_error() -> None:
    model = random_model(CFG)
    cache = KVCache(CFG, batch=3, max_length=10)
    model(TOKENS, past_kv_cache=cache)
    with pytest.raises(ValueError, match="holds 10 tokens and cannot take 11"):
        model(TOKENS[:, :2], past_kv_cache=cache)


# ---- the module ----


@given(configs())
@settings(max_examples=30)
def test_the_weights_are_those_that_the_loaders_expect(cfg: ModelConfig) -> None:
    shapes = {name: tuple(v.shape) for name, v in HookedTransformer(cfg).state_dict().items()}
    assert shapes == expected_shapes(cfg)


def test_a_tied_unembedding_is_one_parameter() -> None:
    model = random_model(CFG.replace(tie_word_embeddings=True))
    assert "unembed.W_U" not in model.state_dict()
    assert torch.equal(model.W_U, model.W_E.T)
    model(TOKENS, return_type="loss").backward()
    # Tokens that do not occur in the input get their gradient through the unembedding alone.
    assert model.embed.W_E.grad[0].abs().max() > 0
    twin = copy.deepcopy(model)
    with torch.no_grad():
        twin.embed.W_E.zero_()
        assert twin(TOKENS).abs().max() == 0
        assert model(TOKENS).abs().max() > 0
    twin.load_state_dict(model.state_dict())
    assert torch.equal(twin(TOKENS), model(TOKENS))


@settings(max_examples=20)
@given(configs())
@torch.no_grad()
def test_copies_and_other_number_formats(cfg: ModelConfig) -> None:
    model = random_model(cfg)
    expected = model(TOKENS)
    twin = copy.deepcopy(model)
    assert twin.hook_dict["hook_embed"] is not model.hook_dict["hook_embed"]
    twin.add_hook("hook_embed", lambda value, hook: value * 0)
    assert torch.equal(model(TOKENS), expected)
    twin.reset_hooks()
    double = twin.to(torch.float64)
    assert double.dtype == torch.float64
    logits, cache = double.run_with_cache(TOKENS)
    assert logits.dtype == cache["pattern", 0].dtype == torch.float64
    assert_close(logits.float(), expected, atol=1e-4)


def test_a_seed_gives_the_same_weights() -> None:
    a, b, c = (HookedTransformer(CFG, seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["embed.W_E"], c["embed.W_E"])
    state = torch.get_rng_state()
    HookedTransformer(CFG)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_stacked_weights() -> None:
    model = random_model(CFG.replace(n_key_value_heads=2, gated_mlp=True))
    assert model.W_Q.shape == model.W_K.shape == model.W_V.shape == (3, 4, 16, 4)
    assert model.W_O.shape == (3, 4, 4, 16)
    assert model.b_K.shape == (3, 4, 4)
    assert model.W_in.shape == model.W_gate.shape == (3, 16, 64)
    for head in range(4):
        block = model.blocks[2].attn
        qk = block.W_Q[head] @ block.W_K[head // 2].T
        ov = block.W_V[head // 2] @ block.W_O[head]
        assert_close(model.QK[2, head].AB, qk)
        assert_close(model.OV[2, head].AB, ov)
    with pytest.raises(AttributeError, match="has no W_pos: its positions are rotary"):
        _ = random_model(CFG.replace(positional_embedding_type="rotary")).W_pos
    with pytest.raises(AttributeError, match="its MLP is not gated"):
        _ = random_model(CFG).W_gate
    with pytest.raises(AttributeError, match="has no W_in: it has attention only"):
        _ = random_model(CFG.replace(attn_only=True)).W_in


# ---- what it refuses ----


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (torch.tensor([[0, 17]]), "token id 17 is out of range: custom knows 0 to 16"),
        (torch.tensor([[-1, 3]]), "token id -1 is out of range"),
        (torch.zeros(1, 0, dtype=torch.long), r"these have \(1, 0\)"),
        (torch.zeros(1, 2, 3, dtype=torch.long), r"these have \(1, 2, 3\)"),
        (torch.zeros(1, 3), "tokens are whole numbers; for vectors give start_at_layer="),
        ("w1", "has no tokenizer, so it takes tokens"),
    ],
)
def test_input_that_cannot_be_run_is_refused(tokens: torch.Tensor, message: str) -> None:
    model = HookedTransformer(CFG)
    with pytest.raises(ValueError, match=message):
        model.to_input(tokens, None, None, None, None)
    if isinstance(tokens, str) or (tokens.ndim == 2 and not tokens.is_floating_point()):
        with pytest.raises(ValueError, match=message):
            model(tokens)


def test_a_sequence_longer_than_the_context_is_refused() -> None:
    model = random_model(CFG)
    model.tokenizer = word_tokenizer()
    message = "the sequence has 13 tokens, and the context of custom is 12"
    for too_long in (torch.zeros(1, 13, dtype=torch.long), "w1 " * 12):
        with pytest.raises(ValueError, match=message):
            model(too_long)
    assert model.to_tokens("w1 " * 12, truncate=True).shape == (1, 12)


@torch.no_grad()
def test_one_row_of_tokens_is_a_batch_of_one() -> None:
    model = random_model(CFG)
    assert torch.equal(model(TOKENS[0]), model(TOKENS[:1]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"d_model": 15}, "d_model=15 does not divide by n_heads=4"),
        ({"n_heads": 0}, "n_heads=0 is not a positive"),
        ({"n_key_value_heads": 3}, "n_heads=4 does not divide by n_key_value_heads=3"),
        ({"positional_embedding_type": "rotary", "rotary_dim": 3}, "rotary_dim=3 must be even"),
        ({"positional_embedding_type": "rotary", "rotary_dim": 6}, "at most d_head=4"),
    ],
)
def test_configurations_that_no_model_has(options: dict[str, int], message: str) -> None:
    sizes = {"n_layers": 1, "d_model": 16, "n_heads": 4, "d_vocab": 5, "n_ctx": 5}
    with pytest.raises(ConfigError, match=message):
        ModelConfig(**{**sizes, **options})


def test_a_fresh_model_has_the_shape_and_nothing_that_was_learned() -> None:
    learned = HookedTransformer.from_pretrained("ioi-mini")
    fresh, again, other = learned.fresh(1), learned.fresh(1), learned.fresh(2)
    assert fresh.cfg == learned.cfg and fresh.tokenizer is learned.tokenizer
    assert fresh.digest == again.digest
    assert len({learned.digest, fresh.digest, other.digest}) == 3
