"""The word-level vocabulary of `ioi-mini` and its tokenizer.

A token is a word together with the space before it, as in GPT-2: `" Mary"`. A capitalised word
has a second token without the space, for the start of a text: `"When"` and `" When"`. Punctuation
marks are tokens of their own. Hence decoding is concatenation, and gives the text back exactly.
"""

from __future__ import annotations

import re
from functools import cache

from tokenizers import Tokenizer

from ..tasks import ioi_text
from . import ioi_sentences
from .word_tokenizer import BOS as BOS
from .word_tokenizer import PAD as PAD
from .word_tokenizer import SPECIAL as SPECIAL
from .word_tokenizer import UNKNOWN as UNKNOWN
from .word_tokenizer import word_tokenizer

PUNCTUATION = (".", ",", "?", ":")


def _words() -> set[str]:
    """Every word that the training text or a task can hold."""
    sentences = [template.text for template in (*ioi_text.TEMPLATES, ioi_text.CANONICAL)]
    for group in (
        ioi_sentences.STATEMENTS,
        ioi_sentences.PAIR_STATEMENTS,
        ioi_sentences.OPENERS,
        ioi_sentences.MIDDLES,
        ioi_sentences.ENDINGS,
        ioi_sentences.SET_PIECES,
    ):
        sentences.extend(group)
    words = set(ioi_text.NAMES)
    for sentence in sentences:
        words.update(re.findall(r"[A-Za-z]+", re.sub(r"\{\w+\}", "", sentence)))
    for listed in ioi_sentences.LISTS.values():
        words.update(listed)
    for _, listed in ioi_sentences.ALIGNED.values():
        words.update(listed)
    return words


@cache
def vocabulary() -> tuple[str, ...]:
    """All tokens in the order of their ids: special tokens, punctuation, words.

    Example:
        >>> vocabulary()[:4]
        ('<|bos|>', '<|pad|>', '<|unk|>', '.')
    """
    words = sorted(_words())
    capitalised = [word for word in words if word[0].isupper()]
    return (*SPECIAL, *PUNCTUATION, *(f" {word}" for word in words), *capitalised)


def build_tokenizer() -> Tokenizer:
    """The tokenizer of `vocabulary()`; its JSON alone is enough to use it elsewhere.

    Example:
        >>> build_tokenizer().encode("When John and Mary went").tokens
        ['When', ' John', ' and', ' Mary', ' went']
    """
    return word_tokenizer(vocabulary())
