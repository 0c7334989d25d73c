"""Greater-than (Hanna, Liu and Variengien 2023): an end that is later than the beginning."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from .metric import ProbabilityDifferenceOfSets
from .prompts import TaskError, tokenizer_of
from .sentences import (
    another,
    check_choice,
    check_count,
    in_turn,
    known_templates,
    known_words,
    numbered,
    prompt_pair,
    words,
)
from .task import Task

if TYPE_CHECKING:
    from ..model.tokenizer import Tokenizer
    from ..model.transformer import HookedTransformer

Corruption = Literal["01", "other-year"]

# The form is Hanna et al.'s (2023, section 2): a year, then the century of a later one. The
# sentences are our own.
TEMPLATES = numbered(
    "years",
    """
The {event} began in {year} and was over by {century}
From {year}, when the {event} started, it went on until {century}
In {year} the {event} was announced, and it came to an end in {century}
The {event} of {year} took a long time and was only settled in {century}
She wrote about the {event}, which opened in {year} and closed in {century}
People first heard of the {event} in {year}. The last news of it came in {century}
The town paid for the {event} every winter from {year} to {century}
He kept a diary of the {event} between {year} and {century}
""",
)
EVENTS = words("""
    siege strike trial journey campaign famine drought rebellion construction expedition voyage tour
    dispute occupation partnership alliance reign search project experiment survey crisis
    """)
CENTURIES = tuple(range(11, 20))
_NUMBERS = tuple(f"{number:02d}" for number in range(100))
_FEWEST_YEARS = 10


def greater_than(
    model: HookedTransformer,
    n_prompts: int = 64,
    corruption: Corruption = "01",
    seed: int = 0,
    centuries: Sequence[int] = CENTURIES,
) -> Task:
    """Prompts such as "The siege began in 1732 and was over by 17", answer any of 33 to 99.

    A year is the century XX and the two digits YY, one token each. The metric is the probability
    of all YY' > YY minus that of all YY' <= YY at END, -1 to 1, over the whole vocabulary, always
    with the clean prompt's YY. YY is from 02 to 98, so that years lie on both sides. The clean
    prompts depend on the seed and not on the corruption.

    Args:
        model: gives the tokenizer, and whether BOS goes first.
        n_prompts: how many prompt pairs.
        corruption: `01` puts 01 in the place of YY, so that almost every year is later;
            `other-year` puts another YY there that the task could have had.
        seed: of all choices.
        centuries: which XX may occur; years that the tokenizer does not split are left out.

    Returns:
        A task with the positions XX1, YY, XX2 and END, which is XX2; its groups are template ids.
        `correct` and `wrong` are the years next to YY on either side; only reports show them.

    Raises:
        TaskError: a bad argument, or a tokenizer without the words or without such years.

    Example:
        >>> task = greater_than(model, n_prompts=64)  # doctest: +SKIP
        >>> task.baseline(model).clean.estimate  # doctest: +SKIP
        0.81
    """
    check_choice("corruption", corruption, get_args(Corruption))
    check_count(n_prompts)
    tokenizer = tokenizer_of(model)
    known = known_templates(tokenizer, TEMPLATES, "greater-than")
    events = known_words(tokenizer, EVENTS, 1, "events")
    years = _years(tokenizer, centuries)
    flat = [(xx, yy) for xx, found in years.items() for yy in found]
    rng = np.random.default_rng(seed)
    prompts, digits = [], []
    for template in in_turn(rng, known, n_prompts):
        event = events[rng.integers(len(events))]
        xx, yy = flat[rng.integers(len(flat))]
        other = another(rng, years[xx], yy)
        put = 1 if corruption == "01" else other
        prompts.append(
            prompt_pair(
                model,
                template,
                {"event": event, "year": f"{xx}{yy:02d}", "century": xx},
                {"event": event, "year": f"{xx}{put:02d}", "century": xx},
                answer=_NUMBERS[yy + 1],
                wrong=_NUMBERS[yy - 1],
                positions={"XX1": ("year", 0), "YY": ("year", 1), "XX2": ("century", 0)},
            )
        )
        digits.append(yy)
    settings = {
        "task": "greater-than",
        "n_prompts": n_prompts,
        "corruption": corruption,
        "seed": seed,
        "centuries": list(centuries),
    }
    return _measured(Task.build(model, prompts, "greater-than", settings), tokenizer, digits)


def _measured(task: Task, tokenizer: Tokenizer, digits: Sequence[int]) -> Task:
    """The task with the probability difference of all years for its metric."""
    tokens = [tokenizer.single(number) for number in _NUMBERS]
    metric = ProbabilityDifferenceOfSets.of_sets(
        task.positions["END"],
        [tokens[yy + 1 :] for yy in digits],
        [tokens[: yy + 1] for yy in digits],
    )
    return dataclasses.replace(task, metric=metric)


def _years(tokenizer: Tokenizer, centuries: Sequence[int]) -> dict[str, list[int]]:
    """The YY from 02 to 98 of each century whose years, and whose 01, are two tokens."""
    lacking = [number for number in _NUMBERS if not tokenizer.is_single(number)]
    if lacking:
        raise TaskError(
            f"greater-than needs a token for each of 00 to 99 without a space before it, and this "
            f"tokenizer has none for {', '.join(lacking[:3])}: take a model that has them, such as "
            "gpt2."
        )
    found = {}
    for century in centuries:
        if not 10 <= century <= 99:
            raise TaskError(f"centuries={list(centuries)}: {century} is not from 10 to 99.")
        split = [yy for yy in range(1, 99) if _splits(tokenizer, str(century), yy)]
        if 1 in split and len(split) > 2:  # 01, and two years to choose from
            found[str(century)] = split[1:]
    n_years = sum(map(len, found.values()))
    if n_years < _FEWEST_YEARS:
        raise TaskError(
            f"centuries={list(centuries)}: only {n_years} of their years are two tokens here, as "
            f"' 1732' would be ' 17' and '32', and {_FEWEST_YEARS} are needed: give other "
            "centuries, or take a model whose tokenizer splits years so, such as gpt2."
        )
    return found


def _splits(tokenizer: Tokenizer, xx: str, yy: int) -> bool:
    """Whether the year XXYY is the token of XX and the token of YY."""
    parts = tokenizer.encode(f" {xx}"), tokenizer.encode(f"{yy:02d}")
    if any(len(part) != 1 for part in parts):
        return False
    return tokenizer.encode(f" {xx}{yy:02d}") == parts[0] + parts[1]
