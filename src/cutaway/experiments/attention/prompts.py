"""The texts that the heads look at: one of the user's own, or the clean prompts of a task."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor

from ...model.transformer import HookedTransformer
from ..task_settings import TaskSettings
from ..tasks import check_task, load_task
from ..texts import tokens_of_text, words_of
from .settings import AttentionSettings


@dataclass(frozen=True, eq=False)
class Looked:
    """One prompt."""

    tokens: Int[Tensor, " pos"]
    words: tuple[str, ...]
    """Its tokens as text."""
    marks: dict[str, int]
    """Named positions; of a text of one's own none."""


def task_settings(settings: AttentionSettings) -> TaskSettings:
    """The same, as tasks are asked for."""
    return TaskSettings(
        model=settings.model,
        task=settings.task,
        n_prompts=settings.n_prompts,
        corruption=settings.corruption,
        seed=settings.seed,
        device=settings.device,
    )


def check_prompts(settings: AttentionSettings) -> None:
    """Refuse a task that is not there, before a model is loaded."""
    if settings.task:
        check_task(task_settings(settings))


def prompts(model: HookedTransformer, settings: AttentionSettings) -> tuple[Looked, ...]:
    """What was asked for, as tokens.

    Raises:
        ValueError: a text with words that the model does not know, too long, or of fewer than two
            tokens; a task that this model cannot have.
    """
    if not settings.task:
        (tokens,) = tokens_of_text(model, settings.text)
        return (Looked(tokens, words_of(model, tokens), {}),)
    task = load_task(model, task_settings(settings))
    found = []
    for at, length in enumerate(task.lengths.tolist()):
        tokens = task.clean[at, :length]
        marks = {name: int(where[at]) for name, where in task.positions.items()}
        found.append(Looked(tokens, words_of(model, tokens), marks))
    return tuple(found)
