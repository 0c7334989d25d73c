"""What a probe is asked for: a class or a number for every prompt, of a task or of one's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from ..tasks.task import Task

BOTH = ("clean", "group", "token", "duplicate")
"""Labels that corrupted prompts have too; those of the other names belong to clean prompts."""
LABELS = ("answer", "wrong", "order", "group", "clean", "token:POSITION", "duplicate:POSITION")
"""What `labels_of_task` understands."""
_FEWEST = 2  # classes


@dataclass(frozen=True, eq=False)
class Labels:
    """One label for every prompt: a class, or a number.

    Raises:
        ValueError: fewer than two classes, numbers that are not finite or all the same.

    Example:
        >>> Labels.of("colour", ["red", "blue", "red"]).classes
        ('blue', 'red')
        >>> Labels.of("length", [1.5, 2.0, 0.5]).is_numeric
        True
    """

    name: str
    """What is asked for."""
    values: NDArray[np.float64] | NDArray[np.int64]
    """[prompt], the index of the class, or the number."""
    classes: tuple[str, ...] = ()
    """What each class is called; empty where labels are numbers."""

    def __post_init__(self) -> None:
        values = np.asarray(self.values)
        if self.classes:
            if len(self.classes) < _FEWEST:
                raise ValueError(
                    f"the label {self.name!r} is {self.classes[0]!r} for all prompts: a probe "
                    "needs two classes at least, so take prompts that differ in it."
                )
            return
        if not np.isfinite(values).all() or float(np.ptp(values)) == 0:
            raise ValueError(
                f"the label {self.name!r} must be finite numbers that are not all the same."
            )

    @classmethod
    def of(cls, name: str, given: Sequence[Any] | NDArray[Any]) -> Labels:
        """Labels from a value for each prompt: floats are numbers, all else names classes.

        Args:
            name: what is asked for.
            given: [prompt]; texts, whole numbers or booleans (classes), or floats.

        Raises:
            ValueError: as the class; no labels; floats that stand among other values.
        """
        rows = np.asarray(given).tolist()
        if not rows:
            raise ValueError(f"the label {name!r} has no values.")
        if all(isinstance(one, float) for one in rows):
            return cls(name, np.asarray(rows, dtype=np.float64))
        texts = [str(one) for one in rows]
        classes = tuple(sorted(set(texts), key=_natural))
        index = {text: i for i, text in enumerate(classes)}
        return cls(name, np.array([index[text] for text in texts], dtype=np.int64), classes)

    @property
    def is_numeric(self) -> bool:
        """Whether they are numbers, so that the probe is a regression."""
        return not self.classes

    def __len__(self) -> int:
        return len(self.values)

    def subset(self, indices: Sequence[int] | NDArray[np.int64]) -> Labels:
        """The labels of some prompts; classes keep their numbers."""
        return Labels(self.name, self.values[np.asarray(indices)], self.classes)

    def columns(self) -> Float[NDArray[np.float64], "prompt concept"]:
        """One column for each class, 1 where the prompt is of it; numbers are one column."""
        if self.is_numeric:
            return self.values[:, None].astype(np.float64)
        return np.eye(len(self.classes))[self.values.astype(np.int64)]

    def __str__(self) -> str:
        what = "numbers" if self.is_numeric else f"{len(self.classes)} classes"
        return f"{self.name}: {what}, {len(self)} prompts"


def labels_of_task(task: Task, name: str) -> Labels:
    """A label of a task's prompts, by its name.

    Args:
        task: the prompts.
        name: of the clean prompts: "answer" (the right token: which name is the IO), "wrong" (the
            token it is weighed against: which name is B), "order" (whether the answer or the
            other name comes first; of IOI). Of clean prompts, then corrupted ones: "clean" (which
            of the two a prompt is), "group" (its template), "token:POSITION" (the token there),
            "duplicate:POSITION" (whether the token there stood in the prompt before).

    Raises:
        ValueError: no such label, a position that the task does not name, one class only.

    Example:
        >>> labels_of_task(ca.tasks.ioi(model), "order").classes
        ('IO first', 'S first')
    """
    kind, _, position = name.partition(":")
    if kind in _OF_POSITION:
        if position not in task.positions:
            known = ", ".join(f"{kind}:{one}" for one in task.positions)
            raise ValueError(f"label={name!r} needs a position of the task {task.name}: {known}.")
        return Labels.of(name, _OF_POSITION[kind](task, position))
    if name not in _OF_TASK:
        raise ValueError(f"label={name!r} is not one of {', '.join(LABELS)}.")
    return Labels.of(name, _OF_TASK[name](task))


def has_both(name: str) -> bool:
    """Whether the label is one of clean and corrupted prompts."""
    return name.partition(":")[0] in BOTH


def _answer(task: Task) -> list[str]:
    return _words(task.answer_text, task.correct.tolist())


def _wrong(task: Task) -> list[str]:
    return _words(task.wrong_text, task.wrong.tolist())


def _order(task: Task) -> list[str]:
    missing = [name for name in ("IO", "S1") if name not in task.positions]
    if missing:
        raise ValueError(
            f"label='order' asks which of two names comes first, and the task {task.name} has no "
            f"position {missing[0]}: choose another label."
        )
    first = (task.positions["IO"] < task.positions["S1"]).tolist()
    return ["IO first" if one else "S first" for one in first]


def _group(task: Task) -> list[str]:
    return [*task.group, *task.group]


def _clean(task: Task) -> list[str]:
    return ["clean"] * len(task) + ["corrupted"] * len(task)


def _token(task: Task, position: str) -> list[str]:
    index = task.positions[position].tolist()
    return [
        str(int(tokens[row, at]))
        for tokens in (task.clean, task.corrupted)
        for row, at in enumerate(index)
    ]


def _duplicate(task: Task, position: str) -> list[str]:
    index = task.positions[position].tolist()
    return [
        "repeated" if bool((tokens[row, :at] == tokens[row, at]).any()) else "new"
        for tokens in (task.clean, task.corrupted)
        for row, at in enumerate(index)
    ]


_OF_TASK: dict[str, Callable[[Task], list[str]]] = {
    "answer": _answer,
    "wrong": _wrong,
    "order": _order,
    "group": _group,
    "clean": _clean,
}
_OF_POSITION: dict[str, Callable[[Task, str], list[str]]] = {
    "token": _token,
    "duplicate": _duplicate,
}


def _words(texts: tuple[str, ...], tokens: list[int]) -> list[str]:
    """Texts, or the numbers of tokens where there is no text."""
    return [text or str(token) for text, token in zip(texts, tokens, strict=True)]


def _natural(text: str) -> tuple[int, int, str]:
    """Whole numbers by size, before words by the alphabet."""
    return (0, int(text), "") if text.isdecimal() else (1, 0, text)
