"""The loss of a language model: how badly the next token was predicted."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .text import TextInterface


class Loss(TextInterface):
    """The part of `HookedTransformer` that compares logits with tokens."""

    def loss_fn(
        self,
        logits: Float[Tensor, "batch pos d_vocab"],
        tokens: Int[Tensor, "batch pos"],
        attention_mask: Bool[Tensor, "batch pos"] | Int[Tensor, "batch pos"] | None = None,
        per_token: bool = False,
    ) -> Tensor:
        """Cross-entropy of the next token in nats: a mean over real tokens, or [batch, pos - 1].

        Args:
            logits: of every position.
            tokens: those that the logits were computed from.
            attention_mask: False at padding, which is neither predicted nor predicted from; None
                finds it as `real_tokens` does.
            per_token: 0 stands where there is padding.
        """
        if attention_mask is None:
            attention_mask = self.real_tokens(tokens, self.padding_mask(tokens))
        return cross_entropy(logits, tokens, attention_mask, per_token)


def cross_entropy(
    logits: Float[Tensor, "batch pos d_vocab"],
    tokens: Int[Tensor, "batch pos"],
    real: Bool[Tensor, "batch pos"] | Int[Tensor, "batch pos"] | None = None,
    per_token: bool = False,
) -> Tensor:
    """`loss_fn` with the mask that is given and no other."""
    predicted = logits[:, :-1].transpose(1, 2)  # [batch, d_vocab, pos - 1]
    loss = F.cross_entropy(predicted, tokens[:, 1:].to(logits.device), reduction="none")
    if real is None:
        return loss if per_token else loss.mean()
    real = real.bool().to(logits.device)
    both = real[:, 1:] & real[:, :-1]
    loss = loss.masked_fill(~both, 0)
    return loss if per_token else loss.sum() / both.sum()
