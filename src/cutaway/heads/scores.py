"""What a head attends to, as numbers from 0 to 1: one small function and one entry for each.

Every function takes attention patterns [prompt, head, query, key] and gives one number for each
prompt and head, [prompt, head]. Queries whose answer is trivial are left out: position 0 can only
attend to itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .random_prompts import SHORTEST, Kind, RandomPrompts

WINDOW = 4  # positions before the query that count as near
_NOTHING = 1e-9  # a mean squared deviation from uniform attention below this is rounding

Patterns = Float[Tensor, "prompt head query key"]
PerPrompt = Float[Tensor, "prompt head"]


def attention_at_distance(pattern: Patterns, distance: int, queries: range) -> PerPrompt:
    """Mean over queries i of the attention to i - distance.

    Args:
        pattern: attention after the softmax.
        distance: how far back; 0 is the query itself.
        queries: which; none of them before `distance`.

    Raises:
        ValueError: no queries, or one that has no such key.

    Example:
        >>> attention_at_distance(torch.eye(5).view(1, 1, 5, 5), 0, range(1, 5))
        tensor([[1.]])
    """
    if len(queries) == 0 or queries[0] < distance:
        raise ValueError(
            f"the queries {queries} have no key {distance} positions before each of them."
        )
    at = torch.arange(queries.start, queries.stop, device=pattern.device)
    return pattern[:, :, at, at - distance].mean(-1)


def previous_token(pattern: Patterns, prompts: RandomPrompts) -> PerPrompt:
    """j = i - 1."""
    return attention_at_distance(pattern, 1, prompts.second_half)


def duplicate_token(pattern: Patterns, prompts: RandomPrompts) -> PerPrompt:
    """j = i - T: where the query's token stood the first time."""
    return attention_at_distance(pattern, prompts.half_length, prompts.second_half)


def induction(pattern: Patterns, prompts: RandomPrompts) -> PerPrompt:
    """j = i - T + 1: what came after the query's token the first time."""
    return attention_at_distance(pattern, prompts.half_length - 1, prompts.second_half)


def first_token(pattern: Patterns, prompts: RandomPrompts) -> PerPrompt:
    """j = 0. Without BOS the first query of the second copy is left out: there 0 is i - T."""
    queries = prompts.second_half if prompts.n_before else prompts.second_half[1:]
    return pattern[:, :, queries.start : queries.stop, 0].mean(-1)


def current_token(pattern: Patterns, prompts: RandomPrompts) -> PerPrompt:
    """j = i."""
    return attention_at_distance(pattern, 0, prompts.second_half)


def equal_tokens(pattern: Patterns, prompts: RandomPrompts) -> PerPrompt:
    """All j < i that hold the query's token, over the queries that have such a key."""
    equal = _equal_before(prompts)  # [prompt, query, key]
    has_one = equal.any(-1)  # [prompt, query]
    mass = torch.einsum("phqk,pqk->phq", pattern, equal.to(pattern.dtype))
    score: Tensor = mass.sum(-1) / has_one.sum(-1)[:, None]
    return score


def local_window(pattern: Patterns, prompts: RandomPrompts) -> PerPrompt:
    """The `WINDOW` keys before the query, itself not counted, over queries that see more."""
    first = WINDOW + 1  # the first query with a key that is further away
    queries = torch.arange(first, prompts.length, device=pattern.device)
    back = torch.arange(1, WINDOW + 1, device=pattern.device)
    near = pattern[:, :, queries[:, None], queries[:, None] - back]  # [prompt, head, query, back]
    return near.sum(-1).mean(-1)


def position_only(pattern: Patterns, prompts: RandomPrompts) -> PerPrompt:
    """How well the other prompts' mean pattern foretells this one's.

    1 - sum (A_p - M_p)^2 / mean over prompts of sum (A - U)^2, where A_p is the pattern of prompt
    p, M_p the mean pattern of all others and U uniform attention over the visible keys. The mean
    over prompts is the share of the patterns' departure from uniform attention that is the same
    in all prompts, measured on prompts that the mean was not made of: 1 where only positions
    count, 0 (or a little below) where nothing is shared. Perfectly uniform attention has 0.

    Raises:
        ValueError: a single prompt.
    """
    n = len(pattern)
    if n < 2:
        raise ValueError("position-only compares prompts: at least 2 are needed.")
    A = pattern.double()
    others = (A.sum(0) - A) / (n - 1)
    left = (A - others).square().sum((-2, -1))  # [prompt, head]
    whole = (A - uniform_attention(A.shape[-1], A)).square().sum((-2, -1)).mean(0)  # [head]
    share = 1 - left / whole.clamp(min=_NOTHING)
    return torch.where(whole > _NOTHING, share, 0.0).to(pattern.dtype)


def uniform(pattern: Patterns, prompts: RandomPrompts) -> PerPrompt:
    """Entropy of a query's attention over ln(visible keys), over all queries but the first."""
    n_visible = torch.arange(2, pattern.shape[-1] + 1, device=pattern.device)
    entropy = torch.special.entr(pattern[:, :, 1:]).sum(-1)  # [prompt, head, query]
    relative: Tensor = (entropy / n_visible.log()).mean(-1)
    return relative


def uniform_attention(n: int, like: Tensor) -> Float[Tensor, "query key"]:
    """The same attention to every visible key."""
    visible: Tensor = torch.ones(n, n, dtype=like.dtype, device=like.device).tril()
    attention: Tensor = visible / visible.sum(-1, keepdim=True)
    return attention


def _equal_before(prompts: RandomPrompts) -> Bool[Tensor, "prompt query key"]:
    tokens = prompts.tokens
    equal = (tokens[:, :, None] == tokens[:, None]).tril(-1)
    equal[:, :, : prompts.n_before] = False
    return equal


@dataclass(frozen=True)
class HeadScore:
    """One score: what it is called, what it means, and how it is measured."""

    name: str
    """Its name, which is also that of the class of heads that have much of it."""
    definition: str
    """One line: what it is a mean of."""
    source: str
    """Where it comes from."""
    kind: Kind
    """The random prompts that it is measured on."""
    of: Callable[[Patterns, RandomPrompts], PerPrompt]
    is_place: bool = False
    """A place among others on the same queries: at most one of these can have all the attention."""
    is_share: bool = True
    """A share of attention, of which uniform attention has some too; thresholds count from there
    on."""
    unless: str = ""
    """A class in which this one says nothing."""
    shortest: int = SHORTEST
    """The shortest half (T) that it means anything on; with shorter ones it is left out."""

    def by_chance(self, prompts: RandomPrompts) -> float:
        """What uniform attention has; 0 for scores that are no share of attention."""
        if not self.is_share:
            return 0.0
        one = uniform_attention(prompts.length, torch.empty(0, dtype=torch.float64))
        pattern = one.to(prompts.tokens.device).expand(len(prompts.tokens), 1, -1, -1)
        return float(self.of(pattern, prompts).mean())


_ENTRIES = (
    HeadScore(
        "previous-token",
        "attention to i − 1, over the second copy of [BOS, r, r]",
        "Elhage et al. 2021; Voita et al. 2019 (positional heads)",
        "repeated",
        previous_token,
        is_place=True,
    ),
    HeadScore(
        "duplicate-token",
        "attention to i − T, the same token the first time, over the second copy",
        "Wang et al. 2022, section 3",
        "repeated",
        duplicate_token,
        is_place=True,
    ),
    HeadScore(
        "induction",
        "attention to i − T + 1, what came next the first time (prefix matching)",
        "Elhage et al. 2021; Olsson et al. 2022",
        "repeated",
        induction,
        is_place=True,
    ),
    HeadScore(
        "first-token",
        "attention to position 0 (BOS where there is one), over the second copy",
        "Xiao et al. 2023 (attention sinks); Clark et al. 2019 (separator heads)",
        "repeated",
        first_token,
        is_place=True,
    ),
    HeadScore(
        "current-token",
        "attention to i, the query itself, over the second copy",
        "Clark et al. 2019, section 3.1",
        "repeated",
        current_token,
        is_place=True,
    ),
    HeadScore(
        "equal-tokens",
        "attention to all earlier keys that hold the query's token, at any distance",
        "Wang et al. 2022, section 3 (duplicate-token heads, without the fixed distance)",
        "few",
        equal_tokens,
    ),
    HeadScore(
        "local-window",
        f"attention to the {WINDOW} keys before the query",
        "Voita et al. 2019 (positional heads); Clark et al. 2019, section 3.1",
        "distinct",
        local_window,
        shortest=2 * WINDOW,  # below, most keys are near
    ),
    HeadScore(
        "position-only",
        "share of the departure from uniform attention that is the same in all prompts",
        "After Voita et al. 2019 (positional heads); the share is ours",
        "few",
        position_only,
        is_share=False,
        unless="uniform",
    ),
    HeadScore(
        "uniform",
        "entropy of the attention, over that of uniform attention",
        "Clark et al. 2019, section 3.3 (focused and broad attention)",
        "distinct",
        uniform,
        is_share=False,
    ),
)
SCORES: dict[str, HeadScore] = {score.name: score for score in _ENTRIES}
"""Every score of patterns by its name; a new one is one more entry."""
PLACES = tuple(score.name for score in _ENTRIES if score.is_place)
"""Scores of disjoint sets of keys on the same queries."""
