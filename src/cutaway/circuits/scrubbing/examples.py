"""Hypotheses to begin with: induction in two layers, and the IOI route of `ioi-mini`.

Each has a function for the features it speaks of.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...tasks.task import Task
from .hypothesis import Hypothesis


def induction_features(task: Task) -> dict[str, Tensor]:
    """The labels of prompts ... A B ... A with the answer B.

    Args:
        task: with the position A of the first A, as the tasks of `known.induction`.

    Returns:
        A (its token), B (the answer's token), and place (the position of the first A).
    """
    place = task.positions["A"]
    rows = torch.arange(len(task), device=place.device)
    return {"A": task.clean[rows, place], "B": task.correct, "place": place}


def induction_hypothesis(previous: str = "0.1", induction: str = "1.2") -> Hypothesis:
    """A previous-token head feeds the keys of an induction head (Elhage et al. 2021).

    What the induction head says depends on B. It looks for A, which comes from the embedding; it
    finds it where the previous-token head says that A came before; it copies what stands there.

    Args:
        previous: the previous-token head.
        induction: the induction head.
    """
    return Hypothesis(
        {
            f"{induction}->logits": "B",
            f"embed->{induction}.q": "A",
            f"{previous}->{induction}.k": ("A", "place"),
            f"embed->{previous}.v": ("A", "place"),
            f"embed->{induction}.v": ("B", "place"),
        },
        name=f"induction by {previous} and {induction}",
    )


def ioi_features(task: Task) -> dict[str, Tensor | tuple[str, ...]]:
    """The labels of IOI prompts: IO and S (tokens), order (IO first or not), and template."""
    first = task.positions["IO"] < task.positions["S1"]
    return {"IO": task.correct, "S": task.wrong, "order": first, "template": task.group}


def ioi_mini_hypothesis() -> Hypothesis:
    """The route of `ioi-mini` that edge patching finds under s2-flip, with what each part says.

    Head 1.2 says which name is the subject. It is told by the MLP of layer 0 and by head 0.5, both
    of which speak of S alone; 0.5 has it from the embedding. Head 3.6 and the last MLP hear it from
    1.2, know both names, and speak of both. Queries and keys are the same in all prompts of one
    template, so no claim is about them.

    It is meant for `causal_scrub` with within="template".
    """
    names = ("IO", "S")
    return Hypothesis(
        {
            "1.2->logits": "S",
            "3.6->logits": names,
            "mlp3->logits": names,
            "1.2->mlp3": "S",
            "3.6->mlp3": names,
            "mlp3": names,
            "1.2->3.6.v": "S",
            "3.6.v": names,
            "mlp0->1.2.v": "S",
            "0.5->1.2.v": "S",
            "embed->1.2.v": "S",
            "0.5->mlp0": "S",
            "embed->mlp0": "S",
            "embed->0.5.v": "S",
        },
        name="the s2-flip route of ioi-mini",
    )
