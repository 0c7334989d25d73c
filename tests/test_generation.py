"""Generation: with and without the cache, alone and in a batch, greedy and drawn."""

from __future__ import annotations

import dataclasses

import pytest
import tokenizers
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cutaway.model.config import ModelConfig
from cutaway.model.tokenizer import Tokenizer
from cutaway.model.transformer import HookedTransformer
from random_models import configs, random_model

WORDS = ["<|bos|>", "<|eos|>", "<|pad|>", *(f"w{i}" for i in range(14))]
CFG = ModelConfig(n_layers=2, d_model=16, n_heads=4, d_vocab=17, n_ctx=12, init_range=0.4)


def word_tokenizer(words: list[str] = WORDS) -> Tokenizer:
    backend = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="w0")
    )
    backend.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    backend.add_special_tokens([word for word in words if word.startswith("<")])
    return Tokenizer(backend)


@pytest.fixture
def model() -> HookedTransformer:
    model = random_model(CFG)
    model.tokenizer = word_tokenizer()
    return model


def greedy_oracle(model: HookedTransformer, tokens: torch.Tensor, n: int) -> torch.Tensor:
    """The slow, obvious version: run everything, take the likeliest, repeat."""
    for _ in range(n):
        likeliest = model(tokens)[:, -1].argmax(-1, keepdim=True)
        tokens = torch.cat([tokens, likeliest], dim=1)
    return tokens


def greedy_oracle_unpadded(model: HookedTransformer, tokens: torch.Tensor, n: int) -> torch.Tensor:
    """The same where nothing is padding, whatever the tokens look like."""
    for _ in range(n):
        real = torch.ones_like(tokens, dtype=torch.bool)
        likeliest = model(tokens, attention_mask=real)[:, -1].argmax(-1, keepdim=True)
        tokens = torch.cat([tokens, likeliest], dim=1)
    return tokens


@settings(max_examples=25)
@given(configs(), st.integers(1, 4), st.integers(1, 3))
def test_greedy_tokens_are_those_of_full_runs(cfg: ModelConfig, length: int, batch: int) -> None:
    model = random_model(cfg)
    tokens = torch.randint(0, 17, (batch, length), generator=torch.Generator().manual_seed(length))
    expected = greedy_oracle(model, tokens, 8)
    for cached in (True, False):
        out = model.generate(tokens, 8, temperature=0, use_past_kv_cache=cached)
        assert torch.equal(out, expected)


@settings(max_examples=25)
@given(configs(), st.booleans(), st.integers(0, 50))
def test_texts_of_different_length_get_what_they_get_alone(
    cfg: ModelConfig, cached: bool, seed: int
) -> None:
    model = random_model(dataclasses.replace(cfg, n_ctx=14), seed)
    model.tokenizer = word_tokenizer()
    texts = ["w3", "w1 w2 w3 w4 w5", "w9 w9", ""]
    together = model.generate(texts, 7, temperature=0, use_past_kv_cache=cached)
    alone = [model.generate(text, 7, temperature=0) for text in texts]
    assert together == alone


def test_the_generator_is_honoured(model: HookedTransformer) -> None:
    def draw(seed: int, cached: bool = True) -> str:
        generator = torch.Generator().manual_seed(seed)
        return model.generate("w1 w2", 9, generator=generator, use_past_kv_cache=cached)

    state = torch.get_rng_state()
    assert draw(0) == draw(0) == draw(0, cached=False)
    assert len({draw(seed) for seed in range(5)}) > 1
    assert torch.equal(torch.get_rng_state(), state), "the global generator was not touched"


def test_draws_follow_the_softmax_at_the_temperature(model: HookedTransformer) -> None:
    tokens = torch.tensor([[3, 4]]).repeat(4000, 1)
    with torch.no_grad():
        logits = model(tokens[:1])[0, -1]
    for temperature in (0.5, 1.0, 2.0):
        generator = torch.Generator().manual_seed(0)
        out = model.generate(tokens, 1, temperature=temperature, generator=generator)
        frequency = out[:, -1].bincount(minlength=17) / 4000
        expected = (logits / temperature).softmax(-1)
        assert (frequency - expected).abs().max() < 0.04


PENALTIES = {"freq_penalty": 0.3, "repetition_penalty": 1.3, "no_repeat_ngram_size": 3}


@settings(max_examples=8)
@given(configs(), st.integers(0, 50))
def test_penalties_of_a_batch_are_those_of_each_text_alone(cfg: ModelConfig, seed: int) -> None:
    model = random_model(dataclasses.replace(cfg, n_ctx=14), seed)
    model.tokenizer = word_tokenizer()
    texts = ["w3", "w1 w2 w3 w4 w5", "w9 w9", ""]
    options = {"max_new_tokens": 7, "temperature": 0, "stop_at_eos": False, **PENALTIES}
    alone = [model.generate(text, **options) for text in texts]
    for cached in (True, False):
        assert model.generate(texts, use_past_kv_cache=cached, **options) == alone


def test_draws_are_the_same_with_and_without_the_cache(model: HookedTransformer) -> None:
    texts = ["w1 w2", "w7", "w3 w3 w3"]
    options = {"temperature": 1.2, "top_k": 12, "top_p": 0.9, "min_p": 0.01, **PENALTIES}

    def draw(seed: int, cached: bool = True) -> list[str]:
        generator = torch.Generator().manual_seed(seed)
        return model.generate(texts, 7, generator=generator, use_past_kv_cache=cached, **options)

    assert draw(0) == draw(0) == draw(0, cached=False)
    assert draw(0) != draw(1)


def test_what_the_penalties_forbid_does_not_come(model: HookedTransformer) -> None:
    model = rigged(model, 5, 6, 5, 6, 5, 6, 5, 6)
    prompt = torch.tensor([[3]])
    options = {"temperature": 0, "stop_at_eos": False}
    assert model.generate(prompt, 5, **options).tolist() == [[3, 5, 6, 5, 6, 5]]
    once = model.generate(prompt, 5, no_repeat_ngram_size=1, **options)[0].tolist()
    assert once[:3] == [3, 5, 6] and len(set(once)) == 6
    twice = model.generate(prompt, 5, freq_penalty=0.4, **options)[0].tolist()
    assert twice[:3] == [3, 5, 6] and 3 not in twice[3:], "0.6, 0.2: below what is nothing"


def test_hooks_behind_the_last_block_see_every_position(model: HookedTransformer) -> None:
    """Without them only the last position is unembedded."""
    for name in ("ln_final.hook_normalized", "unembed.hook_out"):
        seen: list[int] = []
        with model.hooks([(name, lambda x, hook, seen=seen: seen.append(x.shape[1]))]):
            hooked = model.generate("w1 w2", 3, temperature=0, stop_at_eos=False)
        assert seen == [3, 1, 1]
        assert hooked == model.generate("w1 w2", 3, temperature=0, stop_at_eos=False)


def test_a_prompt_of_pad_tokens_is_no_padding_where_text_says_so() -> None:
    """The start token of GPT-2 is its pad and end token; a text may hold it as well."""
    model = random_model(CFG)
    model.tokenizer = word_tokenizer(["<|endoftext|>", *(f"w{i}" for i in range(16))])
    assert model.tokenizer.bos_token_id == model.tokenizer.pad_token_id == 0
    text = "<|endoftext|> <|endoftext|> w3"
    runs = [
        model.generate(text, 5, temperature=0, use_past_kv_cache=cached, stop_at_eos=False)
        for cached in (True, False)
    ]
    assert runs[0] == runs[1]
    found = greedy_oracle_unpadded(model, model.to_tokens(text), 5)
    tokens = model.generate(text, 5, temperature=0, stop_at_eos=False, return_type="tokens")
    assert torch.equal(tokens, found)


def test_only_the_likeliest_are_drawn(model: HookedTransformer) -> None:
    tokens = torch.tensor([[3, 4]]).repeat(400, 1)
    with torch.no_grad():
        likeliest = model(tokens[:1])[0, -1].topk(3).indices
    generator = torch.Generator().manual_seed(0)
    out = model.generate(tokens, 1, temperature=3.0, top_k=3, generator=generator)
    assert set(out[:, -1].tolist()) == set(likeliest.tolist())
    greedy = model.generate("w1", 5, temperature=0)
    assert model.generate("w1", 5, top_k=1, verbose=False) == greedy


def test_greedy_has_two_spellings(model: HookedTransformer) -> None:
    assert model.generate("w1", 5, temperature=0) == model.generate("w1", 5, do_sample=False)


def rigged(model: HookedTransformer, *tokens: int) -> HookedTransformer:
    """Always predicts `tokens`, one after the other by position."""
    rigid = HookedTransformer(dataclasses.replace(CFG, normalization_type=None, unembed_bias=True))
    rigid.tokenizer = model.tokenizer
    with torch.no_grad():
        for parameter in rigid.parameters():
            parameter.zero_()
        for position, token in enumerate(tokens):
            rigid.pos_embed.W_pos[position, position] = 1
            rigid.unembed.W_U[position, token] = 1
    return rigid


def test_generation_ends_with_the_end_token(model: HookedTransformer) -> None:
    model = rigged(model, 5, 6, 1, 7)  # 1 is <|eos|>
    prompt = torch.tensor([[3]])
    assert model.generate(prompt, 4, temperature=0).tolist() == [[3, 5, 6, 1]]
    off = model.generate(prompt, 4, temperature=0, stop_at_eos=False)
    assert off.tolist() == [[3, 5, 6, 1, 7]]
    other = model.generate(prompt, 4, temperature=0, eos_token_id=[6, 8])
    assert other.tolist() == [[3, 5, 6]]
    assert model.generate("w0", 4, temperature=0, prepend_bos=False) == "w0 w2 w3"


def test_a_finished_row_is_filled_while_others_go_on(model: HookedTransformer) -> None:
    tokens = torch.tensor([[3, 4], [5, 6], [7, 8]])
    free = model.generate(tokens, 8, temperature=0, stop_at_eos=False)
    end = int(free[0, 3])
    out = model.generate(tokens, 8, temperature=0, eos_token_id=end)
    for row, full in zip(out.tolist(), free.tolist(), strict=True):
        ended = full.index(end, 2) if end in full[2:] else len(full)
        expected = full[: ended + 1] + [end] * (len(full) - ended - 1)
        assert row == expected[: len(row)]


def test_what_comes_back(model: HookedTransformer) -> None:
    model = rigged(model, 0, 0, 5, 6, 7)
    text = model.generate("w1 w2", 3, temperature=0)
    assert text == "w1 w2 w2 w3 w4", "BOS is left out of text"
    assert model.generate(["w1 w2"], 3, temperature=0) == [text]
    tokens = model.generate("w1 w2", 3, temperature=0, return_type="tokens")
    assert tokens.tolist() == [[0, 4, 5, 5, 6, 7]], "BOS comes first in tokens"
    assert torch.equal(model.generate(tokens[:, :3], 3, temperature=0), tokens)
    assert torch.equal(model.generate(tokens[0, :3], 3, temperature=0), tokens)
    assert model.generate(tokens[:, :3], 3, temperature=0, return_type="str") == [text]


def test_hooks_act_while_generating(model: HookedTransformer) -> None:
    seen = []
    with model.hooks([("blocks.0.hook_resid_pre", lambda x, hook: seen.append(x.shape[1]))]):
        model.generate("w1 w2", 3, temperature=0, stop_at_eos=False)
    assert seen == [3, 1, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_new_tokens": 10}, "a prompt of 3 tokens and max_new_tokens=10 .* is 12: .* most 9"),
        ({"max_new_tokens": 0}, "max_new_tokens=0 is not a positive"),
        ({"temperature": -1.0}, "temperature=-1.0 is negative"),
        ({"top_k": 0}, "top_k=0 leaves no token to draw"),
        ({"top_p": 0.0}, "top_p=0.0 is no probability above 0"),
        ({"min_p": -0.1}, "min_p=-0.1 is not between 0 and 1"),
        ({"repetition_penalty": 0.0}, "repetition_penalty=0.0 is not positive"),
        ({"eos_token_id": 17, "max_new_tokens": 2}, "eos_token_id=17 is out of range"),
        ({"return_type": "text"}, "return_type='text' is unknown"),
    ],
)
def test_what_cannot_be_done_is_said(
    model: HookedTransformer, arguments: dict[str, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        model.generate("w1 w2", **arguments)


def test_a_model_without_a_tokenizer_takes_tokens() -> None:
    model = HookedTransformer(CFG)
    assert model.generate(torch.tensor([[1, 2]]), 3).shape == (1, 5)
    with pytest.raises(ValueError, match="has no tokenizer"):
        model.generate("w1", 3)
    with pytest.raises(ValueError, match="has no tokenizer"):
        model.generate(torch.tensor([[1, 2]]), 3, return_type="str")
