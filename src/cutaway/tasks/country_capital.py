"""Country and capital: recall of one fact, where only the country says which.

A relation of this kind is what Meng et al. (2022, "Locating and Editing Factual Associations in
GPT") trace; Merullo, Eickhoff and Pavlick (2023, "Language Models Implement Simple Word2Vec-style
Vector Arithmetic") take countries and capitals. The sentences are our own. Countries whose capital
is disputed, shared, or about to move are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from .prompts import tokenizer_of
from .sentences import (
    another,
    check_choice,
    check_count,
    in_turn,
    known_rows,
    known_templates,
    numbered,
    prompt_pair,
    rows,
)
from .task import Task

if TYPE_CHECKING:
    from ..model.transformer import HookedTransformer

Corruption = Literal["other-country"]

TEMPLATES = numbered(
    "capital",
    """
The capital of {country} is the city of
Every child learns that the capital of {country} is
The parliament of {country} sits in its capital,
On the map of {country} a star marks the capital,
She moved to the capital of {country}, a city called
If you visit {country}, do not miss its capital,
""",
)
CAPITALS = rows("""
    France Paris, Germany Berlin, Italy Rome, Spain Madrid, Portugal Lisbon, Austria Vienna,
    Greece Athens, Russia Moscow, Poland Warsaw, Hungary Budapest, Sweden Stockholm,
    Norway Oslo, Finland Helsinki, Denmark Copenhagen, Ireland Dublin, England London,
    Scotland Edinburgh, Wales Cardiff, Belgium Brussels, Turkey Ankara, Serbia Belgrade,
    Bulgaria Sofia, Romania Bucharest, Latvia Riga, Lithuania Vilnius, Estonia Tallinn,
    Croatia Zagreb, Belarus Minsk, Armenia Yerevan, Iceland Reykjavik, Japan Tokyo,
    China Beijing, Thailand Bangkok, Vietnam Hanoi, Philippines Manila, Pakistan Islamabad,
    Afghanistan Kabul, Nepal Kathmandu, Bangladesh Dhaka, Iran Tehran, Iraq Baghdad,
    Syria Damascus, Lebanon Beirut, Qatar Doha, Egypt Cairo, Libya Tripoli, Tunisia Tunis,
    Algeria Algiers, Morocco Rabat, Senegal Dakar, Ghana Accra, Kenya Nairobi, Uganda Kampala,
    Zimbabwe Harare, Somalia Mogadishu, Cuba Havana, Canada Ottawa, Colombia Bogota,
    Venezuela Caracas, Peru Lima, Chile Santiago, Uruguay Montevideo, Australia Canberra
""")
_FEWEST = 10


def country_capital(
    model: HookedTransformer,
    n_prompts: int = 64,
    corruption: Corruption = "other-country",
    seed: int = 0,
) -> Task:
    """Prompts such as "The capital of Norway is the city of", answer Oslo.

    The metric is the logit of the capital minus that of the corrupted prompt's country's, at END.
    The clean prompts depend on the seed and not on the corruption.

    Args:
        model: gives the tokenizer, and whether BOS goes first.
        n_prompts: how many prompt pairs.
        corruption: `other-country` puts another country there.
        seed: of all choices.

    Returns:
        A task with the positions COUNTRY and END; its groups are template ids.

    Raises:
        TaskError: a bad argument, or a tokenizer without the words.

    Example:
        >>> task = country_capital(model)  # doctest: +SKIP
        >>> task.answer_text[0], task.wrong_text[0]  # doctest: +SKIP
        (' Oslo', ' Lima')
    """
    check_choice("corruption", corruption, get_args(Corruption))
    check_count(n_prompts)
    tokenizer = tokenizer_of(model)
    known = known_templates(tokenizer, TEMPLATES, "country-capital")
    pairs = known_rows(tokenizer, CAPITALS, _FEWEST, "countries with their capitals")
    rng = np.random.default_rng(seed)
    prompts = []
    for template in in_turn(rng, known, n_prompts):
        country, capital = pair = pairs[rng.integers(len(pairs))]
        other, its_capital = another(rng, pairs, pair)
        prompts.append(
            prompt_pair(
                model,
                template,
                {"country": country},
                {"country": other},
                answer=f" {capital}",
                wrong=f" {its_capital}",
                positions={"COUNTRY": ("country", 0)},
            )
        )
    settings = {
        "task": "country-capital",
        "n_prompts": n_prompts,
        "corruption": corruption,
        "seed": seed,
    }
    return Task.build(model, prompts, "country-capital", settings)
