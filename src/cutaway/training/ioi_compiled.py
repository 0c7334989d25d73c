"""The sentences of `ioi-mini`'s training text as arrays of codes, and the words for their slots.

A code that is not negative is a token, a negative one is a slot: -1 - (its column in `SLOTS`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ..tasks import ioi_text
from . import ioi_sentences
from .ioi_vocabulary import BOS, vocabulary

Integers = NDArray[np.int64]

REPEAT_LENGTHS = range(4, 29)  # tokens in one half of a repeated document


@dataclass(frozen=True)
class CompiledSentences:
    """All sentences as codes; each one twice: opening a document (after BOS) and following."""

    groups: dict[str, Integers]
    """Numbers of the sentences of each group."""
    codes: Integers
    """The codes of all forms in a row; form 2s opens with sentence s, form 2s + 1 follows."""
    starts: Integers
    """Where each form begins in `codes`; the last form is empty."""
    lengths: Integers
    """How many codes each form has."""

    @property
    def empty(self) -> int:
        """Number of the sentence without tokens."""
        return len(self.lengths) // 2

    @property
    def shortest(self) -> int:
        """Tokens of the shortest document, BOS included."""
        return int(self.lengths[: 2 * self.empty : 2].min())


NAME_SLOTS = ("a", "b", "c", "d")
RANDOM_SLOTS = tuple(f"random{i}" for i in range(REPEAT_LENGTHS.stop - 1))
SLOTS = (
    *NAME_SLOTS,
    *ioi_sentences.LISTS,
    "place2",
    "object2",
    *ioi_sentences.ALIGNED,
    *RANDOM_SLOTS,
)
COLUMN = {slot: i for i, slot in enumerate(SLOTS)}


def _compile(sentence: str, ids: dict[str, int]) -> list[int]:
    """The codes of a sentence that follows another one."""
    pieces = re.findall(r" \{\w+\}| \w+|[.,?:]", " " + sentence)
    return [-1 - COLUMN[p[2:-1]] if p.startswith(" {") else ids[p] for p in pieces]


def _variants(template: ioi_text.Template) -> tuple[str, ...]:
    """The template as it is, and with any verb of giving, an adverb before it, an adjective before
    the object, an owner after it, a look at the indirect object before the giving.

    So neither the words nor the distances between the names are a template's own, and the giver is
    often not the last name: the verb says who gives.
    """
    verbs = "|".join(ioi_sentences.LISTS["transfer"])
    any_verb = re.sub(rf"\b({verbs})\b", "{transfer}", template.text)
    giving = r"{subject} (\w+ )?{transfer}"
    adverb = re.sub(giving, "{subject} {adverb} {transfer}", any_verb)
    turned = re.sub(giving, "{subject} smiled at {answer} and {transfer}", any_verb)
    variants = [template.text, turned]
    for sentence in (any_verb, adverb):
        quality = re.sub(r"{object} to$", "{quality} {object} to", sentence)
        owned = re.sub(r"(a|the) {object} to$", "the {object} of {owner} to", sentence)
        variants += [sentence, quality, owned]
    return tuple(dict.fromkeys(variants))


def _ioi_sentences(first: str, second: str, giver: str, answer: str) -> list[str]:
    """Every variant of every training template with these people, and the answer after it."""
    people = {"first": first, "second": second, "subject": giver, "answer": answer, "owner": "{a}"}
    sentences = [v for template in ioi_text.TRAINED_TEMPLATES for v in _variants(template)]
    for slot, person in people.items():
        sentences = [sentence.replace(f"{{{slot}}}", person) for sentence in sentences]
    return [f"{sentence} {answer}." for sentence in sentences]


def _swap_a_b(sentence: str) -> str:
    return sentence.replace("{a}", "{-}").replace("{b}", "{a}").replace("{-}", "{b}")


def _groups() -> dict[str, Iterable[str]]:
    """Every sentence. In IOI sentences {c} is IO, {d} is S, so that {a} and {b} are others."""
    io, s, third = "{c}", "{d}", "{b}"
    return {
        "ioi": [*_ioi_sentences(io, s, s, io), *_ioi_sentences(s, io, s, io)],
        "third_giver": [*_ioi_sentences(io, s, third, io), *_ioi_sentences(io, s, third, s)],
        "statement": (*ioi_sentences.STATEMENTS, *ioi_sentences.PAIR_STATEMENTS),
        "opener": [*ioi_sentences.OPENERS, *map(_swap_a_b, ioi_sentences.OPENERS)],
        "middle": ioi_sentences.MIDDLES,
        "ending": ioi_sentences.ENDINGS,
        "set_piece": ioi_sentences.SET_PIECES,
        "repeat": [" ".join(f"{{{r}}}" for r in RANDOM_SLOTS[:n] * 2) for n in REPEAT_LENGTHS],
    }


@cache
def compiled_sentences() -> CompiledSentences:
    """Every sentence of the training text, compiled."""
    ids = {token: i for i, token in enumerate(vocabulary())}
    groups: dict[str, Integers] = {}
    forms: list[list[int]] = []
    for name, sentences in _groups().items():
        first = len(forms) // 2
        for codes in (_compile(sentence, ids) for sentence in sentences):
            forms += [[ids[BOS], *codes], codes]
        groups[name] = np.arange(first, len(forms) // 2)
    forms.append([])
    lengths = np.array([len(form) for form in forms])
    return CompiledSentences(
        groups=groups,
        codes=np.array([code for form in forms for code in form]),
        starts=np.cumsum(lengths) - lengths,
        lengths=lengths,
    )


@dataclass(frozen=True)
class WordTables:
    """Token ids of the words that slots take."""

    lists: dict[str, Integers]
    names: Integers  # [2, name]: with a space before, and without
    unspaced: Integers  # [token]: the same word without its space, where there is one
    name_of: Integers  # [token]: number of the name, or -1
    apart: NDArray[np.bool_]  # [name, name]: may not share a sequence (held out, or the same)


@cache
def word_tables() -> WordTables:
    """The token ids that slots are filled with."""
    ids = {token: i for i, token in enumerate(vocabulary())}
    unspaced = np.array([ids.get(token.strip(), i) for token, i in ids.items()])
    names = np.array([[ids[space + name] for name in ioi_text.NAMES] for space in (" ", "")])
    name_of = np.full(len(ids), -1)
    name_of[names] = np.arange(len(ioi_text.NAMES))
    aligned = {slot: words for slot, (_, words) in ioi_sentences.ALIGNED.items()}
    return WordTables(
        lists={
            slot: np.array([ids[f" {word}"] for word in words])
            for slot, words in {**ioi_sentences.LISTS, **aligned}.items()
        },
        names=names,
        unspaced=unspaced,
        name_of=name_of,
        apart=np.array(
            [
                [a == b or ioi_text.pair_is_held_out(a, b) for b in ioi_text.NAMES]
                for a in ioi_text.NAMES
            ]
        ),
    )
