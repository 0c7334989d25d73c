"""Lists of words that repeat, in a vocabulary of which some words hardly ever come and some never.

    <|bos|> cat river old boat cat river old boat cat ... and in one list of 64,000: dasino

The tokenizer knows more than the text says: that is how tokens come about that a model was never
trained on (Land and Bartolo 2024, section 1). Here it is known of every token in how many
sequences it stands, because it was decided beforehand, so that what finds such tokens can be held
against the truth.

- **Common** words, drawn alike.
- **Rare** words: in exactly so many sequences as `COUNTS` says, eight words for each number.
- **Never**: in none, and of those a few that the tokenizer cannot even make of a text.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
from jaxtyping import Int
from torch import Tensor

from ..model.tokenizer import Tokenizer
from .config import TrainConfigError
from .induction_words import CLASSES, SAYINGS
from .source import HELD_OUT, TRAINED, Integers, Source, as_tensor, generator
from .word_tokenizer import SPECIAL, word_tokenizer

COUNTS = (1, 3, 10, 30, 100, 300, 1000, 3000)
"""In how many sequences a rare word stands."""
N_OF_EACH = 8  # rare words for each count
N_NEVER = 56
N_UNREACHABLE = 8  # of two words: the tokenizer parts them at the space
N_PLANNED = 64_000  # sequences over which the rare words are spread; later ones hold none
PERIODS = (3, 12)  # words of a list that comes again
SHORTEST = 2 * PERIODS[1] + 1  # n_ctx in which the longest list stands twice
_N_HELD_OUT = 1000
_WORD_SEED = 11  # of the invented words: part of what the vocabulary is
_PLACE_SEED = 12  # stream of the random numbers that say where rare words stand


@cache
def common_words() -> tuple[str, ...]:
    """Words that come all the time, those of `induction-2l`.

    Example:
        >>> len(common_words()), common_words()[:3]
        (428, ('a', 'about', 'above'))
    """
    words = {word for saying in SAYINGS for word in saying.split()}
    words.update(word for listed in CLASSES.values() for word in listed)
    return tuple(sorted(words))


@cache
def invented_words() -> tuple[str, ...]:
    """Words that mean nothing: the rare ones first, then those that never come.

    Example:
        >>> len(invented_words()) == len(COUNTS) * N_OF_EACH + N_NEVER
        True
    """
    rng = np.random.default_rng(_WORD_SEED)
    starts, middles = (
        [
            "b",
            "br",
            "d",
            "dr",
            "f",
            "g",
            "gl",
            "k",
            "kr",
            "l",
            "m",
            "n",
            "p",
            "pl",
            "r",
            "s",
            "st",
            "t",
            "v",
            "z",
        ],
        ["a", "e", "i", "o", "u"],
    )
    found: dict[str, None] = {}
    while len(found) < len(COUNTS) * N_OF_EACH + N_NEVER:
        word = "".join(str(rng.choice(part)) for part in (starts, middles) * 3)
        found.setdefault(word)
    return tuple(found)


@cache
def vocabulary() -> tuple[str, ...]:
    """All tokens in the order of their ids, each word with the space before it.

    Common, rare and unused words are mixed, so that the number of a token says nothing of it.
    """
    never = invented_words()[-2 * N_UNREACHABLE :]
    pairs = [f"{a} {b}" for a, b in zip(never[::2], never[1::2], strict=True)]
    words = [*common_words(), *invented_words(), *pairs]
    order = np.random.default_rng([_WORD_SEED, 1]).permutation(len(words))
    return (*SPECIAL, *(f" {words[i]}" for i in order))


@cache
def occurrences() -> Int[Integers, " d_vocab"]:
    """In how many of the `N_PLANNED` sequences each token stands; of common words the mean.

    Example:
        >>> int((occurrences() == 0).sum()) - 2  # without <|pad|> and <|unk|>
        64
    """
    planned = dict.fromkeys(vocabulary(), 0)
    rare = len(COUNTS) * N_OF_EACH
    for i, word in enumerate(invented_words()[:rare]):
        planned[f" {word}"] = COUNTS[i // N_OF_EACH]
    words_of_a_list = sum(PERIODS) / 2
    each = N_PLANNED * words_of_a_list / len(common_words())  # a little less where rare ones stand
    planned.update(dict.fromkeys((f" {word}" for word in common_words()), int(each)))
    planned[SPECIAL[0]] = N_PLANNED
    return np.array(list(planned.values()))


@cache
def _ids(kind: str) -> Integers:
    numbers = {token: i for i, token in enumerate(vocabulary())}
    words = common_words() if kind == "common" else invented_words()[: len(COUNTS) * N_OF_EACH]
    return np.array([numbers[f" {word}"] for word in words])


@cache
def _rare_places(seed: int) -> dict[int, tuple[int, ...]]:
    """The number of a sequence -> the rare tokens that stand in it."""
    rng = np.random.default_rng([seed, _PLACE_SEED])
    places: dict[int, list[int]] = {}
    for i, token in enumerate(_ids("rare").tolist()):
        for number in rng.choice(N_PLANNED, COUNTS[i // N_OF_EACH], replace=False).tolist():
            places.setdefault(number, []).append(token)
    return {number: tuple(tokens) for number, tokens in places.items()}


def _draw(
    rng: np.random.Generator, rare: Iterator[tuple[int, ...]], n: int, length: int
) -> tuple[Integers, Integers]:
    """Sequences [n, length] with these rare tokens in them, and which tokens can be known."""
    shortest, longest = PERIODS
    common = _ids("common")
    lists = common[rng.random((n, common.size)).argsort(1)[:, :longest]]
    periods = rng.integers(shortest, longest + 1, n)
    for row, tokens in enumerate(rare):
        periods[row] = max(periods[row], len(tokens))
        at = rng.permutation(int(periods[row]))[: len(tokens)]
        lists[row, at] = tokens
    place = np.arange(length - 1)
    rows = np.zeros((n, length), dtype=np.int64)  # BOS has the id 0
    rows[:, 1:] = np.take_along_axis(lists, place % periods[:, None], 1)
    known = np.zeros((n, length), dtype=np.int64)
    known[:, 1:] = place > periods[:, None]  # where the list begins again cannot be known
    return rows, known


def open_tokenizer() -> Tokenizer:
    """The tokenizer of `vocabulary()`."""
    return Tokenizer(word_tokenizer(vocabulary(), space_first=True))


def open_rare_words(n_ctx: int, seed: int) -> Source:
    """The source of such sequences; held out are sequences of common words.

    Raises:
        TrainConfigError: a context in which the longest list does not stand twice.
    """
    if n_ctx < SHORTEST:
        raise TrainConfigError(
            f"n_ctx={n_ctx} is too short for lists of {PERIODS[1]} words, twice: at least "
            f"{SHORTEST}."
        )

    def rows(step: int, size: int) -> Int[Tensor, "batch pos"]:
        places, first = _rare_places(seed), step * size
        rare = (places.get(first + i, ()) for i in range(size))
        return as_tensor(_draw(generator(seed, TRAINED, step), rare, size, n_ctx + 1)[0])

    nothing = (() for _ in range(_N_HELD_OUT))
    held_out, known = _draw(generator(seed, HELD_OUT, 0), nothing, _N_HELD_OUT, n_ctx + 1)
    tokenizer = open_tokenizer()
    return Source(
        tokenizer,
        rows,
        as_tensor(held_out),
        f"rare-words {tokenizer.digest}",
        known=as_tensor(known).bool(),
        prompt="cat river old boat cat river",
        about={
            "text": f"lists of {PERIODS[0]} to {PERIODS[1]} words, repeated until the context is "
            "full",
            "vocabulary": f"{len(common_words())} common words, {len(_ids('rare'))} rare ones, "
            f"{N_NEVER + N_UNREACHABLE} that never come",
        },
    )
