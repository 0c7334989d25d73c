"""The distribution that is drawn from: beside `transformers`, and drawn frequencies beside it."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from cutaway.model.config import ModelConfig
from cutaway.model.sampling import (
    Sampling,
    block_ngrams,
    draw,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    penalise_frequency,
    penalise_repetition,
    token_counts,
)
from random_models import random_model

D_VOCAB = 23
N_DRAWS = 20_000


@st.composite
def situations(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of the next token, and texts of few tokens, so that much has stood there before."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10_000)))
    batch, n_pos = draw(st.integers(1, 4)), draw(st.integers(1, 12))
    scale = draw(st.sampled_from([0.1, 1.0, 5.0]))
    logits = torch.randn(batch, D_VOCAB, generator=generator) * scale
    return logits, torch.randint(0, draw(st.integers(1, 6)), (batch, n_pos), generator=generator)


@settings(max_examples=25)
@given(situations(), st.integers(1, 30))
def test_top_k_is_that_of_transformers(
    situation: tuple[torch.Tensor, torch.Tensor], k: int
) -> None:
    logits, tokens = situation
    assert torch.equal(keep_top_k(logits, k), TopKLogitsWarper(k)(tokens, logits))
    assert (keep_top_k(logits, k).isfinite().sum(-1) == min(k, D_VOCAB)).all()


@settings(max_examples=25)
@given(situations(), st.floats(0.01, 1))
def test_top_p_is_that_of_transformers_and_the_smallest_nucleus(
    situation: tuple[torch.Tensor, torch.Tensor], p: float
) -> None:
    logits, tokens = situation
    kept = keep_top_p(logits, p)
    assert torch.equal(kept, TopPLogitsWarper(p)(tokens, logits))
    for before, after in zip(logits.double().softmax(-1), kept.isfinite(), strict=True):
        size, mass = 0, 0.0  # take the likeliest one by one
        for probability in before.sort(descending=True).values.tolist():
            size, mass = size + 1, mass + probability
            if mass >= p - 1e-6:  # one more or less where float32 cannot tell
                break
        assert abs(int(after.sum()) - size) <= (1 if abs(mass - p) < 1e-5 else 0)
        assert before[after].min() >= before[~after].max() if size < D_VOCAB else after.all()


@settings(max_examples=25)
@given(situations(), st.floats(0, 1))
def test_min_p_is_that_of_transformers(
    situation: tuple[torch.Tensor, torch.Tensor], p: float
) -> None:
    logits, tokens = situation
    assert torch.equal(keep_min_p(logits, p), MinPLogitsWarper(p)(tokens, logits))


@settings(max_examples=25)
@given(situations(), st.floats(0.1, 5))
def test_the_repetition_penalty_is_that_of_transformers(
    situation: tuple[torch.Tensor, torch.Tensor], penalty: float
) -> None:
    logits, tokens = situation
    found = penalise_repetition(logits, token_counts(tokens, D_VOCAB), penalty)
    assert torch.equal(found, RepetitionPenaltyLogitsProcessor(penalty)(tokens, logits))


@settings(max_examples=25)
@given(situations(), st.integers(1, 5))
def test_the_ngram_block_is_that_of_transformers_and_of_a_list(
    situation: tuple[torch.Tensor, torch.Tensor], size: int
) -> None:
    logits, tokens = situation
    found = block_ngrams(logits, tokens, size)
    assert torch.equal(found, NoRepeatNGramLogitsProcessor(size)(tokens, logits))
    for row, kept in zip(tokens.tolist(), found.isfinite().tolist(), strict=True):
        seen = {tuple(row[i : i + size]) for i in range(len(row) - size + 1)}
        begun = tuple(row[len(row) - size + 1 :])
        allowed = [(*begun, token) not in seen for token in range(D_VOCAB)]
        assert kept == (allowed if len(row) >= size else [True] * D_VOCAB)


@settings(max_examples=25)
@given(situations(), st.floats(-2, 2))
def test_the_frequency_penalty_counts(
    situation: tuple[torch.Tensor, torch.Tensor], penalty: float
) -> None:
    logits, tokens = situation
    found = penalise_frequency(logits, token_counts(tokens, D_VOCAB), penalty)
    for row, before, after in zip(tokens.tolist(), logits, found, strict=True):
        count = Counter(row)
        expected = before - penalty * torch.tensor([float(count[t]) for t in range(D_VOCAB)])
        torch.testing.assert_close(after, expected)


@settings(max_examples=25)
@given(
    situations(),
    st.sampled_from([0.3, 1.0, 1.7]),
    st.none() | st.integers(1, 30),
    st.none() | st.floats(0.05, 1),
    st.none() | st.floats(0, 0.5),
    st.sampled_from([0.7, 1.0, 1.5]),
    st.integers(0, 3),
)
def test_all_together_are_those_of_transformers_in_its_order(
    situation: tuple[torch.Tensor, torch.Tensor],
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    min_p: float | None,
    repetition: float,
    size: int,
) -> None:
    logits, tokens = situation
    steps = LogitsProcessorList()
    if repetition != 1:
        steps.append(RepetitionPenaltyLogitsProcessor(repetition))
    if size:
        steps.append(NoRepeatNGramLogitsProcessor(size))
    steps.append(TemperatureLogitsWarper(temperature))
    if top_k is not None:
        steps.append(TopKLogitsWarper(top_k))
    if top_p is not None:
        steps.append(TopPLogitsWarper(top_p))
    if min_p is not None:
        steps.append(MinPLogitsWarper(min_p))
    ours = Sampling(
        temperature, top_k, top_p, min_p, repetition_penalty=repetition, no_repeat_ngram_size=size
    ).distribution(logits, tokens)
    torch.testing.assert_close(ours, steps(tokens, logits).softmax(-1), rtol=1e-5, atol=1e-7)


@settings(max_examples=25)
@given(situations(), st.integers(1, 5), st.integers(1, 3))
def test_padding_counts_as_nothing(
    situation: tuple[torch.Tensor, torch.Tensor], n_padding: int, size: int
) -> None:
    logits, tokens = situation
    sampling = Sampling(0.8, freq_penalty=0.3, repetition_penalty=1.4, no_repeat_ngram_size=size)
    padded = torch.nn.functional.pad(tokens, (n_padding, 0), value=int(tokens[0, 0]))
    real = torch.arange(padded.shape[1]).expand(padded.shape) >= n_padding
    alone = sampling.distribution(logits, tokens)
    assert torch.equal(sampling.distribution(logits, padded, real), alone)


FLAT = torch.tensor([2.0, 1.8, 1.5, 1.1, 1.0, 0.4, 0.2, -0.5, -1.0, -2.0])
TEXT = torch.tensor([[0, 0, 0, 2, 7, 1, 0]])
OPTIONS = {
    "plain": {},
    "cold": {"temperature": 0.5},
    "hot": {"temperature": 2.0},
    "top_k": {"top_k": 3},
    "top_p": {"top_p": 0.8},
    "min_p": {"min_p": 0.3},
    "freq_penalty": {"freq_penalty": 0.4},
    "repetition_penalty": {"repetition_penalty": 1.8},
    "no_repeat_ngram_size": {"no_repeat_ngram_size": 2},
    "all": {
        "temperature": 1.3,
        "top_k": 8,
        "top_p": 0.95,
        "min_p": 0.1,
        "freq_penalty": 0.2,
        "repetition_penalty": 1.2,
        "no_repeat_ngram_size": 2,
    },
}


def by_hand(
    temperature: float = 1.0,
    top_k: int = 10,
    top_p: float = 1.0,
    min_p: float = 0.0,
    freq_penalty: float = 0.0,
    repetition_penalty: float = 1.0,
    no_repeat_ngram_size: int = 0,
) -> list[float]:
    """The distribution after TEXT, in plain Python."""
    text, logits = TEXT[0].tolist(), FLAT.tolist()
    for token in set(text):
        factor = repetition_penalty if logits[token] < 0 else 1 / repetition_penalty
        logits[token] = logits[token] * factor - freq_penalty * text.count(token)
    if no_repeat_ngram_size == 2:
        for follower in (0, 2):  # "0 0" and "0 2" stand there
            logits[follower] = -math.inf
    weights = [math.exp(logit / temperature) for logit in logits]

    def cut(weights: list[float], kept: list[int]) -> list[float]:
        left = [w if i in kept else 0.0 for i, w in enumerate(weights)]
        return [w / sum(left) for w in left]

    order = sorted(range(10), key=lambda i: -weights[i])
    weights = cut(weights, order[:top_k])
    mass, size = 0.0, 0
    while mass < top_p - 1e-9 and size < 10:
        mass, size = mass + weights[order[size]], size + 1
    weights = cut(weights, order[:size])
    return cut(weights, [i for i in order if weights[i] >= min_p * max(weights)])


@pytest.mark.parametrize("name", OPTIONS)
def test_drawn_frequencies_are_those_of_the_exact_distribution(name: str) -> None:
    exact = torch.tensor(by_hand(**OPTIONS[name]), dtype=torch.float64)
    sampling = Sampling(**OPTIONS[name])
    found = sampling.distribution(FLAT[None], TEXT)
    torch.testing.assert_close(found[0].double(), exact, rtol=1e-5, atol=1e-7)
    generator = torch.Generator().manual_seed(0)
    chosen = sampling.choose(
        FLAT.expand(N_DRAWS, -1), TEXT.expand(N_DRAWS, -1), generator=generator
    )
    counts = chosen.bincount(minlength=10)
    possible = exact > 0
    assert counts[~possible].sum() == 0, "what was cut never comes"
    expected = exact[possible] / exact[possible].sum() * N_DRAWS
    assert chisquare(counts[possible].numpy(), expected.numpy()).pvalue > 0.01
    if name != "plain":  # the test can tell: the frequencies are not those of the plain softmax
        plain = torch.tensor(by_hand()) * N_DRAWS
        assert float(((counts - plain) ** 2 / plain).sum()) > 100


def test_what_generate_draws_is_the_distribution() -> None:
    """Drawn by the model, and expected from its logits: at the second new token, padded."""
    model = random_model(
        ModelConfig(n_layers=1, d_model=16, n_heads=4, d_vocab=17, n_ctx=12, init_range=0.2)
    )
    model.tokenizer = None
    options = {"temperature": 0.8, "top_p": 0.9, "freq_penalty": 0.5, "repetition_penalty": 1.3}
    prompt = torch.tensor([[3, 4, 3]])
    out = model.generate(
        prompt.repeat(N_DRAWS, 1), 2, generator=torch.Generator().manual_seed(0), **options
    )
    with torch.no_grad():
        first = Sampling(**options).distribution(model(prompt)[:, -1], prompt)[0]
        after = torch.cat([prompt.repeat(17, 1), torch.arange(17)[:, None]], 1)
        second = Sampling(**options).distribution(model(after)[:, -1], after)
    joint = (first[:, None] * second).flatten()  # [first token x second token]
    counts = (out[:, 3] * 17 + out[:, 4]).bincount(minlength=17 * 17)
    assert counts[joint == 0].sum() == 0
    common = joint * N_DRAWS >= 5  # where chi-square holds; the rest as one
    seen, expected = counts[common].double(), joint[common].double() * N_DRAWS
    if bool((joint[~common] > 0).any()):
        seen = torch.cat([seen, counts[~common].sum()[None].double()])
        expected = torch.cat([expected, joint[~common].double().sum()[None] * N_DRAWS])
    assert len(seen) > 20
    assert chisquare(seen, expected * seen.sum() / expected.sum()).pvalue > 0.01


def test_greedy_is_the_limit_of_cold() -> None:
    greedy = Sampling(temperature=0).distribution(FLAT[None])
    assert greedy.tolist() == [[1.0] + [0.0] * 9]
    torch.testing.assert_close(Sampling(temperature=1e-3).distribution(FLAT[None]), greedy)
    assert Sampling(0.0, freq_penalty=1.0).choose(FLAT[None], TEXT).tolist() == [3]


def test_the_repetition_penalty_knows_where_the_logits_have_their_zero() -> None:
    """A weakness of its definition: the same distribution, penalised, is not the same any more."""
    sampling = Sampling(repetition_penalty=1.5)
    here = sampling.distribution(FLAT[None], TEXT)
    moved = sampling.distribution(FLAT[None] - 5, TEXT)
    assert (here - moved).abs().max() > 0.05
    counted = Sampling(freq_penalty=0.5)
    torch.testing.assert_close(
        counted.distribution(FLAT[None], TEXT), counted.distribution(FLAT[None] - 5, TEXT)
    )


def test_draws_are_made_by_the_generator() -> None:
    probabilities = torch.full((50, 10), 0.1)
    state = torch.get_rng_state()
    drawn = [draw(probabilities, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    assert torch.equal(torch.get_rng_state(), state)


def test_whole_numbers_may_be_floats_and_nan_is_named() -> None:
    whole = Sampling(top_k=3, no_repeat_ngram_size=2).distribution(FLAT[None], TEXT)
    floats = Sampling(top_k=3.0, no_repeat_ngram_size=2.0).distribution(FLAT[None], TEXT)
    assert torch.equal(whole, floats)
    with pytest.raises(ValueError, match="logits are not finite"):
        Sampling().choose(FLAT[None] * math.nan)


def test_half_precision_is_drawn_from_in_float32() -> None:
    found = Sampling(temperature=0.7).distribution(FLAT[None].bfloat16())
    assert found.dtype == torch.float32 and abs(float(found.sum()) - 1) < 1e-6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -0.1}, "temperature=-0.1 is negative or not finite"),
        ({"temperature": math.nan}, "temperature=nan is negative or not finite"),
        ({"top_k": 0}, "top_k=0 leaves no token to draw"),
        ({"top_k": math.inf}, "top_k=inf .* no whole number"),
        ({"top_k": 2.5}, "top_k=2.5 .* no whole number"),
        ({"top_p": 0.0}, "top_p=0.0 is no probability above 0"),
        ({"top_p": 1.1}, "top_p=1.1 is no probability"),
        ({"min_p": 1.5}, "min_p=1.5 is not between 0 and 1"),
        ({"freq_penalty": math.inf}, "freq_penalty=inf is not finite"),
        ({"repetition_penalty": 0.0}, "repetition_penalty=0.0 is not positive"),
        ({"no_repeat_ngram_size": -1}, "no_repeat_ngram_size=-1 is not a number of tokens"),
    ],
)
def test_options_out_of_range_are_named(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sampling(**options)


def test_penalties_need_the_text_and_a_block_leaves_something() -> None:
    with pytest.raises(ValueError, match="need tokens="):
        Sampling(freq_penalty=1.0).distribution(FLAT[None])
    every = torch.arange(10)[None]
    for temperature in (0.0, 1.0):
        with pytest.raises(ValueError, match="no_repeat_ngram_size=1 leaves no token after 10"):
            Sampling(temperature, no_repeat_ngram_size=1).choose(FLAT[None], every)
