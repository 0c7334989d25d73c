"""`taxonomy`: score every head, set the scores against thresholds, and run random models beside."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, get_args

import numpy as np

from ..model.transformer import HookedTransformer
from ..patching.measure import Progress
from ..tasks.task import Task
from .copying import copying_baseline
from .find_roles import head_roles
from .head_classes import RandomControl, Taxonomy
from .measured import HeadScores, head_scores
from .random_models import RandomWeights, random_weight_model
from .random_prompts import random_prompts
from .thresholds import Thresholds, default_thresholds

_COMPARED = 8  # prompts on which random models are made as sharp as the model

Asked = tuple[int, int | None, int, Sequence[int] | None, int | None]
"""n_prompts, half_length, seed, vocabulary, bos_token, as `head_scores` takes them."""


def taxonomy(
    model: HookedTransformer,
    n_prompts: int = 32,
    half_length: int | None = None,
    n_random: int = 3,
    seed: int = 0,
    *,
    task: Task | None = None,
    reference: Task | None = None,
    vocabulary: Sequence[int] | None = None,
    bos_token: int | None = None,
    copying_draws: int = 500,
    thresholds: Thresholds | None = None,
    max_memory: int | None = None,
    progress: Progress | None = None,
) -> Taxonomy:
    """Every head of a model with its classes, scores, intervals and thresholds.

    Args:
        model: any; it needs no tokenizer.
        n_prompts: random prompts of each kind.
        half_length: T of the repeated prompts [BOS, r, r]; None takes what fits, at most 25.
        n_random: models of the same shape with random weights, of each of two kinds, that are
            scored beside it: the control.
        seed: of prompts, random models and intervals.
        task: an IOI task that the model can do, for the roles; None leaves them out.
        reference: for the knock-out of name movers, as in `head_roles`.
        vocabulary, bos_token: as in `random_prompts`.
        copying_draws: random heads that copying scores are held against; 0 leaves copying out.
            In a model like GPT-2 they take a minute or more.
        thresholds: None takes those that the package carries.
        max_memory: bytes that path patching may use; None means a quarter of what is free.
        progress: called with the share that is done.

    Raises:
        ValueError: prompts that the model cannot have; a task without the positions of IOI.

    Example:
        >>> heads = ca.heads.taxonomy(model)
        >>> heads.of_class("induction")
    """
    if n_random < 0 or copying_draws < 0:
        raise ValueError(
            f"n_random={n_random} and copying_draws={copying_draws} cannot be below 0."
        )
    asked = (n_prompts, half_length, seed, vocabulary, bos_token)
    n_steps = 2 + len(get_args(RandomWeights)) * n_random
    done = itertools.count(1)

    def step() -> None:
        if progress is not None:
            progress(next(done) / n_steps)

    scores = head_scores(model, *asked)
    control = _controls(model, n_random, asked, step)
    copying = None
    if copying_draws:
        copying = copying_baseline(model, n_draws=copying_draws, seed=seed)
    step()
    roles = None
    if task is not None:
        roles = head_roles(model, task, reference, seed=seed, max_memory=max_memory)
    step()
    settings: dict[str, Any] = {
        **scores.settings,
        "digest": model.digest,
        "n_random": n_random,
        "copying_draws": copying_draws,
    }
    return Taxonomy(
        model=model.cfg.model_name,
        scores=scores,
        thresholds=thresholds or default_thresholds(),
        control=control,
        copying=copying,
        roles=roles,
        settings=settings,
    )


def _controls(
    model: HookedTransformer, n_random: int, asked: Asked, step: Callable[[], None]
) -> dict[str, RandomControl]:
    """Models with random weights of every kind, scored on the same prompts."""
    _, half_length, seed, vocabulary, bos_token = asked
    compared = random_prompts(
        model, "distinct", _COMPARED, half_length, seed, vocabulary, bos_token
    )
    found: dict[str, RandomControl] = {}
    for weights in get_args(RandomWeights) if n_random else ():
        rows: list[HeadScores] = []
        for at in range(n_random):
            other = random_weight_model(model, weights, seed + 1 + at, compared)
            rows.append(head_scores(other, *asked))
            step()
        found[weights] = _control(rows, seed)
    return found


def _control(rows: Sequence[HeadScores], seed: int) -> RandomControl:
    """Means and lower ends of several models."""
    names = tuple(rows[0].per_prompt)
    found = {name: [one.interval(name, seed=seed) for one in rows] for name in names}
    return RandomControl(
        mean={name: np.stack([mean for mean, _, _ in found[name]]) for name in names},
        low={name: np.stack([low for _, low, _ in found[name]]) for name in names},
    )
