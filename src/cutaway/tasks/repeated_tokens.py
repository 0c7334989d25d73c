"""Repeated random tokens: what an induction head completes, in any vocabulary.

Elhage et al. (2021, "A Mathematical Framework for Transformer Circuits") and Olsson et al. (2022,
"In-context Learning and Induction Heads") find induction heads by random tokens that come twice:
nothing but the first time says what comes next in the second.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch

from .prompts import TaskError
from .random_tokens import drawable_tokens, first_tokens
from .sentences import check_choice, check_count, in_turn
from .task import Task

if TYPE_CHECKING:
    from ..model.transformer import HookedTransformer

Corruption = Literal["other-first-half", "other-answer", "shuffle"]
_SHORTEST = 3  # tokens of a half: shuffling needs two beside the one that stays


@dataclass(frozen=True)
class _Pair:
    """The halves of one prompt pair, and where the second one is cut."""

    half: list[int]
    changed: list[int]
    """The first half of the corrupted prompt."""
    n_repeated: int
    """Tokens of the second half, which is the same in both prompts."""


def repeated_tokens(
    model: HookedTransformer,
    n_prompts: int = 64,
    corruption: Corruption = "other-first-half",
    seed: int = 0,
    half_length: int = 12,
    vocabulary: Sequence[int] | None = None,
    n_repeated: int | None = None,
    bos_token: int | None = None,
) -> Task:
    """Prompts [BOS, r1 ... rL, r1 ... rk] of random tokens; the answer is r(k+1).

    No token comes twice within a half, so that there is one answer. The metric is the logit
    difference at END, the last token, rk. The wrong token is what the corrupted prompt has in the
    answer's place (FIRST+1). Only the first half is ever changed. The clean prompts depend on the
    seed and not on the corruption. The model needs no tokenizer.

    Args:
        model: gives the vocabulary, the context length, and BOS if it has a tokenizer.
        n_prompts: how many prompt pairs.
        corruption: `other-first-half` puts other random tokens there, none of which is in the
            clean prompt, so that nothing can be copied; `other-answer` changes the one token at
            FIRST+1, so that copying gives the wrong token; `shuffle` puts all but the token at
            FIRST in another order, with another one after it, so that the same tokens are there.
        seed: of all choices.
        half_length: L, tokens of the first half.
        vocabulary: the tokens to draw from, e.g. range(5, 50); None means all but special ones.
        n_repeated: k, from 1 to L - 1; None takes all of them in turn, so that FIRST is not
            always at one place.
        bos_token: what goes first; None means BOS if the model wants it and has a tokenizer.

    Returns:
        A task with the positions FIRST (where the token of END stood the first time), FIRST+1
        (the token to be copied) and END; its groups are the values of k. It has texts only where
        the tokenizer reads them back as the same tokens.

    Raises:
        TaskError: a bad argument, too few tokens, or too long a prompt.

    Example:
        >>> task = repeated_tokens(model, half_length=20)  # doctest: +SKIP
        >>> bool((task.clean[0, task.positions["FIRST+1"][0]] == task.correct[0]))  # doctest: +SKIP
        True
    """
    check_choice("corruption", corruption, get_args(Corruption))
    check_count(n_prompts)
    cuts = _cuts(half_length, n_repeated)
    start = first_tokens(model, bos_token)
    tokens = _vocabulary(model, vocabulary, start, 2 * half_length)
    longest = len(start) + half_length + max(cuts)
    if longest > model.cfg.n_ctx:
        raise TaskError(
            f"half_length={half_length} makes up to {longest} tokens, but the context of "
            f"{model.cfg.model_name} is {model.cfg.n_ctx}: choose a shorter half."
        )
    rng = np.random.default_rng(seed)
    pairs = [
        _pair(rng, tokens, half_length, cut, corruption) for cut in in_turn(rng, cuts, n_prompts)
    ]
    settings = {
        "task": "repeated-tokens",
        "n_prompts": n_prompts,
        "corruption": corruption,
        "seed": seed,
        "half_length": half_length,
        "vocabulary": None if vocabulary is None else [int(token) for token in vocabulary],
        "n_repeated": n_repeated,
        "bos_token": bos_token,
    }
    return dataclasses.replace(_with_texts(model, _task(model, pairs, start)), settings=settings)


def _cuts(half_length: int, n_repeated: int | None) -> list[int]:
    if half_length < _SHORTEST:
        raise TaskError(f"half_length={half_length} is too short: at least {_SHORTEST}.")
    if n_repeated is None:
        return list(range(1, half_length))
    if not 1 <= n_repeated < half_length:
        raise TaskError(
            f"n_repeated={n_repeated} is not from 1 to {half_length - 1}: one token at least is "
            "repeated, and one is left for the answer."
        )
    return [n_repeated]


def _vocabulary(
    model: HookedTransformer, given: Sequence[int] | None, start: list[int], fewest: int
) -> list[int]:
    """The tokens to draw from."""
    found = drawable_tokens(model, given, start)
    if len(found) < fewest:
        raise TaskError(
            f"There are {len(found)} tokens to draw from, and two halves that share none need "
            f"{fewest}: give a shorter half_length, or a larger vocabulary."
        )
    return found


def _pair(
    rng: np.random.Generator, tokens: list[int], length: int, cut: int, corruption: Corruption
) -> _Pair:
    """One pair; everything is drawn whatever the corruption, so that the clean prompts stay."""
    drawn = [tokens[i] for i in rng.choice(len(tokens), size=2 * length, replace=False)]
    half, other = drawn[:length], drawn[length:]
    shuffled = _shuffled(rng, half, cut)
    changed = {
        "other-first-half": other,
        "other-answer": [*half[:cut], other[cut], *half[cut + 1 :]],
        "shuffle": shuffled,
    }[corruption]
    return _Pair(half, changed, cut)


def _shuffled(rng: np.random.Generator, half: list[int], cut: int) -> list[int]:
    """Another order: the token at FIRST (index cut - 1) stays, the one after it does not."""
    movable = [i for i in range(len(half)) if i != cut - 1]
    source = list(rng.permutation(movable))
    answer = movable.index(cut)
    if source[answer] == cut:  # it fell back into its own place: exchange it with another one
        at = rng.choice([i for i in range(len(movable)) if i != answer])
        source[answer], source[at] = source[at], source[answer]
    changed = list(half)
    for place, taken in zip(movable, source, strict=True):
        changed[place] = half[taken]
    return changed


def _task(model: HookedTransformer, pairs: list[_Pair], start: list[int]) -> Task:
    """The prompts as tokens, padded on the right."""
    pad = 0 if model.tokenizer is None else model.tokenizer.pad_token_id or 0
    cuts = torch.tensor([pair.n_repeated for pair in pairs])
    length = len(pairs[0].half)
    width = len(start) + length + int(cuts.max())

    def rows(halves: list[list[int]]) -> torch.Tensor:
        full = torch.full((len(pairs), width), pad)
        for i, (pair, half) in enumerate(zip(pairs, halves, strict=True)):
            row = [*start, *half, *pair.half[: pair.n_repeated]]
            full[i, : len(row)] = torch.tensor(row)
        return full.to(model.device)

    first = len(start) + cuts - 1
    task = Task.from_tokens(
        rows([pair.half for pair in pairs]),
        rows([pair.changed for pair in pairs]),
        torch.tensor([pair.half[pair.n_repeated] for pair in pairs]).to(model.device),
        torch.tensor([pair.changed[pair.n_repeated] for pair in pairs]).to(model.device),
        lengths=(len(start) + length + cuts).to(model.device),
        positions={
            "FIRST": first.to(model.device),
            "FIRST+1": (first + 1).to(model.device),
        },
        name="repeated-tokens",
    )
    return dataclasses.replace(
        task, group=tuple(f"k={pair.n_repeated}" for pair in pairs), n_before=len(start)
    )


def _with_texts(model: HookedTransformer, task: Task) -> Task:
    """The answers in words, and the prompts too if their text gives the same tokens again."""
    if model.tokenizer is None:
        return task
    tokenizer = model.tokenizer
    task = dataclasses.replace(
        task,
        answer_text=tuple(tokenizer.token(token) for token in task.correct.tolist()),
        wrong_text=tuple(tokenizer.token(token) for token in task.wrong.tolist()),
    )
    texts = []
    for tokens in (task.clean.tolist(), task.corrupted.tolist()):
        rows = [
            row[task.n_before : n] for row, n in zip(tokens, task.lengths.tolist(), strict=True)
        ]
        written = tokenizer.batch_decode(rows)
        if [tokenizer.encode(text) for text in written] != rows:
            return task
        texts.append(tuple(written))
    return dataclasses.replace(task, clean_text=texts[0], corrupted_text=texts[1])
