"""Finding 4, first question: how heads and behaviour change over the training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...evidence import Interval, bootstrap_mean, paired_difference, proportion
from ...heads.measured import head_scores
from ...heads.thresholds import default_thresholds
from ...model.transformer import HookedTransformer
from .induction import answers_right
from .material import Material
from .models import StudyModel
from .prompts import longest_sequence, one_repeat, passages
from .record import NotMeasured, Record
from .settings import ShakespeareSettings

NEVER = "never"
SCORES = ("induction", "previous-token")
_LENGTH, _N_HEAD_PROMPTS = 24, 32


def evolution(
    one: StudyModel,
    material: Material,
    settings: ShakespeareSettings,
    record: Record,
    progress: Callable[[float], None],
) -> None:
    """The same few measures at every step that was kept.

    Raises:
        NotMeasured: no checkpoints were kept.
    """
    saved = one.checkpoints()
    if len(saved) < 2:
        raise NotMeasured(
            f"{one.folder.name} has no checkpoints beside it: give the folder of a training run "
            "that kept some ([keep] log_spaced)"
        )
    rows = []
    for done, step in enumerate(saved):
        model = step.model(device=settings.device)
        rows.append({"step": step.step, **snapshot(model, material, settings)})
        progress((done + 1) / len(saved))
    record.put("steps", rows)
    emergence(rows, record)


@torch.no_grad()
def snapshot(
    model: HookedTransformer, material: Material, settings: ShakespeareSettings
) -> dict[str, Any]:
    """Held-out loss, A B ... A, what a passage read before is worth, and the highest scores."""
    n, seed = settings.n_prompts, settings.seed
    rows = material.windows(model.cfg.n_ctx, settings.n_windows, seed).to(model.device)
    skip = material.ngrams.order - 1  # as n-grams of the highest order, with all they look at
    losses = model(rows, return_type="loss", loss_per_token=True)[:, skip:].mean(1)
    own_loss = losses.double().cpu().numpy()
    task = one_repeat(model, n, min(_LENGTH, longest_sequence(model)), seed)
    right = answers_right(model, task)
    own, other, half = passages(material.held_out, model.cfg.n_ctx, n, seed)
    of_half = [
        model(tokens.to(model.device), return_type="loss", loss_per_token=True)[:, half:].mean(1)
        for tokens in (own, other)
    ]
    again, fresh = (values.double().cpu().numpy() for values in of_half)
    return {
        "loss": bootstrap_mean(own_loss, seed),
        "beats_order": _beats(own_loss, material, rows.cpu().numpy(), seed),
        "accuracy": proportion(int(right.sum()), len(right)),
        "gain": paired_difference(fresh, again, seed).interval,
        **_highest(model, seed),
    }


def _beats(
    losses: NDArray[np.float64], material: Material, rows: NDArray[np.int64], seed: int
) -> int:
    """The highest order of n-grams whose loss on the same windows is clearly higher; 0: none."""
    best = 0
    for order in range(1, material.ngrams.order + 1):
        counted = material.ngrams.losses(rows, order)[:, material.ngrams.order - 1 :].mean(1)
        if paired_difference(counted, losses, seed).interval.low > 0:
            best = order
    return best


def _highest(model: HookedTransformer, seed: int) -> dict[str, Any]:
    """Of each score the highest head: its name, its score, and what counts as the class."""
    scores = head_scores(model, _N_HEAD_PROMPTS, seed=seed, names=SCORES)
    found: dict[str, Any] = {}
    for name in SCORES:
        value, low, high = scores.interval(name, seed=seed)
        at = np.unravel_index(int(value.argmax()), value.shape)
        ends = (float(value[at]), float(low[at]), float(high[at]))
        found[name] = {
            "head": f"{at[0]}.{at[1]}",
            "score": Interval(*ends, 0.95, _N_HEAD_PROMPTS),
            "threshold": default_thresholds().of[name].raw(scores.by_chance[name]),
            "by_chance": scores.by_chance[name],
        }
    return found


def emergence(rows: list[dict[str, Any]], record: Record) -> None:
    """The first step from which on the highest head has the class, up to the end."""
    for name in SCORES:
        has = [row[name]["score"].low > row[name]["threshold"] for row in rows]
        if not has[-1]:
            last = rows[-1][name]
            record.put(
                f"emerged/{name}",
                f"{NEVER} (the highest in the end is {last['score'].estimate:.3f}, head "
                f"{last['head']}; the class begins at {last['threshold']:.3f})",
            )
            continue
        first = len(has) - next((i for i, own in enumerate(reversed(has)) if not own), len(has))
        record.put(f"emerged/{name}", rows[first]["step"])
