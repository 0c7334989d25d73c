"""What the report of `cutaway sae train` says in words, chosen by rule from the numbers."""

from __future__ import annotations

from ..sae.spliced_loss import MEAN, ZERO
from .dictionary_training_data import DictionaryTrainingData, TrainedRow
from .numbers import interval_text, number, percent

_OWN = "dictionary"
_DEAD = 0.1
_STILL = 0.005  # of explained variance in the last fifth of the run
_WORDS = {
    "random directions": "random directions",
    "principal components": "the first principal components",
    "largest components": "each row's own largest principal components",
}


def findings(data: DictionaryTrainingData) -> tuple[str, ...]:
    """One finding for each dictionary, and what should be known of all."""
    found = [_one(one, alone=len(data.dictionaries) == 1) for one in data.dictionaries]
    found += [words for one in data.dictionaries for words in _cautions(one)]
    return tuple(found)


def _one(one: TrainedRow, alone: bool) -> str:
    rows, losses = one.found.dictionary, one.losses
    against = MEAN if losses.is_meaningful(MEAN) else ZERO
    text = (
        f"{'' if alone else one.name + ': '}"
        f"{interval_text(rows.l0(), 1)} of {one.found.cfg.d_features:,} features active in a row "
        f"explain {interval_text(rows.explained_variance(), 3)} of the variance on {rows.n:,} "
        f"held-out rows"
    )
    baseline = one.found.rows[one.strongest_baseline]
    text += (
        f" (with as many numbers, {_WORDS[one.strongest_baseline]} "
        f"{interval_text(baseline.explained_variance(), 3)})"
    )
    up = interval_text(losses.increase(_OWN), 3)
    text += f". With it in place, the loss of the model rises by {up} nats"
    if losses.is_meaningful(against):
        recovered = losses.loss_recovered(_OWN, against)
        text += f", and {interval_text(recovered, 3)} of what {against} costs is recovered"
    return f"{text}. {rows.n_dead:,} features never fire there."


def _cautions(one: TrainedRow) -> list[str]:
    found = []
    dead = one.points.get("dead", ())
    if dead and dead[-1][1] > _DEAD:
        found.append(
            f"{one.name}: {percent(dead[-1][1])} of the features did not fire in the last "
            f"{one.dead_after:,} rows of training: it is smaller than it looks. Resample "
            "(--resample-every), or take fewer features."
        )
    explained = one.points.get("measured.explained variance", ())
    if len(explained) > 2:
        last_step = explained[-1][0]
        before = [value for step, value in explained if step <= 0.8 * last_step]
        if before and explained[-1][1] - before[-1] > _STILL:
            found.append(
                f"{one.name}: explained variance still rose by "
                f"{number(explained[-1][1] - before[-1], 3)} in the last fifth of the run, in part "
                "because the learning rate falls there: more rows may help."
            )
    return found
