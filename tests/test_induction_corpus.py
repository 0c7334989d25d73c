"""The training text of `induction-2l`: what each kind is made of, and what it depends on."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch

from cutaway.model.tokenizer import Tokenizer
from cutaway.training.induction_corpus import (
    LESSON,
    SHORTEST,
    Corpus,
    build_tokenizer,
    chain_odds,
    sayings,
    vocabulary,
)
from cutaway.training.induction_words import CLASSES, FOLLOWS, SAYINGS

N_SPECIAL = 3


def test_a_sequence_depends_on_the_seed_and_its_number_alone() -> None:
    whole = Corpus(seed=3).sequences(0, 40)
    assert torch.equal(Corpus(seed=3).sequences(25, 5), whole[25:30])
    assert not torch.equal(Corpus(seed=4).sequences(0, 40), whole)
    assert torch.unique(whole, dim=0).shape[0] == 40


def test_sequences_are_full_and_begin_with_bos() -> None:
    tokens = Corpus().sequences(LESSON - 200, 400)
    assert tokens.shape == (400, 64) and tokens.dtype == torch.long
    assert (tokens[:, 0] == 0).all() and (tokens[:, 1:] >= N_SPECIAL).all()
    assert set(tokens.unique().tolist()) == {0, *range(N_SPECIAL, len(vocabulary()))}


def test_sayings_come_after_the_lesson_and_not_in_it() -> None:
    def n_with_a_saying(start: int) -> int:
        texts = Corpus().text(start, 100)
        return sum(any(f" {saying}" in text for saying in SAYINGS) for text in texts)

    assert n_with_a_saying(LESSON - 100) == 0
    assert 10 <= n_with_a_saying(LESSON) <= 32


def test_no_sequences_are_asked_for() -> None:
    with pytest.raises(ValueError, match="no 0 sequences from number 5 on"):
        Corpus().sequences(5, 0)
    with pytest.raises(ValueError, match="from number -1 on"):
        Corpus().sequences(-1, 2)


def test_every_kind_depends_on_both_seeds_and_not_on_how_many() -> None:
    for kind in ("memorised", "repeated", "novel"):
        few, many = getattr(Corpus(1), kind)(3, seed=5), getattr(Corpus(1), kind)(6, seed=5)
        assert torch.equal(few.tokens, many.tokens[:3])
        assert torch.equal(few.known, many.known[:3])
        assert not torch.equal(few.tokens, getattr(Corpus(1), kind)(3, seed=6).tokens)
        assert not torch.equal(few.tokens, getattr(Corpus(2), kind)(3, seed=5).tokens)


def test_repeated_words_are_different_within_a_half_and_the_same_in_both() -> None:
    kind = Corpus().repeated(50, half_length=9)
    first, second = kind.tokens[:, 1:10], kind.tokens[:, 10:]
    assert kind.tokens.shape == (50, 19) and torch.equal(first, second)
    assert all(len(set(row)) == 9 for row in first.tolist())
    assert kind.known.nonzero()[:, 1].unique().tolist() == list(range(11, 19))
    assert Corpus().repeated(2).tokens.shape == (2, 63)
    for length in (1, 32):
        with pytest.raises(ValueError, match=f"half_length={length} is not from 2 to 31"):
            Corpus().repeated(2, half_length=length)


def test_memorised_text_is_sayings_none_of_them_twice() -> None:
    kind = Corpus().memorised(30)
    texts = ["".join(vocabulary()[i] for i in row[1:]) for row in kind.tokens.tolist()]
    for text, known in zip(texts, kind.known.tolist(), strict=True):
        found = sorted((text.find(f" {saying}"), saying) for saying in SAYINGS)
        whole = [saying for at, saying in found if at >= 0]
        assert "".join(f" {saying}" for saying in whole) == text[: sum(len(s) + 1 for s in whole)]
        marks = [k >= 2 for saying in whole for k in range(len(saying.split()))]
        assert known[1 : 1 + len(marks)] == marks


def test_two_words_of_a_saying_say_which_it_is_and_one_does_not() -> None:
    starts = Counter(tuple(saying.split()[:2]) for saying in SAYINGS)
    assert set(starts.values()) == {1}
    following: dict[int, Counter[int]] = {}
    for saying in sayings():
        for word, after in pairwise(saying.tolist()):
            following.setdefault(word, Counter())[after] += 1
    right = sum(max(counts.values()) for counts in following.values())
    assert right / sum(map(lambda c: c.total(), following.values())) < 0.7


def test_novel_text_follows_the_odds_of_the_chain() -> None:
    odds = chain_odds()
    inside = odds.sum(1) > 0
    np.testing.assert_allclose(odds.sum(1)[inside], 1.0)
    assert sum(map(len, CLASSES.values())) == inside.sum() == len(set().union(*CLASSES.values()))
    assert all(abs(sum(row.values()) - 1) < 1e-12 for row in FOLLOWS.values())
    kind = Corpus().novel(400)
    assert not kind.known.any()
    counts = np.zeros_like(odds)
    np.add.at(counts, (kind.tokens[:, 1:-1].numpy(), kind.tokens[:, 2:].numpy()), 1)
    assert (odds[counts > 0] > 0).all()
    # Of the most frequent word every follower comes about as often as it should.
    word = int(counts.sum(1).argmax())
    n = counts[word].sum()
    sd = np.sqrt(n * odds[word] * (1 - odds[word]))
    assert (np.abs(counts[word] - n * odds[word]) <= 5 * sd + 1e-9).all()


def test_copies_in_the_training_text_come_at_many_distances_and_places() -> None:
    tokens = Corpus().sequences(0, 300).numpy()
    places, distances = set(), set()
    for row in tokens:
        seen: dict[tuple[int, ...], int] = {}
        for i in range(1, 64 - 2 * SHORTEST):
            stretch = tuple(row[i : i + 2 * SHORTEST].tolist())
            if stretch in seen:
                places.add(i)
                distances.add(i - seen[stretch])
            seen.setdefault(stretch, i)
    assert len(places) > 45 and len(distances) > 40


def test_the_tokenizer_reads_text_with_and_without_its_first_space() -> None:
    tokenizer = Tokenizer(build_tokenizer())
    for saying in SAYINGS:
        ids = tokenizer.encode(saying)
        assert ids == tokenizer.encode(f" {saying}")
        assert tokenizer.decode(ids) == f" {saying}"
        assert min(ids) >= N_SPECIAL
    assert tokenizer.encode("the zebra") == [tokenizer.encode("the")[0], tokenizer.unk_token_id]
