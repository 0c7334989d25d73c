"""N-gram models against counting by hand, and what every distribution has to be."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cutaway.tokens import fit_ngrams


def slow(text: list[int], before: tuple[int, ...], token: int, d_vocab: int) -> float:
    """Witten and Bell's recursion, word for word, over the whole text at every call."""
    lower = 1 / d_vocab if not before else slow(text, before[1:], token, d_vocab)
    k = len(before)
    if len(before) == 0:
        after = Counter(text)
    else:
        after = Counter(text[i] for i in range(k, len(text)) if tuple(text[i - k : i]) == before)
    if not after:
        # p_0 is below the order without context, and an unseen context says nothing.
        return lower
    c, T = sum(after.values()), len(after)
    return (after[token] + T * lower) / (c + T)


@st.composite
def texts(draw: st.DrawFn) -> tuple[list[int], int, int]:
    d_vocab = draw(st.integers(1, 4))
    token = st.integers(0, d_vocab - 1)
    return draw(st.lists(token, min_size=1, max_size=25)), d_vocab, draw(st.integers(1, 5))


@settings(max_examples=25)
@given(texts(), st.data())
def test_every_probability_is_that_of_counting_by_hand(given_text, data) -> None:
    text, d_vocab, order = given_text
    token = st.integers(0, d_vocab - 1)
    prompts = np.array([data.draw(st.lists(token, min_size=6, max_size=6)) for _ in range(2)])
    models = fit_ngrams(np.array(text), d_vocab, order)
    for k in range(1, order + 1):
        found = np.exp(models.log_probabilities(prompts, k))
        for row, prompt in enumerate(prompts.tolist()):
            for at in range(len(prompt)):
                before = tuple(prompt[max(0, at - k + 2) : at + 1]) if k > 1 else ()
                expected = [slow(text, before, token, d_vocab) for token in range(d_vocab)]
                np.testing.assert_allclose(found[row, at], expected, atol=1e-12)


@settings(max_examples=25)
@given(texts())
def test_probabilities_sum_to_one_and_none_is_zero(given_text) -> None:
    text, d_vocab, order = given_text
    prompts = np.arange(12).reshape(2, 6) % d_vocab
    p = np.exp(fit_ngrams(np.array(text), d_vocab, order).log_probabilities(prompts))
    np.testing.assert_allclose(p.sum(-1), 1)
    assert (p > 0).all()


def test_a_lower_order_of_a_higher_model_is_the_lower_model() -> None:
    rng = np.random.default_rng(0)
    text, prompts = rng.integers(0, 7, 500), rng.integers(0, 7, (3, 9))
    high, low = fit_ngrams(text, 7, 5), fit_ngrams(text, 7, 2)
    np.testing.assert_array_equal(
        high.log_probabilities(prompts, 2), low.log_probabilities(prompts)
    )


def test_a_text_of_bigrams_is_told_by_bigrams_and_not_better_by_more() -> None:
    """A cycle 0 1 2 0 1 2: one token before says all; frequencies say ln 3."""
    text = np.tile([0, 1, 2], 400)
    models = fit_ngrams(text, 3, 4)
    held_out = np.tile([1, 2, 0], 5)[None]
    assert models.losses(held_out, 1).mean() == pytest.approx(np.log(3), abs=1e-3)
    assert models.losses(held_out, 2).mean() == pytest.approx(0.00166, abs=1e-4)  # golden
    assert models.losses(held_out, 4).mean() < 0.002


def test_a_large_vocabulary_and_many_chunks(monkeypatch) -> None:
    rng = np.random.default_rng(1)
    text, prompts = rng.integers(0, 50_000, 3000), rng.integers(0, 50_000, (2, 3))
    prompts[0] = text[100:103]
    models = fit_ngrams(text, 50_000, 5)
    whole = models.log_probabilities(prompts)
    monkeypatch.setattr("cutaway.tokens.ngrams._CELLS", 60_000)
    np.testing.assert_array_equal(models.log_probabilities(prompts), whole)
    assert whole[0, 2].argmax() == text[103]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: fit_ngrams(np.array([], dtype=int), 3), "one row with a token"),
        (lambda: fit_ngrams(np.array([0]), 3, 0), "order=0 must be at least 1"),
        (lambda: fit_ngrams(np.array([0, 3]), 3), "the vocabulary has 0 to 2"),
        (lambda: fit_ngrams(np.array([0]), 3).losses(np.array([[0, 1]]), 6), "1 to 5"),
        (lambda: fit_ngrams(np.array([0]), 3).log_probabilities(np.array([[-1]])), "reach from -1"),
    ],
)
def test_what_cannot_be_is_one_sentence(wrong, says) -> None:
    with pytest.raises(ValueError, match=says):
        wrong()
