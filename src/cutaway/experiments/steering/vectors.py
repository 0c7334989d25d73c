"""The vector and the target that settings ask for."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from ...model.transformer import HookedTransformer
from ...steering.norms import check_stream_site
from ...steering.sources import (
    activation_difference,
    embedding_difference,
    mean_difference,
)
from ...steering.vectors import SteeringVector
from ...tasks.registry import TASKS
from ...tasks.task import Task
from ..tasks import load_task
from .settings import SteerSettings

_SETS = 1024  # prompts that the sets of `mean` are chosen from
_FEWEST, _MOST = 4, 128  # prompts of a set


@dataclass(frozen=True)
class Aim:
    """What the prompts are steered to, by what."""

    task: Task
    """The prompts that can be steered there: those whose answer it is not."""
    target: Int[Tensor, " prompt"]
    vectors: dict[int, SteeringVector]
    """Layer -> its vector."""
    others: dict[str, SteeringVector]
    """Vectors to something else, as a further control."""
    notes: tuple[str, ...] = ()
    """What was left out, and why."""


def aim_of(model: HookedTransformer, task: Task, settings: SteerSettings) -> Aim:
    """The target of every prompt, and the vector of every layer.

    Raises:
        ValueError: a token that is none, no third answer, too few prompts for a set, texts that
            do not fit.
    """
    layers = check_stream_site(model.cfg, settings.site, list(settings.layers) or None)
    task, target, notes = _target(model, task, settings)
    if settings.method in ("embedding", "unembedding"):
        matrix = "W_E" if settings.method == "embedding" else "W_U"
        answer = task.correct.to(target.device)
        vector = embedding_difference(model, target, answer, matrix)
        elsewhere = third_answers(model, task, settings.seed + 1, avoid=target)
        others = {}
        if elsewhere is not None:
            others["to another token"] = embedding_difference(model, elsewhere, answer, matrix)
        return Aim(task, target, dict.fromkeys(layers, vector), others, notes)
    vectors, left_out = _of_texts(model, settings, layers, int(target[0]))
    return Aim(task, target, vectors, {}, (*notes, *left_out))


def third_answers(
    model: HookedTransformer, task: Task, seed: int, avoid: Int[Tensor, " prompt"] | None = None
) -> Int[Tensor, " prompt"] | None:
    """For each prompt the answer of another one that it does not hold; None where there is none.

    Args:
        model: its device.
        task: the prompts.
        seed: of the choice.
        avoid: a token of each prompt that is not to be chosen either.
    """
    rng = np.random.default_rng(seed)
    pool = torch.cat([task.correct, task.wrong]).unique().tolist()
    chosen = []
    for i in range(len(task)):
        held = {*task.clean[i].tolist(), int(task.correct[i]), int(task.wrong[i])}
        if avoid is not None:
            held.add(int(avoid[i]))
        free = [token for token in pool if token not in held]
        if not free:
            return None
        chosen.append(int(rng.choice(free)))
    return torch.tensor(chosen, device=model.device)


def _target(
    model: HookedTransformer, task: Task, settings: SteerSettings
) -> tuple[Task, Int[Tensor, " prompt"], tuple[str, ...]]:
    """The prompts that do not answer the target already, and the target of each."""
    if settings.target == "wrong":
        target = task.wrong.to(model.device)
    elif settings.target == "third":
        found = third_answers(model, task, settings.seed)
        if found is None:
            raise ValueError(
                f"a prompt of {task.name} holds all answers of the task, so that there is no "
                'third one: give --target wrong, or a token such as " Paul".'
            )
        target = found
    else:
        target = torch.full((len(task),), model.to_single_token(settings.target))
        target = target.to(model.device)
    kept = (target != task.correct.to(target.device)).nonzero().flatten()
    if len(kept) == len(task):
        return task, target, ()
    if len(kept) < 2:
        raise ValueError(f"{settings.target!r} is the answer already: choose another --target.")
    left = len(task) - len(kept)
    note = f"{left} prompts whose answer is the target already were left out."
    return task.subset(kept.to(task.clean.device)), target[kept], (note,)


def _of_texts(
    model: HookedTransformer, settings: SteerSettings, layers: Sequence[int], target: int
) -> tuple[dict[int, SteeringVector], tuple[str, ...]]:
    """A vector for each layer, read from texts; layers where the texts do not differ are left
    out."""
    plus, minus = list(settings.plus), list(settings.minus)
    where: int | str = "last"
    if settings.method == "mean" and not plus:
        plus, minus = _sets(model, settings, target)
    found: dict[int, SteeringVector] = {}
    same = []
    for layer in layers:
        try:
            if settings.method == "pair":
                one, two = plus[0], minus[0]
                found[layer] = activation_difference(model, one, two, layer, settings.site)
            else:
                found[layer] = mean_difference(model, plus, minus, layer, settings.site, where)
        except ValueError as error:
            if "is zero" not in str(error):
                raise
            same.append(str(layer))  # the last tokens are the same, and nothing was read yet
    if not found:
        raise ValueError("the texts do not differ at any of the layers: there is no vector.")
    if not same:
        return found, ()
    return found, (f"Left out, since the texts do not differ there: layer {', '.join(same)}.",)


def _sets(
    model: HookedTransformer, settings: SteerSettings, target: int
) -> tuple[list[str], list[str]]:
    """Other prompts of the task whose answer is the target, and prompts that do not hold it."""
    more = dataclasses.replace(settings, n_prompts=_SETS, seed=settings.seed + 1)
    if settings.task not in TASKS:
        raise ValueError("of a file of prompts, mean needs --plus and --minus texts.")
    task = load_task(model, more)
    answers, texts = task.correct.tolist(), task.clean_text
    if not all(texts):
        raise ValueError(f"the task {task.name} has no texts: give --plus and --minus.")
    plus = [text for text, answer in zip(texts, answers, strict=True) if answer == target]
    minus = [
        text
        for text, tokens, answer in zip(texts, task.clean.tolist(), answers, strict=True)
        if answer != target and target not in tokens
    ]
    if min(len(plus), len(minus)) < _FEWEST:
        raise ValueError(
            f"of {len(task)} other prompts {len(plus)} have the target as their answer, and "
            f"{_FEWEST} are needed: choose another --target, or give --plus and --minus."
        )
    return plus[:_MOST], minus[:_MOST]
