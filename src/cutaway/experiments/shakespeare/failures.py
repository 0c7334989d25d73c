"""Finding 4, fourth question: do circuit measures say on which prompts the model will fail?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...evidence import Interval, auroc, ranks
from ...model.transformer import HookedTransformer
from ...tasks.task import Task
from .induction import answers_right, attention_to, final_logits
from .prompts import AFTER
from .record import NotMeasured, Record

_LEAST = 5  # of either kind; with fewer an area says nothing
_N_SHUFFLES = 1000


def failures(
    model: HookedTransformer, task: Task, suspects: list[str], record: Record, seed: int
) -> None:
    """How well the suspected heads' attention to B tells right answers from wrong ones.

    Beside it the same for the model's own confidence (its highest probability), which needs no
    circuit.

    Raises:
        NotMeasured: nearly all answers are right, or nearly all wrong.
    """
    right = answers_right(model, task)
    record.put("n_right", int(right.sum()))
    record.put("n_wrong", int((~right).sum()))
    if min(right.sum(), (~right).sum()) < _LEAST:
        raise NotMeasured(
            f"{int(right.sum())} of {len(right)} answers are right; to tell them apart takes at "
            f"least {_LEAST} of either kind"
        )
    looks = attention_to(model, task, suspects, AFTER).max(1)
    confidence = final_logits(model, task.clean, task.lengths - 1).softmax(-1).max(-1).values
    measures = {"attention": looks, "confidence": confidence.double().cpu().numpy()}
    for name, values in measures.items():
        record.put(f"{name}/auroc", auroc(values[right], values[~right], seed))
        record.put(f"{name}/shuffled", shuffled_range(values, right, seed))


def shuffled_range(
    values: NDArray[np.floating[Any]], right: NDArray[np.bool_], seed: int = 0
) -> Interval:
    """The control: the area with right and wrong dealt out at random, its mean and middle 95%."""
    place = ranks(values)  # from 1 on, ties sharing their mean
    rng = np.random.default_rng([7, seed])
    n, n_right = len(values), int(right.sum())
    drawn = np.array([place[rng.permutation(n)[:n_right]].sum() for _ in range(_N_SHUFFLES)])
    areas = (drawn - n_right * (n_right + 1) / 2) / (n_right * (n - n_right))
    low, high = np.quantile(areas, [0.025, 0.975])
    return Interval(float(areas.mean()), float(low), float(high), 0.95, n)
