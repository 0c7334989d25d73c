"""Prompts of the study: A B ... A of characters, repeated sequences, and passages read twice."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from ...model.transformer import HookedTransformer
from ...tasks.prompts import TaskError
from ...tasks.random_tokens import drawable_tokens, first_tokens
from ...tasks.task import Task
from ...tokens.ngrams import NGrams

FIRST, AFTER, OTHER, FAR = "A", "B", "C", "FAR"
_TRIED = 60  # windows that are looked at for each prompt, at most
_SHORTEST = 6  # characters: A B, C with the one before it, and two more


def longest_sequence(model: HookedTransformer) -> int:
    """Distinct characters that a sequence can have at most: A comes once more, and a quarter of
    the vocabulary is left for prompts to differ in."""
    start = first_tokens(model, None)
    n = len(drawable_tokens(model, None, start))
    return min(model.cfg.n_ctx - 1 - len(start), 3 * n // 4)


def one_repeat(model: HookedTransformer, n_prompts: int, length: int, seed: int = 0) -> Task:
    """A B ... A: `length` different tokens and then one of them again; the answer is what came
    after it. BOS goes first where the model wants it.

    In the corrupted prompt B and another character C have changed places, so that C comes after
    A: both prompts hold the same characters, and only where they stand says which is the answer.
    The metric is logit(B) - logit(C) at END.

    Args:
        model: gives the vocabulary and the context length.
        n_prompts: how many pairs.
        length: characters before the repeated one, drawn without replacement.
        seed: of the draws.

    Returns:
        A task with the positions A (its first place), B, C and END.

    Raises:
        TaskError: a length below 6, or more than context or vocabulary allow.
    """
    start = first_tokens(model, None)
    tokens = drawable_tokens(model, None, start)
    if not _SHORTEST <= length <= longest_sequence(model):
        raise TaskError(
            f"length={length} is not from {_SHORTEST} to {longest_sequence(model)}: the context "
            f"is {model.cfg.n_ctx}, and {len(tokens)} different characters can be drawn."
        )
    rng = np.random.default_rng([1, seed])
    rows = np.stack([rng.permutation(tokens)[:length] for _ in range(n_prompts)])
    first = rng.integers(0, length - 1, n_prompts)  # A; there is a character after it
    other = np.array([rng.choice(_others(length, int(at))) for at in first])
    at = np.arange(n_prompts)
    before = np.tile(np.array(start, dtype=np.int64), (n_prompts, 1))
    clean = np.concatenate([before, rows, rows[at, first][:, None]], axis=1)
    first, other = first + len(start), other + len(start)
    corrupted = clean.copy()
    corrupted[at, first + 1], corrupted[at, other] = clean[at, other], clean[at, first + 1]

    def tensor(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values.astype(np.int64)).to(model.device)

    return Task.from_tokens(
        tensor(clean),
        tensor(corrupted),
        tensor(clean[at, first + 1]),
        tensor(clean[at, other]),
        positions={FIRST: tensor(first), AFTER: tensor(first + 1), OTHER: tensor(other)},
        name="one repeat",
    )


def _others(length: int, first: int) -> list[int]:
    """Where C may stand: not at A or B, and not so that B would come to stand right before A."""
    return [at for at in range(length) if at not in (first - 1, first, first + 1)]


def without_first(task: Task, model: HookedTransformer, seed: int = 0) -> Int[Tensor, "prompt pos"]:
    """The control: the clean prompts with a character in A's first place that they do not hold."""
    tokens = np.array(drawable_tokens(model, None, first_tokens(model, None)))
    rng = np.random.default_rng([2, seed])
    changed = task.clean.clone()
    rows = task.clean.tolist()
    for row, at in enumerate(task.positions[FIRST].tolist()):
        changed[row, at] = int(rng.choice(np.setdiff1d(tokens, rows[row])))
    return changed


def unforeseen(
    model: HookedTransformer,
    held_out: Int[Tensor, " character"],
    ngrams: NGrams,
    n_prompts: int,
    seed: int = 0,
) -> Task:
    """Held-out passages that are read a second time, up to a character that five characters do not
    foretell.

    Clean: a passage and its beginning once more; corrupted: another passage and the same
    beginning. The answer is the character that comes next, the wrong one what the n-gram model of
    the highest order puts first; prompts where both are one are left out. So whatever tells them
    apart was read in the first half.

    Args:
        model: gives the context length.
        held_out: text that neither the model nor the n-grams were fitted on.
        ngrams: fitted on the training text.
        n_prompts: how many pairs.
        seed: of the draws.

    Returns:
        A task with the positions A (where END's character stood in the first half), B (the one
        after it, which is the answer) and END. Its groups are the lengths of the beginning.

    Raises:
        TaskError: too short a text, or too few places that the n-grams do not foretell.
    """
    own, other, half = passages(held_out, model.cfg.n_ctx, 20 * n_prompts, seed)
    cuts = sorted({max(2, half // 3), max(2, half // 2), half - 1})  # characters read again
    said = ngrams.log_probabilities(own[:, :half].cpu().numpy()).argmax(-1)  # [prompt, pos]
    chosen: list[int] = []
    lengths, answers, wrong = [], [], []
    for row, passage in enumerate(own[:, :half].tolist()):
        cut = cuts[row % len(cuts)]
        if said[row, cut - 1] != passage[cut] and len(chosen) < n_prompts:
            chosen.append(row)
            lengths.append(half + cut)
            answers.append(passage[cut])
            wrong.append(int(said[row, cut - 1]))
    if len(chosen) < n_prompts:
        raise TaskError(
            f"only {len(chosen)} of {n_prompts} prompts were found that {ngrams.order}-grams do "
            "not foretell: take fewer prompts, or a longer held-out text."
        )
    device, kept = model.device, torch.tensor(chosen, device=own.device)
    length = torch.tensor(lengths, device=device)
    first = length - half - 1
    inside = torch.arange(half + cuts[-1], device=device) < length[:, None]
    clean, corrupted = (
        text[kept, : half + cuts[-1]].to(device).masked_fill(~inside, 0) for text in (own, other)
    )
    task = Task.from_tokens(
        clean,
        corrupted,
        torch.tensor(answers, device=device),
        torch.tensor(wrong, device=device),
        lengths=length,
        positions={FIRST: first, AFTER: first + 1},
        name="passage read again",
    )
    return dataclasses.replace(task, group=tuple(f"{n - half} again" for n in lengths))


def far_context(
    model: HookedTransformer,
    held_out: Int[Tensor, " character"],
    ngrams: NGrams,
    wide: NGrams,
    n_prompts: int,
    seed: int = 0,
) -> Task:
    """Held-out text whose next character is foretold, but not by the last few ones.

    Clean: a window of text; corrupted: its last `ngrams.order` - 1 characters, and before them
    those of another window, so that the n-gram model cannot tell the two apart. The answer is the
    character that comes next, which n-grams of a higher order put first; the wrong one is what
    `ngrams` put first.

    Args:
        model, held_out, n_prompts, seed: as in `unforeseen`.
        ngrams: who is wrong about the next character.
        wide: of a higher order, who is right.

    Returns:
        A task with the positions FAR (the last character that differs) and END.

    Raises:
        TaskError: too short a text or context, or too few such windows.
    """
    near, n_ctx = ngrams.order - 1, model.cfg.n_ctx
    if n_ctx <= near or len(held_out) <= n_ctx:
        raise TaskError(
            f"a context of {n_ctx} and {len(held_out)} held-out characters: it takes more than "
            f"{near} of the one, and more than that context of the other."
        )
    n_starts = min(len(held_out) - n_ctx, _TRIED * n_prompts)
    starts = np.random.default_rng([9, seed]).permutation(len(held_out) - n_ctx)[:n_starts]
    rows = held_out[
        torch.from_numpy(starts).to(held_out.device)[:, None]
        + torch.arange(n_ctx + 1, device=held_out.device)
    ]
    said, right = (_next(one, rows[:, :-1]) for one in (ngrams, wide))
    kept = ((right == rows[:, -1]) & (said != rows[:, -1])).nonzero()[:n_prompts, 0]
    if len(kept) < n_prompts:
        raise TaskError(
            f"only {len(kept)} of {n_prompts} windows were found that {wide.order}-grams foretell "
            f"and {ngrams.order}-grams do not: take fewer prompts, or a longer held-out text."
        )
    rows, wrong = rows[kept].to(model.device), said[kept].to(model.device)
    clean = rows[:, :-1]
    corrupted = torch.cat([clean[:, :-near].roll(1, 0), clean[:, -near:]], 1)
    return Task.from_tokens(
        clean,
        corrupted,
        rows[:, -1],
        wrong,
        positions={FAR: torch.full_like(wrong, n_ctx - near - 1)},
        name="far context",
    )


def _next(ngrams: NGrams, rows: Int[Tensor, "window pos"]) -> Int[Tensor, " window"]:
    """What an n-gram model puts first after each window."""
    last = rows[:, -max(1, ngrams.order - 1) :].cpu().numpy()
    return torch.from_numpy(ngrams.log_probabilities(last)[:, -1].argmax(-1)).to(rows.device)


def passages(
    held_out: Int[Tensor, " character"], n_ctx: int, n_prompts: int, seed: int = 0
) -> tuple[Int[Tensor, "prompt pos"], Int[Tensor, "prompt pos"], int]:
    """(a passage of held-out text twice, another passage and then it, tokens of a passage).

    The second half is the same in both, so that the difference of its losses is what reading it
    before was worth.

    Raises:
        TaskError: a held-out text that is shorter than two passages.
    """
    half = n_ctx // 2
    if len(held_out) < 2 * half:
        raise TaskError(f"the held-out text has {len(held_out)} characters; {2 * half} are needed.")
    rng = np.random.default_rng([3, seed])
    starts = rng.integers(0, len(held_out) - half + 1, n_prompts)
    others = (starts + half + rng.integers(0, len(held_out) - half, n_prompts)) % (
        len(held_out) - half + 1
    )
    span = torch.arange(half, device=held_out.device)
    own, other = (
        held_out[torch.from_numpy(at).to(held_out.device)[:, None] + span]
        for at in (starts, others)
    )
    return torch.cat([own, own], 1), torch.cat([other, own], 1), half


def windows(
    text: Int[Tensor, " character"], length: int, n_windows: int, seed: int = 0
) -> Int[Tensor, "window pos"]:
    """Stretches of a text at random places.

    Raises:
        TaskError: a text that is shorter than one.
    """
    if len(text) < length:
        raise TaskError(f"the text has {len(text)} characters; a window needs {length}.")
    rng = np.random.default_rng([4, seed])
    starts = torch.from_numpy(rng.integers(0, len(text) - length + 1, n_windows)).to(text.device)
    return text[starts[:, None] + torch.arange(length, device=text.device)]
