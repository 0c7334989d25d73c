"""The tasks by name, for the command line and for studies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .country_capital import country_capital
from .docstring import docstring
from .gendered_pronoun import gendered_pronoun
from .greater_than import greater_than
from .ioi import ioi
from .prompts import TaskError
from .repeated_tokens import repeated_tokens
from .subject_verb_agreement import subject_verb_agreement

if TYPE_CHECKING:
    from ..model.transformer import HookedTransformer
    from .task import Task


@dataclass(frozen=True)
class TaskFactory:
    """A task that can be named: how it is made, and what there is to choose.

    Example:
        >>> TASKS["greater-than"].corruptions
        ('01', 'other-year')
        >>> task = TASKS["greater-than"](model, n_prompts=32)  # doctest: +SKIP
    """

    name: str
    """Its word on the command line."""
    make: Callable[..., Task]
    """(model, n_prompts, corruption, seed, ...) -> Task."""
    corruptions: tuple[str, ...]
    """How its corrupted prompts can differ; the first one is the default."""
    summary: str
    """One line about it."""

    def corruption(self, name: str | None = None) -> str:
        """The name itself, or the default for None.

        Raises:
            TaskError: the task has no such corruption.
        """
        if name is None:
            return self.corruptions[0]
        if name not in self.corruptions:
            raise TaskError(
                f"corruption={name!r} is not one of {', '.join(self.corruptions)}, those of "
                f"{self.name}."
            )
        return name

    def __call__(
        self,
        model: HookedTransformer,
        n_prompts: int = 64,
        corruption: str | None = None,
        seed: int = 0,
    ) -> Task:
        """The task, everything else as its function has it.

        Raises:
            TaskError: an unknown corruption, or a model that cannot have this task.
        """
        return self.make(model, n_prompts, self.corruption(corruption), seed)


_FACTORIES = (
    TaskFactory(
        "ioi",
        ioi,
        ("s2-flip", "swap", "abc", "random-name"),
        "indirect object identification: the name that is not the giver's",
    ),
    TaskFactory(
        "greater-than",
        greater_than,
        ("01", "other-year"),
        "a year that is later than the first one",
    ),
    TaskFactory(
        "docstring",
        docstring,
        ("random-def", "random-doc", "random-answer", "other-function"),
        "the next argument of a Python function to be described",
    ),
    TaskFactory(
        "gendered-pronoun",
        gendered_pronoun,
        ("gender", "neutral"),
        "he or she, by the noun or the first name before",
    ),
    TaskFactory(
        "repeated-tokens",
        repeated_tokens,
        ("other-first-half", "other-answer", "shuffle"),
        "random tokens that come a second time: what is next?",
    ),
    TaskFactory(
        "country-capital",
        country_capital,
        ("other-country",),
        "the capital of a country",
    ),
    TaskFactory(
        "subject-verb-agreement",
        subject_verb_agreement,
        ("number", "both-numbers"),
        "is or are, by the subject and not by the nearer noun",
    ),
)
TASKS: dict[str, TaskFactory] = {factory.name: factory for factory in _FACTORIES}
"""Every task by its name."""
