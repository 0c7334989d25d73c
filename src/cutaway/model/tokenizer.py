"""Text to token ids and back: `Tokenizer`, a thin wrapper over `tokenizers.Tokenizer`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import tokenizers

from ..files import write_text

BOS_TOKENS = ("<|bos|>", "<|begin_of_text|>", "<s>", "<bos>", "[BOS]", "<|endoftext|>")
EOS_TOKENS = ("<|eos|>", "<|end_of_text|>", "</s>", "<eos>", "[EOS]", "<|endoftext|>")
PAD_TOKENS = ("<|pad|>", "<pad>", "[PAD]", "<|finetune_right_pad_id|>")
UNKNOWN_TOKENS = ("<|unk|>", "<unk>", "[UNK]")


class TokenizerError(ValueError):
    """A tokenizer file that cannot be used; the message names the file and the fault."""


class UnknownTokenError(ValueError):
    """A text that should be exactly one known token and is not; the message names the text."""


class Tokenizer:
    """What a model needs of a tokenizer, whatever its kind: ids, texts and special tokens.

    Which token is BOS, EOS or PAD is taken from the arguments, otherwise from the
    `tokenizer_config.json` beside the file, otherwise from the usual names (`BOS_TOKENS`, ...).
    EOS stands in for a missing BOS, BOS for a missing EOS, and EOS for a missing PAD,
    as is the custom with GPT-2.

    Example:
        >>> tokenizer = Tokenizer.from_file("gpt2/tokenizer.json")
        >>> tokenizer.decode(tokenizer.encode("When John and Mary"))
        'When John and Mary'
    """

    padding_side: Literal["left", "right"] = "right"
    """Where shorter texts of a batch are padded, unless a call says otherwise."""

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        *,
        bos_token: str | None = None,
        eos_token: str | None = None,
        pad_token: str | None = None,
        source: str | Path = "the tokenizer",
    ) -> None:
        """Wrap `backend`; a special token that is named but not in the vocabulary is an error."""
        self.backend = backend
        self.backend.no_padding()
        self.backend.no_truncation()
        self.source = str(source)
        bos = self._choose("bos_token", bos_token, BOS_TOKENS)
        eos = self._choose("eos_token", eos_token, EOS_TOKENS)
        self.bos_token = bos or eos
        self.eos_token = eos or bos
        self.pad_token = self._choose("pad_token", pad_token, PAD_TOKENS) or self.eos_token
        self.unk_token = self._choose("unk_token", None, UNKNOWN_TOKENS)

    @classmethod
    def from_file(cls, path: str | Path, **special_tokens: str | None) -> Self:
        """Read a `tokenizer.json`. Raises FileNotFoundError or TokenizerError naming the file.

        Args:
            path: the file; a `tokenizer_config.json` beside it may name the special tokens.
            special_tokens: `bos_token=`, `eos_token=`, `pad_token=`, which go before that file.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist: a tokenizer.json is needed there.")
        try:
            backend = tokenizers.Tokenizer.from_file(str(path))
        except Exception as fault:  # the Rust side raises a bare Exception
            raise TokenizerError(f"{path} is not a readable tokenizer.json: {fault}.") from fault
        given = {key: value for key, value in special_tokens.items() if value is not None}
        named = _special_tokens(path.with_name("tokenizer_config.json"))
        return cls(backend, **{**named, **given}, source=path)

    def _choose(self, field: str, name: str | None, candidates: Sequence[str]) -> str | None:
        if name is not None:
            if self.backend.token_to_id(name) is None:
                raise TokenizerError(f"{self.source} does not hold {field}={name!r}.")
            return name
        return next((c for c in candidates if self.backend.token_to_id(c) is not None), None)

    def _id(self, name: str | None) -> int | None:
        return None if name is None else self.backend.token_to_id(name)

    @cached_property
    def bos_token_id(self) -> int | None:
        """Id of the beginning-of-sequence token; None where the vocabulary has none."""
        return self._id(self.bos_token)

    @cached_property
    def eos_token_id(self) -> int | None:
        """Id of the end-of-sequence token; None where the vocabulary has none."""
        return self._id(self.eos_token)

    @cached_property
    def pad_token_id(self) -> int | None:
        """Id that fills up short prompts; None where the vocabulary has none."""
        return self._id(self.pad_token)

    @cached_property
    def unk_token_id(self) -> int | None:
        """Id of every word outside the vocabulary; None for tokenizers that know all bytes."""
        return self._id(self.unk_token)

    @cached_property
    def vocab_size(self) -> int:
        """Number of tokens, special ones included."""
        return self.backend.get_vocab_size(with_added_tokens=True)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the tokenizer's JSON: equal for tokenizers that behave equally."""
        return hashlib.sha256(self.backend.to_str().encode()).hexdigest()

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`; no special token is added (those written in the text are read).

        Raises:
            UnknownTokenError: it holds what a vocabulary without an unknown token cannot say.
        """
        try:
            return list(self.backend.encode(text, add_special_tokens=False).ids)
        except Exception as fault:  # the Rust side raises a bare Exception
            vocabulary = self.get_vocab()
            unknown = [c for c in dict.fromkeys(text) if c not in vocabulary]
            raise UnknownTokenError(
                f"{self.source} has no token for {', '.join(map(repr, unknown[:8]))}"
                f"{', ...' if len(unknown) > 8 else ''}: leave such characters out."
            ) from fault

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = False) -> str:
        """The text of `ids` (a list or a one-dimensional tensor)."""
        return self.backend.decode([int(i) for i in ids], skip_special_tokens=skip_special_tokens)

    def batch_decode(
        self, rows: Sequence[Sequence[int]], skip_special_tokens: bool = False
    ) -> list[str]:
        """The text of each row."""
        return [self.decode(row, skip_special_tokens) for row in rows]

    def get_vocab(self) -> dict[str, int]:
        """Written form of every token -> id; "Ġ" stands for a space where bytes are spelt out."""
        return self.backend.get_vocab(with_added_tokens=True)

    @property
    def vocab(self) -> dict[str, int]:
        """`get_vocab()`."""
        return self.get_vocab()

    def __call__(
        self, text: str | Sequence[str], add_special_tokens: bool = True
    ) -> dict[str, Any]:
        """{"input_ids", "attention_mask"} of one text or several, as lists without padding.

        Special tokens are those that the tokenizer's own file adds (GPT-2's adds none); to have
        BOS as the model is used to, ask `HookedTransformer.to_tokens`.
        """
        texts = [text] if isinstance(text, str) else list(text)
        ids = [
            list(encoding.ids)
            for encoding in self.backend.encode_batch(texts, add_special_tokens=add_special_tokens)
        ]
        mask = [[1] * len(row) for row in ids]
        one = isinstance(text, str)
        return {"input_ids": ids[0] if one else ids, "attention_mask": mask[0] if one else mask}

    def token(self, token_id: int) -> str:
        """The text of one token, with its leading space if it has one, e.g. `' Mary'`."""
        if not 0 <= int(token_id) < self.vocab_size:
            raise IndexError(
                f"Token id {int(token_id)} is outside the vocabulary of {self.vocab_size}."
            )
        written: str = self.backend.id_to_token(int(token_id)) or ""
        if written.startswith("\u2581"):  # SentencePiece's space, which decoders strip at the start
            return written.replace("\u2581", " ")
        return self.decode([token_id])

    def tokens(self, text: str) -> list[str]:
        """The text of every token of `text`: what `encode` makes of it, readable."""
        return [self.token(i) for i in self.encode(text)]

    def is_single(self, text: str) -> bool:
        """Whether `text` is exactly one known token."""
        ids = self.encode(text)
        return len(ids) == 1 and ids[0] != self.unk_token_id

    def single(self, text: str) -> int:
        """The id of `text`, which must be exactly one known token; otherwise UnknownTokenError."""
        ids = self.encode(text)
        if len(ids) == 1 and ids[0] != self.unk_token_id:
            return ids[0]
        if self.unk_token_id in ids:
            fault = f"holds words outside the vocabulary: {', '.join(self.unknown_words(text))}"
        else:
            fault = f"is {len(ids)} tokens: {' | '.join(map(self.token, ids))}"
        hint = "" if text.startswith(" ") else f" Did you mean {' ' + text!r}, with a space?"
        raise UnknownTokenError(f"{text!r} is not a single token, it {fault}.{hint}")

    def unknown_words(self, text: str) -> list[str]:
        """The parts of `text` outside the vocabulary, in order; empty if all of it is known."""
        if self.unk_token_id is None:
            return []
        encoding = self.backend.encode(text, add_special_tokens=False)
        spans = zip(encoding.ids, encoding.offsets, strict=True)
        return [text[a:b].strip() or text[a:b] for i, (a, b) in spans if i == self.unk_token_id]

    def save(self, path: str | Path) -> None:
        """Write a `tokenizer.json`; `from_file` reads it back."""
        write_text(path, self.backend.to_str(pretty=True))

    def __len__(self) -> int:
        return self.vocab_size

    def __repr__(self) -> str:
        return f"Tokenizer({self.source!r}, vocab_size={self.vocab_size}, bos={self.bos_token!r})"


def _special_tokens(path: Path) -> dict[str, Any]:
    """The special tokens that a Hugging Face `tokenizer_config.json` names; {} without a file."""
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as fault:
        raise TokenizerError(f"{path} is not valid JSON: {fault}.") from fault
    named = {}
    for field in ("bos_token", "eos_token", "pad_token"):
        value = values.get(field)
        content = value.get("content") if isinstance(value, dict) else value
        if content is not None:
            named[field] = content
    return named
