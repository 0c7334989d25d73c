"""The prompts of the Shakespeare study: what they say, and that nothing else tells them apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cutaway.experiments.shakespeare.prompts import (
    far_context,
    longest_sequence,
    one_repeat,
    passages,
    unforeseen,
    without_first,
)
from cutaway.model.config import ModelConfig
from cutaway.model.transformer import HookedTransformer
from cutaway.tasks.prompts import TaskError
from cutaway.tokens import fit_ngrams

N_CTX, VOCAB = 24, 40


def words(seed: int, n: int) -> np.ndarray:
    """Made-up words of seven tokens, many of which share their middle."""
    made = np.random.default_rng(0)
    middles = made.integers(0, VOCAB, (4, 3))
    lines = [
        [*made.integers(0, VOCAB, 2), *middles[i % 4], *made.integers(0, VOCAB, 2)]
        for i in range(24)
    ]
    rng = np.random.default_rng(seed)
    return np.concatenate([lines[i] for i in rng.integers(0, 24, n // 7 + 1)])[:n]


@pytest.fixture(scope="module")
def model() -> HookedTransformer:
    cfg = ModelConfig(n_layers=1, d_model=8, n_heads=2, d_vocab=VOCAB, n_ctx=N_CTX)
    return HookedTransformer(cfg)


@pytest.fixture(scope="module")
def held_out() -> torch.Tensor:
    return torch.from_numpy(words(1, 900))


@pytest.fixture(scope="module")
def ngrams():
    return fit_ngrams(words(2, 4000), VOCAB, 3)


@pytest.fixture(scope="module")
def wide():
    return fit_ngrams(words(2, 4000), VOCAB, 6)


@settings(max_examples=15)
@given(st.integers(0, 999), st.integers(6, 20))
def test_only_the_order_says_which_character_is_the_answer(model, seed, length) -> None:
    task = one_repeat(model, 6, length, seed)
    for row in range(6):
        clean, corrupted = task.clean[row].tolist(), task.corrupted[row].tolist()
        first = clean.index(clean[-1])
        assert len(set(clean)) == length == len(clean) - 1  # drawn without replacement
        assert sorted(clean) == sorted(corrupted) and clean[-1] == corrupted[-1]
        assert first == task.positions["A"][row] and task.positions["B"][row] == first + 1
        assert task.correct[row] == clean[first + 1]
        assert task.wrong[row] == corrupted[corrupted.index(corrupted[-1]) + 1]
        assert sum(a != b for a, b in zip(clean, corrupted, strict=True)) == 2
    changed = without_first(task, model, seed)
    assert (changed != task.clean).sum(1).tolist() == [1] * 6
    assert not (changed[:, :-1] == changed[:, -1:]).any()


def test_the_same_seed_gives_the_same_prompts_and_another_one_others(model) -> None:
    one, same, other = (one_repeat(model, 8, 12, seed).clean for seed in (3, 3, 4))
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_a_passage_stands_twice_or_after_another(held_out) -> None:
    own, other, half = passages(held_out, N_CTX, 30, seed=2)
    assert own.shape == (30, N_CTX) and half == N_CTX // 2
    assert torch.equal(own[:, :half], own[:, half:]) and torch.equal(own[:, half:], other[:, half:])
    assert (own[:, :half] != other[:, :half]).any(1).all()


def test_n_grams_cannot_tell_the_prompts_apart_and_are_wrong(model, held_out, ngrams, wide) -> None:
    task_far = far_context(model, held_out, ngrams, wide, 12, seed=1)
    for task in (task_far, unforeseen(model, held_out, ngrams, 12, seed=1)):
        for row in range(12):
            n = int(task.lengths[row])
            said = [
                ngrams.log_probabilities(tokens[row : row + 1, :n].numpy())[0, -1]
                for tokens in (task.clean, task.corrupted)
            ]
            np.testing.assert_array_equal(said[0], said[1])
            assert said[0].argmax() == task.wrong[row] != task.correct[row]
        assert (task.clean != task.corrupted).any(1).all()
    said = wide.log_probabilities(task_far.clean.numpy())[:, -1].argmax(-1)
    np.testing.assert_array_equal(said, task_far.correct)


def test_the_answer_of_a_passage_read_again_stands_in_the_first_reading(
    model, held_out, ngrams
) -> None:
    task = unforeseen(model, held_out, ngrams, 12)
    at = torch.arange(12)
    assert torch.equal(task.clean[at, task.positions["B"]], task.correct)
    assert torch.equal(task.clean[at, task.positions["A"]], task.clean[at, task.lengths - 1])
    assert len(set(task.group)) == 3


def test_what_cannot_be_is_one_sentence(model, held_out, ngrams) -> None:
    longest = longest_sequence(model)
    assert longest == N_CTX - 1
    for wrong in (5, longest + 1):
        with pytest.raises(TaskError, match=f"length={wrong} is not from 6 to {longest}"):
            one_repeat(model, 4, wrong)
    with pytest.raises(TaskError, match="24 are needed"):
        passages(held_out[:20], N_CTX, 4)
    same = fit_ngrams(np.zeros(50, dtype=int), VOCAB, 4)
    with pytest.raises(TaskError, match="only 0 of 4"):
        unforeseen(model, torch.zeros(900, dtype=torch.long), same, 4)
    with pytest.raises(TaskError, match="only 0 of 4"):
        far_context(model, torch.zeros(900, dtype=torch.long), same, same, 4)
