"""Indirect object identification (IOI; Wang et al. 2022): the task, and its four role swaps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from . import ioi_text
from .ioi_text import CANONICAL, pair_is_held_out
from .ioi_words import THIRD_NAMES, names_for, templates_for, words_for
from .prompts import Prompt, TaskError, tokenizer_of
from .sentences import Template, check_choice, check_count, prompt_pair
from .task import Task

if TYPE_CHECKING:
    from ..model.tokenizer import Tokenizer
    from ..model.transformer import HookedTransformer

Corruption = Literal["s2-flip", "swap", "abc", "random-name"]
Order = Literal["both", "ABBA", "BABA"]
Pairs = Literal["all", "seen", "held-out"]


def ioi(
    model: HookedTransformer,
    n_prompts: int = 64,
    corruption: Corruption = "s2-flip",
    seed: int = 0,
    order: Order = "both",
    templates: Literal["all", "train", "held-out"] | Sequence[str] = "all",
    pairs: Pairs = "all",
    names: Sequence[str] | None = None,
) -> Task:
    """Prompts such as "When John and Mary went to the store, John gave a drink to", answer Mary.

    The indirect object (IO) is named once, the subject twice (S1, S2). The metric is
    logit(IO) - logit(S) at END, always with the clean prompt's names. Templates are used equally
    often, in turn with the IO first (ABBA) and the subject first (BABA). The clean prompts
    depend on the seed and not on the corruption.

    Args:
        model: gives the tokenizer, and whether BOS goes first.
        n_prompts: how many prompt pairs.
        corruption: `s2-flip` puts the IO in the place of S2, so the answer turns round; `swap`
            exchanges both names everywhere; `abc` puts three other names in the three places;
            `random-name` puts a third name in the place of S2.
        seed: of all choices.
        order: `ABBA`, `BABA` or `both` in turn.
        templates: all of `ioi_text.TEMPLATES`, those that `ioi-mini` was trained on, those held
            out, or a list of ids.
        pairs: all pairs of names, those that meet in the training text of `ioi-mini`, or those
            that never do (`ioi_text.pair_is_held_out`).
        names: first names to use instead of the built-in ones.

    Returns:
        A task with the positions IO, S1, S1+1, S2 and END; its groups are template ids.

    Raises:
        TaskError: a bad argument, a given name that is not a single token, a template that the
            tokenizer does not know, or too few names.

    Example:
        >>> task = ioi(model, n_prompts=64, corruption="s2-flip", seed=0)  # doctest: +SKIP
        >>> task.baseline(model).accuracy.estimate  # doctest: +SKIP
        1.0
    """
    check_choice("corruption", corruption, get_args(Corruption))
    check_choice("order", order, get_args(Order))
    check_choice("pairs", pairs, get_args(Pairs))
    check_count(n_prompts)
    tokenizer = tokenizer_of(model)
    chosen = templates_for(tokenizer, templates)
    pool = names_for(tokenizer, names)
    settings = {
        "task": "ioi",
        "n_prompts": n_prompts,
        "corruption": corruption,
        "seed": seed,
        "order": order,
        "templates": templates if isinstance(templates, str) else list(templates),
        "pairs": pairs,
        "names": None if names is None else list(names),
    }
    rng = np.random.default_rng(seed)
    casts = _casts(rng, pool, n_prompts, pairs)
    scenes = _scenes(rng, tokenizer, chosen, n_prompts, order)
    prompts = [
        _prompt(model, scene, cast, corruption) for scene, cast in zip(scenes, casts, strict=True)
    ]
    return Task.build(model, prompts, "ioi", settings)


def ioi_role_swaps(model: HookedTransformer, corruption: Corruption = "s2-flip") -> Task:
    """Four variants of one sentence: John and Mary, then Bob and Alice, each giving in turn.

    If the metric is positive on all four, the model follows the roles and not the names. The
    first clause stays the same within a couple, so both orders of the names occur.

    Args:
        model: gives the tokenizer, and whether BOS goes first.
        corruption: as for `ioi`.

    Returns:
        A task of four prompts; its groups are e.g. `IO=Mary S=John`.

    Example:
        >>> ioi_role_swaps(model).baseline(model).clean_values  # doctest: +SKIP
        array([7.1, 6.8, 7.4, 6.9])
    """
    check_choice("corruption", corruption, get_args(Corruption))
    tokenizer = tokenizer_of(model)
    third = ("Tom", "Anna", "James")
    names_for(tokenizer, ["John", "Mary", "Bob", "Alice", *third])
    prompts = []
    for first, second in (("John", "Mary"), ("Bob", "Alice")):
        for s in (first, second):
            io = second if s == first else first
            scene = _Scene(CANONICAL, io_first=io == first, place="store", object="drink")
            cast = _Cast(io, s, third)
            prompts.append(_prompt(model, scene, cast, corruption, group=f"IO={io} S={s}"))
    return Task.build(
        model, prompts, "ioi-role-swaps", {"task": "ioi-role-swaps", "corruption": corruption}
    )


@dataclass(frozen=True)
class _Scene:
    """A template with everything but the names."""

    template: Template
    io_first: bool
    place: str
    object: str


@dataclass(frozen=True)
class _Cast:
    """The names of one prompt pair."""

    io: str
    s: str
    others: tuple[str, ...]


def _casts(rng: np.random.Generator, pool: Sequence[str], n: int, pairs: Pairs) -> Iterator[_Cast]:
    """Names for every prompt: an allowed pair, and three others that are not in it."""
    allowed = [
        (io, s)
        for io in pool
        for s in pool
        if io != s and (pairs == "all" or pair_is_held_out(io, s) == (pairs == "held-out"))
    ]
    if not allowed:
        raise TaskError(f"pairs={pairs!r} leaves no pair among the {len(pool)} names.")
    for index in rng.integers(len(allowed), size=n):
        io, s = allowed[index]
        rest = [name for name in pool if name not in (io, s)]
        others = rng.choice(len(rest), size=THIRD_NAMES, replace=False)
        yield _Cast(io, s, tuple(rest[i] for i in others))


def _scenes(
    rng: np.random.Generator,
    tokenizer: Tokenizer,
    templates: Sequence[Template],
    n: int,
    order: Order,
) -> Iterator[_Scene]:
    """Templates in shuffled turns, each in both orders before the next one."""
    places = words_for(tokenizer, "place", ioi_text.PLACES)
    objects = words_for(tokenizer, "object", ioi_text.OBJECTS)
    shuffled = rng.permutation(len(templates))
    orders = {"both": (True, False), "ABBA": (True,), "BABA": (False,)}[order]
    for i in range(n):
        turn, io_first = i // len(orders), orders[i % len(orders)]
        yield _Scene(
            template=templates[shuffled[turn % len(templates)]],
            io_first=io_first,
            place=places[rng.integers(len(places))],
            object=objects[rng.integers(len(objects))],
        )


def _corrupted_names(cast: _Cast, corruption: Corruption) -> tuple[str, str, str]:
    """The names in the places of IO, S1 and S2."""
    return {
        "s2-flip": (cast.io, cast.s, cast.io),
        "swap": (cast.s, cast.io, cast.io),
        "abc": (cast.others[0], cast.others[1], cast.others[2]),
        "random-name": (cast.io, cast.s, cast.others[0]),
    }[corruption]


def _fillers(scene: _Scene, names: tuple[str, str, str]) -> dict[str, str]:
    """The word of every slot, from the names in the places of IO, S1 and S2."""
    io, s1, s2 = names
    first, second = (io, s1) if scene.io_first else (s1, io)
    return {
        "first": first,
        "second": second,
        "subject": s2,
        "place": scene.place,
        "object": scene.object,
    }


def _prompt(
    model: HookedTransformer,
    scene: _Scene,
    cast: _Cast,
    corruption: Corruption,
    group: str | None = None,
) -> Prompt:
    clean = _fillers(scene, (cast.io, cast.s, cast.s))
    corrupted = _fillers(scene, _corrupted_names(cast, corruption))
    io, s1 = ("first", "second") if scene.io_first else ("second", "first")
    places = {"IO": (io, 0), "S1": (s1, 0), "S1+1": (s1, 1), "S2": ("subject", 0)}
    return prompt_pair(
        model, scene.template, clean, corrupted, f" {cast.io}", f" {cast.s}", places, group
    )
