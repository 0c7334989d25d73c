"""Subject-verb agreement: is or are, by the subject and not by the noun that stands nearer.

The form is that of Linzen, Dupoux and Goldberg (2016, "Assessing the Ability of LSTMs to Learn
Syntax-Sensitive Dependencies"): between subject and verb stands another noun, the attractor, whose
number may differ. Finlayson et al. (2021, "Causal Analysis of Syntactic Agreement Mechanisms in
Neural Language Models") intervene on it. The sentences are our own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from .prompts import Prompt, tokenizer_of
from .sentences import (
    Template,
    another,
    check_choice,
    check_count,
    in_turn,
    known_rows,
    known_templates,
    numbered,
    prompt_pair,
    words,
)
from .task import Task

if TYPE_CHECKING:
    from ..model.transformer import HookedTransformer

Corruption = Literal["number", "both-numbers"]
Attractor = Literal["either", "opposite", "same", "none"]

ATTRACTOR_TEMPLATES = numbered(
    "attractor",
    """
The {subject} near the {attractor}
The {subject} behind the {attractor}
The {subject} next to the old {attractor}
The {subject} that came with the {attractor}
In the evening the {subject} from the {attractor}
As far as we know, the {subject} for the {attractor}
Even now the {subject} on the other side of the {attractor}
The {subject} we saw beside the {attractor}
""",
)
PLAIN_TEMPLATES = numbered(
    "plain",
    """
The {subject} over there
The {subject} we talked about
The {subject} that you wanted
In the evening the {subject} still
As far as we know, the {subject} really
Even now the {subject} never
""",
)
NOUNS = tuple(  # singular and plural
    (noun, f"{noun}s")
    for noun in words("""
    key book dog cat house car door window chair table letter picture song river tree flower bird
    horse boat road bridge teacher student doctor farmer soldier driver writer singer guard judge
    nurse lawyer guest neighbor player worker bottle lamp basket ticket computer phone camera guitar
    plant tower wall train truck ship report map clock friend garden building engine machine
    """)
)
VERBS = (("is", "are"), ("was", "were"), ("has", "have"))  # singular and plural
_FEWEST = 5  # nouns


@dataclass(frozen=True)
class _Numbers:
    """0 is singular, 1 plural."""

    subject: int
    attractor: int


def subject_verb_agreement(
    model: HookedTransformer,
    n_prompts: int = 64,
    corruption: Corruption = "number",
    seed: int = 0,
    attractor: Attractor = "either",
) -> Task:
    """Prompts such as "The keys near the window", answer are (or were, have) and not is.

    The metric is the logit of the verb in the subject's number minus that of the same verb in the
    other number, at END, always by the clean prompt's subject. Singular and plural take turns, so
    that a model which likes one verb better everywhere scores 0 on average; so do the numbers of
    the attractor, unless asked otherwise. The clean prompts depend on the seed and not on the
    corruption.

    Args:
        model: gives the tokenizer, and whether BOS goes first.
        n_prompts: how many prompt pairs.
        corruption: `number` turns the subject's number round and nothing else; `both-numbers`
            the attractor's as well.
        seed: of all choices.
        attractor: a second noun before the verb, of the `same` number as the clean subject, of
            the `opposite` one, `either` in turn, or `none`.

    Returns:
        A task with the positions SUBJECT, ATTRACTOR (if there is one) and END; its groups are
        template ids.

    Raises:
        TaskError: a bad argument, or a tokenizer without the words.

    Example:
        >>> task = subject_verb_agreement(model, attractor="opposite")  # doctest: +SKIP
        >>> task.clean_text[1], task.answer_text[1]  # doctest: +SKIP
        ('The keys near the window', ' are')
    """
    check_choice("corruption", corruption, get_args(Corruption))
    check_choice("attractor", attractor, get_args(Attractor))
    check_count(n_prompts)
    tokenizer = tokenizer_of(model)
    listed = PLAIN_TEMPLATES if attractor == "none" else ATTRACTOR_TEMPLATES
    known = known_templates(tokenizer, listed, "subject-verb-agreement")
    nouns = known_rows(tokenizer, NOUNS, _FEWEST, "nouns with their plurals")
    verbs = known_rows(tokenizer, VERBS, 1, "pairs of verbs")
    rng = np.random.default_rng(seed)
    each = 4 if attractor == "either" else 2  # all numbers with one template, then the next one
    prompts = []
    for i, template in enumerate(in_turn(rng, known, n_prompts, each)):
        subject = i % 2
        turned = i // 2 % 2 if attractor == "either" else attractor == "opposite"
        numbers = _Numbers(subject, 1 - subject if turned else subject)
        prompts.append(_prompt(model, rng, template, nouns, verbs, numbers, corruption))
    settings = {
        "task": "subject-verb-agreement",
        "n_prompts": n_prompts,
        "corruption": corruption,
        "seed": seed,
        "attractor": attractor,
    }
    return Task.build(model, prompts, "subject-verb-agreement", settings)


def _prompt(
    model: HookedTransformer,
    rng: np.random.Generator,
    template: Template,
    nouns: list[tuple[str, ...]],
    verbs: list[tuple[str, ...]],
    numbers: _Numbers,
    corruption: Corruption,
) -> Prompt:
    """One pair: two different nouns and a verb, in the given numbers."""
    subject = nouns[rng.integers(len(nouns))]
    near = another(rng, nouns, subject)
    verb = verbs[rng.integers(len(verbs))]
    of_near = 1 - numbers.attractor if corruption == "both-numbers" else numbers.attractor
    places = {"SUBJECT": ("subject", 0), "ATTRACTOR": ("attractor", 0)}
    if "{attractor}" not in template.text:
        del places["ATTRACTOR"]
    return prompt_pair(
        model,
        template,
        {"subject": subject[numbers.subject], "attractor": near[numbers.attractor]},
        {"subject": subject[1 - numbers.subject], "attractor": near[of_near]},
        answer=f" {verb[numbers.subject]}",
        wrong=f" {verb[1 - numbers.subject]}",
        positions=places,
    )
