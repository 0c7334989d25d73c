"""Gendered pronoun: he or she, by the noun or the first name that the sentence began with.

Whether a model follows the gender of a noun is asked by Vig et al. (2020, "Investigating Gender
Bias in Language Models Using Causal Mediation Analysis"); Mathwin et al. (2023, "Identifying a
Preliminary Circuit for Predicting Gendered Pronouns in GPT-2 Small") look for the circuit. Here
nouns say the gender by their meaning ("queen"), and first names by custom.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from .prompts import Prompt, TaskError, tokenizer_of
from .sentences import (
    Template,
    check_choice,
    check_count,
    in_turn,
    known_rows,
    known_words,
    numbered,
    prompt_pair,
    words,
)
from .sentences import known_templates as known
from .task import Task

if TYPE_CHECKING:
    from ..model.tokenizer import Tokenizer
    from ..model.transformer import HookedTransformer

Corruption = Literal["gender", "neutral"]
Subjects = Literal["all", "nouns", "names"]

NOUN_TEMPLATES = numbered(
    "noun",
    """
The {subject} put on a warm coat because
The {subject} smiled at the good news, since
When the {subject} came home in the evening,
The {subject} ran all the way to the station, but
Nobody believed the {subject} until
The {subject} sat down near the fire while
After the long walk the {subject} was so tired that
The {subject} closed the window before
""",
)
NAME_TEMPLATES = numbered(
    "name",
    """
Yesterday {subject} bought a ticket because
All of us knew that {subject} would sing if
At noon {subject} left the office, since
The door was open when {subject} arrived, but
In the end {subject} sold the house because
Once {subject} had found the key,
For years {subject} wrote long letters until
On the last day {subject} was so happy that
""",
)
NOUNS = (  # the female one first
    ("queen", "king"),
    ("mother", "father"),
    ("daughter", "son"),
    ("sister", "brother"),
    ("wife", "husband"),
    ("woman", "man"),
    ("girl", "boy"),
    ("aunt", "uncle"),
    ("princess", "prince"),
    ("actress", "actor"),
    ("lady", "gentleman"),
    ("grandmother", "grandfather"),
    ("niece", "nephew"),
    ("nun", "monk"),
    ("bride", "groom"),
    ("waitress", "waiter"),
    ("witch", "wizard"),
    ("heroine", "hero"),
    ("girlfriend", "boyfriend"),
    ("granddaughter", "grandson"),
)
NEUTRAL_NOUNS = words("person child visitor neighbor guest stranger writer singer driver")
NAMES = tuple(  # of women and men, paired by nothing but their place
    zip(
        words("""
        Mary Alice Emma Sarah Anna Laura Julia Jane Lucy Emily Rachel Susan Linda Karen Nancy Helen
        Amy Lisa Maria Martha
        """),
        words("""
        John Bob Tom James Robert Michael William David Richard Joseph Thomas Charles Daniel Matthew
        Paul Andrew Kevin Brian George Edward
        """),
        strict=True,
    )
)
NEUTRAL_NAMES = ("someone", "somebody")
_PRONOUNS = ("she", "he")
_FEWEST = 5  # pairs of nouns or of names


@dataclass(frozen=True)
class _Kind:
    """Subjects of one kind and the sentences that they fit into."""

    templates: list[Template]
    pairs: list[tuple[str, ...]]
    neutral: list[str]


def gendered_pronoun(
    model: HookedTransformer,
    n_prompts: int = 64,
    corruption: Corruption = "gender",
    seed: int = 0,
    subjects: Subjects = "all",
) -> Task:
    """Prompts such as "The queen put on a warm coat because", answer she.

    The metric is logit(she) - logit(he) at END, or the reverse, always by the clean prompt's
    subject. Women and men take turns, so that a model which likes one pronoun better in every
    sentence scores 0 on average. The clean prompts depend on the seed and not on the corruption.

    Args:
        model: gives the tokenizer, and whether BOS goes first.
        n_prompts: how many prompt pairs.
        corruption: `gender` puts the subject of the other gender there (king for queen, a man's
            first name for a woman's); `neutral` one that says nothing (person, someone).
        seed: of all choices.
        subjects: `nouns`, first `names`, or `all` for both.

    Returns:
        A task with the positions SUBJECT and END; its groups are template ids.

    Raises:
        TaskError: a bad argument, or a tokenizer without the words.

    Example:
        >>> task = gendered_pronoun(model, n_prompts=64)  # doctest: +SKIP
        >>> task.answer_text[:2]  # doctest: +SKIP
        (' she', ' he')
    """
    check_choice("corruption", corruption, get_args(Corruption))
    check_choice("subjects", subjects, get_args(Subjects))
    check_count(n_prompts)
    tokenizer = tokenizer_of(model)
    known_words(tokenizer, _PRONOUNS, len(_PRONOUNS), "pronouns")
    kinds = _kinds(tokenizer, subjects)
    rng = np.random.default_rng(seed)
    choices = [(kind, template) for kind in kinds for template in kind.templates]
    prompts = []
    for i, choice in enumerate(in_turn(rng, range(len(choices)), n_prompts, each=2)):
        kind, template = choices[choice]
        prompts.append(_prompt(model, rng, kind, template, i % 2, corruption))
    settings = {
        "task": "gendered-pronoun",
        "n_prompts": n_prompts,
        "corruption": corruption,
        "seed": seed,
        "subjects": subjects,
    }
    return Task.build(model, prompts, "gendered-pronoun", settings)


def _kinds(tokenizer: Tokenizer, subjects: Subjects) -> list[_Kind]:
    """What the tokenizer holds; with `all` one kind is enough."""
    listed: dict[str, tuple[Sequence[Template], Sequence[tuple[str, ...]], Sequence[str]]] = {
        "nouns": (NOUN_TEMPLATES, NOUNS, NEUTRAL_NOUNS),
        "names": (NAME_TEMPLATES, NAMES, NEUTRAL_NAMES),
    }
    kinds, fault = [], None
    for name in listed if subjects == "all" else (subjects,):
        templates, pairs, neutral = listed[name]
        try:
            kinds.append(
                _Kind(
                    known(tokenizer, templates, "gendered-pronoun"),
                    known_rows(tokenizer, pairs, _FEWEST, f"pairs of {name}"),
                    known_words(tokenizer, neutral, 1, f"neutral {name}"),
                )
            )
        except TaskError as lacking:
            fault = fault or lacking
    if not kinds and fault is not None:
        raise fault
    return kinds


def _prompt(
    model: HookedTransformer,
    rng: np.random.Generator,
    kind: _Kind,
    template: Template,
    gender: int,
    corruption: Corruption,
) -> Prompt:
    """One pair; gender 0 is female. A noun's partner is its own, a name has none."""
    pair = kind.pairs[rng.integers(len(kind.pairs))]
    neutral = kind.neutral[rng.integers(len(kind.neutral))]
    return prompt_pair(
        model,
        template,
        {"subject": pair[gender]},
        {"subject": pair[1 - gender] if corruption == "gender" else neutral},
        answer=f" {_PRONOUNS[gender]}",
        wrong=f" {_PRONOUNS[1 - gender]}",
        positions={"SUBJECT": ("subject", 0)},
    )
