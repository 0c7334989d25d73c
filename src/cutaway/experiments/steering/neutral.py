"""The neutral texts that the cost of steering is measured on."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from jaxtyping import Int
from torch import Tensor

from ...model.transformer import HookedTransformer
from ...sae.token_rows import pieces
from ...tasks.registry import TASKS
from ...tasks.task import Task
from ..tasks import load_task
from ..texts import corpus_of, tokens_of_file
from .settings import SteerSettings

_LONGEST = 64  # tokens of a piece
_SHORTEST = 8


def neutral_texts(
    model: HookedTransformer, task: Task, settings: SteerSettings
) -> tuple[Int[Tensor, "text pos"], str]:
    """Tokens [text, pos], and what they are in words.

    Raises:
        ValueError: the file is missing, is not text, or is too short.
    """
    n = settings.n_neutral
    if settings.data:
        return _pieces(model, Path(settings.data), n), f"pieces of {Path(settings.data).name}"
    # Another seed than the training's: the same kind of text, and none that was learned.
    corpus = corpus_of(model, settings.seed + 1_000)
    if corpus is not None:
        name = f"text of the kind that {model.cfg.model_name} was trained on"
        return corpus.sequences(0, n).to(model.device), name
    if settings.task in TASKS:
        other = dataclasses.replace(settings, n_prompts=n, seed=settings.seed + 2)
        return load_task(model, other).clean, f"other prompts of {task.name}"
    return task.clean[:n], f"the prompts of {task.name} themselves"


def _pieces(model: HookedTransformer, path: Path, n: int) -> Int[Tensor, "text pos"]:
    tokens = tokens_of_file(model, path)
    n_start = len(model.start_tokens())
    longest = min(_LONGEST, model.cfg.n_ctx) - n_start
    length = min(longest, max(_SHORTEST, len(tokens) // n))
    return pieces(model, tokens, n_start + length, fewest=2)[:n].to(model.device)
