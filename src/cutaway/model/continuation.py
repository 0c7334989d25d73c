"""What every way of continuing a text needs: the prompt as tokens, and logits of the next one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .kv_cache import KVCache

if TYPE_CHECKING:
    from .transformer import HookedTransformer


@dataclass(frozen=True)
class Prompt:
    """What is to be continued."""

    tokens: Int[Tensor, "batch pos"]
    """Padded on the left."""
    real: Bool[Tensor, "batch pos"]
    """False at padding."""
    ends: Int[Tensor, " end"] | None
    """Tokens that end a sequence; the first of them fills what comes behind. None: nothing ends."""
    max_new_tokens: int

    @classmethod
    def of(
        cls,
        model: HookedTransformer,
        input: Any,
        max_new_tokens: int,
        prepend_bos: bool | None = None,
        stop_at_eos: bool = True,
        eos_token_id: int | Sequence[int] | None = None,
    ) -> Prompt:
        """From one text, several, or tokens; the arguments are those of `generate`.

        Raises:
            ValueError: tokens out of range, or a result longer than the context.
        """
        tokens, real = model.to_input(input, prepend_bos, "left", None, None)
        if real is None:
            real = torch.ones_like(tokens, dtype=torch.bool)
        _check_room(model, tokens.shape[1], max_new_tokens)
        ends = _end_tokens(model, eos_token_id) if stop_at_eos else None
        return cls(tokens, real, ends, max_new_tokens)

    @property
    def length(self) -> int:
        """Of the longest prompt."""
        return self.tokens.shape[1]

    @property
    def total(self) -> int:
        """Length at most, new tokens included."""
        return self.length + self.max_new_tokens

    def whole_mask(self) -> Bool[Tensor, "batch total"] | None:
        """Which tokens of the whole are not padding; None if none is."""
        if bool(self.real.all()):
            return None
        return torch.nn.functional.pad(self.real, (0, self.max_new_tokens), value=True)

    def text(self, model: HookedTransformer, row: int, tokens: Int[Tensor, " pos"]) -> str:
        """A row's tokens as text: without its padding and special tokens, up to what ended it."""
        found: list[int] = tokens.tolist()
        ends = set() if self.ends is None else set(self.ends.tolist())
        end = next((i for i in range(self.length, len(found)) if found[i] in ends), len(found))
        start = int((~self.real[row]).sum())
        return model.get_tokenizer().decode(found[start:end], skip_special_tokens=True)


def _check_room(model: HookedTransformer, n_prompt: int, max_new_tokens: int) -> None:
    if max_new_tokens < 1:
        raise ValueError(f"max_new_tokens={max_new_tokens} is not a positive whole number.")
    if n_prompt + max_new_tokens > model.cfg.n_ctx:
        raise ValueError(
            f"a prompt of {n_prompt} tokens and max_new_tokens={max_new_tokens} do not fit into "
            f"the context of {model.cfg.model_name}, which is {model.cfg.n_ctx}: "
            f"ask for at most {max(model.cfg.n_ctx - n_prompt, 0)} new tokens."
        )


def _end_tokens(
    model: HookedTransformer, eos_token_id: int | Sequence[int] | None
) -> Int[Tensor, " end"] | None:
    """The tokens that end a sequence; None if there are none."""
    if eos_token_id is None and model.tokenizer is not None:
        eos_token_id = model.tokenizer.eos_token_id
    if eos_token_id is None:
        return None
    ends = [eos_token_id] if isinstance(eos_token_id, int) else [int(t) for t in eos_token_id]
    for token in ends:
        if not 0 <= token < model.cfg.d_vocab:
            raise ValueError(
                f"eos_token_id={token} is out of range: {model.cfg.model_name} knows 0 to "
                f"{model.cfg.d_vocab - 1}."
            )
    return torch.tensor(ends, device=model.device) if ends else None


class NextLogits:
    """Logits of the next token, from a key-value cache or from the whole sequence.

    Call it with all tokens so far; with a cache, it runs those that it has not seen.
    """

    def __init__(self, model: HookedTransformer, prompt: Prompt, use_past_kv_cache: bool) -> None:
        self.model, self.n_prompt = model, prompt.length
        self.mask = prompt.whole_mask()
        self.cache: KVCache | None = None
        if use_past_kv_cache:
            self.cache = KVCache(model, len(prompt.tokens), prompt.total)
        self._behind = [  # hook points that would miss all positions but the last
            point
            for name, point in model.hook_dict.items()
            if name.startswith(("ln_final.", "unembed."))
        ]

    def __call__(self, tokens: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch d_vocab"]:
        n_past = 0 if self.cache is None else self.cache.length
        mask = self._first_mask(tokens) if n_past == 0 else None  # the cache remembers it
        given = {"attention_mask": mask, "past_kv_cache": self.cache}
        model, tokens = self.model, tokens[:, n_past:]
        if any(point.active for point in self._behind):
            logits: Tensor = model(tokens, **given)
        else:
            stream = model(tokens, stop_at_layer=model.cfg.n_layers, **given)
            logits = model.unembed(model.ln_final(stream[:, -1:]))
        return logits[:, -1]

    def _first_mask(self, tokens: Int[Tensor, "batch pos"]) -> Bool[Tensor, "batch pos"] | None:
        """None where the model would find no padding by itself, since a mask costs time."""
        if self.mask is not None:
            return self.mask[:, : tokens.shape[1]]
        return (
            None
            if self.model.padding_mask(tokens) is None
            else tokens.new_ones(tokens.shape, dtype=torch.bool)
        )

    def reorder(self, rows: Int[Tensor, " new_batch"]) -> None:
        """Row i goes on from what was row `rows[i]`; both continue the same prompt, if the number
        of rows stays."""
        if self.mask is not None and len(rows) != len(self.mask):
            self.mask = self.mask[rows]
        if self.cache is not None:
            self.cache.reorder(rows, start=self.n_prompt)
