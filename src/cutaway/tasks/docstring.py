"""Docstring (Heimersheim and Janiak 2023): the next parameter to be described."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from .docstring_words import ARGUMENTS, DESCRIPTIONS, FUNCTIONS, TEMPLATES
from .metric import LogitDifference, LogitMargin
from .prompts import Prompt, tokenizer_of
from .sentences import (
    Template,
    check_choice,
    check_count,
    in_turn,
    known_templates,
    known_words,
    prompt_pair,
)
from .task import Task

if TYPE_CHECKING:
    from ..model.transformer import HookedTransformer

Corruption = Literal["random-def", "random-doc", "random-answer", "other-function"]
Rival = Literal["max", "mean"]

_FEWEST_NAMES = 20
_N_ARGUMENTS = 4  # A, B, C, D
_N_DESCRIBED = 2  # A and B have two words each


def docstring(
    model: HookedTransformer,
    n_prompts: int = 64,
    corruption: Corruption = "random-def",
    seed: int = 0,
    rival: Rival = "max",
) -> Task:
    """A Python function of four arguments A, B, C, D whose docstring describes A and B; answer C.

    The metric is, at END, the logit of C minus the largest logit among the other arguments A, B
    and D, always the clean prompt's: above 0 if C beats them all. This follows Heimersheim and
    Janiak (2023), who take the highest wrong answer; they count the changed names among the wrong
    answers too, which we do not, so that the metric is the same for every corruption. The clean
    prompts depend on the seed and not on the corruption.

    Args:
        model: gives the tokenizer, and whether BOS goes first.
        n_prompts: how many prompt pairs.
        corruption: `random-def` puts four other names in the def; `random-doc` two others in the
            docstring; `random-answer` another name in the place of C; `other-function` replaces
            each name everywhere, so that the prompt has another answer.
        seed: of all choices.
        rival: `max`, as above, or `mean`: minus the mean logit of A, B and D, which is linear.

    Returns:
        A task with the positions A_def, B_def, C_def, D_def, B_def+1 (the comma after B), A_doc,
        B_doc and END (the word that announces a parameter); its groups are template ids. `wrong`
        is D.

    Raises:
        TaskError: a bad argument, or a tokenizer without the words.

    Example:
        >>> task = docstring(model, corruption="random-def")  # doctest: +SKIP
        >>> task.answer_text[0], task.wrong_text[0]  # doctest: +SKIP
        (' width', ' speed')
    """
    check_choice("corruption", corruption, get_args(Corruption))
    check_choice("rival", rival, get_args(Rival))
    check_count(n_prompts)
    tokenizer = tokenizer_of(model)
    known = known_templates(tokenizer, TEMPLATES, "docstring")
    names = known_words(tokenizer, ARGUMENTS, _FEWEST_NAMES, "names of arguments")
    functions = known_words(tokenizer, FUNCTIONS, 1, "names of functions")
    described = known_words(tokenizer, DESCRIPTIONS, 2 * _N_DESCRIBED, "words of descriptions")
    rng = np.random.default_rng(seed)
    prompts, rivals = [], []
    for template in in_turn(rng, known, n_prompts):
        chosen = rng.choice(len(names), size=2 * _N_ARGUMENTS, replace=False)
        drawn = [names[i] for i in chosen]
        two = rng.choice(len(described), size=2 * _N_DESCRIBED, replace=False)
        rest = {f"w{i}": described[word] for i, word in enumerate(two, 1)}
        rest["function"] = functions[rng.integers(len(functions))]
        own, others = drawn[:_N_ARGUMENTS], drawn[_N_ARGUMENTS:]
        prompts.append(_prompt(model, template, rest, own, others, corruption))
        rivals.append([tokenizer.single(f" {own[i]}") for i in (0, 1, 3)])
    settings = {
        "task": "docstring",
        "n_prompts": n_prompts,
        "corruption": corruption,
        "seed": seed,
        "rival": rival,
    }
    task = Task.build(model, prompts, "docstring", settings)
    metric = LogitMargin if rival == "max" else LogitDifference
    wrong = task.correct.new_tensor(rivals)
    end, correct = task.positions["END"][:, None], task.correct[:, None]
    return dataclasses.replace(task, metric=metric(end, correct, wrong))


def _prompt(
    model: HookedTransformer,
    template: Template,
    rest: dict[str, str],
    own: list[str],
    others: list[str],
    corruption: Corruption,
) -> Prompt:
    """One pair; `own` are A, B, C, D and `others` as many names to put in their places."""
    in_def, in_doc = {
        "random-def": (others, own),
        "random-doc": (own, others),
        "random-answer": ([own[0], own[1], others[2], own[3]], own),
        "other-function": (others, others),
    }[corruption]
    return prompt_pair(
        model,
        template,
        {**rest, **_named(own, own)},
        {**rest, **_named(in_def, in_doc)},
        answer=f" {own[2]}",
        wrong=f" {own[3]}",
        positions={
            **{f"{letter.upper()}_def": (letter, 0) for letter in "abcd"},
            "B_def+1": ("b", 1),
            "A_doc": ("a_doc", 0),
            "B_doc": ("b_doc", 0),
        },
    )


def _named(in_def: list[str], in_doc: list[str]) -> dict[str, str]:
    """The slots of the arguments."""
    return {**dict(zip("abcd", in_def, strict=True)), "a_doc": in_doc[0], "b_doc": in_doc[1]}
