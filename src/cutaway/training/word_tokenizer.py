"""Tokenizers of whole words: what the small models of this project read.

A token is a word together with the space before it, as in GPT-2: `" Mary"`. Every other character
is a token of its own, if the vocabulary has it. Hence decoding is concatenation.
"""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

BOS, PAD, UNKNOWN = "<|bos|>", "<|pad|>", "<|unk|>"
SPECIAL = (BOS, PAD, UNKNOWN)
_TOKEN = r" ?[\p{L}\p{N}]+|[^\p{L}\p{N}]"  # a word with its space, or any one other character
_BARE_START = r"^(?=[\p{L}\p{N}])"


def word_tokenizer(vocabulary: Sequence[str], space_first: bool = False) -> Tokenizer:
    """The tokenizer of a list of tokens; its JSON alone is enough to use it elsewhere.

    Args:
        vocabulary: all tokens in the order of their ids, those of `SPECIAL` included.
        space_first: a text that begins with a word is read as if a space stood before it, for
            vocabularies that have no word without one.

    Example:
        >>> word_tokenizer([*SPECIAL, " the", " cat"], space_first=True).encode("the cat").ids
        [3, 4]
    """
    ids = {token: i for i, token in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=UNKNOWN))
    if space_first:
        tokenizer.normalizer = normalizers.Replace(Regex(_BARE_START), " ")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_TOKEN), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in SPECIAL])
    return tokenizer
