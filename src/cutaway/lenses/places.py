"""What a lens is asked: prompts, the positions it reads at, and the tokens it follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ..model.transformer import HookedTransformer
from ..tasks.task import Task

TARGET, WRONG, SHUFFLED, PREDICTED = "target", "wrong", "shuffled", "predicted"
RESERVED = (TARGET, WRONG, SHUFFLED, PREDICTED)
NOTHING = -1
"""Stands for a token where there is none to follow."""

Followed = Tensor | int
"""One token, or one for each prompt [prompt], or for each place [prompt, read]."""
Positions = Int[Tensor, "prompt read"] | Bool[Tensor, "prompt pos"]
"""Indices for each prompt, or True where it is to be read."""


@dataclass(frozen=True, eq=False)
class Places:
    """Prompts, where they are read, and which tokens are followed there."""

    tokens: Int[Tensor, "prompt pos"]
    positions: Int[Tensor, "prompt read"]
    """Index of each position that is read."""
    real: Bool[Tensor, "prompt read"]
    """False at padding and wherever nothing is read."""
    followed: dict[str, Int[Tensor, "prompt read"]]
    """Name -> token; -1 where there is none."""


def places_of(
    model: HookedTransformer,
    prompts: Task | Int[Tensor, "prompt pos"],
    positions: Positions | None = None,
    follow: Mapping[str, Followed] | None = None,
    seed: int = 0,
) -> Places:
    """Where to read a task or a batch of tokens, and what to follow there.

    Of a task: the clean prompts at END, where "target" is the answer and "wrong" the token that
    it is compared with. Of tokens: every position but padding, where "target" is the token that
    comes next; the last position has none. "shuffled" is the control: the targets of all places,
    dealt out to them at random.

    Raises:
        ValueError: no tokens, positions that are not in the prompts, a prompt without a place, a
            name that is taken, a token that the model does not have.
    """
    tokens, real_tokens = _prompts(model, prompts)
    n_prompts, n_pos = tokens.shape
    if positions is None and isinstance(prompts, Task):
        positions = prompts.positions["END"][:, None]
    chosen: Tensor | None = None
    if positions is not None and positions.dtype == torch.bool:
        chosen, positions = positions.to(tokens.device), None
        if chosen.shape != tokens.shape or not bool((chosen & real_tokens).any(1).all()):
            raise ValueError(
                f"positions {tuple(chosen.shape)} must be [prompt, pos] {tuple(tokens.shape)}, "
                "with a place to read in every prompt."
            )
    if positions is None:
        positions = torch.arange(n_pos, device=tokens.device).expand(n_prompts, n_pos)
    positions = positions.to(tokens.device)
    if len(positions) != n_prompts or bool(((positions < 0) | (positions >= n_pos)).any()):
        raise ValueError(
            f"positions {tuple(positions.shape)} must be [prompt, read] with an index of 0 to "
            f"{n_pos - 1} for each of the {n_prompts} prompts."
        )
    real = real_tokens.gather(1, positions)
    if chosen is not None:
        real = real & chosen
    followed = _targets(prompts, tokens, real_tokens, positions)
    for name in list(followed):
        followed[name] = followed[name].masked_fill(~real, NOTHING)
    followed[SHUFFLED] = _shuffled(followed[TARGET], real, seed)
    for name, given in (follow or {}).items():
        followed[name] = _followed(model, name, given, positions).masked_fill(~real, NOTHING)
    return Places(tokens, positions, real, followed)


def _prompts(
    model: HookedTransformer, prompts: Task | Int[Tensor, "prompt pos"]
) -> tuple[Int[Tensor, "prompt pos"], Bool[Tensor, "prompt pos"]]:
    if isinstance(prompts, Task):
        tokens = prompts.clean.to(model.device)
        return tokens, torch.ones_like(tokens, dtype=torch.bool)  # END is never padding
    tokens, _ = model.to_input(prompts, None, None, None, None)  # says what is wrong with them
    model.check_length(tokens.shape[1])
    real = model.real_tokens(tokens, model.padding_mask(tokens))
    return tokens, torch.ones_like(tokens, dtype=torch.bool) if real is None else real


def _targets(
    prompts: Task | Int[Tensor, "prompt pos"],
    tokens: Int[Tensor, "prompt pos"],
    real: Bool[Tensor, "prompt pos"],
    positions: Int[Tensor, "prompt read"],
) -> dict[str, Int[Tensor, "prompt read"]]:
    """The answers of a task, or the token that comes after each position."""
    if isinstance(prompts, Task):
        answers = {TARGET: prompts.correct, WRONG: prompts.wrong}
        return {
            name: token.to(tokens.device)[:, None].expand_as(positions).clone()
            for name, token in answers.items()
        }
    following = torch.full_like(tokens, NOTHING)
    following[:, :-1] = tokens[:, 1:].masked_fill(~real[:, 1:], NOTHING)
    return {TARGET: following.gather(1, positions)}


def _shuffled(
    target: Int[Tensor, "prompt read"], real: Bool[Tensor, "prompt read"], seed: int
) -> Int[Tensor, "prompt read"]:
    """The same targets at other places: as frequent, and none of the model's business there."""
    where = real & (target != NOTHING)
    given = target[where]
    order = np.random.default_rng(seed).permutation(len(given))
    dealt = target.clone()
    dealt[where] = given[torch.from_numpy(order).to(given.device)]
    return dealt


def _followed(
    model: HookedTransformer, name: str, given: Followed, positions: Int[Tensor, "prompt read"]
) -> Int[Tensor, "prompt read"]:
    if name in RESERVED:
        raise ValueError(f"follow has {name!r}, a name that the lens gives itself: choose another.")
    token = torch.as_tensor(given, device=positions.device)
    token = token[:, None] if token.ndim == 1 else token
    try:
        token = token.expand_as(positions).clone()
    except RuntimeError:
        raise ValueError(
            f"follow[{name!r}] has the shape {tuple(token.shape)}; a number, [prompt] or "
            f"[prompt, read] {tuple(positions.shape)} is needed."
        ) from None
    if bool(((token < NOTHING) | (token >= model.cfg.d_vocab)).any()):
        raise ValueError(
            f"follow[{name!r}] has tokens that {model.cfg.model_name} does not know: its numbers "
            f"are 0 to {model.cfg.d_vocab - 1}."
        )
    return token
