"""The task that settings ask for, and the pair of prompts that its report shows."""

from __future__ import annotations

from pathlib import Path

from ..model.transformer import HookedTransformer
from ..tasks.prompts import TaskError
from ..tasks.registry import TASKS
from ..tasks.task import Baseline, Task
from ..views.ioi_data import PromptPair
from .task_settings import TaskSettings
from .texts import words_of

_PROMPTS = 64  # of a task by name, unless asked otherwise


def check_task(settings: TaskSettings) -> None:
    """Refuse a task or a corruption that is not there, before a model is loaded.

    Raises:
        ValueError: no such task or file, no such corruption, a corruption of a file.
    """
    if settings.task in TASKS:
        TASKS[settings.task].corruption(settings.corruption)
        return
    path = Path(settings.task)
    if not path.is_file():
        raise TaskError(
            f"there is no task and no file {settings.task!r}: give one of {', '.join(TASKS)}, or "
            "a JSONL file of prompt pairs."
        )
    if settings.corruption is not None:
        raise TaskError(
            f"--corruption is of tasks by name, such as ioi; {path} has its own corrupted prompts."
        )


def load_task(model: HookedTransformer, settings: TaskSettings) -> Task:
    """The prompt pairs that were asked for.

    Raises:
        ValueError: no such task, corruption or file, a model that cannot have this task, a fault
            in the file, more pairs than it holds.
    """
    check_task(settings)
    if settings.task in TASKS:
        n_prompts = _PROMPTS if settings.n_prompts is None else settings.n_prompts
        return TASKS[settings.task](model, n_prompts, settings.corruption, settings.seed)
    path = Path(settings.task)
    try:
        task = Task.load(path, model)
    except UnicodeDecodeError:
        raise TaskError(f"{path} is not a text file in UTF-8.") from None
    if len(task) < (settings.n_prompts or 2):
        raise TaskError(
            f"{path} holds {len(task)} prompt pair{'s' if len(task) > 1 else ''}, and "
            f"{settings.n_prompts or 2} are needed."
        )
    return task if settings.n_prompts is None else task.subset(range(settings.n_prompts))


def check_baseline(baseline: Baseline) -> None:
    """Refuse, before any work is done, a task on which no effect can be expressed.

    Raises:
        ValueError: clean and corrupted prompts have the same mean metric, or it is not finite.
    """
    gap = baseline.clean.estimate - baseline.corrupted.estimate
    if gap == 0:
        raise ValueError(
            f"the {baseline.metric} is {baseline.clean.estimate:.3f} on the clean and on the "
            "corrupted prompts, so there is no difference to express effects in: choose other "
            "prompts."
        )


def example_of(model: HookedTransformer, task: Task) -> PromptPair:
    """The first pair of prompts, token by token."""
    length = int(task.lengths[0])
    clean, corrupted = (words_of(model, t[0, :length]) for t in (task.clean, task.corrupted))
    return PromptPair(
        clean=clean,
        corrupted=corrupted,
        positions={name: int(at[0]) for name, at in task.positions.items()},
        correct=task.answer_text[0] or str(int(task.correct[0])),
        wrong=task.wrong_text[0] or str(int(task.wrong[0])),
    )


def labels_of(model: HookedTransformer, task: Task) -> tuple[str, ...]:
    """What each clean prompt is called: its text, or its tokens where it has none."""
    return tuple(
        text or " ".join(words_of(model, tokens[task.n_before : int(length)]))
        for text, tokens, length in zip(task.clean_text, task.clean, task.lengths, strict=True)
    )
