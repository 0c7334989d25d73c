"""The loss leaves padding out, however the input is given; and what `forward` refuses."""

from __future__ import annotations

import pytest
import torch

from cutaway.model.config import ModelConfig
from cutaway.model.kv_cache import KVCache
from cutaway.model.tokenizer import Tokenizer
from cutaway.model.transformer import HookedTransformer
from random_models import random_model
from test_generation import WORDS, word_tokenizer

CFG = ModelConfig(n_layers=2, d_model=16, n_heads=4, d_vocab=17, n_ctx=12, init_range=0.4)
TEXTS = ["w1 w2 w3 w4 w5 w6", "w3", "w9 w9 w1"]
ONE_TOKEN = [
    "<|endoftext|>",
    *(f"w{i}" for i in range(16)),
]  # BOS, EOS and PAD at once, as in GPT-2
NO_PAD = [word for word in WORDS if word != "<|pad|>"]  # EOS stands in for it


def model_with(words: list[str]) -> HookedTransformer:
    model = random_model(CFG)
    model.tokenizer = word_tokenizer(words)
    return model


@torch.no_grad()
@pytest.mark.parametrize("words", [WORDS, ONE_TOKEN, NO_PAD], ids=["own pad", "one", "eos is pad"])
@pytest.mark.parametrize("texts", [TEXTS, ["w1 w2", "w1"], ["w1 w2"], ["w1 w2", "w3 w4"]])
def test_texts_and_tokens_on_both_sides_have_one_loss(words: list[str], texts: list[str]) -> None:
    model = model_with(words)
    single = [model(text, return_type="loss", loss_per_token=True) for text in texts]
    expected = torch.cat(single, dim=1).mean()
    for side in ("left", "right"):
        tokens = model.to_tokens(texts, padding_side=side)
        for given in (texts, tokens):
            loss = model(given, return_type="loss", padding_side=side)
            torch.testing.assert_close(loss, expected)
            logits, loss = model(given, return_type="both", padding_side=side)
            torch.testing.assert_close(loss, expected)
            torch.testing.assert_close(model.loss_fn(logits, tokens), expected)


@torch.no_grad()
def test_an_end_token_that_is_meant_counts() -> None:
    """With EOS as pad, what every row of a batch ends with is no padding."""
    model = model_with(NO_PAD)
    end = model.tokenizer.eos_token_id
    row = torch.tensor([[3, 4, 5, end]])
    per_token = model(row, return_type="loss", loss_per_token=True)
    assert per_token.shape == (1, 3) and bool((per_token > 0).all())
    both = torch.tensor([[3, 4, 5, end], [6, end, end, end]])
    assert model.real_tokens(both).tolist() == [[True] * 4, [True, True, False, False]]
    whole = torch.ones_like(both)
    said = model(both, return_type="loss", loss_per_token=True, attention_mask=whole.bool())
    assert bool((said > 0).all()), "a mask that is given is taken at its word"


@torch.no_grad()
def test_the_side_is_the_tokenizers_unless_it_is_given() -> None:
    model = model_with(WORDS)
    model.tokenizer.padding_side = "left"
    assert torch.equal(model.to_tokens(TEXTS), model.to_tokens(TEXTS, padding_side="left"))
    assert not torch.equal(model.to_tokens(TEXTS), model.to_tokens(TEXTS, padding_side="right"))
    with pytest.raises(ValueError, match="padding_side='middle' is unknown"):
        model.to_tokens(TEXTS, padding_side="middle")


@torch.no_grad()
def test_a_stream_with_its_tokens_knows_its_padding() -> None:
    model = model_with(WORDS)
    tokens = model.to_tokens(TEXTS, padding_side="left")
    expected, loss = model(tokens, return_type="both")
    stream = model(tokens, stop_at_layer=1)
    logits, again = model(stream, start_at_layer=1, tokens=tokens, return_type="both")
    real = model.padding_mask(tokens)
    torch.testing.assert_close(logits[real], expected[real])
    torch.testing.assert_close(again, loss)
    blind = model(stream, start_at_layer=1)
    assert not torch.allclose(blind[real], expected[real], atol=1e-4)


def test_an_unknown_return_type_is_an_error() -> None:
    with pytest.raises(ValueError, match="return_type='los' is unknown; it can be 'logits'"):
        random_model(CFG)(torch.tensor([[1, 2]]), return_type="los")


# ---- the key-value cache ----


def test_the_cache_is_made_for_a_model_and_works_with_gradients() -> None:
    model = HookedTransformer(CFG).double()
    tokens = torch.randint(0, 17, (1, 8), generator=torch.Generator().manual_seed(0))
    cache = KVCache(model, batch=1)
    first = model(tokens[:, :5], past_kv_cache=cache)
    second = model(tokens[:, 5:], past_kv_cache=cache)
    torch.testing.assert_close(torch.cat([first, second], dim=1), model(tokens))
    loss = model(tokens[:, :5], past_kv_cache=KVCache(model, 1), return_type="loss")
    loss.backward()
    gradient, model.W_E.grad = model.W_E.grad.clone(), None
    assert torch.isfinite(gradient).all() and gradient.abs().max() > 0
    model(tokens[:, :5], return_type="loss").backward()
    torch.testing.assert_close(model.W_E.grad, gradient)


@torch.no_grad()
def test_a_full_cache_is_left_as_it_was() -> None:
    model = model_with(WORDS)
    cache = KVCache(model, batch=2, max_length=4)
    mask = torch.tensor([[True, True, True], [False, True, True]])
    model(torch.full((2, 3), 5), attention_mask=mask, past_kv_cache=cache)
    with pytest.raises(ValueError, match="holds 4 tokens and cannot take 5"):
        model(torch.full((2, 2), 5), past_kv_cache=cache)
    assert cache.length == 3 and cache.mask.shape == (2, 3)
    model(torch.full((2, 1), 5), past_kv_cache=cache)
    assert isinstance(model.tokenizer, Tokenizer)
