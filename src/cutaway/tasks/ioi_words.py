"""Which of the IOI task's words and templates a tokenizer can hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from . import ioi_text
from .ioi_text import CANONICAL
from .prompts import TaskError
from .sentences import Template, check_choice, is_known, missing_words

if TYPE_CHECKING:
    from ..model.tokenizer import Tokenizer

FEWEST_NAMES = 10  # for a task with the built-in names
THIRD_NAMES = 3  # besides IO and S, for the corruptions


def templates_for(tokenizer: Tokenizer, wanted: str | Sequence[str]) -> list[Template]:
    """The known ones of a named set of templates, or exactly those of the given ids."""
    sets = {
        "all": ioi_text.TEMPLATES,
        "train": ioi_text.TRAINED_TEMPLATES,
        "held-out": ioi_text.HELD_OUT_TEMPLATES,
    }
    if isinstance(wanted, str):
        if wanted not in sets:
            raise TaskError(
                f"templates={wanted!r} is neither one of {', '.join(sets)} nor a list of ids "
                f"such as [{ioi_text.TEMPLATES[0].id!r}]."
            )
        known = [template for template in sets[wanted] if is_known(tokenizer, template)]
        if not known:
            raise TaskError(
                f"The tokenizer knows none of the templates ({wanted}): it lacks words such as "
                f"{_missing_words(tokenizer, sets[wanted][0])}."
            )
        return known
    by_id = {template.id: template for template in (*ioi_text.TEMPLATES, CANONICAL)}
    chosen = []
    for name in wanted:
        check_choice("templates", name, list(by_id))
        if not is_known(tokenizer, by_id[name]):
            raise TaskError(
                f"The tokenizer does not know the template {name!r}: it lacks "
                f"{_missing_words(tokenizer, by_id[name])}."
            )
        chosen.append(by_id[name])
    if not chosen:
        raise TaskError("templates=[] leaves no template.")
    return chosen


def _missing_words(tokenizer: Tokenizer, template: Template) -> str:
    return ", ".join(repr(word) for word in missing_words(tokenizer, template)[:3])


def names_for(tokenizer: Tokenizer, given: Sequence[str] | None) -> list[str]:
    """The given names, which must all be single tokens, or those built-in ones that are."""
    wanted = ioi_text.NAMES if given is None else list(dict.fromkeys(given))
    missing = [name for name in wanted if not tokenizer.is_single(f" {name}")]
    if given is not None:
        if missing:
            tokenizer.single(f" {missing[0]}")  # raises, and says what the name is instead
        if len(wanted) < 2 + THIRD_NAMES:
            raise TaskError(
                f"names={list(given)}: {2 + THIRD_NAMES} different names are needed, two for "
                f"the prompt and {THIRD_NAMES} for the corruptions."
            )
        return list(wanted)
    known = [name for name in wanted if name not in missing]
    if len(known) < FEWEST_NAMES:
        raise TaskError(
            f"Only {len(known)} of the {len(wanted)} built-in names are single tokens here, "
            f"{FEWEST_NAMES} are needed; not single: {', '.join(missing[:5])}, ... "
            "Give names= that are."
        )
    return known


def words_for(tokenizer: Tokenizer, kind: str, words: Sequence[str]) -> list[str]:
    """Those of the built-in places or objects that are single tokens."""
    known = [word for word in words if tokenizer.is_single(f" {word}")]
    if not known:
        raise TaskError(
            f"No built-in {kind} is a single token in this tokenizer, not even {words[0]!r}."
        )
    return known
