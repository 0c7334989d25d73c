"""Beam search: beside `transformers`, beside exhaustive search, and invariants of the beams."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from cutaway.model.beam_search import BeamSearchResult, beam_search
from cutaway.model.config import ModelConfig
from cutaway.model.kv_cache import KVCache
from cutaway.model.sampling import Sampling
from cutaway.model.transformer import HookedTransformer
from random_models import configs, random_model
from test_generation import word_tokenizer

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

D_VOCAB = 19


def gpt2() -> Any:
    sizes = {"n_embd": 24, "n_layer": 2, "n_head": 3, "n_positions": 40}
    return GPT2LMHeadModel(GPT2Config(vocab_size=D_VOCAB, initializer_range=0.5, **sizes))


def llama() -> Any:
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "intermediate_size": 40}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 40}
    return LlamaForCausalLM(
        LlamaConfig(vocab_size=D_VOCAB, initializer_range=0.4, **sizes, **heads)
    )


@pytest.fixture(scope="module", params=[gpt2, llama], ids=["gpt2", "llama"])
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[HookedTransformer, Any]:
    """A model of ours and the `transformers` model whose weights it has."""
    torch.manual_seed(7)
    theirs = request.param().eval()
    folder = tmp_path_factory.mktemp("random")
    theirs.save_pretrained(folder)
    return HookedTransformer.from_pretrained_no_processing(folder), theirs


def prompts(batch: int, n_pos: int = 5, seed: int = 0) -> torch.Tensor:
    return torch.randint(2, D_VOCAB, (batch, n_pos), generator=torch.Generator().manual_seed(seed))


def their_beams(theirs: Any, tokens: torch.Tensor, num_beams: int, **options: Any) -> Any:
    ends = options.pop("eos_token_id", None)
    return theirs.generate(
        tokens,
        attention_mask=options.pop("attention_mask", torch.ones_like(tokens)),
        do_sample=False,
        num_beams=num_beams,
        num_return_sequences=num_beams,
        return_dict_in_generate=True,
        output_scores=True,
        pad_token_id=0,
        eos_token_id=ends,
        bos_token_id=None,
        **options,
    )


def assert_same_beams(found: BeamSearchResult, theirs: Any, n_prompt: int) -> None:
    scores = found.scores.flatten()
    torch.testing.assert_close(scores, theirs.sequences_scores, rtol=1e-6, atol=2e-5)
    lengths = n_prompt + found.n_generated.flatten()
    for ours, length, expected in zip(
        found.tokens.flatten(0, 1), lengths.tolist(), theirs.sequences, strict=True
    ):
        assert ours[:length].tolist() == expected[:length].tolist()
        assert set(expected[length:].tolist()) <= {0, 1}, "theirs ends there as well"


SETTINGS = {
    "plain": {},
    "to the end": {"eos_token_id": None},
    "two ends": {"eos_token_id": [1, 4]},
    "short wanted": {"length_penalty": -1.0},
    "sum of log p": {"length_penalty": 0.0},
    "long wanted, never early": {"length_penalty": 2.0, "early_stopping": "never"},
    "early": {"early_stopping": True},
    "no bigram twice": {"no_repeat_ngram_size": 2},
    "repetition penalty": {"repetition_penalty": 1.4, "length_penalty": 0.5},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_beams_are_those_of_transformers(pair: tuple[HookedTransformer, Any], name: str) -> None:
    model, theirs = pair
    num_beams = 2 + len(name) % 4
    options = {"eos_token_id": 1, **SETTINGS[name]}
    tokens = prompts(3, seed=num_beams)
    expected = their_beams(theirs, tokens, num_beams, max_new_tokens=12, **options)
    found = beam_search(
        model,
        tokens,
        12,
        num_beams,
        **{**options, "stop_at_eos": options["eos_token_id"] is not None},
    )
    assert_same_beams(found, expected, 5)


def test_padded_prompts_get_the_beams_of_transformers(
    pair: tuple[HookedTransformer, Any],
) -> None:
    model, theirs = pair
    tokens = prompts(3)
    tokens[1, :3], tokens[2, :1] = 0, 0
    model.tokenizer = word_tokenizer(["<|pad|>", "<|eos|>", *(f"w{i}" for i in range(17))])
    mask = (tokens != 0).long()
    expected = their_beams(theirs, tokens, 3, max_new_tokens=8, eos_token_id=1, attention_mask=mask)
    found = beam_search(model, tokens, 8, 3)
    model.tokenizer = None
    assert_same_beams(found, expected, 5)


@pytest.mark.parametrize(
    "settings_", [{}, {"repetition_penalty": 1.3}, {"no_repeat_ngram_size": 3}]
)
def test_greedy_is_that_of_transformers(
    pair: tuple[HookedTransformer, Any], settings_: dict[str, Any]
) -> None:
    model, theirs = pair
    tokens = prompts(4, seed=3)
    expected = theirs.generate(
        tokens,
        attention_mask=torch.ones_like(tokens),
        do_sample=False,
        max_new_tokens=20,
        pad_token_id=1,
        eos_token_id=1,
        **settings_,
    )
    ours = model.generate(tokens, 20, temperature=0, eos_token_id=1, **settings_)
    assert torch.equal(ours, expected)


def exhaustive(
    model: HookedTransformer, prompt: torch.Tensor, n_new: int, end: int, length_penalty: float
) -> list[tuple[float, list[int]]]:
    """Every continuation there is, with its score: the best first."""
    found = {}
    for tokens in itertools.product(range(model.cfg.d_vocab), repeat=n_new):
        stop = tokens.index(end) + 1 if end in tokens else n_new
        found[tokens[:stop]] = 0.0
    for tokens in found:
        whole = torch.tensor([[*prompt.tolist(), *tokens]])
        with torch.no_grad():
            log_probs = model(whole)[0].log_softmax(-1)
        steps = zip(range(len(prompt) - 1, whole.shape[1] - 1), tokens, strict=True)
        total = sum(float(log_probs[position, token]) for position, token in steps)
        found[tokens] = total / len(tokens) ** length_penalty
    return sorted(((score, list(tokens)) for tokens, score in found.items()), reverse=True)


@pytest.mark.parametrize("length_penalty", [0.0, 1.0, -0.5])
@pytest.mark.parametrize("early_stopping", [False, True, "never"])
def test_with_enough_beams_the_search_is_exhaustive(
    length_penalty: float, early_stopping: Any
) -> None:
    cfg = ModelConfig(n_layers=1, d_model=8, n_heads=2, d_vocab=4, n_ctx=6, init_range=0.6)
    model = random_model(cfg, seed=3)
    model.tokenizer = None
    prompt = torch.tensor([2, 3])
    every = exhaustive(model, prompt, 3, 1, length_penalty)
    assert len(every) == 1 + 3 + 9 * 4  # ends at once, after one token, or later
    found = beam_search(
        model,
        prompt,
        3,
        70,
        length_penalty=length_penalty,
        early_stopping=early_stopping,
        eos_token_id=1,
    )
    rows = [row for row in found.to_frame() if row["score"] > -torch.inf]
    assert len(rows) == len(every)
    for row, (score, tokens) in zip(rows, every, strict=True):
        assert row["score"] == pytest.approx(score, abs=1e-5)
        beam = found.tokens[0, row["rank"], 2 : 2 + row["n_generated"]]
        assert beam.tolist() == tokens
    assert found.best()[0, 2:].tolist() == every[0][1]


def test_few_beams_can_miss_the_best() -> None:
    """What the search is not: exact. A model whose likeliest first tokens lead nowhere."""
    cfg = ModelConfig(n_layers=1, d_model=8, n_heads=2, d_vocab=4, n_ctx=6, init_range=1.0)
    model = random_model(cfg, seed=15)
    model.tokenizer = None
    prompt = torch.tensor([2, 3])
    (best, _), *_ = exhaustive(model, prompt, 3, 1, length_penalty=0.0)

    def found(num_beams: int) -> float:
        options = {"length_penalty": 0.0, "early_stopping": "never", "eos_token_id": 1}
        return float(beam_search(model, prompt, 3, num_beams, **options).scores[0, 0])

    assert found(1) < best - 0.1 and found(2) < best - 0.1
    assert found(4) == pytest.approx(best, abs=1e-5)


@settings(max_examples=4)
@given(configs(), st.integers(1, 4), st.sampled_from([0.0, 1.0]), st.integers(0, 50))
def test_each_prompt_gets_what_it_gets_alone(
    cfg: ModelConfig, num_beams: int, length_penalty: float, seed: int
) -> None:
    model = random_model(cfg, seed)
    model.tokenizer = word_tokenizer()
    texts = ["w3", "w1 w2 w3 w4", "w9 w9"]
    options = {"length_penalty": length_penalty, "no_repeat_ngram_size": 2, "freq_penalty": 0.1}
    for cached in (True, False):
        together = beam_search(model, texts, 6, num_beams, use_past_kv_cache=cached, **options)
        for row, text in enumerate(texts):
            alone = beam_search(model, text, 6, num_beams, **options)
            torch.testing.assert_close(alone.scores[0], together.scores[row], rtol=0, atol=2e-5)
            assert alone.texts is not None and together.texts is not None
            assert alone.texts[0] == together.texts[row]


@settings(max_examples=6)
@given(configs(), st.integers(0, 50))
def test_one_beam_is_greedy(cfg: ModelConfig, seed: int) -> None:
    model = random_model(cfg, seed)
    model.tokenizer = word_tokenizer()
    texts = ["w3", "w1 w2 w3 w4"]
    found = beam_search(model, texts, 7, num_beams=1)
    assert found.texts == [[text] for text in model.generate(texts, 7, temperature=0)]


def test_scores_are_those_of_the_tokens() -> None:
    model = random_model(ModelConfig(2, 16, 4, d_vocab=17, n_ctx=12, init_range=0.4))
    model.tokenizer = word_tokenizer()
    found = beam_search(model, "w1 w2", 8, 4, length_penalty=0.7)
    for row in found.to_frame():
        tokens = found.tokens[0, row["rank"], : 3 + row["n_generated"]]
        with torch.no_grad():
            log_probs = model(tokens[None])[0].log_softmax(-1)
        total = log_probs[2:-1].gather(-1, tokens[3:, None]).sum()
        assert row["score"] == pytest.approx(float(total) / row["n_generated"] ** 0.7, abs=1e-5)


def test_nothing_of_a_size_comes_twice() -> None:
    model = random_model(ModelConfig(1, 16, 4, d_vocab=17, n_ctx=40, init_range=0.1))
    model.tokenizer = word_tokenizer()
    free = beam_search(model, "w1 w2", 30, 3, stop_at_eos=False)
    blocked = beam_search(model, "w1 w2", 30, 3, stop_at_eos=False, no_repeat_ngram_size=2)

    def repeats(tokens: torch.Tensor) -> bool:
        pairs = list(zip(tokens.tolist(), tokens[1:].tolist(), strict=False))
        return len(set(pairs)) < len(pairs)

    assert any(repeats(beam) for beam in free.tokens[0])
    assert not any(repeats(beam) for beam in blocked.tokens[0])


def test_generate_returns_the_best_beam() -> None:
    model = random_model(ModelConfig(2, 16, 4, d_vocab=17, n_ctx=12, init_range=0.4))
    model.tokenizer = word_tokenizer()
    texts = ["w1 w2", "w3"]
    found = beam_search(model, texts, 6, 3)
    assert found.texts is not None
    assert model.generate(texts, 6, num_beams=3) == [beams[0] for beams in found.texts]
    assert model.generate("w1 w2", 6, num_beams=3) == found.texts[0][0]
    tokens = model.generate(texts, 6, num_beams=3, return_type="tokens", temperature=0)
    assert torch.equal(tokens, found.best())


@settings(max_examples=20)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=5), st.integers(0, 3), st.booleans())
def test_a_reordered_cache_holds_what_the_other_row_held(
    rows: list[int], length: int, padded: bool
) -> None:
    cfg = ModelConfig(n_layers=2, d_model=16, n_heads=4, d_vocab=17, n_ctx=12, init_range=0.4)
    model = random_model(cfg)
    tokens = torch.randint(1, 17, (3, 4), generator=torch.Generator().manual_seed(length))
    mask = torch.ones_like(tokens, dtype=torch.bool)
    if padded:
        mask[1, :2] = False
    cache = KVCache(model, 3, 8)
    with torch.no_grad():
        model(tokens, attention_mask=mask if padded else None, past_kv_cache=cache)
        cache.reorder(torch.tensor(rows), start=0)
        assert cache.length == 4
        new = torch.arange(len(rows))[:, None]
        found = model(new, past_kv_cache=cache)[:, -1]
        whole = torch.cat([tokens[rows], new], 1)
        real = torch.cat([mask[rows], torch.ones_like(new, dtype=torch.bool)], 1)
        expected = model(whole, attention_mask=real)[:, -1]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_beams": 0}, "num_beams=0 is not a positive whole number"),
        ({"num_beams": 2, "do_sample": True}, "beam search does not draw: leave do_sample out"),
        ({"num_beams": 2, "top_p": 0.9}, "does not draw, so top_p=0.9 would do nothing"),
        ({"num_beams": 2, "temperature": 0.7}, "so temperature=0.7 would do nothing"),
        ({"num_beams": 2, "early_stopping": "soon"}, "early_stopping='soon' is unknown"),
        ({"num_beams": 2, "repetition_penalty": -1.0}, "repetition_penalty=-1.0 is not positive"),
        ({"num_beams": 2, "max_new_tokens": 99}, "do not fit into the context"),
        ({"num_beams": 2, "eos_token_id": 17}, "eos_token_id=17 is out of range"),
        (
            {"num_beams": 2, "no_repeat_ngram_size": 1, "stop_at_eos": False},
            "no continuation is left",
        ),
    ],
)
def test_what_cannot_be_done_is_said(options: dict[str, Any], message: str) -> None:
    cfg = ModelConfig(n_layers=1, d_model=8, n_heads=2, d_vocab=17, n_ctx=40)
    model = HookedTransformer(cfg, word_tokenizer())
    with pytest.raises(ValueError, match=message):
        model.generate("w1 w2", **{"max_new_tokens": 30, "stop_at_eos": True, **options})


def test_penalties_act_on_log_probabilities() -> None:
    """Of one step, by hand: the best token's score after the penalty is that beam's."""
    model = random_model(ModelConfig(1, 16, 4, d_vocab=17, n_ctx=12, init_range=0.4))
    model.tokenizer = None
    prompt = torch.tensor([[3, 4, 5, 5]])
    with torch.no_grad():
        log_probs = model(prompt)[:, -1].log_softmax(-1)
    penalties = Sampling(freq_penalty=0.4, repetition_penalty=1.2)
    expected = penalties.penalised(log_probs, prompt)[0].sort(descending=True)
    found = beam_search(model, prompt, 1, 3, freq_penalty=0.4, repetition_penalty=1.2)
    assert found.tokens[0, :, -1].tolist() == expected.indices[:3].tolist()
    torch.testing.assert_close(found.scores[0], expected.values[:3])
