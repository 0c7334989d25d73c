"""Sentences with slots: filled, tokenised piece by piece, and checked against a tokenizer.

What the tasks in words have in common. A task brings templates and word lists of its own; here
they are cut down to what a tokenizer holds, and turned into pairs of prompts whose positions are
known because each piece is encoded by itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from .prompts import Prompt, TaskError, tokenizer_of

if TYPE_CHECKING:
    from ..model.tokenizer import Tokenizer
    from ..model.transformer import HookedTransformer

T = TypeVar("T")
_SLOT = re.compile(r"( ?\{\w+\})")
_WAY_OUT = (
    "take a model whose vocabulary holds them, such as gpt2, or bring prompts of your own with "
    "Task.from_prompts."
)


@dataclass(frozen=True)
class Template:
    """A sentence with slots that ends right before the answer.

    Example:
        >>> Template("a", "The {noun} began in {year}").pieces()
        ('The', ' {noun}', ' began in', ' {year}')
    """

    id: str
    """What the template is called in results."""
    text: str
    """The sentence; slots in braces."""
    held_out: bool = False
    """Never in the training text of `ioi-mini`."""

    def pieces(self) -> tuple[str, ...]:
        """Literal text and slots in turn; the space before a slot belongs to the slot."""
        return tuple(piece for piece in _SLOT.split(self.text) if piece)

    def fill(self, slots: Mapping[str, str]) -> str:
        """The sentence with a word for each slot."""
        return self.text.format_map(slots)


def words(text: str) -> tuple[str, ...]:
    """The words of a text, for lists that read better as lines."""
    return tuple(text.split())


def rows(text: str) -> tuple[tuple[str, ...], ...]:
    """Words that belong together, with commas between the rows."""
    return tuple(words(row) for row in text.split(","))


def numbered(prefix: str, lines: str) -> tuple[Template, ...]:
    """A template for each line of a text: `prefix-01`, `prefix-02`, ..."""
    return tuple(
        Template(f"{prefix}-{i:02d}", line) for i, line in enumerate(lines.strip().splitlines(), 1)
    )


def slot_of(piece: str) -> str | None:
    """The slot's name if `piece` (of `Template.pieces`) is a slot, None if it is literal text."""
    return piece.strip()[1:-1] if "{" in piece else None


def check_choice(argument: str, value: str, allowed: Sequence[str]) -> None:
    """Raise TaskError unless `value` is one of `allowed`."""
    if value not in allowed:
        raise TaskError(f"{argument}={value!r} is not one of {', '.join(allowed)}.")


def check_count(n_prompts: int) -> None:
    """Raise TaskError unless there is at least one prompt."""
    if n_prompts < 1:
        raise TaskError(f"n_prompts={n_prompts}: at least one prompt is needed.")


def is_known(tokenizer: Tokenizer, template: Template) -> bool:
    """Whether every word of the template is in the vocabulary."""
    return not missing_words(tokenizer, template)


def missing_words(tokenizer: Tokenizer, template: Template) -> list[str]:
    """The words of the template itself that are outside the vocabulary."""
    literal = [piece for piece in template.pieces() if slot_of(piece) is None]
    return [word for piece in literal for word in tokenizer.unknown_words(piece)]


def known_templates(
    tokenizer: Tokenizer, templates: Sequence[Template], task: str
) -> list[Template]:
    """Those templates that the tokenizer can write.

    Raises:
        TaskError: there are none; the message names words that are missing.
    """
    known = [template for template in templates if is_known(tokenizer, template)]
    if not known:
        lacking = ", ".join(map(repr, missing_words(tokenizer, templates[0])[:3]))
        raise TaskError(
            f"The tokenizer knows none of the sentences of {task}, it lacks words such as "
            f"{lacking}: {_WAY_OUT}"
        )
    return known


def known_rows(
    tokenizer: Tokenizer, listed: Sequence[tuple[str, ...]], fewest: int, what: str
) -> list[tuple[str, ...]]:
    """Those rows of words that belong together of which every word is a single token.

    Args:
        tokenizer: each word is looked up with a space before it.
        listed: e.g. a country and its capital.
        fewest: how many rows a task needs.
        what: what the rows are called in an error, in the plural.

    Raises:
        TaskError: too few rows are left; the message names words that are not single tokens.
    """
    known = [row for row in listed if all(tokenizer.is_single(f" {word}") for word in row)]
    if len(known) < fewest:
        split = [word for row in listed for word in row if not tokenizer.is_single(f" {word}")]
        raise TaskError(
            f"Only {len(known)} of the {len(listed)} built-in {what} are single tokens here, "
            f"{fewest} are needed; not single: {', '.join(split[:5])}: {_WAY_OUT}"
        )
    return known


def known_words(tokenizer: Tokenizer, listed: Sequence[str], fewest: int, what: str) -> list[str]:
    """Those words that are single tokens; `known_rows` of one word each."""
    return [word for (word,) in known_rows(tokenizer, [(w,) for w in listed], fewest, what)]


def in_turn(rng: np.random.Generator, items: Sequence[T], n: int, each: int = 1) -> list[T]:
    """`n` of the items in a shuffled order that repeats, `each` times in a row: equally often."""
    order = rng.permutation(len(items))
    return [items[order[i // each % len(items)]] for i in range(n)]


def another(rng: np.random.Generator, items: Sequence[T], than: T) -> T:
    """One of the items, drawn at random, that is not `than`."""
    rest = [item for item in items if item != than]
    return rest[rng.integers(len(rest))]


def prompt_pair(
    model: HookedTransformer,
    template: Template,
    clean: Mapping[str, str],
    corrupted: Mapping[str, str],
    answer: str,
    wrong: str,
    positions: Mapping[str, tuple[str, int]],
    group: str | None = None,
) -> Prompt:
    """A template filled twice, as token ids, with its positions.

    Args:
        model: gives the tokenizer, the context length and whether BOS goes first.
        template: ends right before the answer.
        clean: a word for each slot.
        corrupted: the same for the changed prompt.
        answer: the right continuation of the clean prompt, one token.
        wrong: what it is compared with, one token.
        positions: name -> slot, and how many tokens after the slot's first; END is added.
        group: None means the id of the template.

    Raises:
        TaskError: prompts of different lengths, too long a prompt, or a tokenizer that does not
            split at the spaces.
        UnknownTokenError: an answer that is not a single token.
    """
    tokenizer, start = tokenizer_of(model), model.start_tokens()
    ids, slots = tokenize(tokenizer, template, clean, start)
    changed, _ = tokenize(tokenizer, template, corrupted, start)
    if len(ids) != len(changed):
        raise TaskError(
            f"{template.fill(clean)!r} has {len(ids) - len(start)} tokens and its corrupted form "
            f"{template.fill(corrupted)!r} has {len(changed) - len(start)}: they must be equally "
            "long, so choose words that are."
        )
    if len(ids) > model.cfg.n_ctx:
        raise TaskError(
            f"Template {template.id!r} makes {len(ids)} tokens, but the context of "
            f"{model.cfg.model_name} is {model.cfg.n_ctx}: choose other templates."
        )
    return Prompt(
        clean=ids,
        corrupted=changed,
        clean_text=template.fill(clean),
        corrupted_text=template.fill(corrupted),
        answer=answer,
        wrong=wrong,
        answer_token=tokenizer.single(answer),
        wrong_token=tokenizer.single(wrong),
        positions={
            **{name: slots[slot] + after for name, (slot, after) in positions.items()},
            "END": len(ids) - 1,
        },
        group=template.id if group is None else group,
    )


def tokenize(
    tokenizer: Tokenizer, template: Template, filled: Mapping[str, str], start: Sequence[int]
) -> tuple[list[int], dict[str, int]]:
    """Token ids of a filled template after `start`, and where each slot's first token is.

    The pieces are encoded one by one, which is how the positions are known; that they make up
    the encoding of the whole sentence is checked.
    """
    ids, slots = list(start), {}
    for piece in template.pieces():
        slot = slot_of(piece)
        if slot is not None:
            slots[slot] = len(ids)
        ids += tokenizer.encode(piece.format_map(filled))
    if ids[len(start) :] != tokenizer.encode(template.fill(filled)):
        raise TaskError(
            f"The tokenizer does not split {template.fill(filled)!r} at its spaces, so positions "
            "cannot be named; bring prompts of your own with Task.from_prompts."
        )
    return ids, slots
