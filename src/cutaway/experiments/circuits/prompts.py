"""Prompts to search on, and others to test on."""

from __future__ import annotations

import dataclasses

from ...model.transformer import HookedTransformer
from ...tasks.registry import TASKS
from ...tasks.task import Task
from ..task_settings import TaskSettings
from ..tasks import load_task


def search_and_test(model: HookedTransformer, settings: TaskSettings) -> tuple[Task, Task]:
    """(prompts to search on, prompts to test on).

    A task by name is drawn twice, with neighbouring seeds; a file's prompts are dealt out in turn.

    Raises:
        ValueError: as `load_task`; a file of fewer than four pairs.
    """
    if settings.task in TASKS:
        fresh = dataclasses.replace(settings, seed=settings.seed + 1)
        return load_task(model, settings), load_task(model, fresh)
    whole = load_task(model, settings)
    if len(whole) < 4:
        raise ValueError(
            f"{settings.task} gives {len(whole)} prompt pairs, and 4 are needed: half for the "
            "search, half for the test."
        )
    return whole.subset(range(0, len(whole), 2)), whole.subset(range(1, len(whole), 2))


def held_out(model: HookedTransformer, settings: TaskSettings) -> Task:
    """The pairs of a file that no search has seen, however many pairs it was given.

    Raises:
        ValueError: as `load_task`; a file that holds fewer of them than are asked for.
    """
    whole = load_task(model, dataclasses.replace(settings, n_prompts=None))
    unseen = whole.subset(range(1, len(whole), 2))
    wanted = settings.n_prompts or 2
    if len(unseen) < wanted:
        raise ValueError(
            f"{settings.task} holds {len(unseen)} prompt pairs that the search has not seen, and "
            f"{wanted} are needed: give fewer, or another file."
        )
    return unseen if settings.n_prompts is None else unseen.subset(range(settings.n_prompts))
