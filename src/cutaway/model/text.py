"""Text in, tokens in, padding: the part of `HookedTransformer` that faces the user's input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from jaxtyping import Bool, Int
from torch import Tensor

if TYPE_CHECKING:
    from .config import ModelConfig
    from .kv_cache import KVCache
    from .tokenizer import Tokenizer

PaddingSide = Literal["left", "right"]
TextOrTokens = str | list[str] | Tensor


class TextInterface:
    """Conversions between text, tokens and single-token names.

    The BOS token is put first by `to_tokens`, `to_str_tokens`, `get_token_position` and calls of
    the model on text where `prepend_bos` is true; None means the model's `default_prepend_bos`.
    It is never put before tokens that are given as numbers.
    """

    cfg: ModelConfig
    tokenizer: Tokenizer | None

    if TYPE_CHECKING:

        @property
        def device(self) -> torch.device: ...

    def get_tokenizer(self) -> Tokenizer:
        """The tokenizer. Raises ValueError if the model has none."""
        if self.tokenizer is None:
            raise ValueError(
                f"{self.cfg.model_name} has no tokenizer, so it takes tokens and not text: "
                "give tokenizer= when loading, or call it with token numbers."
            )
        return self.tokenizer

    def to_tokens(
        self,
        input: str | list[str],
        prepend_bos: bool | None = None,
        padding_side: PaddingSide | None = None,
        truncate: bool = False,
        move_to_device: bool = True,
    ) -> Int[Tensor, "batch pos"]:
        """Text to tokens [batch, pos], padded to the longest.

        Args:
            input: one text or several.
            prepend_bos: whether BOS comes first; None takes the model's default.
            padding_side: "right" or "left"; None takes the tokenizer's `padding_side`, which is
                "right" unless it was set.
            truncate: cut what is longer than the context instead of raising.
            move_to_device: False leaves the tokens on the CPU.

        Raises:
            ValueError: no tokenizer, an empty list, no BOS token where one is asked for, or a text
                longer than the context.
        """
        tokens, real = self._pad_texts(input, prepend_bos, padding_side, truncate)
        if self.get_tokenizer().pad_token_id is None and not bool(real.all()):
            raise ValueError(
                f"the tokenizer of {self.cfg.model_name} has no token to pad shorter texts with: "
                "convert the texts one by one."
            )
        return tokens if move_to_device else tokens.cpu()

    def start_tokens(self, prepend_bos: bool | None = None) -> list[int]:
        """What is put before a text: BOS, or nothing; None takes the model's default.

        Raises:
            ValueError: BOS is wanted and the tokenizer has none.
        """
        if not (self.cfg.default_prepend_bos if prepend_bos is None else prepend_bos):
            return []
        bos = self.get_tokenizer().bos_token_id
        if bos is None:
            raise ValueError(
                f"the tokenizer of {self.cfg.model_name} has no BOS token: give prepend_bos=False, "
                "or set model.cfg.default_prepend_bos = False."
            )
        return [bos]

    def _pad_texts(
        self,
        input: str | list[str],
        prepend_bos: bool | None,
        padding_side: PaddingSide | None,
        truncate: bool = False,
    ) -> tuple[Int[Tensor, "batch pos"], Bool[Tensor, "batch pos"]]:
        """Padded tokens, and which of them are real."""
        tokenizer = self.get_tokenizer()
        texts = [input] if isinstance(input, str) else list(input)
        if not texts:
            raise ValueError("the list of texts is empty.")
        front = self.start_tokens(prepend_bos)
        rows = [front + tokenizer.encode(text) for text in texts]
        if truncate:
            rows = [row[: self.cfg.n_ctx] for row in rows]
        padding_side = padding_side or tokenizer.padding_side
        if padding_side not in get_args(PaddingSide):
            raise ValueError(f"padding_side={padding_side!r} is unknown; it is 'left' or 'right'.")
        length = max(len(row) for row in rows)
        if length == 0:
            raise ValueError("the text is empty and no BOS token is put first: nothing to run on.")
        self.check_length(length)
        tokens = torch.full((len(rows), length), tokenizer.pad_token_id or 0)
        real = torch.zeros(tokens.shape, dtype=torch.bool)
        for i, row in enumerate(rows):
            where = slice(length - len(row), None) if padding_side == "left" else slice(len(row))
            tokens[i, where] = torch.tensor(row, dtype=torch.long)
            real[i, where] = True
        return tokens.to(self.device), real.to(self.device)

    def to_string(self, tokens: Any) -> str | list[str]:
        """Tokens to text: a number or a row gives a string, a batch gives a list of strings."""
        tokenizer = self.get_tokenizer()
        ids = torch.as_tensor(tokens)
        if ids.ndim == 2:
            return [tokenizer.decode(row) for row in ids.tolist()]
        return tokenizer.decode(ids.reshape(-1).tolist())

    def to_str_tokens(
        self,
        input: str | list[str] | list[int] | Int[Tensor, "..."] | Any,
        prepend_bos: bool | None = None,
    ) -> list[str] | list[list[str]]:
        """The text of each token: a list for one text or row of tokens (a list of numbers, a tensor
        or an array), a list of lists for several texts."""
        if isinstance(input, list) and not all(isinstance(x, int) for x in input):
            return [self._str_tokens(text, prepend_bos) for text in input]
        return self._str_tokens(input, prepend_bos)

    def _str_tokens(self, input: Any, prepend_bos: bool | None = None) -> list[str]:
        tokens = torch.as_tensor(
            self.to_tokens(input, prepend_bos) if isinstance(input, str) else input
        )
        if tokens.ndim == 2 and tokens.shape[0] != 1:
            raise ValueError(
                f"to_str_tokens takes one row of tokens, not a batch of {tokens.shape[0]}."
            )
        tokenizer = self.get_tokenizer()
        return [tokenizer.token(int(token)) for token in tokens.reshape(-1)]

    def to_single_token(self, text: str) -> int:
        """The number of a text that is exactly one token, such as " Mary".

        Raises:
            ValueError: the text is not exactly one token.
        """
        return self.get_tokenizer().single(text)

    def to_single_str_token(self, token: int) -> str:
        """The text of one token."""
        return self.get_tokenizer().token(int(token))

    def get_token_position(
        self,
        single_token: str | int,
        input: str | Int[Tensor, " pos"] | Int[Tensor, "1 pos"],
        mode: Literal["first", "last"] = "first",
        prepend_bos: bool | None = None,
    ) -> int:
        """Where a token stands in a text, counting BOS if it is put first.

        Raises:
            ValueError: the token does not occur.
        """
        tokens = self.to_tokens(input, prepend_bos) if isinstance(input, str) else input
        wanted = (
            self.to_single_token(single_token) if isinstance(single_token, str) else single_token
        )
        found = (tokens.reshape(-1) == wanted).nonzero().flatten().tolist()
        if not found:
            raise ValueError(f"the token {single_token!r} does not occur in the input.")
        return int(found[0] if mode == "first" else found[-1])

    def padding_mask(self, tokens: Int[Tensor, "batch pos"]) -> Bool[Tensor, "batch pos"] | None:
        """False at padding on the left, found as a run of pad tokens at the front; None if none.

        Padding on the right needs no mask: attention is causal, so nothing real reads it. Where
        the pad token is also BOS (GPT-2), the last of the run is taken for BOS.
        """
        pad = None if self.tokenizer is None else self.tokenizer.pad_token_id
        if self.tokenizer is None or pad is None or not bool((tokens[:, 0] == pad).any()):
            return None
        real = tokens.ne(pad).long().cumsum(-1) > 0
        if pad == self.tokenizer.bos_token_id:
            real = torch.cat([real[:, 1:], real.new_ones(real.shape[0], 1)], dim=1)
        return None if bool(real.all()) else real

    def real_tokens(
        self, tokens: Int[Tensor, "batch pos"], left: Bool[Tensor, "batch pos"] | None = None
    ) -> Bool[Tensor, "batch pos"] | None:
        """False at padding on either side, for the loss; None if there is none.

        Padding on the right is a run of pad tokens at the end. Where the pad token is also EOS or
        BOS (GPT-2), a run at the end may be meant: what the shortest run of the batch has is then
        kept in every row, and what goes beyond it is padding. So nothing of a single text is
        padding, and of a batch that `to_tokens` made exactly what it added (unless some of its
        texts end with EOS and the longest does not; give the mask yourself then).

        Args:
            tokens: padded or not.
            left: what `padding_mask` found at the front.
        """
        tokenizer = self.tokenizer
        pad = None if tokenizer is None else tokenizer.pad_token_id
        if tokenizer is None or pad is None or not bool((tokens[:, -1] == pad).any()):
            return left
        behind = tokens.ne(pad).flip(1).long().cumsum(1).flip(1)  # real tokens from here on
        run = behind.eq(0).sum(1)  # [batch]
        if pad in (tokenizer.bos_token_id, tokenizer.eos_token_id):
            run = run - run.min()
        index = torch.arange(tokens.shape[1], device=tokens.device)
        real = index < (tokens.shape[1] - run)[:, None]
        if left is not None:
            real = real & left
        return None if bool(real.all()) else real

    def to_input(
        self,
        input: Any,
        prepend_bos: bool | None,
        padding_side: PaddingSide | None,
        attention_mask: Bool[Tensor, "batch pos"] | None,
        past: KVCache | None,
    ) -> tuple[Int[Tensor, "batch pos"], Bool[Tensor, "batch pos"] | None]:
        """What `forward` runs on: checked tokens [batch, pos], and a mask if there is padding."""
        if isinstance(input, str | list):
            tokens, real = self._pad_texts(input, prepend_bos, padding_side)
            return tokens, None if bool(real.all()) else real
        tokens = torch.as_tensor(input)
        if tokens.is_floating_point():
            raise ValueError("tokens are whole numbers; for vectors give start_at_layer=.")
        tokens = (tokens[None] if tokens.ndim == 1 else tokens).to(self.device)
        if tokens.ndim != 2 or tokens.numel() == 0:
            raise ValueError(
                f"tokens have the shape [batch, pos]; these have {tuple(tokens.shape)}."
            )
        low, high = (int(x) for x in tokens.aminmax())
        if low < 0 or high >= self.cfg.d_vocab:
            bad = low if low < 0 else high
            raise ValueError(
                f"token id {bad} is out of range: {self.cfg.model_name} knows 0 to "
                f"{self.cfg.d_vocab - 1}."
            )
        if attention_mask is not None:
            return tokens, attention_mask.to(self.device).bool()
        return tokens, self.padding_mask(tokens) if past is None or past.length == 0 else None

    def check_length(self, length: int) -> None:
        """Raise if a sequence does not fit into the context."""
        if length > self.cfg.n_ctx:
            raise ValueError(
                f"the sequence has {length} tokens, and the context of {self.cfg.model_name} is "
                f"{self.cfg.n_ctx}: shorten it, or give truncate=True to to_tokens."
            )

    def check_layers(self, **layers: int | None) -> None:
        """Raise if a layer that a run is to start or stop at does not exist."""
        for name, layer in layers.items():
            if layer is not None and not -self.cfg.n_layers <= layer <= self.cfg.n_layers:
                raise ValueError(
                    f"{name}={layer} is not between 0 and {self.cfg.n_layers}, the number of "
                    f"layers of {self.cfg.model_name} (or counted back from the end)."
                )
