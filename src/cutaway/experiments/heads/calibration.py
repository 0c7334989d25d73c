"""Thresholds of heads' scores, set on models whose heads are known and tried on others.

The threshold of a class lies half-way between two scores: the highest of all heads that are known
not to have it, and the lowest of those that have it. Both are means over prompts, above chance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ...circuits.known.base import BOS
from ...heads.measured import HeadScores, head_scores
from ...heads.scores import SCORES
from ...heads.thresholds import Threshold, Thresholds
from ...model.config import ModelConfig
from ...model.transformer import HookedTransformer
from .hand_written import LabelledModel, labelled_models
from .settings import CalibrateHeadsSettings

# The standard deviation of scores before the softmax; for "fresh" that of the weights, as in GPT-2:
# attention is then uniform to three digits, which no class but one could be mistaken for.
RANDOM = {"fresh": 0.02, "spread 1": 1.0, "spread 3": 3.0}
D_MODEL, N_HEADS, N_LAYERS, VOCAB = 64, 8, 2, 101
CONTEXTS = (9, 51)  # halves of 4, as the hand-written models have, and of 25, the usual choice
POSITIONS = ("standard", "rotary")

# Fresh weights attend to all keys alike: to be called uniform there is right, not false.
NOT_OF_RANDOM = ("uniform",)


@dataclass(frozen=True)
class Sample:
    """One head's score of one class, and whether it has that class."""

    score: str
    above_chance: float
    has: bool


def calibrate_heads(settings: CalibrateHeadsSettings) -> Thresholds:
    """Set the threshold of every score on some seeds, and count on others what it says.

    Args:
        settings: seeds, sharpness, prompts.

    Raises:
        ValueError: a class whose heads do not all score higher than every other head.
    """
    set_on = list(_hand_written(settings, range(settings.seeds)))
    tried_on = list(_hand_written(settings, range(settings.seeds, 2 * settings.seeds)))
    null = list(_random_heads(settings, range(settings.seeds)))
    random = {kind: rows for kind, rows in _random_by_kind(settings)}
    found = {name: _threshold(name, set_on, null, tried_on, random) for name in SCORES}
    return Thresholds(found, _recipe(settings))


def _threshold(
    name: str,
    set_on: Sequence[Sample],
    null: Sequence[Sample],
    tried_on: Sequence[Sample],
    random: dict[str, list[Sample]],
) -> Threshold:
    null = [] if name in NOT_OF_RANDOM else null
    without = [s.above_chance for s in (*set_on, *null) if s.score == name and not s.has]
    having = [s.above_chance for s in set_on if s.score == name and s.has]
    highest, lowest = max(without), min(having)
    if not lowest > highest:
        raise ValueError(
            f"{name}: a head that has it scores {lowest:.3f}, one that has it not {highest:.3f}; "
            "no threshold parts them."
        )
    value = round((highest + lowest) / 2, 2)
    held = [s for s in tried_on if s.score == name]
    return Threshold(
        value=value,
        highest_negative=round(highest, 3),
        lowest_positive=round(lowest, 3),
        n_negative=len(without),
        n_positive=len(having),
        found=sum(s.above_chance > value for s in held if s.has),
        n_with=sum(s.has for s in held),
        false=sum(s.above_chance > value for s in held if not s.has),
        n_without=sum(not s.has for s in held),
        random={
            kind: (
                sum(s.above_chance > value for s in rows if s.score == name),
                sum(s.score == name for s in rows),
            )
            for kind, rows in random.items()
        },
    )


def _hand_written(settings: CalibrateHeadsSettings, seeds: range) -> Iterator[Sample]:
    for sharpness in settings.sharpness:
        for seed in seeds:
            for one in labelled_models(seed, sharpness):
                scores = head_scores(
                    one.model, settings.n_prompts, None, seed, one.vocabulary, bos_token=BOS
                )
                yield from _samples(scores, one)


def _samples(scores: HeadScores, labelled: LabelledModel | None) -> Iterator[Sample]:
    for name in scores.per_prompt:
        above = scores.above_chance(name).mean(-1)  # [layer, head]
        for layer, head in np.ndindex(above.shape):
            classes = () if labelled is None else labelled.classes(f"{layer}.{head}")
            if SCORES[name].unless in classes:  # it says nothing of this head
                continue
            yield Sample(name, float(above[layer, head]), name in classes)


def _random_heads(settings: CalibrateHeadsSettings, seeds: range) -> Iterator[Sample]:
    for spread in RANDOM.values():
        yield from _random(settings, spread, seeds)


def _random_by_kind(
    settings: CalibrateHeadsSettings,
) -> Iterator[tuple[str, list[Sample]]]:
    """Random-weight models that no threshold was set on."""
    held_out = range(settings.seeds, 2 * settings.seeds)
    for kind, spread in RANDOM.items():
        yield kind, list(_random(settings, spread, held_out))


def _random(settings: CalibrateHeadsSettings, spread: float, seeds: range) -> Iterator[Sample]:
    for n_ctx in CONTEXTS:
        for positions in POSITIONS:
            for seed in seeds:
                cfg = ModelConfig(
                    n_layers=N_LAYERS,
                    d_model=D_MODEL,
                    n_heads=N_HEADS,
                    d_vocab=VOCAB,
                    n_ctx=n_ctx,
                    attn_only=seed % 2 == 0,
                    positional_embedding_type=positions,  # type: ignore[arg-type]
                    init_range=_init_range(spread),
                )
                model = HookedTransformer(cfg, seed=seed)
                scores = head_scores(model, settings.n_prompts, None, seed, bos_token=BOS)
                yield from _samples(scores, None)


def _init_range(spread: float) -> float:
    """The spread of weights for this standard deviation of scores: after the norm the stream has a
    variance of 1, so that a score has one of (init_range^2 d_model)^2."""
    return spread if spread < 0.1 else (spread / D_MODEL) ** 0.5


def _recipe(settings: CalibrateHeadsSettings) -> dict[str, object]:
    return {
        "command": "cutaway calibrate heads",
        "rule": "half-way between the highest head without the class and the lowest with it",
        "scale": "(score - chance) / (1 - chance)",
        "set_on_seeds": [0, settings.seeds - 1],
        "tried_on_seeds": [settings.seeds, 2 * settings.seeds - 1],
        "sharpness": list(settings.sharpness),
        "n_prompts": settings.n_prompts,
        "hand_written": "circuits.known and experiments/heads/hand_written.py (places)",
        "random": {
            "spreads of scores": RANDOM,
            "d_model": D_MODEL,
            "n_heads": N_HEADS,
            "n_layers": N_LAYERS,
            "d_vocab": VOCAB,
            "n_ctx": list(CONTEXTS),
            "positions": list(POSITIONS),
        },
    }
