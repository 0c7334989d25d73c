"""Sets of tokens that rules may name: by the look of their text, and names of people."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ...tasks.ioi_text import NAMES

_LOOKS = {
    "a number": re.compile(r"\s?\d+"),
    "punctuation": re.compile(r"\s?[^\w\s]+"),
    "a capital letter": re.compile(r"\s?[A-Z]"),
    "a small letter": re.compile(r"\s?[a-z]"),
    "a capitalised word": re.compile(r"\s?[A-Z]\w+"),
    "white space": re.compile(r"\s+"),
    "a vowel": re.compile(r"\s?[aeiouAEIOU]"),
}
_FEWEST = 2


def token_sets(words: Sequence[str]) -> dict[str, list[int]]:
    """Named sets of tokens; those that the vocabulary has fewer than two of are left out.

    Args:
        words: the text of every token.

    Example:
        >>> token_sets([" Mary", " John", ".", ","])
        {'a name': [0, 1], 'punctuation': [2, 3], 'a capitalised word': [0, 1]}
    """
    people = set(NAMES)
    found = {"a name": [at for at, word in enumerate(words) if word.strip() in people]}
    for name, look in _LOOKS.items():
        found[name] = [at for at, word in enumerate(words) if look.fullmatch(word)]
    return {name: own for name, own in found.items() if len(own) >= _FEWEST}
