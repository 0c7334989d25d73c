"""The texts that the heads look at: one of the user's own, or the clean prompts of a task."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from ...model.transformer import HookedTransformer
from ..task_settings import TaskSettings
from ..tasks import check_task, load_task
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
        return (_of_text(model, settings.text.rstrip()),)  # a space before nothing is no word
    task = load_task(model, task_settings(settings))
    found = []
    for at, length in enumerate(task.lengths.tolist()):
        tokens = task.clean[at, :length]
        marks = {name: int(where[at]) for name, where in task.positions.items()}
        found.append(Looked(tokens, _words(model, tokens), marks))
    return tuple(found)


def _of_text(model: HookedTransformer, text: str) -> Looked:
    name = model.cfg.model_name
    tokenizer = model.get_tokenizer()
    unknown = list(dict.fromkeys(tokenizer.unknown_words(text)))
    if unknown:
        listed = ", ".join(map(repr, unknown))
        raise ValueError(
            f"{name} does not know {listed}: its vocabulary is a fixed list of words, so choose "
            "others, or a model with a larger one, such as gpt2."
        )
    row = model.start_tokens() + tokenizer.encode(text)
    if len(row) > model.cfg.n_ctx:
        raise ValueError(
            f"the text has {len(row)} tokens, and {name} takes at most {model.cfg.n_ctx}: "
            "shorten it."
        )
    if len(row) < 2:
        raise ValueError(f"the text {text!r} is a single token, which can look at nothing else.")
    tokens = torch.tensor(row, dtype=torch.long, device=model.device)
    return Looked(tokens, _words(model, tokens), {})


def _words(model: HookedTransformer, tokens: Int[Tensor, " pos"]) -> tuple[str, ...]:
    if model.tokenizer is None:
        return tuple(map(str, tokens.tolist()))
    return tuple(map(str, model.to_str_tokens(tokens)))
