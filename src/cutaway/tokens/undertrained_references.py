"""Which tokens cannot have been trained, by the tokenizer alone, and which a text cannot hold.

Indicators of undertrained tokens need some that are known to be unused (Land and Bartolo 2024,
section 2.2). Three sorts can be told without the training text: rows of the matrices beyond the
tokenizer's vocabulary, special tokens that are neither beginning nor end, and bytes that no UTF-8
text holds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from ..model.tokenizer import Tokenizer
from ..model.transformer import HookedTransformer

TokenKind = Literal["text", "special", "partial", "unreachable", "outside"]
"""text: an ordinary token; special: of no text; partial: bytes that are no whole character;
unreachable: its own text is read as other tokens; outside: a row that the tokenizer has no token
for."""

NEVER_BYTES = (0xC0, 0xC1, *range(0xF5, 0x100))
"""Bytes that no UTF-8 text holds (RFC 3629, section 1)."""
_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_REPLACEMENT = "\ufffd"


@dataclass(frozen=True)
class Unused:
    """Tokens that are taken to be unused, and why each of them is."""

    tokens: tuple[int, ...]
    """In order, none twice."""
    reasons: tuple[str, ...]
    """One for each token."""


def known_unused(model: HookedTransformer, given: Sequence[int] | None = None) -> Unused:
    """The tokens that indicators are held against: given, or those that the tokenizer tells.

    Args:
        model: its vocabulary and tokenizer.
        given: tokens that are known to be unused; None looks for rows beyond the tokenizer's
            vocabulary, special tokens but beginning and end, and bytes that no UTF-8 text holds.

    Raises:
        ValueError: none were found or given, or one is not in the vocabulary.

    Example:
        >>> known_unused(model).reasons  # doctest: +SKIP
        ('special', 'special')
    """
    d_vocab = model.cfg.d_vocab
    if given is not None:
        tokens = tuple(sorted(set(map(int, given))))
        outside = [token for token in tokens if not 0 <= token < d_vocab]
        if outside:
            raise ValueError(
                f"the unused token {outside[0]} is not in the vocabulary of "
                f"{model.cfg.model_name}: 0 to {d_vocab - 1}."
            )
        if not tokens:
            raise ValueError("no unused token was given: name at least one.")
        return Unused(tokens, ("given",) * len(tokens))
    found = dict.fromkeys(range(_size(model), d_vocab), "outside the tokenizer")
    if model.tokenizer is not None:
        both_ends = {model.tokenizer.bos_token_id, model.tokenizer.eos_token_id}
        special = _special(model.tokenizer) - both_ends
        found |= dict.fromkeys((one for one in special if one < d_vocab), "special")
        found |= dict.fromkeys(_never_bytes(model.tokenizer), "byte of no text")
    if not found:
        raise ValueError(
            f"{model.cfg.model_name} has no token that is surely unused (no row beyond its "
            "tokenizer, no spare special token, no byte outside UTF-8): give some that are known."
        )
    tokens = tuple(sorted(found))
    return Unused(tokens, tuple(found[token] for token in tokens))


def token_kinds(model: HookedTransformer) -> tuple[TokenKind, ...]:
    """What sort of token each is, in the order of their ids.

    A token is unreachable if its text, encoded again, with or without its first space, is not
    that one token (Land and Bartolo 2024, section 2.1).

    Args:
        model: without a tokenizer all its tokens count as text.

    Example:
        >>> kinds = token_kinds(model)  # doctest: +SKIP
        >>> kinds[model.to_single_token(" the")]  # doctest: +SKIP
        'text'
    """
    tokenizer, d_vocab = model.tokenizer, model.cfg.d_vocab
    if tokenizer is None:
        every: list[TokenKind] = ["text"] * d_vocab
        return tuple(every)
    n = _size(model)
    texts = [tokenizer.token(token) for token in range(n)]
    reached = [ids == [token] for token, ids in enumerate(_encoded(tokenizer, texts))]
    # Some tokenizers put a space before every text themselves.
    again = [token for token in range(n) if not reached[token] and texts[token].startswith(" ")]
    bare = _encoded(tokenizer, [texts[token][1:] for token in again])
    for token, ids in zip(again, bare, strict=True):
        reached[token] = ids == [token]
    special = _special(tokenizer)

    def kind(token: int) -> TokenKind:
        if token in special:
            return "special"
        if _REPLACEMENT in texts[token] or not texts[token]:
            return "partial"
        return "text" if reached[token] else "unreachable"

    beyond: list[TokenKind] = ["outside"] * (d_vocab - n)
    return (*map(kind, range(n)), *beyond)


def token_texts(model: HookedTransformer) -> tuple[str, ...]:
    """The text of every token, as a reader would write it; rows without one are `row 17`."""
    n = _size(model)
    if model.tokenizer is None:
        return tuple(f"token {token}" for token in range(model.cfg.d_vocab))
    texts = [model.tokenizer.token(token) for token in range(n)]
    written = {token: text for text, token in model.tokenizer.get_vocab().items()}
    shown = (
        written[token] if _REPLACEMENT in text or not text else text
        for token, text in enumerate(texts)
    )
    return (*shown, *(f"row {token}" for token in range(n, model.cfg.d_vocab)))


def _size(model: HookedTransformer) -> int:
    """Rows that the tokenizer has a token for."""
    if model.tokenizer is None:
        return model.cfg.d_vocab
    return min(model.tokenizer.vocab_size, model.cfg.d_vocab)


def _encoded(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Ids of many texts; a text that cannot be read has none."""
    try:
        batch = tokenizer.backend.encode_batch(list(texts), add_special_tokens=False)
    except Exception:  # the Rust side raises a bare Exception: find the texts that it cannot read
        return [_or_nothing(tokenizer, text) for text in texts]
    return [list(one.ids) for one in batch]


def _or_nothing(tokenizer: Tokenizer, text: str) -> list[int]:
    try:
        return tokenizer.encode(text)
    except ValueError:
        return []


def _special(tokenizer: Tokenizer) -> set[int]:
    """Special tokens by the tokenizer's own word, and those that have a role."""
    added = tokenizer.backend.get_added_tokens_decoder()
    named = {
        tokenizer.bos_token_id,
        tokenizer.eos_token_id,
        tokenizer.pad_token_id,
        tokenizer.unk_token_id,
    }
    special = {token for token, one in added.items() if one.special}
    return special | {token for token in named if token is not None}


def _never_bytes(tokenizer: Tokenizer) -> list[int]:
    """Tokens of a single byte that no text holds, in byte-level and byte-fallback vocabularies."""
    vocabulary = tokenizer.get_vocab()
    found = [
        token
        for written, token in vocabulary.items()
        if (match := _BYTE_TOKEN.fullmatch(written)) and int(match[1], 16) in NEVER_BYTES
    ]
    # Byte-level vocabularies write each of these bytes as the character of the same number.
    if '"ByteLevel"' in json.dumps(json.loads(tokenizer.backend.to_str()).get("decoder")):
        found += [vocabulary[chr(byte)] for byte in NEVER_BYTES if chr(byte) in vocabulary]
    return found


KINDS: tuple[TokenKind, ...] = get_args(TokenKind)
